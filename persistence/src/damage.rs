//! What can be wrong with the files when they are opened.

use std::path::PathBuf;

use rusqlite::ffi::{self, ErrorCode};
use rusqlite::{Connection, Error};

/// What was wrong with the files when they were opened. Whatever it was, the store is open now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There was a store, and it is not there.
    #[error("{file} is gone; the store begins empty")]
    Missing {
        /// Where it should be.
        file: PathBuf,
    },
    /// It could not be read.
    #[error(
        "{reason}; the files are kept as {kept}, and the store begins empty; \
         `tidegate store repair --from {kept}` adds what can be read of them, \
         while the daemon is stopped"
    )]
    Unreadable {
        /// The database as it was found, with what was beside it.
        kept: PathBuf,
        /// What was found wrong first.
        reason: String,
    },
    /// It can be read, but changes that were on the disk are not in it any more.
    #[error(
        "{file} has lost its last changes; the store goes on with what is left{}",
        log(kept)
    )]
    Older {
        /// The database.
        file: PathBuf,
        /// Its write-ahead log as it was found, if there was one.
        kept: Option<PathBuf>,
    },
}

fn log(kept: &Option<PathBuf>) -> String {
    let log = kept
        .iter()
        .map(|it| format!(", its log is kept as {}", it.display()));
    log.collect()
}

/// Whether the content is at fault, and not the disk or the system around it, which may recover.
pub(crate) fn is_damage(error: &Error) -> bool {
    if let Some(failure) = error.sqlite_error() {
        let codes = [
            ErrorCode::DatabaseCorrupt,
            ErrorCode::NotADatabase,
            // Tables that are not ours.
            ErrorCode::Unknown,
            ErrorCode::TypeMismatch,
        ];
        let details = [ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_CORRUPTFS];
        return codes.contains(&failure.code) || details.contains(&failure.extended_code);
    }
    matches!(
        error,
        Error::SqlInputError { .. }
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..)
    )
}

/// Looks at every page of the database, which reads it once from end to end.
pub(crate) fn check(connection: &Connection, version: usize) -> Result<(), Error> {
    let corrupt = |found| {
        let corrupt = ffi::Error::new(ffi::SQLITE_CORRUPT);
        Err(Error::SqliteFailure(corrupt, Some(found)))
    };
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return corrupt(found);
    }
    let tables: u64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables > 0 {
        return corrupt("its tables are of no version".to_owned());
    }
    Ok(())
}
