//! Outboxes that nothing acknowledged is dropped from: what one has no room for is refused to its
//! publisher, before anything of it is routed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqtt::Message;

use super::{Exchange, Route};
use crate::link::Link;

/// What is known of all of them.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    /// There is one, or was.
    exist: AtomicBool,
    /// Held from the question to the answer, so that nobody else who asks takes the room.
    turn: Mutex<()>,
}

impl Exchange {
    /// A bridge's session is such an outbox from now on, or is not.
    pub(crate) fn refuse_when_full(&self, link: &Link, refuses: bool) {
        link.refuses_when_full.store(refuses, Ordering::Relaxed);
        self.outboxes.exist.fetch_or(refuses, Ordering::Relaxed);
    }

    /// True if messages of QoS 1 and 2 have to be asked about one by one.
    pub(crate) fn asks_first(&self, route: &Route) -> bool {
        let mut targets = route.targets.iter();
        self.outboxes.exist.load(Ordering::Relaxed)
            && targets.any(|it| it.link.refuses_when_full.load(Ordering::Relaxed))
    }

    /// Waits until nobody else asks for room; none if there is nothing to ask about. No other lock is
    /// held then.
    pub(crate) fn outbox_turn(&self, message: &Message) -> Option<MutexGuard<'_, ()>> {
        let exist = self.outboxes.exist.load(Ordering::Relaxed);
        let asks = exist
            && message.qos.is_acknowledged()
            && self.asks_first(&self.resolve(&message.topic, None));
        asks.then(|| {
            let turn = self.outboxes.turn.lock();
            turn.unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// True if such an outbox has no room for a message that it would have to keep.
    pub(crate) fn has_full_outbox(&self, message: &Message) -> bool {
        let exist = self.outboxes.exist.load(Ordering::Relaxed);
        if !exist || !message.qos.is_acknowledged() {
            return false;
        }
        let message = Arc::new(message.clone());
        let storing = self.storing(&message);
        let route = self.resolve(&message.topic, None);
        let mut targets = route.targets.iter();
        targets.any(|target| {
            let refuses = target.link.refuses_when_full.load(Ordering::Relaxed);
            let delivery = target.delivery(&message, &storing);
            refuses
                && delivery.qos.is_acknowledged()
                && !target.link.lock().session.has_room(&delivery)
        })
    }
}
