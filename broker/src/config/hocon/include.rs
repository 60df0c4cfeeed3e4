//! `include "file"`: fields from other files.

use std::path::{Path, PathBuf};

use super::super::error::Fault;
use super::super::notice::Notice;
use super::super::place::{Origins, Place};
use super::super::source_file::{ReadError, read_text};
use super::cursor::Cursor;
use super::path::read_bare_key;
use super::quoted::read_quoted;

/// Files may include files this deep.
pub(super) const INCLUDE_DEPTH_MAX: usize = 8;

/// All included files together may have this many bytes.
const INCLUDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What an include asks for.
#[derive(Debug)]
pub(super) struct Include {
    name: String,
    required: bool,
    place: Place,
}

/// Reads included files within limits.
#[derive(Debug)]
pub(super) struct Includes<'o> {
    origins: &'o mut Origins,
    bytes_left: usize,
}

/// An included file.
#[derive(Debug)]
pub(super) struct Included {
    pub(super) text: String,
    pub(super) start: Place,
    pub(super) folder: PathBuf,
}

impl Include {
    /// Reads an include. If there is none, because `include` is a key or the beginning of one,
    /// the cursor does not move.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, Fault> {
        let mut ahead = cursor.clone();
        let place = ahead.place();
        if !cursor.starts_with("include") || read_bare_key(&mut ahead) != "include" {
            return Ok(None);
        }
        ahead.skip_spaces();
        let mut include = Self {
            name: String::new(),
            required: false,
            place,
        };
        if !include.read_target(&mut ahead)? {
            return Ok(None);
        }
        *cursor = ahead;
        Ok(Some(include))
    }

    /// Reads `"name"`, `file("name")`, `required("name")` or `required(file("name"))`.
    fn read_target(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
        let mut open = 0;
        if cursor.eat("required(") {
            self.required = true;
            open += 1;
            cursor.skip_spaces();
        }
        if cursor.eat("file(") {
            open += 1;
            cursor.skip_spaces();
        }
        if cursor.starts_with("url(") || cursor.starts_with("classpath(") {
            return Err(cursor.fault("only files can be included"));
        }
        if !cursor.starts_with("\"") {
            return match open {
                0 => Ok(false),
                _ => Err(cursor.fault("expected the name of a file in quotes")),
            };
        }
        self.name = read_quoted(cursor)?;
        for _ in 0..open {
            cursor.skip_spaces();
            if !cursor.eat(")") {
                return Err(cursor.fault("expected `)`"));
            }
        }
        Ok(true)
    }
}

impl<'o> Includes<'o> {
    pub(super) fn new(origins: &'o mut Origins) -> Self {
        Self {
            origins,
            bytes_left: INCLUDED_BYTES_MAX,
        }
    }

    /// The file, or none if it may be missing and is. `folder` is that of the including file,
    /// which is `depth` includes deep itself.
    pub(super) fn load(
        &mut self,
        include: &Include,
        folder: &Path,
        depth: usize,
    ) -> Result<Option<Included>, Fault> {
        let fault = |message: &str| {
            let name = &include.name;
            Fault::new(include.place, format!("cannot include `{name}`: {message}"))
        };
        if depth >= INCLUDE_DEPTH_MAX {
            return Err(fault(&format!(
                "includes are more than {INCLUDE_DEPTH_MAX} deep; does a file include itself?"
            )));
        }
        let mut path = folder.join(&include.name);
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            return Err(fault("only HOCON files can be included"));
        }
        if path.extension().is_none() && !path.exists() {
            path.set_extension("conf");
        }
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(ReadError::Missing) if !include.required => {
                let place = self.origins.describe(include.place);
                let file = path.display().to_string();
                let notice = Notice::MissingInclude { place, file };
                self.origins.notices.push(notice);
                return Ok(None);
            }
            Err(error) => return Err(fault(&error.message())),
        };
        let Some(bytes_left) = self.bytes_left.checked_sub(text.len()) else {
            return Err(fault(&format!(
                "included files are larger than {INCLUDED_BYTES_MAX} bytes in all"
            )));
        };
        self.bytes_left = bytes_left;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let start = self.origins.add_file(path.display().to_string());
        Ok(Some(Included {
            text,
            start,
            folder,
        }))
    }
}
