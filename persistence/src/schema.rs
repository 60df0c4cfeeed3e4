//! The database file: how it is opened, what stands in it, which versions are accepted.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// What leads from each version of the tables to the next, the first from an empty file. A new
/// version is a new step at the end; those that files have gone through are never changed.
const MIGRATIONS: [&str; 2] = [VERSION_1, VERSION_2];
const SCHEMA_VERSION: usize = MIGRATIONS.len();
const DATABASE_FILE: &str = "tidegate.db";
const LOCK_FILE: &str = "tidegate.lock";

/// `refs` counts the queue entries that a message body stands in.
const VERSION_1: &str = "
CREATE TABLE session(
    id INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE,
    expiry_seconds INTEGER NOT NULL, expires_at INTEGER);
CREATE TABLE subscription(
    session_id INTEGER NOT NULL, filter TEXT NOT NULL,
    options INTEGER NOT NULL, identifier INTEGER,
    PRIMARY KEY(session_id, filter)) WITHOUT ROWID;
CREATE TABLE message(
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER, refs INTEGER NOT NULL);
CREATE TABLE queue(
    session_id INTEGER NOT NULL, sequence INTEGER NOT NULL, message_id INTEGER NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, subscription_ids BLOB NOT NULL,
    PRIMARY KEY(session_id, sequence)) WITHOUT ROWID;
CREATE TABLE inbound(
    session_id INTEGER NOT NULL, packet_id INTEGER NOT NULL,
    PRIMARY KEY(session_id, packet_id)) WITHOUT ROWID;
CREATE TABLE retained(
    topic TEXT PRIMARY KEY, payload BLOB NOT NULL, properties BLOB NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;
";
/// `sent_sequence` is null while a connection may be sending.
const VERSION_2: &str = "
CREATE TABLE delayed(
    id INTEGER PRIMARY KEY, due INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER);
ALTER TABLE session ADD COLUMN sent_sequence INTEGER;
";

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The directory could not be made or written to.
    #[error("the data directory {directory} cannot be used: {source}")]
    Directory {
        /// Which.
        directory: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the store open.
    #[error("another process uses the data directory {0}")]
    InUse(PathBuf),
    /// The file was written by a newer version; it is left untouched.
    #[error("the store {file} has schema version {found}; this program knows {SCHEMA_VERSION}")]
    Newer {
        /// Which.
        file: PathBuf,
        /// Its version.
        found: usize,
    },
    /// SQLite refused, for example because the file is damaged.
    #[error("the store {file} cannot be opened: {source}")]
    Database {
        /// Which.
        file: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// The open database and the lock that keeps other processes away while it lives.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    pub(crate) file: PathBuf,
    /// Held, not read: the operating system releases it with the process.
    _lock: File,
}

impl Database {
    /// Opens or makes the database in `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self, OpenStoreError> {
        let lock = lock(directory)?;
        let file = directory.join(DATABASE_FILE);
        match open_file(&file) {
            Ok((connection, SCHEMA_VERSION)) => Ok(Self {
                connection,
                file,
                _lock: lock,
            }),
            Ok((_, found)) => Err(OpenStoreError::Newer { file, found }),
            Err(source) => Err(OpenStoreError::Database { file, source }),
        }
    }
}

fn lock(directory: &Path) -> Result<File, OpenStoreError> {
    let failed = |source| OpenStoreError::Directory {
        directory: directory.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let lock = File::create(directory.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenStoreError::InUse(directory.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Opens the file and brings it to the current version; a newer one is left alone.
fn open_file(file: &Path) -> Result<(Connection, usize), rusqlite::Error> {
    let mut connection = Connection::open(file)?;
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        return Ok((connection, found));
    }
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // In KiB when negative. Bounded: memory must not grow with the database.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    migrate(&mut connection, found)?;
    Ok((connection, SCHEMA_VERSION))
}

/// Takes the steps from a version to the current one, each wholly or not at all.
fn migrate(connection: &mut Connection, from: usize) -> Result<(), rusqlite::Error> {
    for (version, step) in MIGRATIONS.iter().enumerate().skip(from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
