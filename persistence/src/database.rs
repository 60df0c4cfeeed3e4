//! The open database: how it is opened, and how it stays where a restart will look for it.
//!
//! A file that is deleted or replaced while it is open lives on unseen, and all that is written
//! to it is lost with the process. So every commit is preceded and followed by a look at the
//! paths. When they do not lead to the open files any more, everything is still readable through
//! the open ones: it is copied to a new file at the path, and nothing is lost. A file that was
//! truncated is gone; then nothing is written any more.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::error::WriteError;
use crate::files::{Files, Lock, Look};
use crate::throttle::Throttle;
use crate::{OpenStoreError, schema};

/// Bytes of the log before its first frame, and of a frame beside its page.
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// The open database and the lock that keeps other processes away while it lives.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    pub(crate) files: Files,
    /// The open files after the last commit.
    seen: Look,
    truncated: bool,
    restores: Throttle,
    lock: Lock,
}

impl Database {
    /// Opens or makes the database in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self, OpenStoreError> {
        let files = Files::new(directory);
        let lock = Lock::take(&files)?;
        let file = files.database();
        if file.is_symlink() {
            return Err(OpenStoreError::Link(file));
        }
        let connection = connect(&file)?;
        let seen = look(&files)?;
        Ok(Self {
            connection,
            files,
            seen,
            truncated: false,
            restores: Throttle::default(),
            lock,
        })
    }

    /// Before a commit: makes sure that what it writes to is what a restart will read.
    pub(crate) fn prepare(&mut self) -> Result<(), WriteError> {
        if !self.lock.is_in_place() {
            self.lock = Lock::take(&self.files)?;
        }
        let Ok(now) = self.files.look() else {
            return self.restore();
        };
        if !now.is_same(&self.seen) {
            return self.restore();
        }
        // Another process may have made them shorter in order, with a checkpoint or a VACUUM; then
        // all that has to be there still is.
        self.truncated |= now.database.bytes < self.seen.database.bytes
            && now.database.bytes < self.database_bytes()?
            || now.log.bytes < self.seen.log.bytes && now.log.bytes < self.log_bytes()?;
        if self.truncated {
            leave_alone(&self.connection)?;
            return Err(WriteError::Truncated);
        }
        Ok(())
    }

    /// After a commit: makes sure that a restart will find it.
    pub(crate) fn confirm(&mut self) -> Result<(), WriteError> {
        match self.files.look() {
            Ok(now) if now.is_same(&self.seen) => {
                self.seen = now;
                Ok(())
            }
            Ok(_) | Err(_) => self.restore(),
        }
    }

    /// Writes all that is committed to a new file where the database has to be. What stands in
    /// its place is renamed.
    fn restore(&mut self) -> Result<(), WriteError> {
        if self.truncated {
            return Err(WriteError::Truncated);
        }
        if !self.lock.is_in_place() {
            self.lock = Lock::take(&self.files)?;
        }
        let copy = self.files.unused("copy");
        let kept = self.write_copy(&copy).and_then(|()| {
            let kept = self.files.set_aside().map_err(WriteError::Restore)?;
            fs::rename(&copy, self.files.database()).map_err(WriteError::Restore)?;
            Ok(kept)
        });
        if kept.is_err() {
            // It may be large, and the next attempt makes another.
            fs::remove_file(&copy).ok();
        }
        let kept = kept?;
        self.files.sync().map_err(WriteError::Restore)?;
        leave_alone(&self.connection)?;
        self.connection = connect(&self.files.database())?;
        self.seen = look(&self.files)?;
        if self.restores.lets_through() {
            let directory = self.files.directory().display().to_string();
            let kept = kept.map(|it| it.display().to_string());
            tracing::error!(
                directory,
                kept,
                "the store's files were deleted or replaced while it was open; \
                 they are written anew, nothing is lost"
            );
        }
        Ok(())
    }

    fn write_copy(&self, copy: &Path) -> Result<(), WriteError> {
        let path = ToSqlOutput::Borrowed(ValueRef::Text(copy.as_os_str().as_bytes()));
        self.connection.execute("VACUUM INTO ?1", [path])?;
        File::open(copy)
            .and_then(|file| file.sync_all())
            .map_err(WriteError::Restore)
    }

    /// The bytes of the database, with those that are in the log only.
    fn database_bytes(&self) -> Result<u64, rusqlite::Error> {
        Ok(self.number("PRAGMA page_count", 0)? * self.number("PRAGMA page_size", 0)?)
    }

    /// The bytes of the log that are in use.
    fn log_bytes(&self) -> Result<u64, rusqlite::Error> {
        let frame_bytes = FRAME_HEADER_BYTES + self.number("PRAGMA page_size", 0)?;
        Ok(match self.number("PRAGMA wal_checkpoint(NOOP)", 1)? {
            0 => 0,
            frames => LOG_HEADER_BYTES + frames * frame_bytes,
        })
    }

    fn number(&self, sql: &str, column: usize) -> Result<u64, rusqlite::Error> {
        self.connection.query_row(sql, [], |row| row.get(column))
    }
}

fn look(files: &Files) -> Result<Look, OpenStoreError> {
    files.look().map_err(|source| OpenStoreError::Directory {
        directory: files.directory().to_owned(),
        source,
    })
}

/// Opens the file and brings it to the current version; a newer one is left alone.
fn connect(file: &Path) -> Result<Connection, OpenStoreError> {
    let failed = |source| OpenStoreError::Database {
        file: file.to_owned(),
        source,
    };
    let mut connection = Connection::open(file).map_err(failed)?;
    let found = schema::version(&connection).map_err(failed)?;
    if found > schema::SCHEMA_VERSION {
        leave_alone(&connection).map_err(failed)?;
        let file = file.to_owned();
        return Err(OpenStoreError::Newer { file, found });
    }
    configure(&connection)
        .and_then(|()| schema::migrate(&mut connection, found))
        // The first read makes the log and its index.
        .and_then(|()| schema::version(&connection))
        .map_err(failed)?;
    Ok(connection)
}

/// Closing makes no checkpoint then: it changes no file, and does not delete the log at the path,
/// which may be that of another database.
fn leave_alone(connection: &Connection) -> Result<(), rusqlite::Error> {
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(no_checkpoint, true).map(|_| ())
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // In KiB when negative. Bounded: memory must not grow with the database.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}
