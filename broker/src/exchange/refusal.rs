//! Messages that the store cannot take: they are refused before anything of them is routed, so
//! that their publisher may try again without making two of one.

use mqtt::{Message, QoS};
use persistence::Durability;

use super::Exchange;
use crate::link::Link;

/// How a publisher can be told that a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// With a Reason Code, and it goes on.
    Answer,
    /// Only by ending its connection, if it has one, so it rather waits as long as there is room in
    /// memory.
    Silence,
}

impl Exchange {
    /// True if a message is not to be taken now: it would have to be stored before it is
    /// acknowledged, and the store cannot be written or is full.
    pub(crate) fn refuses(&self, message: &Message, refusal: Refusal) -> bool {
        // Until something is drained, which may take days.
        if self.is_full_for(message) {
            return true;
        }
        if !self.store.is_failing() {
            return false;
        }
        let may_wait = refusal == Refusal::Silence && self.store.has_room();
        !may_wait && message.qos.is_acknowledged() && self.would_store(message)
    }

    /// True if the store has no room for a message that it would have to keep.
    pub(crate) fn is_full_for(&self, message: &Message) -> bool {
        self.store.is_full() && message.qos.is_acknowledged() && self.would_store(message)
    }

    fn would_store(&self, message: &Message) -> bool {
        if let Ok(Some((_, delayed))) = self.delayed.of(message) {
            return self.bounds.durability.of(&delayed.topic) > Durability::Memory;
        }
        if self.bounds.durability.of(&message.topic) == Durability::Memory {
            return false;
        }
        if message.retain {
            return true;
        }
        let route = self.resolve(&message.topic, None);
        let mut targets = route.targets.iter();
        let would_store = |qos: QoS, link: &Link| qos.is_acknowledged() && link.would_store();
        targets.any(|it| would_store(it.qos, &it.link))
            || route
                .groups
                .iter()
                .any(|group| group.any(|it| would_store(it.options.qos, &it.link)))
    }
}
