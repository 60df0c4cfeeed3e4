//! Looking at a store without changing it, whether a daemon runs on it or not.
//!
//! No lock is taken, and neither the database nor its log is written. A reader keeps the log from
//! being emptied while it reads, so nothing here reads for longer than it has to.

pub(crate) mod check;
mod export;
mod flush;
mod stats;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use rusqlite::config::DbConfig;
use rusqlite::ffi::{self, ErrorCode};
use rusqlite::{Connection, Error, OpenFlags};

use crate::files::{Files, with_suffix};
use crate::schema::Column;
use crate::{OpenStoreError, schema};

pub use check::{Findings, Problem};
pub use export::{Exported, Exports, QueuedMessage, SessionRecord};
pub use flush::FlushLatency;
pub use stats::{Depth, Stats};

/// A store that is only looked at.
#[derive(Debug)]
pub struct Inspection {
    files: Files,
    connection: Connection,
    version: usize,
    view: View,
}

/// What the connection sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The database and its log.
    Live,
    /// Only the database, as it was at this time: there was no log, and reading without one makes
    /// no file.
    Still(Option<SystemTime>),
}

/// A file that is kept because it was damaged, or in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// Where.
    pub file: PathBuf,
    /// How long.
    pub bytes: u64,
    /// Whether what could be read of it is in the store again.
    pub is_salvaged: bool,
}

impl Inspection {
    /// Opens the store in `directory`.
    ///
    /// # Errors
    /// There is none; it cannot be read; it is damaged so badly that nothing of it can be read
    /// ([`OpenStoreError::is_damage`]); or a newer version wrote it.
    pub fn open(directory: &Path) -> Result<Self, OpenStoreError> {
        let files = Files::new(directory);
        let file = files.database();
        let found = file.symlink_metadata();
        match found {
            Ok(it) if it.is_symlink() => return Err(OpenStoreError::Link(file)),
            Ok(_) => {}
            Err(error) if is_absent(&error) => return Err(OpenStoreError::Absent(file)),
            Err(source) => return Err(OpenStoreError::Read { file, source }),
        }
        let (connection, view) = read_only(&file)?;
        let failed = |source| unreadable(&file, source);
        let version = schema::version(&connection).map_err(failed)?;
        if version > schema::SCHEMA_VERSION {
            let found = version;
            return Err(OpenStoreError::Newer { file, found });
        }
        Ok(Self {
            files,
            connection,
            version,
            view,
        })
    }

    /// The database.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.files.database()
    }

    /// The version of its tables; 0 if it has none.
    #[must_use]
    pub const fn version(&self) -> usize {
        self.version
    }

    /// Whether a daemon has begun to write since it was opened as a file that nobody writes.
    fn is_outdated(&self) -> bool {
        match self.view {
            View::Live => false,
            View::Still(then) => then != modified(&self.file()) || has_log(&self.file()),
        }
    }

    /// Opens it again if a daemon has begun to write.
    fn refresh(&mut self) -> Result<(), OpenStoreError> {
        if self.is_outdated() {
            *self = Self::open(self.files.directory())?;
        }
        Ok(())
    }

    fn failed(&self, source: Error) -> OpenStoreError {
        unreadable(&self.file(), source)
    }
}

/// The tables of a file with their columns.
#[derive(Debug)]
pub(crate) struct Columns(BTreeMap<String, Vec<Column>>);

impl Columns {
    pub(crate) fn of(connection: &Connection) -> Result<Self, Error> {
        schema::columns(connection).map(Self)
    }

    /// The name of a column in a query; one that the file does not have is null.
    pub(crate) fn name<'a>(&self, table: &str, column: &'a str) -> &'a str {
        let columns = self.0.get(table).into_iter().flatten();
        let is_there = columns.map(|it| &*it.name).any(|it| it == column);
        if is_there { column } else { "NULL" }
    }
}

/// The damaged files that are kept in a data directory, in the order of their names.
///
/// # Errors
/// The directory cannot be read.
pub fn kept_files(directory: &Path) -> Result<Vec<KeptFile>, OpenStoreError> {
    let failed = |source| OpenStoreError::Directory {
        directory: directory.to_owned(),
        source,
    };
    let kept = Files::new(directory).kept().map_err(failed)?;
    let described = kept.into_iter().map(|(file, bytes)| KeptFile {
        is_salvaged: salvage_note(&file).exists(),
        file,
        bytes,
    });
    Ok(described.collect())
}

/// The file that says that a damaged database was salvaged, with its log.
pub(crate) fn salvage_note(file: &Path) -> PathBuf {
    let text = file.to_string_lossy();
    let database = text.strip_suffix("-wal").map(Path::new);
    with_suffix(database.unwrap_or(file), ".salvaged")
}

/// Opens a database for reading only.
pub(crate) fn read_only(file: &Path) -> Result<(Connection, View), OpenStoreError> {
    let failed = |source| unreadable(file, source);
    if is_in_log_only(file) {
        // SQLite would delete the log.
        let found = "the database is empty, and its log is not".to_owned();
        let corrupt = ffi::Error::new(ffi::SQLITE_CORRUPT);
        return Err(failed(Error::SqliteFailure(corrupt, Some(found))));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let (view, query) = if has_log(file) {
        (View::Live, "")
    } else {
        (View::Still(modified(file)), "?immutable=1")
    };
    let uri = format!("file:{}{query}", escaped(file));
    let connection = Connection::open_with_flags(uri, flags).map_err(failed)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    Ok((connection, view))
}

fn has_log(file: &Path) -> bool {
    with_suffix(file, "-wal").exists()
}

/// Whether all that there is of a database is in its log.
fn is_in_log_only(file: &Path) -> bool {
    let bytes = |file: &Path| fs::metadata(file).map(|it| it.len());
    let log = with_suffix(file, "-wal");
    bytes(file).is_ok_and(|it| it == 0) && bytes(&log).is_ok_and(|it| it > 0)
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|it| it.modified()).ok()
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02x}"),
    };
    path.as_os_str().as_bytes().iter().map(escape).collect()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The system's reason is clearer than SQLite's where a file cannot be opened.
fn unreadable(file: &Path, source: Error) -> OpenStoreError {
    let file = file.to_owned();
    if source.sqlite_error_code() == Some(ErrorCode::CannotOpen)
        && let Err(source) = fs::File::open(&file)
    {
        return OpenStoreError::Read { file, source };
    }
    OpenStoreError::Database { file, source }
}
