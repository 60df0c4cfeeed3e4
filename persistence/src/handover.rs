//! The writer thread's side of what it shares with the handles: it takes what was submitted and
//! says what is durable.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use crate::Operation;
use crate::store::{Shared, Submitted, lock};

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
        self.bytes += operation.byte_count();
        self.operations.push(operation);
        !was_full && self.is_full(enough)
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
