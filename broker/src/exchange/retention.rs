//! Keeping messages for later subscribers, in memory and in the store.

use std::sync::Arc;

use mqtt::{Message, QoS, ReasonCode};
use persistence::{Durability, Operation, Position};

use super::{Exchange, Refusal};
use crate::link::Storing;
use crate::metrics::count;
use crate::retained::RetainedLimits;

/// What became of a message that was to be retained.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retention {
    /// Where the store knows of it.
    pub(super) position: Position,
    /// There was no room for it.
    pub(super) is_refused: bool,
}

impl Exchange {
    /// Keeps a message for later subscribers; an empty payload removes the one there is
    /// [MQTT-3.3.1-6], and so does one that finds no room: the old one is not the last any more.
    ///
    /// # Errors
    /// It finds no room, and its publisher is to be told whether that may change (0x97) or not (0x83),
    /// so it is not published.
    pub(super) fn retain(
        &self,
        message: &Arc<Message>,
        storing: &Storing<'_>,
        refusal: Refusal,
    ) -> Result<Retention, ReasonCode> {
        // QoS 0 has no answer.
        let refusal = match message.qos {
            QoS::AtMostOnce => Refusal::Silence,
            QoS::AtLeastOnce | QoS::ExactlyOnce => refusal,
        };
        let topic = &message.topic;
        // QoS 0 is not refused for want of room, but neither does it take what there is not.
        if self.store.is_failing() && !self.store.has_room() {
            count(&self.counters.retained_refused);
            return Ok(Retention {
                position: Position(0),
                is_refused: true,
            });
        }
        let submit = |kept| {
            if storing.durability == Durability::Memory {
                return Position(0);
            }
            storing.submit(Operation::Retain(topic.clone(), kept))
        };
        let limits = &self.bounds.retained;
        let removed = match self.retained.set(message, limits, refusal, submit) {
            Ok(position) => {
                return Ok(Retention {
                    position,
                    is_refused: false,
                });
            }
            Err(removed) => removed,
        };
        count(&self.counters.retained_refused);
        tracing::warn!(%topic, "a message is not retained: a limit is reached");
        match refusal {
            Refusal::Silence => Ok(Retention {
                position: removed.unwrap_or_default(),
                is_refused: true,
            }),
            Refusal::Answer if limits.may_hold(message) => Err(ReasonCode::QuotaExceeded),
            Refusal::Answer => Err(ReasonCode::ImplementationSpecificError),
        }
    }

    /// Puts back the retained messages that the store knew. Those of topics that are in memory
    /// only leave it, so that the next restart does not bring them back in place of later ones.
    pub(crate) fn recover_retained(&self, recovered: Vec<Arc<Message>>) {
        // Those that have expired are removed by the timekeeper.
        for message in recovered {
            let topic = &message.topic;
            // What the daemon says of itself is there because it is to be.
            if self.bounds.durability.of(topic) == Durability::Memory && !topic.is_system() {
                self.store.submit(Operation::Retain(topic.clone(), None));
            }
            // What was kept under other limits is kept.
            self.retained
                .set(&message, &RetainedLimits::NONE, Refusal::Silence, |_| {})
                .ok();
        }
    }

    /// Removes the retained messages that have expired.
    pub(crate) fn expire_retained(&self) {
        self.retained.remove_expired(self.now(), |topic| {
            self.store.submit(Operation::Retain(topic.clone(), None));
        });
    }
}
