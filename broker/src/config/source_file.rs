//! Reading a configuration file into memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A larger file is refused.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file has no text.
#[derive(Debug)]
pub(super) enum ReadError {
    Missing,
    Failed(String),
    /// There are bytes that are no UTF-8 at this line and column.
    NotText {
        line: usize,
        column: usize,
    },
}

pub(super) fn read_text(path: &Path) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(read_error)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(read_error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadError::Failed(format!(
            "the file is larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let text = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
        let (line, column) = position_at_end(&text);
        ReadError::NotText { line, column }
    })
}

/// The line and column of what would follow `text`.
pub(super) fn position_at_end(text: &str) -> (usize, usize) {
    let line = text.matches('\n').count() + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}

fn read_error(error: io::Error) -> ReadError {
    if error.kind() == io::ErrorKind::NotFound {
        ReadError::Missing
    } else {
        ReadError::Failed(format!("the file cannot be read: {error}"))
    }
}

impl ReadError {
    /// What to say about the file at the place where it is asked for.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Missing => "the file does not exist".to_owned(),
            Self::Failed(message) => message.clone(),
            Self::NotText { line, column } => {
                format!("the file is not UTF-8 text, see its line {line}, column {column}")
            }
        }
    }
}
