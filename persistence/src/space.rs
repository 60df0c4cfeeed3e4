//! What the database takes of the disk, and how it gives it back.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Error};

use crate::database::Database;
use crate::error::WriteError;
use crate::oldest;
use crate::statistics::Usage;

/// Free pages that the file keeps for what comes next: 4 MiB.
const FREE_PAGES_KEPT: u64 = 1024;
/// The part of the file that may be free: a quarter.
const FREE_PART: u64 = 4;
/// Free pages that are given back at a time.
const STEP_PAGES: usize = 256;
/// The time after which a step ends early: what comes meanwhile waits for it. The more pages are
/// free, the longer SQLite looks for each that is at the end of the file.
const STEP_TIME: Duration = Duration::from_millis(5);

impl Database {
    /// How much of the file is in use.
    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let page_bytes = self.number("PRAGMA page_size")?;
        let free = self.number("PRAGMA freelist_count")?;
        let used = self.number("PRAGMA page_count")?.saturating_sub(free);
        Ok(Usage {
            used_bytes: used * page_bytes,
            free_bytes: free * page_bytes,
        })
    }

    /// Gives back some of the file if much of it is free. True if it is worth while to do that
    /// again.
    ///
    /// The file is shorter only when the log that says so is copied to it, which comes last.
    pub(crate) fn give_back(&mut self) -> Result<bool, WriteError> {
        self.attempt(Self::try_give_back)
    }

    fn try_give_back(&mut self) -> Result<bool, WriteError> {
        if self.has_free_pages()? {
            self.prepare()?;
            self.logged(shorten)?;
            return Ok(true);
        }
        let page_bytes = self.number("PRAGMA page_size")?;
        let is_longer = self.file_bytes() > self.bytes()? + FREE_PAGES_KEPT * page_bytes;
        if is_longer {
            self.prepare()?;
            self.checkpoint()?;
            self.confirm()?;
        }
        Ok(false)
    }

    /// Sees to it that there is an index of the queues by age if one is needed, and none
    /// otherwise. Without it entries are found all the same, only slowly.
    pub(crate) fn keep_age_index(&mut self, is_needed: bool) {
        let kept = self.attempt(|it| {
            it.prepare()?;
            Ok(oldest::keep_index(it.connection()?, is_needed)?)
        });
        if let Err(error) = kept {
            tracing::warn!(%error, is_needed, "the index of the store by age stays as it was");
        }
    }

    fn has_free_pages(&self) -> Result<bool, Error> {
        let free = self.number("PRAGMA freelist_count")?;
        Ok(free > FREE_PAGES_KEPT && free > self.number("PRAGMA page_count")? / FREE_PART)
    }
}

/// Moves free pages to the end of the file and cuts them off.
fn shorten(connection: &mut Connection) -> Result<(), Error> {
    let start = Instant::now();
    let transaction = connection.transaction()?;
    let mut vacuum = transaction.prepare_cached("PRAGMA incremental_vacuum")?;
    // A row for each page.
    let mut pages = vacuum.query([])?;
    for _ in 0..STEP_PAGES {
        if pages.next()?.is_none() || start.elapsed() > STEP_TIME {
            break;
        }
    }
    drop(pages);
    drop(vacuum);
    transaction.commit()
}
