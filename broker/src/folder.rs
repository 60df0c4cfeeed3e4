//! The temporary folder that a command and its child processes work in.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

/// The file that the process to which a folder belongs has locked.
const LOCK: &str = "lock";
const NEW_LOCK: &str = "lock.new";

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: TempDir,
    // The system unlocks it however this process ends.
    _lock: File,
}

impl Folder {
    /// Makes a folder whose name begins with `prefix`, and removes those with this prefix whose
    /// processes were killed.
    pub(crate) fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        // It gets its name when it is locked: nobody takes a folder in the making for abandoned.
        let new = directory.path().join(NEW_LOCK);
        let lock = File::create_new(&new)?;
        lock.lock()?;
        fs::rename(new, directory.path().join(LOCK))?;
        remove_abandoned(parent, prefix, directory.path().metadata()?.uid())?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes the folders of this user whose lock nobody holds.
fn remove_abandoned(parent: &Path, prefix: &str, user: u32) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let name = entry.file_name();
        // Of the entry itself: a link is no folder. What others put here is not even opened.
        let is_own = entry
            .metadata()
            .is_ok_and(|it| it.is_dir() && it.uid() == user);
        if !is_own || !name.to_string_lossy().starts_with(prefix) {
            continue;
        }
        // Another process may be removing it too.
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "tidegate-folder-";

    #[test]
    fn only_the_folders_of_the_dead_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Folder::create(parent.path(), PREFIX).unwrap();
        let abandoned = parent.path().join(format!("{PREFIX}abandoned"));
        let beginning = parent.path().join(format!("{PREFIX}beginning"));
        let unrelated = parent.path().join("unrelated");
        for folder in [&abandoned, &beginning, &unrelated] {
            fs::create_dir(folder).unwrap();
        }
        for folder in [&abandoned, &unrelated] {
            fs::write(folder.join(LOCK), "").unwrap();
            fs::write(folder.join("data"), "x").unwrap();
        }
        let link = parent.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(&unrelated, &link).unwrap();
        let own = Folder::create(parent.path(), PREFIX).unwrap();
        for path in [alive.path(), own.path(), &beginning, &unrelated, &link] {
            assert!(path.exists(), "{}", path.display());
        }
        assert!(!abandoned.exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }
}
