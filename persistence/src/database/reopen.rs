//! After a write that failed in a way that leaves it unknown what is on the disk.
//!
//! The system may drop what it could not write and call it written. The next sync then succeeds
//! although data is missing, so it says nothing. Nothing that was handed to the system since the
//! last sync is known to be on the disk, although it can still be read. That is
//!
//! - the end of the log: the batch that failed, and with `normal` durability all commits since
//!   the last sync, which are acknowledged already;
//! - pages that a checkpoint was writing from the log to the database. The index of the log says
//!   how far checkpoints came, but not what the last one achieved.
//!
//! All of that is in the log. So the database is closed as it is, and opened by itself, without
//! the index: SQLite reads the log from its beginning, and what it finds by its checksums is what
//! there is. Then every byte of the log is written again, in its place and with the same value, so
//! that a power cut meanwhile changes nothing, and synced. When that has succeeded, the log is on
//! the disk. Only then a checkpoint writes all pages in it to the database; a checkpoint of a log
//! that is not on the disk could leave half of a database and nothing to complete it from. If
//! there is no room for the checkpoint, the log, which is on the disk, keeps the pages: SQLite
//! makes a new index, from which the next checkpoint begins at the first page.
//!
//! The pages of the database are not looked at: they would be read from the memory of the system,
//! not from the disk, and those that are in doubt have just been written again.
//!
//! The batch that failed may be found in the log. It is written once more, which changes nothing
//! (`batch.rs`). Commits that were acknowledged and are not found are lost; they are counted, and
//! the log says so. A disk that keeps what it calls synced can lose only those that were not
//! synced.
//!
//! A process that ends, for whatever reason, forgets that a sync has failed. So the same is done
//! when a store is opened that was not closed.
//!
//! SQLite ignores the errors of checkpoints that it makes by itself after a commit. So it makes
//! none, and they are made in [`Database::checkpoint`].

use std::time::Duration;

use rusqlite::ffi::ErrorCode;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, Error, MAIN_DB, OpenFlags};

use super::{COUNT_QUEUED, Database, is_one_of, look, open_again, set_checkpoint_on_close};
use crate::error::WriteError;
use crate::files::Files;
use crate::log::LogState;
use crate::schema;

/// Whether nobody knows after this error what is on the disk, or whether the files can be used as
/// they are open.
///
/// A full disk is not among them: what does not fit was not taken, and all else is as it was. A
/// system that finds out later that the disk is full says so when it syncs, as another error.
pub(super) fn leaves_doubt(error: &Error) -> bool {
    let codes = [
        ErrorCode::SystemIoFailure,
        ErrorCode::CannotOpen,
        ErrorCode::ReadOnly,
    ];
    is_one_of(error, &codes)
}

/// What a log has that was read from its beginning.
pub(super) struct Found {
    epoch: u64,
    /// The frames in the log.
    frames: u64,
}

impl Database {
    /// After opening files that were not closed in order. What was acknowledged by the process
    /// that wrote them is not known, so nothing can be missing.
    pub(super) fn distrust(&mut self) {
        match self.reopen() {
            // Another process has it open, perhaps only to look. Nothing has failed that this
            // process knows of.
            Err(WriteError::Database(error)) if is_one_of(&error, &[ErrorCode::DatabaseBusy]) => {}
            // It is tried again before anything is written.
            result => self.in_doubt = result.is_err(),
        }
    }

    /// Makes sure that everything that was committed is on the disk, as far as it can be found.
    pub(super) fn settle(&mut self) -> Result<(), WriteError> {
        let found = self.reopen()?;
        let unsynced = self.unsynced.iter().filter(|it| **it > found.frames);
        let synced = self.epoch.saturating_sub(found.epoch);
        let lost = unsynced.count() as u64 + synced;
        if lost > 0 {
            let file = self.files.database().display().to_string();
            tracing::error!(
                lost,
                synced,
                file,
                "the disk has lost commits of the store that were acknowledged"
            );
        }
        self.queued = self.number(COUNT_QUEUED)?;
        self.epoch = found.epoch;
        self.unsynced.clear();
        self.in_doubt = false;
        Ok(())
    }

    /// Closes the database as it is, writes its log anew and opens it again. After an error it is
    /// open, if it can be, only so that it can be read.
    fn reopen(&mut self) -> Result<Found, WriteError> {
        if let Some(connection) = &self.connection {
            set_checkpoint_on_close(connection, false)?;
        }
        self.connection = None;
        let found = recover(&self.files);
        let opened = open_again(&self.files)
            .map_err(WriteError::from)
            .and_then(|it| Ok((look(&self.files)?, it)))
            .map(|(seen, connection)| {
                self.seen = seen;
                self.connection = Some(connection);
            });
        let found = found?;
        opened?;
        Ok(found)
    }
}

/// Reads the log of a database that nobody has open, and makes sure that it is on the disk.
pub(super) fn recover(files: &Files) -> Result<Found, WriteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(files.database(), flags)?;
    set_checkpoint_on_close(&connection, false)?;
    connection.busy_timeout(Duration::ZERO)?;
    // Without the index, which is for several processes.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version = schema::version(&connection)?;
    let found = Found {
        epoch: schema::epoch(&connection, version)?,
        frames: LogState::of(&connection)?.frames(),
    };
    files.rewrite_log().map_err(WriteError::Log)?;
    match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE) {
        Err(error) if is_one_of(&error, &[ErrorCode::DiskFull]) => Ok(found),
        checkpoint => Ok(checkpoint.map(|_| found)?),
    }
}
