//! MQTT Control Packets (MQTT 5.0 §2 and §3, MQTT 3.1.1 §2 and §3): bytes to packets and back.
//!
//! One file for each packet, with both versions in it. Decoding borrows from the input and checks
//! everything that the specification demands of a single packet; rules that need the state of
//! the connection are checked in [`crate::connection`].

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod encoded_run;
mod forwarded;
mod frame;
mod primitive;
mod property;
mod publish;
mod publish_header;
mod suback;
mod subscribe;
mod successor;
mod unsubscribe;

pub use ack::{Ack, AckKind};
pub use auth::Auth;
pub use connack::Connack;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use encoded_run::{EncodedPacket, EncodedRun};
pub use forwarded::{ForwardedProperties, PublishProperties};
pub use frame::{Frame, PacketType};
pub(crate) use primitive::VARIABLE_BYTE_INTEGER_MAX;
pub use property::{Properties, Property, PropertyOwner};
pub use publish::{Publish, PublishHeader, encode_publish};
pub use suback::{Suback, Unsuback};
pub(crate) use subscribe::put_subscribe;
pub use subscribe::{RetainHandling, Subscribe, SubscriptionOptions, encode_subscribe};
pub use successor::Successor;
pub use unsubscribe::Unsubscribe;
pub(crate) use unsubscribe::put_unsubscribe;

use crate::{ProtocolVersion, ProtocolViolation};

/// A decoded MQTT Control Packet; it borrows from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// §3.1
    Connect(Connect<'a>),
    /// §3.2
    Connack(Connack<'a>),
    /// §3.3
    Publish(Publish<'a>),
    /// §3.4 to §3.7: PUBACK, PUBREC, PUBREL, PUBCOMP
    Ack(Ack<'a>),
    /// §3.8
    Subscribe(Subscribe<'a>),
    /// §3.9
    Suback(Suback<'a>),
    /// §3.10
    Unsubscribe(Unsubscribe<'a>),
    /// §3.11
    Unsuback(Unsuback<'a>),
    /// §3.12
    Pingreq,
    /// §3.13
    Pingresp,
    /// §3.14
    Disconnect(Disconnect<'a>),
    /// §3.15
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Decodes the packet in a frame.
    ///
    /// CONNECT states its own version, so `version` is not used for it.
    ///
    /// # Errors
    /// The rule that the packet breaks; its sender's connection must be closed.
    pub fn decode(frame: Frame<'a>, version: ProtocolVersion) -> Result<Self, ProtocolViolation> {
        frame.check_flags(version)?;
        // CONNECT states its version itself.
        if frame.packet_type() != PacketType::Connect {
            frame.check_length(version)?;
        }
        match frame.packet_type() {
            PacketType::Connect => Connect::decode(frame).map(Self::Connect),
            PacketType::Connack => Connack::decode(frame, version).map(Self::Connack),
            PacketType::Publish => Publish::decode(frame, version).map(Self::Publish),
            PacketType::Puback => Ack::decode(AckKind::Puback, frame, version).map(Self::Ack),
            PacketType::Pubrec => Ack::decode(AckKind::Pubrec, frame, version).map(Self::Ack),
            PacketType::Pubrel => Ack::decode(AckKind::Pubrel, frame, version).map(Self::Ack),
            PacketType::Pubcomp => Ack::decode(AckKind::Pubcomp, frame, version).map(Self::Ack),
            PacketType::Subscribe => Subscribe::decode(frame, version).map(Self::Subscribe),
            PacketType::Suback => Suback::decode(frame, version).map(Self::Suback),
            PacketType::Unsubscribe => Unsubscribe::decode(frame, version).map(Self::Unsubscribe),
            PacketType::Unsuback => Unsuback::decode(frame, version).map(Self::Unsuback),
            PacketType::Pingreq => frame.check_empty().map(|()| Self::Pingreq),
            PacketType::Pingresp => frame.check_empty().map(|()| Self::Pingresp),
            PacketType::Disconnect => Disconnect::decode(frame, version).map(Self::Disconnect),
            PacketType::Auth => Auth::decode(frame, version).map(Self::Auth),
        }
    }

    /// Appends the encoded packet.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        match self {
            Self::Connect(packet) => packet.encode(out),
            Self::Connack(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::Ack(packet) => packet.encode(version, out),
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::Suback(packet) => packet.encode(version, out),
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::Unsuback(packet) => packet.encode(version, out),
            Self::Pingreq => out.extend_from_slice(&[0xC0, 0]),
            Self::Pingresp => out.extend_from_slice(&[0xD0, 0]),
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(out),
        }
    }
}

#[cfg(test)]
mod tests;
