//! The writer thread's side of what it shares with the handles: it takes what was submitted and
//! says what is durable.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use crate::Operation;
use crate::store::{Shared, lock};

impl Shared {
    /// Waits until a batch is due: something was submitted, and either `pause` is over or enough
    /// came together. It is empty if nothing comes for the time of `idle`. None once the store is
    /// closing and nothing is left.
    pub(crate) fn take(
        &self,
        pause: Duration,
        idle: Option<Duration>,
    ) -> Option<(Vec<Operation>, u64)> {
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
                return Some((Vec::new(), guard.position));
            }
            submitted = guard;
        }
        let enough = self.options.commit_operations;
        let (mut submitted, _) = self
            .arrived
            .wait_timeout_while(submitted, pause, |it| {
                it.operations.len() < enough && !it.closing
            })
            .unwrap_or_else(PoisonError::into_inner);
        let operations = std::mem::take(&mut submitted.operations);
        let position = submitted.position;
        submitted.bytes = 0;
        drop(submitted);
        let room = std::mem::take(&mut lock(&self.waiters).room);
        room.into_iter().for_each(Waker::wake);
        Some((operations, position))
    }

    /// The database cannot be written, or can again. Who waits looks what that means for it.
    pub(crate) fn set_failing(&self, failing: bool) {
        if self.failing.swap(failing, Ordering::Relaxed) != failing {
            // They go on waiting.
            let waiting = lock(&self.waiters).durable.clone();
            waiting.into_iter().for_each(|(_, waker)| waker.wake());
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
