//! The open database: how it is opened, and how it stays where a restart will look for it.
//!
//! SQLite finds what is wrong with the structure of the database, and leaves out silently what
//! follows the first damaged frame of its log. So the commits that are synced are counted, in the
//! database and in a file beside it: a database with a lower count than the file has lost some.
//!
//! A file that is deleted or replaced while it is open lives on unseen, and all that is written
//! to it is lost with the process. So every commit is preceded and followed by a look at the
//! paths. When they do not lead to the open files any more, everything is still readable through
//! the open ones: it is copied to a new file at the path, and nothing is lost. A file that was
//! truncated is gone; then nothing is written any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error};

use crate::batch::Batch;
use crate::damage::{self, is_damage};
use crate::error::WriteError;
use crate::files::{Files, Lock, Look};
use crate::log::LogState;
use crate::recovery::{self, Numbers};
use crate::statistics::Written;
use crate::throttle::Throttle;
use crate::{Clock, Damage, OpenStoreError, Recovered, schema};

/// Pages of the log that are copied to the database together: 16 MiB. Those that change often, such
/// as the ends of queues, are then written there once for many commits.
const CHECKPOINT_PAGES: u32 = 4096;

/// The open database and the lock that keeps other processes away while it lives.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    pub(crate) files: Files,
    pub(crate) clock: Clock,
    /// The open files after the last commit.
    seen: Look,
    truncated: bool,
    /// The commits that were synced.
    epoch: u64,
    pub(crate) written: Written,
    /// Entries in all queues.
    pub(crate) queued: u64,
    restores: Throttle,
    lock: Lock,
}

impl Database {
    /// Opens or makes the database in `directory`, and reads what it knows.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Recovered, Numbers), OpenStoreError> {
        let files = Files::new(directory);
        let lock = Lock::take(&files)?;
        let file = files.database();
        if file.is_symlink() {
            return Err(OpenStoreError::Link(file));
        }
        let unusable = |source| unusable(&files, source);
        let epoch = files.epoch();
        let mut damage = None;
        if files.is_emptied(epoch) {
            damage = Some(match files.set_aside().map_err(unusable)? {
                Some(kept) => Damage::Unreadable {
                    kept,
                    reason: "the database is empty".to_owned(),
                },
                None => Damage::Missing { file: file.clone() },
            });
        }
        let expected = if damage.is_none() { epoch } else { 0 };
        let mut loaded = load(&files, expected);
        if let Err(OpenStoreError::Database { source, .. }) = &loaded
            && is_damage(source)
        {
            let reason = source.to_string();
            let kept = files.set_aside().map_err(unusable)?.unwrap_or(file);
            damage = Some(Damage::Unreadable { kept, reason });
            loaded = load(&files, 0);
        }
        let (found, mut recovered, last, clock) = loaded?;
        recovered.damage = damage.or(found.damage);
        let database = Self {
            connection: found.connection,
            seen: look(&files)?,
            files,
            clock,
            truncated: false,
            epoch: epoch.max(found.epoch),
            written: Written::default(),
            queued: last.queued,
            restores: Throttle::default(),
            lock,
        };
        Ok((database, recovered, last))
    }

    /// Writes a batch, and with it whatever the last commits left unsynced if `sync` is true.
    pub(crate) fn commit(&mut self, batch: &Batch, sync: bool) -> Result<(), WriteError> {
        self.prepare()?;
        if !self.connection.is_autocommit() {
            // The attempt before failed, and so did its rollback.
            self.connection.execute_batch("ROLLBACK")?;
        }
        let level = if sync { "FULL" } else { "NORMAL" };
        self.connection.pragma_update(None, "synchronous", level)?;
        let synced = sync.then(|| (self.epoch + 1, self.clock.mark()));
        let rows = self.logged(|connection| batch.commit(connection, synced))?;
        self.written.commits += 1;
        self.written.synced_commits += u64::from(sync);
        self.written.entries += rows.inserted;
        self.queued = (self.queued + rows.inserted).saturating_sub(rows.deleted);
        if let Some((epoch, _)) = synced {
            self.epoch = epoch;
            // Without the note a loss that nobody expects would not be noticed; that is no reason
            // to have one.
            self.files.note_epoch(epoch).ok();
        }
        Ok(())
    }

    /// Counts what a transaction writes to the log. That it cannot be counted is no error, which
    /// would mean that the transaction is tried again.
    pub(crate) fn logged<T>(
        &mut self,
        transact: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = LogState::of(&self.connection);
        let done = transact(&mut self.connection)?;
        if let (Ok(before), Ok(after), Ok(page_bytes)) = (
            before,
            LogState::of(&self.connection),
            self.number("PRAGMA page_size"),
        ) {
            self.written.log_bytes += after.bytes_since(before, page_bytes);
        }
        Ok(done)
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
            && now.database.bytes < self.bytes()?
            || now.log.bytes < self.seen.log.bytes && now.log.bytes < self.log_bytes()?;
        if self.truncated {
            set_checkpoint_on_close(&self.connection, false)?;
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
        set_checkpoint_on_close(&self.connection, false)?;
        self.connection = connect(&self.files, 0)?.connection;
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
    pub(crate) fn bytes(&self) -> Result<u64, Error> {
        Ok(self.number("PRAGMA page_count")? * self.number("PRAGMA page_size")?)
    }

    /// The bytes of its file after the last commit.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.seen.database.bytes
    }

    /// The bytes of the log that are in use.
    fn log_bytes(&self) -> Result<u64, Error> {
        let page_bytes = self.number("PRAGMA page_size")?;
        Ok(LogState::of(&self.connection)?.bytes(page_bytes))
    }

    pub(crate) fn number(&self, sql: &str) -> Result<u64, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row([], |row| row.get(0))
    }
}

