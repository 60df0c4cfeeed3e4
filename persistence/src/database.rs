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
//!
//! What happens when writing fails is in `reopen.rs`, and what when a page is damaged that a commit
//! needs in `salvage.rs`.

mod frugal;
mod reopen;
mod replace;
mod salvage;

use std::io;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::ffi::{self, ErrorCode};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, Error, MAIN_DB, OpenFlags};

use self::reopen::leaves_doubt;
use self::salvage::is_corrupt;
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
const CHECKPOINT_PAGES: u64 = 4096;
/// The same where the file system has little left: 1 MiB.
const CHECKPOINT_PAGES_SCARCE: u64 = 256;
/// The length that the file of the log keeps when it begins again.
const JOURNAL_BYTES: u32 = 64 << 20;
/// The same where the file system has little left.
const JOURNAL_BYTES_SCARCE: u32 = 1 << 20;
const COUNT_QUEUED: &str = "SELECT count(*) FROM queue";

/// The open database and the lock that keeps other processes away while it lives.
#[derive(Debug)]
pub(crate) struct Database {
    /// None after it was closed because a write had failed, and could not be opened again.
    connection: Option<Connection>,
    pub(crate) files: Files,
    pub(crate) clock: Clock,
    /// The open files after the last commit.
    seen: Look,
    truncated: bool,
    /// The commits that were synced.
    epoch: u64,
    /// The frames of the log after each commit that may not be synced.
    unsynced: Vec<u64>,
    /// It is not known what of that is on the disk, so nothing more is written.
    in_doubt: bool,
    /// Attempts in a row that have found a damaged page.
    corruptions: u32,
    /// Pages of the log that are copied together at present.
    checkpoint_pages: u64,
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
        let lock = Lock::take_noted(&files)?;
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
        let was_open = files.has_log();
        let expected = if damage.is_none() { epoch } else { 0 };
        let mut loaded = load(&files, expected);
        if let Err(OpenStoreError::Database { source, .. }) = &loaded
            && is_one_of(source, &[ErrorCode::DiskFull])
        {
            // What has to be written at a start finds room in the log once that begins again.
            reopen::recover(&files).ok();
            loaded = load(&files, expected);
        }
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
        let mut database = Self {
            connection: Some(found.connection),
            seen: look(&files)?,
            files,
            clock,
            truncated: false,
            epoch: epoch.max(found.epoch),
            unsynced: Vec::new(),
            in_doubt: false,
            corruptions: 0,
            checkpoint_pages: CHECKPOINT_PAGES,
            written: Written::default(),
            queued: last.queued,
            restores: Throttle::default(),
            lock,
        };
        if was_open {
            database.distrust();
        }
        database.remove_orphans();
        Ok((database, recovered, last))
    }

    /// The database as it is open.
    pub(crate) fn connection(&self) -> Result<&Connection, Error> {
        self.connection.as_ref().ok_or_else(closed)
    }

    /// The same, to write to it.
    pub(crate) fn connection_mut(&mut self) -> Result<&mut Connection, Error> {
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Closes the database. What is in the log is written to it, unless that is in doubt.
    pub(crate) fn close(self) -> Result<(), Error> {
        let connection = self.connection.ok_or_else(closed)?;
        if self.in_doubt {
            set_checkpoint_on_close(&connection, false)?;
        }
        connection.close().map_err(|(_, error)| error)
    }

    /// Does something that writes. What its error says about the files is not forgotten.
    pub(crate) fn attempt<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let written = write(self);
        match &written {
            Ok(_) => self.corruptions = 0,
            Err(WriteError::Database(error)) => {
                self.in_doubt |= leaves_doubt(error) || is_corrupt(error);
                self.corruptions += u32::from(is_corrupt(error));
            }
            Err(_) => {}
        }
        written
    }

    /// Writes a batch, and with it whatever the last commits left unsynced if `sync` is true. It
    /// may be that the batch is written although this fails.
    pub(crate) fn commit(&mut self, batch: &Batch, sync: bool) -> Result<(), WriteError> {
        let frames = self.attempt(|it| {
            it.prepare()?;
            it.write(batch, sync)
        })?;
        // Shorter: the log began again, as it does when all of it is synced in the database.
        if sync || self.unsynced.last().is_some_and(|last| frames <= *last) {
            self.unsynced.clear();
        }
        if sync {
            self.epoch += 1;
            // Without the note a loss that nobody expects would not be noticed; that is no reason
            // to have one.
            self.files.note_epoch(self.epoch).ok();
        } else {
            self.unsynced.push(frames);
        }
        Ok(())
    }

    /// Writes a batch, and the pages in the log to the database when there are many. Returns the
    /// frames in the log.
    fn write(&mut self, batch: &Batch, sync: bool) -> Result<u64, WriteError> {
        let connection = self.connection()?;
        if !connection.is_autocommit() {
            // The attempt before failed, and so did its rollback.
            connection.execute_batch("ROLLBACK")?;
        }
        let level = if sync { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", level)?;
        let synced = sync.then(|| (self.epoch + 1, self.clock.mark()));
        let rows = self.transact(batch, synced)?;
        self.written.commits += 1;
        self.written.synced_commits += u64::from(sync);
        self.written.entries += rows.inserted;
        self.queued = (self.queued + rows.inserted).saturating_sub(rows.deleted);
        let frames = LogState::of(self.connection()?)?.frames();
        if frames >= self.checkpoint_pages {
            self.checkpoint()?;
        }
        Ok(frames)
    }

    /// Writes the pages in the log to the database, so that the log can begin again.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        let connection = self.connection()?;
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Ok(_) => Ok(()),
            // The log goes on as long as it has room, and nothing is lost with it.
            Err(error) if is_one_of(&error, &[ErrorCode::DiskFull, ErrorCode::DatabaseBusy]) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Counts what a transaction writes to the log. That it cannot be counted is no error, which
    /// would mean that the transaction is tried again.
    pub(crate) fn logged<T>(
        &mut self,
        transact: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = self.connection_mut()?;
        let before = LogState::of(connection);
        let done = transact(connection)?;
        if let (Ok(before), Ok(after), Ok(page_bytes)) = (
            before,
            LogState::of(connection),
            self.number("PRAGMA page_size"),
        ) {
            self.written.log_bytes += after.bytes_since(before, page_bytes);
        }
        Ok(done)
    }

    /// Before a commit: makes sure that what it writes to is what a restart will read.
    pub(crate) fn prepare(&mut self) -> Result<(), WriteError> {
        if !self.lock.is_in_place() {
            self.lock = Lock::take_noted(&self.files)?;
        }
        if self.corruptions > 1 {
            return self.salvage();
        }
        if self.connection.is_none() {
            return self.settle();
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
            set_checkpoint_on_close(self.connection()?, false)?;
            return Err(WriteError::Truncated);
        }
        if now.log.bytes < self.seen.log.bytes {
            self.unsynced.clear();
        }
        if self.in_doubt {
            return self.settle();
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
        Ok(LogState::of(self.connection()?)?.bytes(page_bytes))
    }

    pub(crate) fn number(&self, sql: &str) -> Result<u64, Error> {
        let mut statement = self.connection()?.prepare_cached(sql)?;
        statement.query_row([], |row| row.get(0))
    }
}

/// What is answered while the database cannot be opened again.
fn closed() -> Error {
    let error = ffi::Error::new(ffi::SQLITE_CANTOPEN);
    let why = "it was closed after an error, and cannot be opened again";
    Error::SqliteFailure(error, Some(why.to_owned()))
}

fn is_one_of(error: &Error, codes: &[ErrorCode]) -> bool {
    error
        .sqlite_error_code()
        .is_some_and(|it| codes.contains(&it))
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
        // One that cannot be written could be read, and would fail later.
        .and_then(|_| connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK"))
        .and_then(|()| set_checkpoint_on_close(&connection, true))
        .map_err(failed)?;
    Ok(Found {
        connection,
        epoch,
        damage,
    })
}

/// Opens the database once more, as it was brought to the current version. It has to be there.
fn open_again(files: &Files) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(files.database(), flags)?;
    set_checkpoint_on_close(&connection, false)?;
    configure(&connection)?;
    schema::version(&connection)?;
    set_checkpoint_on_close(&connection, true)?;
    Ok(connection)
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
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        // SQLite does not say why.
        let error = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        return Err(Error::SqliteFailure(
            error,
            Some("it has no log".to_owned()),
        ));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // In KiB when negative. Bounded: memory must not grow with the database.
    connection.pragma_update(None, "cache_size", -8192)?;
    // `Database::checkpoint` makes them.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)
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
