//! The writer thread's side of what it shares with the handles: it takes what was submitted and
//! says what is durable.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use crate::Operation;
use crate::store::{Shared, lock};

/// What waits for the writer.
#[derive(Debug, Default)]
pub(crate) struct Submitted {
    pub(crate) operations: Vec<Operation>,
    /// One more for each operation, one less for each entry that is done with: most often that
    /// came just before, and then neither is written.
    pub(crate) balance: isize,
    pub(crate) bytes: usize,
    /// One more for each entry, one less for each that is done with.
    pub(crate) entries: i64,
    /// Entries of all queues as of the last commit, with those that the writer has taken since.
    pub(crate) queued: u64,
    /// Bytes of the database as of the last commit, with those that the writer has taken since.
    pub(crate) used_bytes: u64,
    /// Bytes of the database that the file system has room for.
    pub(crate) room_bytes: u64,
    pub(crate) position: u64,
    /// Something among the operations has to be synced with its commit.
    pub(crate) sync: bool,
    pub(crate) closing: bool,
}

/// What the writer takes at once.
pub(crate) struct Taken {
    pub(crate) operations: Vec<Operation>,
    /// The position of the last of them.
    pub(crate) position: u64,
    /// They have to be synced with their commit.
    pub(crate) sync: bool,
}

impl Submitted {
    /// Takes in an operation; true if there are enough of them with it.
    pub(crate) fn push(&mut self, operation: Operation, enough: usize) -> bool {
        let was_full = self.is_full(enough);
        let is_done = matches!(operation, Operation::Dequeue(..));
        self.balance += if is_done { -1 } else { 1 };
        let is_entry = matches!(operation, Operation::Enqueue { .. });
        self.entries += i64::from(is_entry) - i64::from(is_done);
        self.bytes += operation.byte_count();
        self.operations.push(operation);
        !was_full && self.is_full(enough)
    }

    /// Entries of all queues, with those that wait for the writer.
    pub(crate) const fn queued(&self) -> u64 {
        self.queued.saturating_add_signed(self.entries)
    }

    /// Whether so many operations have to be written, as far as the balance tells.
    const fn is_full(&self, enough: usize) -> bool {
        self.balance.unsigned_abs() >= enough
    }
}

impl Shared {
    /// Waits until a batch is due: something was submitted, and either `pause` is over or enough
    /// came together. It is empty if nothing comes for the time of `idle`. None once the store is
    /// closing and nothing is left.
    pub(crate) fn take(&self, pause: Duration, idle: Option<Duration>) -> Option<Taken> {
        let mut submitted = lock(&self.submitted);
        while submitted.operations.is_empty() {
            if submitted.closing {
                return None;
            }
            let Some(idle) = idle else {
                submitted = self
                    .arrived
                    .wait(submitted)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.arrived.wait_timeout_while(submitted, idle, |it| {
                it.operations.is_empty() && !it.closing
            });
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return Some(Taken {
                    operations: Vec::new(),
                    position: guard.position,
                    sync: true,
                });
            }
            submitted = guard;
        }
        let enough = self.options.commit_operations;
        let (submitted, _) = self
            .arrived
            .wait_timeout_while(submitted, pause, |it| !it.is_full(enough) && !it.closing)
            .unwrap_or_else(PoisonError::into_inner);
        drop(submitted);
        let gate = self.gate.close();
        let mut submitted = lock(&self.submitted);
        let taken = Taken {
            operations: std::mem::take(&mut submitted.operations),
            position: submitted.position,
            sync: std::mem::take(&mut submitted.sync),
        };
        submitted.balance = 0;
        submitted.used_bytes += submitted.bytes as u64;
        submitted.bytes = 0;
        submitted.queued = submitted.queued();
        submitted.entries = 0;
        self.crowded.store(false, Ordering::Relaxed);
        drop(submitted);
        drop(gate);
        let room = std::mem::take(&mut lock(&self.waiters).room);
        room.into_iter().for_each(Waker::wake);
        Some(taken)
    }

    /// Whether the writer has something to do.
    pub(crate) fn has_submitted(&self) -> bool {
        let submitted = lock(&self.submitted);
        submitted.closing || !submitted.operations.is_empty()
    }

    /// The database cannot be written, or can again. Who waits looks what that means for it.
    pub(crate) fn set_failing(&self, failing: bool) {
        if self.failing.swap(failing, Ordering::Relaxed) != failing {
            let mut waiters = lock(&self.waiters);
            // They go on waiting.
            let durable = waiters.durable.clone();
            let room = std::mem::take(&mut waiters.room);
            drop(waiters);
            durable.into_iter().for_each(|(_, waker)| waker.wake());
            room.into_iter().for_each(Waker::wake);
        }
    }

    /// Everything up to `position` is durable: tells those who wait for it.
    pub(crate) fn advance(&self, position: u64) {
        self.durable.store(position, Ordering::Release);
        let mut waiters = lock(&self.waiters);
        let due: Vec<_> = waiters
            .durable
            .extract_if(.., |(at, _)| *at <= position)
            .collect();
        drop(waiters);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits for this long, or until [`crate::Store::close`] is called; true if it was.
    pub(crate) fn wait_closing(&self, pause: Duration) -> bool {
        self.arrived
            .wait_timeout_while(lock(&self.submitted), pause, |it| !it.closing)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .closing
    }
}
