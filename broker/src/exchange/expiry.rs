//! What is given up because its time has passed: in queues, and before it gets there.

use std::sync::Arc;

use mqtt::{Message, Timestamp};
use persistence::Deadline;

use super::Exchange;
use crate::link::Link;
use crate::metrics::DropCause;

impl Exchange {
    /// True if a message is not worth delivering any more; then that is counted.
    pub(super) fn drop_expired(&self, message: &Message) -> bool {
        let is_expired = message.expires_at.is_some_and(|at| at <= self.now());
        if is_expired {
            self.count_expired(1);
        }
        is_expired
    }

    /// When a delivery that begins to wait at this moment is given up.
    pub(super) fn end_of_waiting(&self, message: &Message) -> Option<Timestamp> {
        let waited = self
            .bounds
            .queue_rules
            .waiting_max
            .map(|age| self.clock.after(age));
        message.expires_at.into_iter().chain(waited).min()
    }

    /// Forgets deliveries that a session has found expired; the sequences of those of QoS 0 are 0.
    pub(crate) fn forget_expired(&self, link: &Link, expired: &[u64]) {
        self.count_expired(expired.len());
        for sequence in expired {
            link.forget(*sequence, &self.store);
        }
    }

    /// Removes from the store what has expired in the queues of sessions, and from the sessions.
    /// Called about once a second.
    pub(crate) fn expire_queued(self: &Arc<Self>) {
        let exchange = Arc::clone(self);
        let give_up = move |found: &mut Vec<Deadline>| exchange.give_up(found);
        self.store.expire(self.now(), Box::new(give_up));
    }

    /// Leaves what still waited, and does not any more.
    fn give_up(&self, found: &mut Vec<Deadline>) {
        self.let_go(found, |it| it.entry);
        self.count_expired(found.len());
    }

    fn count_expired(&self, count: usize) {
        let dropped = &self.counters.dropped;
        dropped.add(DropCause::Expired, count as u64);
    }
}
