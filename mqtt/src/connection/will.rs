//! The Will Message (§3.1.2.5): published when a connection ends without a DISCONNECT.

use std::time::Duration;

use bytes::Bytes;

use crate::packet::{Property, Will};
use crate::{Message, Timestamp, TopicName, TopicNameError};

/// A Will Message that is kept with its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillMessage {
    message: Message,
    expiry: Option<Duration>,
    /// How long to wait for the client to come back before publishing.
    pub delay: Duration,
}

impl WillMessage {
    /// Takes the will out of a CONNECT.
    ///
    /// # Errors
    /// The Will Topic is no Topic Name.
    pub fn new(will: &Will<'_>) -> Result<Self, TopicNameError> {
        let mut message = Message::new(
            TopicName::new(will.topic)?,
            Bytes::copy_from_slice(will.payload),
        );
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

    /// The message to publish; its expiry counts from now (§3.1.3.2.4).
    #[must_use]
    pub fn into_message(mut self, now: Timestamp) -> Message {
        self.message.expires_at = self.expiry.map(|expiry| now.after(expiry));
        self.message
    }
}
