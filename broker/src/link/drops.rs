//! What a session drops: told to the store, counted and logged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use mqtt::session::{Evicted, TrimRequest, Trimmed};
use persistence::{Operation, Store};

use super::{Link, LinkState};
use crate::metrics::DropCause;

/// Of the deliveries that a session drops, the log names the first and then every so many.
const DROPS_LOGGED: u64 = 10_000;

impl Link {
    /// Counts what made way for other deliveries and removes it from the store.
    pub(crate) fn forget_evicted(self: &Arc<Self>, state: &mut LinkState, store: &Store) {
        for evicted in state.session.take_evicted() {
            match evicted {
                Evicted::Dropped(sequence) => {
                    self.count_dropped(DropCause::DroppedOldest, 1);
                    self.forget(sequence, store);
                }
                Evicted::Superseded(sequence) => {
                    // That is what is wanted, and nothing to log.
                    self.drops.add(DropCause::Superseded, 1);
                    self.forget(sequence, store);
                }
                Evicted::Trim(request) => self.trim(request, store),
            }
        }
    }

    /// Has the store remove the oldest of what only it has.
    fn trim(self: &Arc<Self>, request: TrimRequest, store: &Store) {
        let Some(session) = self.stored else {
            return;
        };
        let link = Arc::clone(self);
        let reply = Box::new(move |done: Trimmed| {
            let mut state = link.lock();
            let dropped = state.session.trimmed(&request, done);
            link.count_dropped(DropCause::DroppedOldest, dropped);
            // A page may have waited for this.
            let waker = state.notify();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            link.log_dropped();
        });
        store.submit(Operation::Trim(session, request, reply));
    }

    pub(crate) fn count_dropped(&self, cause: DropCause, count: u64) {
        self.drops.add(cause, count);
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Says that deliveries were dropped, unless that was said a moment ago. Not under the lock.
    pub(crate) fn log_dropped(&self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let log_at = self.log_at.load(Ordering::Relaxed);
        if dropped >= log_at {
            self.log_at.store(dropped + DROPS_LOGGED, Ordering::Relaxed);
            let client_id = &*self.client_id;
            tracing::warn!(
                client_id,
                dropped,
                "deliveries are dropped: the session has no room"
            );
        }
    }
}
