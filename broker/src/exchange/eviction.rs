//! What waits longest makes way when the store is full, if that is wanted.

use std::collections::HashSet;
use std::sync::Arc;

use persistence::Oldest;

use super::Exchange;
use crate::metrics::DropCause;

impl Exchange {
    /// Has the store ask here what makes way.
    pub(crate) fn drop_oldest_when_full(self: &Arc<Self>) {
        let exchange = Arc::downgrade(self);
        let make_way = move |oldest: &mut Vec<Oldest>| match exchange.upgrade() {
            Some(exchange) => exchange.make_way(oldest),
            // What waits when the daemon ends waits for its next start.
            None => oldest.clear(),
        };
        self.store.drop_oldest(Box::new(make_way));
    }

    /// Leaves what still waited, and does not any more. What is sent and not acknowledged stays:
    /// its Packet Identifier is in use.
    fn make_way(&self, oldest: &mut Vec<Oldest>) {
        let wanted: HashSet<_> = oldest.iter().map(|it| it.session).collect();
        let links = self.registry.stored(&wanted);
        // The queues of sessions that have ended go with them.
        oldest.retain(|it| {
            let Some(link) = links.get(&it.session) else {
                return false;
            };
            let is_given_up = link.lock().give_up(it.sequence, it.qos, it.bytes);
            if is_given_up {
                link.count_dropped(DropCause::DroppedOldest, 1);
            }
            is_given_up
        });
        links.values().for_each(|link| link.log_dropped());
    }
}
