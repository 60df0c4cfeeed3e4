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
    /// Held from the question until the message has its place, so that nobody else who asks takes it.
    turn: Mutex<()>,
}

/// One has no room for a message that it would have to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboxFull;

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

    /// Asks such outboxes for room, once nobody else does; none if there is none to ask. Whoever has
    /// the answer keeps it until the message is routed. No other lock is held before. A bridge is not
    /// asked about what it brings itself and does not get.
    ///
    /// # Errors
    /// One has none.
    pub(crate) fn outbox_room(
        &self,
        message: &Message,
        publisher: &Link,
    ) -> Result<Option<MutexGuard<'_, ()>>, OutboxFull> {
        if !self.outboxes.exist.load(Ordering::Relaxed) || !message.qos.is_acknowledged() {
            return Ok(None);
        }
        let route = self.resolve(&message.topic, Some(publisher));
        if !self.asks_first(&route) {
            return Ok(None);
        }
        let turn = self.outboxes.turn.lock();
        let turn = turn.unwrap_or_else(PoisonError::into_inner);
        let message = Arc::new(message.clone());
        let storing = self.storing(&message);
        let mut targets = route.targets.iter();
        let is_full = targets.any(|target| {
            let refuses = target.link.refuses_when_full.load(Ordering::Relaxed);
            let delivery = target.delivery(&message, &storing);
            refuses
                && delivery.qos.is_acknowledged()
                && !target.link.lock().session.has_room(&delivery)
        });
        if is_full {
            return Err(OutboxFull);
        }
        Ok(Some(turn))
    }
}
