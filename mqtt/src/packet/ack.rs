//! PUBACK, PUBREC, PUBREL and PUBCOMP (§3.4 to §3.7), which have one form.

use super::frame::{Frame, PacketType, put_packet};
use super::primitive::Reader;
use super::property::{Properties, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// One step of the acknowledgement of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Which of the four packets it is.
    pub kind: AckKind,
    /// The PUBLISH it belongs to.
    pub packet_id: u16,
    /// Always success in 3.1.1.
    pub reason: ReasonCode,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

/// The four acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// The answer to QoS 1.
    Puback,
    /// The first answer to QoS 2.
    Pubrec,
    /// The publisher lets go of the identifier.
    Pubrel,
    /// The last answer to QoS 2.
    Pubcomp,
}

impl AckKind {
    const fn packet_type(self) -> PacketType {
        match self {
            Self::Puback => PacketType::Puback,
            Self::Pubrec => PacketType::Pubrec,
            Self::Pubrel => PacketType::Pubrel,
            Self::Pubcomp => PacketType::Pubcomp,
        }
    }

    /// The acknowledgement of this packet type, if it is one.
    #[must_use]
    pub const fn of(packet_type: PacketType) -> Option<Self> {
        match packet_type {
            PacketType::Puback => Some(Self::Puback),
            PacketType::Pubrec => Some(Self::Pubrec),
            PacketType::Pubrel => Some(Self::Pubrel),
            PacketType::Pubcomp => Some(Self::Pubcomp),
            PacketType::Connect
            | PacketType::Connack
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Suback
            | PacketType::Unsubscribe
            | PacketType::Unsuback
            | PacketType::Pingreq
            | PacketType::Pingresp
            | PacketType::Disconnect
            | PacketType::Auth => None,
        }
    }

    /// The Reason Codes of tables 3-4 to 3-7.
    const fn allows(self, reason: ReasonCode) -> bool {
        use ReasonCode::{
            ImplementationSpecificError, NoMatchingSubscribers, NotAuthorized,
            PacketIdentifierInUse, PacketIdentifierNotFound, PayloadFormatInvalid, QuotaExceeded,
            Success, TopicNameInvalid, UnspecifiedError,
        };
        match self {
            Self::Puback | Self::Pubrec => matches!(
                reason,
                Success
                    | NoMatchingSubscribers
                    | UnspecifiedError
                    | ImplementationSpecificError
                    | NotAuthorized
                    | TopicNameInvalid
                    | PacketIdentifierInUse
                    | QuotaExceeded
                    | PayloadFormatInvalid
            ),
            Self::Pubrel | Self::Pubcomp => matches!(reason, Success | PacketIdentifierNotFound),
        }
    }
}

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    #[must_use]
    pub fn new(kind: AckKind, packet_id: u16, reason: ReasonCode) -> Self {
        Self {
            kind,
            packet_id,
            reason,
            properties: Properties::default(),
        }
    }

    /// Decodes the packet in a frame of this type, like [`super::Packet::decode`].
    ///
    /// # Errors
    /// The rule that the packet breaks.
    pub fn decode(
        kind: AckKind,
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let known = |code| ReasonCode::from_u8(code).filter(|&it| kind.allows(it));
        Self::decode_with(kind, frame, version, known)
    }

    /// The same for what a server sends. Some answer with codes that their packet may not have: what
    /// means failure is a refusal all the same, and anything else success.
    ///
    /// # Errors
    /// The rule that the packet breaks.
    pub fn decode_tolerantly(
        kind: AckKind,
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let or_unknown = |code| {
            let unknown = if code < 0x80 {
                ReasonCode::Success
            } else {
                ReasonCode::UnspecifiedError
            };
            let known = ReasonCode::from_u8(code).filter(|it| it.is_error() || kind.allows(*it));
            Some(known.unwrap_or(unknown))
        };
        Self::decode_with(kind, frame, version, or_unknown)
    }

    fn decode_with(
        kind: AckKind,
        frame: Frame<'a>,
        version: ProtocolVersion,
        reason_of: impl FnOnce(u8) -> Option<ReasonCode>,
    ) -> Result<Self, ProtocolViolation> {
        frame.check_flags(version)?;
        frame.check_length(version)?;
        let mut reader = Reader::new(frame.body());
        let mut ack = Self::new(kind, reader.packet_id()?, ReasonCode::Success);
        if version.is_v5() && !reader.is_empty() {
            let unknown = ProtocolViolation::malformed("an acknowledgement's reason is unknown");
            ack.reason = reason_of(reader.u8()?).ok_or(unknown)?;
            if !reader.is_empty() {
                ack.properties = Properties::read(&mut reader, PropertyOwner::Ack)?;
            }
        }
        if !reader.is_empty() {
            return Err(ProtocolViolation::malformed(
                "an acknowledgement is too long",
            ));
        }
        Ok(ack)
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        if self.reason == ReasonCode::Success && self.properties.is_empty() {
            let flags = if self.kind == AckKind::Pubrel {
                0b0010
            } else {
                0
            };
            let first = (self.kind.packet_type() as u8) << 4 | flags;
            let [high, low] = self.packet_id.to_be_bytes();
            return out.extend_from_slice(&[first, 2, high, low]);
        }
        put_packet(out, self.kind.packet_type(), |out| {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
            if !version.is_v5() {
                return;
            }
            out.push(self.reason as u8);
            if !self.properties.is_empty() {
                put_block(out, &[self.properties.as_bytes()]);
            }
        });
    }
}
