//! Each message once, whatever bridges there are: see [`bridges::LoopGuard`].

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use bridges::{BrokerId, Guarding, LoopGuard, Stamp};
use mqtt::{Message, ReasonCode};
use persistence::{Durability, Operation, Position, RecoveredNames};

use super::{Exchange, Outcome, Published, Refusal};
use crate::link::Link;
use crate::metrics::count;

// What is known after a restart is what was known before.
const _: () = assert!(persistence::NAMES_MAX >= bridges::WINDOW);
const _: () = assert!(persistence::RUNS_MAX as usize >= bridges::ORIGINS_MAX);

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
        // Its name is in one commit with what it causes: a crash that left the name alone would
        // lose it, since it would not be taken again.
        let is_noted = is_from_bridge && message.qos.is_acknowledged();
        let _together = is_noted.then(|| self.store.hold());
        let turn = is_from_bridge.then(|| self.loop_guard.turn(&message.properties));
        let Ok(admitted) = self.loop_guard.admit(&message.properties, is_from_bridge) else {
            drop(turn);
            count(&self.counters.repeated);
            return Ok(self.taken_before(&message));
        };
        message.properties = admitted.properties;
        let mut taken = self.take_new(message, publisher, refusal);
        if let Some(stamp) = &admitted.stamp {
            match &mut taken {
                Ok(published) if is_noted => self.note_name(stamp, published),
                Ok(_) => {}
                Err(_) => self.loop_guard.forget(stamp),
            }
        }
        taken
    }

    /// Stores the name of a message that was taken, as safe as the message itself.
    fn note_name(&self, stamp: &Stamp, published: &mut Published) {
        let durability = published.durability;
        // What is in memory only is published again after a crash, and not taken for a repetition.
        if durability == Durability::Memory {
            return;
        }
        // What needs no store goes on without it. Its name is in memory.
        if self.store.is_failing() && published.outcome.position == Position(0) {
            return;
        }
        let name = Operation::NoteName {
            run: stamp.run.to_string().into(),
            number: stamp.number,
            at: self.now(),
        };
        let position = self.store.submit_as(name, durability);
        published.outcome.wait_for(position);
    }

    /// Puts back which messages had come, as the store knew.
    pub(crate) fn recover_names(&self, recovered: Vec<RecoveredNames>) {
        for RecoveredNames { run, first, bits } in recovered {
            if let Ok(run) = run.parse() {
                self.loop_guard.recover(&run, first, &bits);
            }
        }
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
            is_unretained: false,
        }
    }
}

#[cfg(test)]
mod tests;
