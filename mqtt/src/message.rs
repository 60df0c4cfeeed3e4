//! The Application Message: what crosses every boundary inside the daemon.

use bytes::Bytes;

use crate::packet::ForwardedProperties;
use crate::{QoS, Timestamp, TopicName};

/// An Application Message as its publisher meant it.
///
/// Cloning copies a few pointers; topic, payload and properties are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// The Application Message itself, uninterpreted.
    pub payload: Bytes,
    /// The QoS it was published with; a delivery may have a lower one.
    pub qos: QoS,
    /// Whether the publisher asked for it to be retained.
    pub retain: bool,
    /// When it is no longer worth delivering (Message Expiry Interval), if ever.
    pub expires_at: Option<Timestamp>,
    /// The MQTT 5 properties that travel with it unchanged to each subscriber.
    pub properties: ForwardedProperties,
}

impl Message {
    /// Bytes that the structures around a queued message take, about.
    pub const STRUCTURE_BYTES: usize = 256;

    /// A QoS 0 message without properties; change the fields for more.
    #[must_use]
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            expires_at: None,
            properties: ForwardedProperties::default(),
        }
    }

    /// True once its Message Expiry Interval has passed.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Seconds of its Message Expiry Interval that are left, as a subscriber must be told
    /// [MQTT-3.3.2-6]; at least 1 while it is not expired.
    #[must_use]
    pub fn expiry_interval(&self, now: Timestamp) -> Option<u32> {
        let left = self.expires_at?.since(now).as_millis().div_ceil(1000);
        Some(u32::try_from(left).unwrap_or(u32::MAX).max(1))
    }

    /// Bytes it takes in a queue, about: its content and what the structures around it need.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        Self::STRUCTURE_BYTES + self.byte_count()
    }

    /// Bytes of its content: topic, payload and properties.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + self.properties.as_bytes().len()
    }
}
