//! What the writer counts, for those who operate the daemon.

use std::time::Duration;

use crate::database::Database;
use crate::store::lock;
use crate::{Position, Store};

/// What the store has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commits of what was submitted, with empty ones that sync those before them.
    pub commits: u64,
    /// Those of them that were synced.
    pub synced_commits: u64,
    /// Operations that were submitted.
    pub operations: u64,
    /// Queue entries that were done with before they were written.
    pub entries_elided: u64,
    /// Queue entries that were written.
    pub entries_written: u64,
    /// Bytes that were written to the write-ahead log, for whatever reason; rounded up to whole
    /// pages, as the log is.
    ///
    /// They are not all that the disk sees: a checkpoint writes each page of the log that differs
    /// once more to the database, so the disk writes up to twice as much. Too high by the length
    /// of the log, which is some MiB, for a commit that finds it checkpointed as a whole while a
    /// foreign process reads it; pages that are written, pushed out of the cache and written again
    /// within one commit count once.
    pub log_bytes: u64,
    /// The longest commit since the last call of [`crate::Store::statistics`], with its retries.
    pub commit_max: Duration,
    /// The mean of those commits.
    pub commit_average: Duration,
    /// Bytes of the database that hold something, as of the last commit.
    pub used_bytes: u64,
    /// Bytes of the database file that wait to be used again or given back.
    pub free_bytes: u64,
    /// Entries in all queues, as of the last commit.
    pub queued: u64,
    /// Messages that were left out because they are damaged: at the start, and each time that a
    /// queue was read.
    pub left_out: u64,
}

/// What was written since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) commits: u64,
    pub(crate) synced_commits: u64,
    pub(crate) entries: u64,
    pub(crate) log_bytes: u64,
}

/// How much of the database file is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) used_bytes: u64,
    pub(crate) free_bytes: u64,
}

/// Rows of the queues that came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueRows {
    pub(crate) inserted: u64,
    pub(crate) deleted: u64,
}

/// Where the writer notes what [`crate::Store::statistics`] tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) written: Written,
    pub(crate) elided: u64,
    pub(crate) usage: Usage,
    pub(crate) queued: u64,
    pub(crate) left_out: u64,
    timed: u32,
    time: Duration,
    time_max: Duration,
}

impl Meter {
    /// For a database that was just opened.
    pub(crate) fn of(database: &Database) -> Self {
        let mut meter = Self::default();
        meter.note(database, database.usage().ok());
        meter
    }

    /// Notes what the database has written and holds; a usage that cannot be read stays as it
    /// was.
    pub(crate) fn note(&mut self, database: &Database, usage: Option<Usage>) {
        self.written = database.written;
        self.queued = database.queued;
        self.usage = usage.unwrap_or(self.usage);
    }

    pub(crate) fn time(&mut self, commit: Duration) {
        self.timed += 1;
        self.time += commit;
        self.time_max = self.time_max.max(commit);
    }

    /// What there is to tell; the times begin anew.
    pub(crate) fn read(&mut self, operations: u64) -> Statistics {
        let times = (self.time_max, self.time / self.timed.max(1));
        (self.timed, self.time, self.time_max) = Default::default();
        Statistics {
            commits: self.written.commits,
            synced_commits: self.written.synced_commits,
            operations,
            entries_elided: self.elided,
            entries_written: self.written.entries,
            log_bytes: self.written.log_bytes,
            commit_max: times.0,
            commit_average: times.1,
            used_bytes: self.usage.used_bytes,
            free_bytes: self.usage.free_bytes,
            queued: self.queued,
            left_out: self.left_out,
        }
    }
}

impl Store {
    /// The position of what was submitted last, by whomever.
    #[must_use]
    pub fn submitted(&self) -> Position {
        let shared = self.shared.as_ref();
        Position(shared.map_or(0, |it| lock(&it.submitted).position))
    }

    /// Says if messages were left out at the start.
    pub(crate) fn note_left_out(&self, left_out: u64) {
        if left_out == 0 {
            return;
        }
        tracing::error!(
            left_out,
            "damaged messages are left out, they stay in the file; \
             see `tidegate store check` and `tidegate store repair`"
        );
        if let Some(shared) = &self.shared {
            lock(&shared.meter).left_out += left_out;
        }
    }

    /// What it has done and what it holds. The times of commits are those since the last call.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let Some(shared) = &self.shared else {
            return Statistics::default();
        };
        let operations = lock(&shared.submitted).position;
        lock(&shared.meter).read(operations)
    }
}
