//! The files of the store: where they are, who may use them, and how those that are in the way
//! are kept.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::OpenStoreError;

const DATABASE_FILE: &str = "tidegate.db";
const LOCK_FILE: &str = "tidegate.lock";
const EPOCH_FILE: &str = "tidegate.epoch";
/// What follows the name of the database file in the names of those that SQLite keeps beside it.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// The files that an open database has at any time.
const OPEN_SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];
/// Bytes of the log that are written anew at a time.
const REWRITTEN_BYTES: usize = 1 << 20;

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

    /// True if there was a database, with an epoch or a log, and there is nothing of it.
    pub(crate) fn is_emptied(&self, epoch: u64) -> bool {
        self.length("") == 0 && (epoch > 0 || self.length("-wal") > 0)
    }

    /// The bytes of the database and its log as far as they are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.length("") + self.length("-wal")
    }

    fn length(&self, suffix: &str) -> u64 {
        let metadata = fs::metadata(with_suffix(&self.database(), suffix));
        metadata.map_or(0, |it| it.len())
    }

    /// What is kept of damaged files, each with its length in bytes, in the order of the names.
    pub(crate) fn kept(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let prefix = format!("{DATABASE_FILE}.damaged-");
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // The index of a log has nothing of its own, and a note says that there is one.
            let is_beside = name.ends_with("-shm") || name.ends_with(".salvaged");
            if name.starts_with(&prefix) && !is_beside {
                kept.push((entry.path(), entry.metadata()?.len()));
            }
        }
        kept.sort();
        Ok(kept)
    }

    /// True if there is a log with anything in it, which closing in order does not leave.
    pub(crate) fn has_log(&self) -> bool {
        let log = with_suffix(&self.database(), "-wal");
        fs::metadata(log).is_ok_and(|it| it.len() > 0)
    }

    /// Writes every byte of the log once more where it is, and syncs it. Nobody else has it open.
    pub(crate) fn rewrite_log(&self) -> io::Result<()> {
        let log = with_suffix(&self.database(), "-wal");
        let file = match File::options().read(true).write(true).open(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        let mut piece = vec![0; REWRITTEN_BYTES];
        let mut offset = 0;
        loop {
            let length = file.read_at(&mut piece, offset)?;
            if length == 0 {
                return file.sync_all();
            }
            file.write_all_at(&piece[..length], offset)?;
            offset += length as u64;
        }
    }

    /// Copies the log as it is, if there is one, to where [`Files::set_aside`] would move it.
    pub(crate) fn keep_log(&self) -> io::Result<Option<PathBuf>> {
        let log = with_suffix(&self.database(), "-wal");
        if fs::metadata(&log).map_or(0, |it| it.len()) == 0 {
            return Ok(None);
        }
        let kept = with_suffix(&self.unused("damaged"), "-wal");
        fs::copy(log, &kept).map(|_| Some(kept))
    }

    /// The epoch that the database had reached when it was last open; 0 if nobody says.
    pub(crate) fn epoch(&self) -> u64 {
        let text = fs::read_to_string(self.directory.join(EPOCH_FILE));
        let text = text.unwrap_or_default();
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [first, second] if first == second => first.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// Notes the epoch that the database has reached: in place and always as long, so that it is
    /// never half written, and twice, so that it is not believed when it is damaged.
    pub(crate) fn note_epoch(&self, epoch: u64) -> io::Result<()> {
        let path = self.directory.join(EPOCH_FILE);
        let options = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .clone();
        let text = format!("{epoch:020} {epoch:020}\n");
        options.open(path)?.write_all_at(text.as_bytes(), 0)
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

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
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
        // What it holds is its holder's, until that is gone.
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // Whoever held it before is gone. A full disk keeps nobody from the store.
                file.set_len(0).ok();
                Ok(Self { file, path })
            }
            Err(fs::TryLockError::WouldBlock) => Err(OpenStoreError::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The same, and notes this process in it for [`holder`]. On a full disk it is not noted.
    pub(crate) fn take_noted(files: &Files) -> Result<Self, OpenStoreError> {
        let lock = Self::take(files)?;
        let process = format!("{}\n", std::process::id());
        lock.file.write_all_at(process.as_bytes(), 0).ok();
        Ok(lock)
    }

    /// Whether another process that wants the directory would find this lock.
    pub(crate) fn is_in_place(&self) -> bool {
        let seen = |metadata: io::Result<Metadata>| metadata.map(|it| Seen::from(&it).file).ok();
        let held = seen(self.file.metadata());
        held.is_some() && seen(fs::metadata(&self.path)) == held
    }
}

/// The process that has the store in `directory` open; none if there is none, or it is not noted.
///
/// # Errors
/// The lock cannot be read.
pub fn holder(directory: &Path) -> io::Result<Option<u32>> {
    let path = directory.join(LOCK_FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock_shared() {
        // What is noted there is of a process that is gone.
        Ok(()) => Ok(None),
        Err(fs::TryLockError::WouldBlock) => Ok(fs::read_to_string(path)?.trim().parse().ok()),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_lock_is_known_while_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        assert_eq!(holder(folder.path()).unwrap(), None);
        let lock = Lock::take_noted(&files).unwrap();
        // Who finds it taken leaves it as it is.
        Lock::take(&files).unwrap_err();
        assert_eq!(holder(folder.path()).unwrap(), Some(std::process::id()));
        drop(lock);
        assert_eq!(holder(folder.path()).unwrap(), None);
        // A repair is no daemon.
        let _lock = Lock::take(&files).unwrap();
        assert_eq!(holder(folder.path()).unwrap(), None);
    }
}
