//! What waits longest makes way when the store is full, if that is wanted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use persistence::{QueueEntry, SessionId};

use super::Exchange;
use crate::link::Link;
use crate::metrics::DropCause;

impl Exchange {
    /// Has the store ask here what makes way.
    pub(crate) fn drop_oldest_when_full(self: &Arc<Self>) {
        let exchange = Arc::downgrade(self);
        let make_way = move |oldest: &mut Vec<QueueEntry>| match exchange.upgrade() {
            Some(exchange) => exchange.make_way(oldest),
            // What waits when the daemon ends waits for its next start.
            None => oldest.clear(),
        };
        self.store.drop_oldest(Box::new(make_way));
    }

    /// Leaves what still waited, and does not any more. What is sent and not acknowledged stays:
    /// its Packet Identifier is in use.
    fn make_way(&self, oldest: &mut Vec<QueueEntry>) {
        let links = self.let_go(oldest, |it| *it);
        for link in oldest.iter().filter_map(|it| links.get(&it.session)) {
            link.count_dropped(DropCause::DroppedOldest, 1);
        }
        links.values().for_each(|link| link.log_dropped());
    }

    /// Leaves what its session still had waiting, and has not any more; returns the sessions.
    pub(super) fn let_go<T>(
        &self,
        found: &mut Vec<T>,
        entry: impl Fn(&T) -> QueueEntry,
    ) -> HashMap<SessionId, Arc<Link>> {
        let wanted: HashSet<_> = found.iter().map(|it| entry(it).session).collect();
        let links = self.registry.stored(&wanted);
        // The queues of sessions that have ended go with them.
        found.retain(|it| {
            let entry = entry(it);
            let link = links.get(&entry.session);
            link.is_some_and(|it| it.lock().give_up(entry.sequence, entry.qos, entry.bytes))
        });
        links
    }
}
