//! A Network Connection as a state machine: packets in, actions and bytes out (§4.8, §4.13).
//!
//! The caller moves the bytes, routes what [`Action::Publish`] carries, and acknowledges once the
//! message is as safe as configured. Nothing here blocks, and time is an argument.
//!
//! [`ServerConnection`] is the side of the broker, [`ClientConnection`] that of a bridge; each begins with
//! its handshake, [`Handshake`] or [`ClientHandshake`].

mod alias;
mod authentication;
mod client;
mod handshake;
mod limits;
mod outgoing;
mod packed;
mod quota;
mod server;
mod subscription;
mod will;

pub use authentication::{Authentication, Mechanism, Mechanisms, Progress, StartMechanism, Step};
pub use client::{
    ClientAction, ClientAnswer, ClientConnection, ClientHandshake, ClientOptions, ClientRefusal,
    OutgoingPublish, OversizedPublish, RequestError, ServerTerms,
};
pub use handshake::{Handshake, encode_refusal};
pub use limits::{Limits, TopicLimit};
pub use server::ServerConnection;
pub use subscription::CheckedSubscription;
pub use will::WillMessage;

use std::time::Duration;

use crate::packet::{Ack, AckKind, Publish, PublishProperties, Subscribe, Unsubscribe};
use crate::topic::TopicNameError;
use crate::{ReasonCode, TopicName};

/// What one packet asks of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'p> {
    /// Nothing; the answer, if any, is in the output.
    None,
    /// Route a message, then acknowledge it.
    Publish(IncomingPublish<'p>),
    /// A QoS 2 message that was routed already, or one that is refused: answer it.
    Answer(PendingAck),
    /// An acknowledgement came.
    Ack(AckAction),
    /// Subscribe and answer with SUBACK.
    Subscribe(Subscribe<'p>),
    /// Unsubscribe and answer with UNSUBACK.
    Unsubscribe(Unsubscribe<'p>),
    /// The client ends the connection.
    Disconnect {
        /// Publish the Will Message all the same.
        with_will: bool,
        /// A new Session Expiry Interval, if the client gave one.
        session_expiry: Option<Duration>,
    },
}

/// What matters of an acknowledgement that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedAck {
    kind: AckKind,
    packet_id: u16,
    /// Its Reason Code is an error.
    is_refusal: bool,
}

impl From<&Ack<'_>> for ReceivedAck {
    fn from(ack: &Ack<'_>) -> Self {
        Self {
            kind: ack.kind,
            packet_id: ack.packet_id,
            is_refusal: ack.reason.is_error(),
        }
    }
}

/// What an acknowledgement asks of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckAction {
    /// Nothing.
    None,
    /// Answer it.
    Answer(PendingAck),
    /// The client released a QoS 2 identifier: forget it in the store, then acknowledge.
    Released(PendingAck),
    /// The client has the QoS 2 delivery with this sequence: forget its message in the store and
    /// remember that, then release it.
    Received(u64, PendingAck),
    /// The delivery with this sequence is done: forget it in the store.
    Delivered(u64),
}

/// A message from the peer, and the acknowledgement it awaits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingPublish<'p> {
    /// The topic, whether the packet states it or its Topic Alias stands for it.
    pub topic: IncomingTopic<'p>,
    /// The packet.
    pub publish: Publish<'p>,
    /// What its properties say to its receiver.
    pub properties: PublishProperties<'p>,
    /// None for QoS 0.
    pub ack: Option<PendingAck>,
}

/// A Topic Name that was checked. A client may get one of too many levels, see [`TopicName::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingTopic<'p> {
    /// It stands in the packet.
    Stated(&'p str),
    /// A Topic Alias stands for it.
    Aliased(TopicName),
}

impl IncomingTopic<'_> {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stated(name) => name,
            Self::Aliased(name) => name.as_str(),
        }
    }

    /// The name, to be kept.
    ///
    /// # Errors
    /// It is none, which decoding has ruled out.
    pub fn to_name(&self) -> Result<TopicName, TopicNameError> {
        match self {
            Self::Stated(name) => TopicName::new(name),
            Self::Aliased(name) => Ok(name.clone()),
        }
    }
}

/// An acknowledgement that is sent once its message is safe, in the order of the messages
/// [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingAck {
    kind: AckKind,
    packet_id: u16,
    reason: ReasonCode,
}

impl PendingAck {
    /// An acknowledgement with a Reason Code, which has to be one of its kind.
    #[must_use]
    pub const fn new(kind: AckKind, packet_id: u16, reason: ReasonCode) -> Self {
        Self {
            kind,
            packet_id,
            reason,
        }
    }

    const fn puback(packet_id: u16) -> Self {
        Self {
            kind: AckKind::Puback,
            packet_id,
            reason: ReasonCode::Success,
        }
    }

    const fn pubrec(packet_id: u16) -> Self {
        Self {
            kind: AckKind::Pubrec,
            packet_id,
            reason: ReasonCode::Success,
        }
    }

    const fn pubrel(packet_id: u16) -> Self {
        Self {
            kind: AckKind::Pubrel,
            packet_id,
            reason: ReasonCode::Success,
        }
    }

    const fn pubcomp(packet_id: u16, reason: ReasonCode) -> Self {
        Self {
            kind: AckKind::Pubcomp,
            packet_id,
            reason,
        }
    }

    /// The same acknowledgement with another Reason Code.
    #[must_use]
    pub const fn with_reason(self, reason: ReasonCode) -> Self {
        Self { reason, ..self }
    }

    /// The Packet Identifier of the message.
    #[must_use]
    pub const fn packet_id(self) -> u16 {
        self.packet_id
    }

    /// True if it tells the client that its message is not taken.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        self.reason.is_error()
    }

    /// True for the PUBACK of a QoS 1 message.
    #[must_use]
    pub const fn is_puback(self) -> bool {
        matches!(self.kind, AckKind::Puback)
    }

    /// True for the PUBREC of a QoS 2 message, whose identifier a store remembers.
    #[must_use]
    pub const fn is_pubrec(self) -> bool {
        matches!(self.kind, AckKind::Pubrec)
    }
}

#[cfg(test)]
mod tests;