/// A database as it was found.
struct Found {
    connection: Connection,
    epoch: u64,
    damage: Option<Damage>,
}

/// Opens the database and brings it to the current version. A newer or damaged one is left as it
/// is. `expected` is the epoch that it has at least if nothing of it is lost.
fn connect(files: &Files, expected: u64) -> Result<Found, OpenStoreError> {
    let file = files.database();
    let failed = |source| OpenStoreError::Database {
        file: file.clone(),
        source,
    };
    let mut connection = Connection::open(&file).map_err(failed)?;
    set_checkpoint_on_close(&connection, false).map_err(failed)?;
    let version = schema::version(&connection).map_err(failed)?;
    if version > schema::SCHEMA_VERSION {
        let found = version;
        return Err(OpenStoreError::Newer { file, found });
    }
    damage::check(&connection, version).map_err(failed)?;
    let epoch = schema::epoch(&connection, version).map_err(failed)?;
    let mut damage = None;
    if epoch < expected {
        let kept = files.keep_log().map_err(|source| unusable(files, source))?;
        let file = file.clone();
        damage = Some(Damage::Older { file, kept });
    }
    configure(&connection)
        .and_then(|()| schema::migrate(&mut connection, version))
        // The first read makes the log and its index.
        .and_then(|()| schema::version(&connection))
        .and_then(|_| set_checkpoint_on_close(&connection, true))
        .map_err(failed)?;
    Ok(Found {
        connection,
        epoch,
        damage,
    })
}

/// Opens the database and reads it.
fn load(
    files: &Files,
    expected: u64,
) -> Result<(Found, Recovered, Numbers, Clock), OpenStoreError> {
    let mut found = connect(files, expected)?;
    let recovered = recovery::recover(&mut found.connection);
    match recovered.and_then(|it| Ok((it, recovery::clock(&found.connection)?))) {
        Ok(((recovered, last), clock)) => Ok((found, recovered, last, clock)),
        Err(source) => {
            set_checkpoint_on_close(&found.connection, false).ok();
            let file = files.database();
            Err(OpenStoreError::Database { file, source })
        }
    }
}

fn configure(connection: &Connection) -> Result<(), Error> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // In KiB when negative. Bounded: memory must not grow with the database.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

/// Without a checkpoint closing changes no file, and does not delete the log at the path, which
/// may be that of another database.
fn set_checkpoint_on_close(connection: &Connection, is_made: bool) -> Result<(), Error> {
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection
        .set_db_config(no_checkpoint, !is_made)
        .map(|_| ())
}

fn look(files: &Files) -> Result<Look, OpenStoreError> {
    files.look().map_err(|source| unusable(files, source))
}

fn unusable(files: &Files, source: io::Error) -> OpenStoreError {
    OpenStoreError::Directory {
        directory: files.directory().to_owned(),
        source,
    }
}
