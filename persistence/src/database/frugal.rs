//! Writing where the file system has little left: the log is kept short, and what removes much does
//! so in parts.
//!
//! A log that cannot grow is no reason to give up: once it is copied to the database, the next
//! transaction writes it from its beginning, into pages that the file has already. The copy needs
//! room only for what the database has grown by, so the database's file is made as long as it
//! will be as soon as no more messages are taken. From then on removing needs no room at all, even
//! if others take what is left.
//!
//! Removing a queue of small messages writes as much to the log as there is in it. In parts it needs
//! no more than one of them. A crash between two parts leaves a queue that is shorter at its front,
//! of which nobody wants to have that any more.

use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, Error};

use super::{
    CHECKPOINT_PAGES, CHECKPOINT_PAGES_SCARCE, Database, JOURNAL_BYTES, JOURNAL_BYTES_SCARCE,
    is_one_of,
};
use crate::batch::{Batch, remove_front};
use crate::clock::Mark;
use crate::error::WriteError;
use crate::log::LogState;
use crate::statistics::QueueRows;
use crate::{SessionId, recovery};

impl Database {
    /// Keeps the log short while the file system has little left.
    pub(crate) fn spare_log(&mut self, is_near: bool) {
        let (pages, bytes) = if is_near {
            (CHECKPOINT_PAGES_SCARCE, JOURNAL_BYTES_SCARCE)
        } else {
            (CHECKPOINT_PAGES, JOURNAL_BYTES)
        };
        // It may have been opened again since, which is seldom enough to be told once more.
        let is_told = !is_near && self.checkpoint_pages == pages;
        self.checkpoint_pages = pages;
        if let Ok(connection) = self.connection()
            && !is_told
        {
            // Without it the log's file is longer than it need be until the next time.
            connection
                .pragma_update(None, "journal_size_limit", bytes)
                .ok();
        }
    }

    /// Makes the file of the database as long as it will be once the log is copied to it, so that
    /// the copy needs no room any more.
    pub(crate) fn fill_out(&mut self) {
        let filled = self.attempt(|it| {
            if it.file_bytes() < it.bytes()? {
                it.prepare()?;
                it.checkpoint()?;
                it.confirm()?;
            }
            Ok(())
        });
        if let Err(error) = filled {
            // What cannot wait says it when it is committed.
            tracing::debug!(%error, "the store's file is not as long as it will be");
        }
    }

    /// Writes a batch, in parts if need be and if it only removes.
    pub(super) fn transact(
        &mut self,
        batch: &Batch,
        synced: Option<(u64, Mark)>,
    ) -> Result<QueueRows, WriteError> {
        if self.checkpoint_pages == CHECKPOINT_PAGES_SCARCE {
            self.remove_in_parts(batch)?;
        }
        let written = self.logged(|connection| batch.commit(connection, synced.as_ref()));
        let Err(error) = written else {
            return Ok(written?);
        };
        self.begin_log_again(error)?;
        self.remove_in_parts(batch)?;
        Ok(self.logged(|connection| batch.commit(connection, synced.as_ref()))?)
    }

    /// Removes beforehand what a batch removes, if that is much and nothing depends on it.
    fn remove_in_parts(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let Some((parts, sessions)) = batch.removal() else {
            return Ok(());
        };
        for part in parts {
            self.remove_part(|connection| part.commit(connection, None).map(|it| it.deleted))?;
        }
        for session in sessions {
            self.remove_queue(session)?;
        }
        Ok(())
    }

    /// Removes the queues that belong to no session. A full disk is no reason not to start.
    pub(super) fn remove_orphans(&mut self) {
        let removed = self.attempt(|it| {
            let orphans = recovery::orphans(it.connection()?)?;
            if !orphans.is_empty() {
                it.prepare()?;
            }
            orphans
                .into_iter()
                .try_for_each(|orphan| it.remove_queue(orphan))
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "the store cannot be tidied up");
        }
    }

    /// Removes the queue of a session, its front first.
    fn remove_queue(&mut self, session: SessionId) -> Result<(), WriteError> {
        while self.remove_part(|connection| remove_front(connection, session))? > 0 {}
        Ok(())
    }

    fn remove_part(
        &mut self,
        remove: impl Fn(&mut Connection) -> Result<u64, Error>,
    ) -> Result<u64, WriteError> {
        let removed = match self.logged(&remove) {
            Err(error) => {
                self.begin_log_again(error)?;
                self.logged(&remove)?
            }
            Ok(removed) => removed,
        };
        self.queued = self.queued.saturating_sub(removed);
        if LogState::of(self.connection()?)?.frames() >= self.checkpoint_pages {
            self.checkpoint()?;
        }
        Ok(removed)
    }

    /// After an error that says that the log cannot grow: has it begin again. Any other error, and
    /// one whose transaction still goes on, is returned.
    fn begin_log_again(&self, error: Error) -> Result<(), Error> {
        let is_over = self.connection()?.is_autocommit();
        if is_one_of(&error, &[ErrorCode::DiskFull]) && is_over {
            return self.checkpoint();
        }
        Err(error)
    }
}

#[cfg(test)]
mod tests;
