//! The Will Message (§3.1.2.5): published when a connection ends without a DISCONNECT.

use std::time::Duration;

use bytes::Bytes;

use super::Limits;
use super::handshake::{check_user_properties, expiry_seconds};
use super::server::check_topic;
use crate::packet::{Property, Will};
use crate::{Message, ProtocolViolation, ReasonCode, Timestamp, TopicName};

/// A Will Message that is kept with its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillMessage {
    /// What is published; its expiry is the one below.
    pub message: Message,
    /// The Message Expiry Interval, which begins when it is published.
    pub expiry: Option<Duration>,
    /// How long to wait for the client to come back before publishing.
    pub delay: Duration,
}

impl WillMessage {
    /// Takes the will out of a CONNECT.
    ///
    /// # Errors
    /// A message like this would not be accepted in a PUBLISH either.
    pub fn new(
        will: &Will<'_>,
        client_id: &str,
        limits: &Limits,
    ) -> Result<Self, ProtocolViolation> {
        check_user_properties(will.properties, limits)?;
        check_topic(will.topic, limits)?;
        // [MQTT-3.2.2-12]
        if will.qos > limits.qos_max {
            let detail = "the will QoS is above the maximum QoS";
            return Err(ProtocolViolation::new(ReasonCode::QoSNotSupported, detail));
        }
        // [MQTT-3.2.2-13]
        if will.retain && !limits.retain_available {
            let detail = "the will is to be retained, which is switched off";
            return Err(ProtocolViolation::new(
                ReasonCode::RetainNotSupported,
                detail,
            ));
        }
        let detail = "the will topic is no topic name";
        let invalid = ProtocolViolation::new(ReasonCode::TopicNameInvalid, detail);
        let topic = TopicName::new(will.topic).map_err(|_| invalid)?;
        // The daemon alone speaks there.
        if !topic.may_be_published_by(client_id) {
            let detail = "a will must not be published below $SYS or $tidegate";
            return Err(ProtocolViolation::new(ReasonCode::NotAuthorized, detail));
        }
        let mut message = Message::new(topic, Bytes::copy_from_slice(will.payload));
        message.qos = will.qos;
        message.retain = will.retain;
        message.properties = will.properties.forwarded();
        let (mut expiry, mut delay) = (None, Duration::ZERO);
        for property in will.properties.iter() {
            if let Property::MessageExpiryInterval(seconds) = property {
                expiry = Some(Duration::from_secs(seconds.into()));
            }
            if let Property::WillDelayInterval(seconds) = property {
                delay = Duration::from_secs(seconds.into());
            }
        }
        Ok(Self {
            message,
            expiry,
            delay,
        })
    }

    /// Appends the will's properties of a CONNECT.
    pub(super) fn encode_properties(&self, raw: &mut Vec<u8>) {
        if !self.delay.is_zero() {
            Property::WillDelayInterval(expiry_seconds(self.delay)).encode(raw);
        }
        if let Some(expiry) = self.expiry {
            Property::MessageExpiryInterval(expiry_seconds(expiry)).encode(raw);
        }
        raw.extend_from_slice(self.message.properties.as_bytes());
    }

    /// The message to publish; its expiry counts from now (§3.1.3.2.4).
    #[must_use]
    pub fn into_message(mut self, now: Timestamp) -> Message {
        self.message.expires_at = self.expiry.map(|expiry| now.after(expiry));
        self.message
    }
}
