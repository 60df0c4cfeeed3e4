//! A database with a damaged page that a commit cannot do without.
//!
//! It may be that only memory was damaged, so the database is opened again first. If that does
//! not help, all rows that can be read are copied to a new database, which takes the place of the
//! damaged one; that one is kept. If nothing of it can be read, it stays where it is, and nothing
//! is acknowledged any more: the next start keeps it and begins empty.
//!
//! A page that cannot be read at all is no damage: the disk may recover.

use rusqlite::Error;
use rusqlite::ffi::{self, ErrorCode};

use super::Database;
use crate::Salvage;
use crate::error::WriteError;
use crate::salvage::write_salvaged;

/// Whether the database has a page that makes no sense.
pub(super) fn is_corrupt(error: &Error) -> bool {
    let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    error.sqlite_error().is_some_and(|it| {
        codes.contains(&it.code) || it.extended_code == ffi::SQLITE_IOERR_CORRUPTFS
    })
}

impl Database {
    /// Puts a database with all rows that can be read in the place of the damaged one.
    pub(super) fn salvage(&mut self) -> Result<(), WriteError> {
        let (file, epoch) = (self.files.database(), self.epoch);
        let mut salvage = Salvage::default();
        let kept = self.replace(|_, copy| {
            salvage = write_salvaged(&file, copy, epoch)?;
            Ok(())
        })?;
        self.corruptions = 0;
        let kept = kept.map(|it| it.display().to_string());
        let rows = salvage.rows();
        tracing::error!(
            kept,
            rows,
            "the store is damaged; all rows that can be read are in a new file"
        );
        Ok(())
    }
}
