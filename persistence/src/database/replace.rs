//! Another database takes the place of the one that is open.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::{COUNT_QUEUED, Database, closed, connect, look, set_checkpoint_on_close};
use crate::error::WriteError;
use crate::files::Lock;

impl Database {
    /// Writes all that is committed to a new file where the database has to be. What stands in
    /// its place is renamed.
    pub(super) fn restore(&mut self) -> Result<(), WriteError> {
        let kept = self.replace(write_copy)?;
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

    /// Opens a new file that is written from the open database where the database has to be. What
    /// stands in its place is renamed; returns its name.
    pub(super) fn replace(
        &mut self,
        write: impl FnOnce(Option<&Connection>, &Path) -> Result<(), WriteError>,
    ) -> Result<Option<PathBuf>, WriteError> {
        if self.truncated {
            return Err(WriteError::Truncated);
        }
        if !self.lock.is_in_place() {
            self.lock = Lock::take_noted(&self.files)?;
        }
        let copy = self.files.unused("copy");
        let written = write(self.connection.as_ref(), &copy).and_then(|()| sync(&copy));
        let kept = written.and_then(|()| {
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
        if let Some(connection) = &self.connection {
            set_checkpoint_on_close(connection, false)?;
        }
        self.connection = Some(connect(&self.files, 0)?.connection);
        self.seen = look(&self.files)?;
        self.queued = self.number(COUNT_QUEUED)?;
        self.unsynced.clear();
        self.in_doubt = false;
        Ok(kept)
    }
}

/// Writes all that is committed to a new file.
fn write_copy(connection: Option<&Connection>, copy: &Path) -> Result<(), WriteError> {
    let path = ToSqlOutput::Borrowed(ValueRef::Text(copy.as_os_str().as_bytes()));
    let connection = connection.ok_or_else(closed)?;
    connection.execute("VACUUM INTO ?1", [path])?;
    Ok(())
}

fn sync(file: &Path) -> Result<(), WriteError> {
    File::open(file)
        .and_then(|file| file.sync_all())
        .map_err(WriteError::Restore)
}
