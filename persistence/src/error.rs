//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use crate::schema::SCHEMA_VERSION;
use crate::{SalvageError, damage};

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The directory could not be made or written to.
    #[error("the data directory {directory} cannot be used: {source}")]
    Directory {
        /// Which.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
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
    /// The file is a symbolic link, so what SQLite keeps beside it would be elsewhere.
    #[error("the store {0} is a symbolic link; `store.path` may be one, but not the file")]
    Link(PathBuf),
    /// There is no store to look at.
    #[error("there is no store {0}")]
    Absent(PathBuf),
    /// A file is there and cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
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

impl OpenStoreError {
    /// Whether the content of the files is at fault, and not the system around them.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Database { source, .. } if damage::is_damage(source))
    }
}

/// What is not on the disk although the store was closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseStoreError {
    /// Operations could not be written; none of them was reported durable.
    #[error("{operations} operations were not written to the store: {reason}")]
    Unwritten {
        /// How many.
        operations: u64,
        /// Why not.
        reason: String,
    },
    /// The files are gone, with all that was reported durable.
    #[error("the store was written and is not on the disk: {0}")]
    Gone(String),
    /// A bug.
    #[error("the store's writer thread panicked, {0} operations were not written")]
    Panicked(u64),
}

/// Why something could not be written; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error("the files of the store are gone and cannot be made again: {0}")]
    Restore(io::Error),
    #[error("the log of the store cannot be written: {0}")]
    Log(io::Error),
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// Nobody knows what else was done to it, so this lasts until it is opened again.
    #[error(
        "the files of the store were truncated while they were open; \
         a restart keeps them and begins with what is left"
    )]
    Truncated,
}
