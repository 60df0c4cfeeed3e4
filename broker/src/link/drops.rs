//! What a session drops: told to the store, counted and logged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use mqtt::QoS;
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
                    let position = self.forget(sequence, store);
                    state.await_removal(sequence, position, store);
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
        let asked = store.clone();
        let reply = Box::new(move |done: Trimmed| {
            let mut state = link.lock();
            let dropped = state.session.trimmed(&request, done);
            link.count_dropped(DropCause::DroppedOldest, dropped);
            // More may have come meanwhile.
            link.forget_evicted(&mut state, &asked);
            // A page may have waited for this.
            let waker = state.notify();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            link.log_dropped();
        });
        store.submit(Operation::Trim(session, request, reply));
    }

    /// Why the session has no room for a delivery.
    pub(crate) fn cause_of_drop(&self, state: &LinkState, qos: QoS) -> DropCause {
        let may_store = qos.is_acknowledged() && self.stored.is_some();
        match qos {
            _ if state.session.is_squeezed() && !may_store => DropCause::MemoryFull,
            QoS::AtMostOnce if self.is_cut.load(Ordering::Relaxed) => DropCause::LinkDown,
            QoS::AtMostOnce => DropCause::LiveFull,
            QoS::AtLeastOnce | QoS::ExactlyOnce => DropCause::QueueFull,
        }
    }

    pub(crate) fn count_dropped(&self, cause: DropCause, count: u64) {
        self.drops.add(cause, count);
        self.last_cause.store(cause as u8, Ordering::Relaxed);
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Says that deliveries were dropped, unless that was said a moment ago. Not under the lock.
    pub(crate) fn log_dropped(&self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let log_at = self.log_at.load(Ordering::Relaxed);
        if dropped >= log_at {
            self.log_at.store(dropped + DROPS_LOGGED, Ordering::Relaxed);
            let client_id = &*self.client_id;
            let cause = usize::from(self.last_cause.load(Ordering::Relaxed));
            let reason = DropCause::ALL.get(cause).map(|it| it.describe());
            tracing::warn!(client_id, dropped, reason, "deliveries are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use mqtt::TopicFilter;
    use mqtt::session::PageRequest;
    use persistence::{Options, SessionId};

    use super::*;
    use crate::exchange::tests::{attach, exchange, message, publish, qos, subscribe};

    #[test]
    fn what_is_superseded_and_still_in_the_store_does_not_make_way_again() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
        let mut exchange = exchange(store.clone());
        let filter = TopicFilter::new("state").unwrap();
        exchange.bounds.queue_rules.latest_only = vec![filter];
        let attached = attach(&exchange, "c", true, 60);
        // The writer is held up, so nothing becomes durable.
        let (entered, is_held) = mpsc::sync_channel(1);
        let (release, is_released) = mpsc::sync_channel(1);
        let reply = Box::new(move |_, _| {
            entered.send(()).unwrap();
            is_released.recv().unwrap();
        });
        let request = PageRequest {
            from: 0,
            to: 1,
            count: 1,
        };
        store.submit(Operation::LoadPage(SessionId(99), request, reply));
        is_held.recv_timeout(Duration::from_secs(20)).unwrap();
        let link = attached.link;
        subscribe(&exchange, &link, "#", qos(QoS::AtLeastOnce));
        for _ in 0..100 {
            publish(
                &exchange,
                message("event", "", QoS::AtLeastOnce, false),
                &link,
            );
        }
        // The store only has these.
        for _ in 0..2 {
            publish(
                &exchange,
                message("state", "", QoS::AtLeastOnce, false),
                &link,
            );
        }
        assert_eq!(exchange.counters.dropped.of(DropCause::Superseded), 1);
        let mut state = link.lock();
        let qos = QoS::AtLeastOnce;
        assert!(!state.give_up(101, qos, 5), "it does not wait");
        assert_eq!(state.session.backlog(), 101);
        assert!(state.give_up(102, qos, 5));
        assert_eq!(state.session.backlog(), 100);
        drop(state);
        release.send(()).unwrap();
        store.close().unwrap();
    }
}
