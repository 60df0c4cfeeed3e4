//! Each message once, whatever bridges there are: see [`bridges::LoopGuard`].

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use bridges::{BrokerId, Guarding, LoopGuard};
use mqtt::{Message, ReasonCode};

use super::{Exchange, Outcome, Published, Refusal};
use crate::link::Link;
use crate::metrics::count;

/// The guard of a broker with this identifier, or of one that nobody knows from before.
pub(crate) fn loop_guard(id: Option<BrokerId>, guarding: Guarding) -> LoopGuard {
    let random = || RandomState::new().hash_one(0);
    let id = id.unwrap_or_else(|| BrokerId::from_random(random()));
    LoopGuard::new(id, random(), guarding)
}

impl Exchange {
    /// Takes a message unless it has come before.
    pub(super) fn take(
        &self,
        mut message: Message,
        publisher: Option<&Link>,
        refusal: Refusal,
    ) -> Result<Published, ReasonCode> {
        if !self.loop_guard.is_on() {
            return self.take_new(message, publisher, refusal);
        }
        let is_from_bridge = publisher.is_some_and(|it| it.is_bridge.load(Ordering::Relaxed));
        let Ok(admitted) = self.loop_guard.admit(&message.properties, is_from_bridge) else {
            count(&self.counters.repeated);
            return Ok(self.taken_before(&message));
        };
        message.properties = admitted.properties;
        let taken = self.take_new(message, publisher, refusal);
        if taken.is_err()
            && let Some(stamp) = &admitted.stamp
        {
            self.loop_guard.forget(stamp);
        }
        taken
    }

    /// What is said of a message that is here: it is as safe as what is in the store's hands, which
    /// is more than it needs.
    fn taken_before(&self, message: &Message) -> Published {
        let mut outcome = Outcome::default();
        outcome.wait_for(self.store.submitted());
        Published {
            outcome,
            subscribers: 1,
            durability: self.bounds.durability.of(&message.topic),
        }
    }
}

#[cfg(test)]
mod tests;
