//! What is delivered.

use std::sync::Arc;

use super::QueueClass;
use crate::{Message, QoS, Timestamp};

/// A message on its way to one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the session's queue, see [`super::sequence()`]; 0 for QoS 0, which has none.
    pub sequence: u64,
    /// What was published.
    pub message: Arc<Message>,
    /// The lower of the publisher's and the subscription's QoS.
    pub qos: QoS,
    /// The retain flag as this subscriber is to see it.
    pub retain: bool,
    /// The identifiers of all subscriptions that it matched [MQTT-3.3.4-3].
    pub subscription_ids: Vec<u32>,
    /// How it waits.
    pub class: QueueClass,
    /// When it is given up if it still waits: not after the end of its message, but perhaps
    /// before.
    pub expires_at: Option<Timestamp>,
}

/// What a connection is to send next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A PUBLISH; the Packet Identifier is 0 for QoS 0.
    Publish {
        /// What to send.
        delivery: Delivery,
        /// Its Packet Identifier.
        packet_id: u16,
        /// True if it was sent before.
        dup: bool,
    },
    /// A PUBREL for this Packet Identifier.
    Release(u16),
}

impl Delivery {
    /// True once it, or its message, is not worth sending any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.message.is_expired(now) || self.expires_at.is_some_and(|at| at <= now)
    }
}
