//! The files of the store: where they are, who may use them, and how those that are in the way
//! are kept.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::OpenStoreError;

const DATABASE_FILE: &str = "tidegate.db";
const LOCK_FILE: &str = "tidegate.lock";
/// What follows the name of the database file in the names of those that SQLite keeps beside it.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// The files that an open database has at any time.
const OPEN_SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// The data directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE_FILE)
    }

    /// The database file with this extension and the first number that is not in use.
    pub(crate) fn unused(&self, extension: &str) -> PathBuf {
        let mut number = 1_u64;
        loop {
            let name = format!("{DATABASE_FILE}.{extension}-{number}");
            let path = self.directory.join(name);
            let is_used = |suffix| with_suffix(&path, suffix).symlink_metadata().is_ok();
            if !SUFFIXES.into_iter().any(is_used) {
                return path;
            }
            number += 1;
        }
    }

    /// Renames what is there to `tidegate.db.damaged-1`, or the first number that is not in use,
    /// with what SQLite keeps beside it, so that another database can take its place. None if
    /// there was nothing.
    pub(crate) fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        let kept = self.unused("damaged");
        let mut found = false;
        for suffix in SUFFIXES {
            let here = with_suffix(&self.database(), suffix);
            match fs::rename(here, with_suffix(&kept, suffix)) {
                Ok(()) => found = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found.then_some(kept))
    }

    /// Makes what was renamed and made in the directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// The files of the open database as they are now.
    pub(crate) fn look(&self) -> io::Result<Look> {
        let database = self.database();
        let look = |suffix| fs::metadata(with_suffix(&database, suffix)).map(|it| Seen::from(&it));
        let [database, log, index] = OPEN_SUFFIXES.map(look);
        Ok(Look {
            database: database?,
            log: log?,
            index: index?,
        })
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// What the paths of a database lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) database: Seen,
    /// The write-ahead log.
    pub(crate) log: Seen,
    /// The index of the log, which is made anew from it if need be.
    index: Seen,
}

impl Look {
    /// Whether the paths lead to the same files.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let files = |look: &Self| [look.database, look.log, look.index].map(|it| it.file);
        files(self) == files(other)
    }
}

/// A file and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Device and inode.
    file: (u64, u64),
    pub(crate) bytes: u64,
}

impl From<&Metadata> for Seen {
    fn from(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
        }
    }
}

/// Keeps other processes away while it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Held, not read: the operating system releases it with the process.
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Makes the directory if need be and takes its lock.
    pub(crate) fn take(files: &Files) -> Result<Self, OpenStoreError> {
        let directory = files.directory();
        let failed = |source| OpenStoreError::Directory {
            directory: directory.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let path = directory.join(LOCK_FILE);
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(fs::TryLockError::WouldBlock) => Err(OpenStoreError::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether another process that wants the directory would find this lock.
    pub(crate) fn is_in_place(&self) -> bool {
        let seen = |metadata: io::Result<Metadata>| metadata.map(|it| Seen::from(&it).file).ok();
        let held = seen(self.file.metadata());
        held.is_some() && seen(fs::metadata(&self.path)) == held
    }
}
