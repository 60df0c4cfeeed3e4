//! Properties (MQTT 5.0 §2.2.2): their identifiers, types, and which packet may carry which.

use super::primitive::{
    Reader, put_binary, put_string, put_variable_byte_integer, variable_byte_integer_len,
};
use crate::{ProtocolViolation, ReasonCode};

/// One property with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// 0x01: true if the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// 0x02, in seconds.
    MessageExpiryInterval(u32),
    /// 0x03
    ContentType(&'a str),
    /// 0x08
    ResponseTopic(&'a str),
    /// 0x09
    CorrelationData(&'a [u8]),
    /// 0x0B
    SubscriptionIdentifier(u32),
    /// 0x11, in seconds; 0xFFFFFFFF means never.
    SessionExpiryInterval(u32),
    /// 0x12
    AssignedClientIdentifier(&'a str),
    /// 0x13, in seconds.
    ServerKeepAlive(u16),
    /// 0x15
    AuthenticationMethod(&'a str),
    /// 0x16
    AuthenticationData(&'a [u8]),
    /// 0x17
    RequestProblemInformation(bool),
    /// 0x18, in seconds.
    WillDelayInterval(u32),
    /// 0x19
    RequestResponseInformation(bool),
    /// 0x1A
    ResponseInformation(&'a str),
    /// 0x1C
    ServerReference(&'a str),
    /// 0x1F
    ReasonString(&'a str),
    /// 0x21
    ReceiveMaximum(u16),
    /// 0x22
    TopicAliasMaximum(u16),
    /// 0x23
    TopicAlias(u16),
    /// 0x24: true for QoS 1, false for QoS 0.
    MaximumQoS(bool),
    /// 0x25
    RetainAvailable(bool),
    /// 0x26
    UserProperty(&'a str, &'a str),
    /// 0x27, in bytes.
    MaximumPacketSize(u32),
    /// 0x28
    WildcardSubscriptionAvailable(bool),
    /// 0x29
    SubscriptionIdentifierAvailable(bool),
    /// 0x2A
    SharedSubscriptionAvailable(bool),
}

/// Which packet, or which part of one, a property block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum PropertyOwner {
    /// CONNECT
    Connect = 1,
    /// The Will Message in CONNECT.
    Will = 2,
    /// CONNACK
    Connack = 4,
    /// PUBLISH
    Publish = 8,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK
    Ack = 16,
    /// SUBSCRIBE
    Subscribe = 32,
    /// UNSUBSCRIBE
    Unsubscribe = 64,
    /// DISCONNECT
    Disconnect = 128,
    /// AUTH
    Auth = 256,
}

/// A property block that has been checked: every value is well formed and allowed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

impl<'a> Property<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, ProtocolViolation> {
        Ok(match reader.variable_byte_integer()? {
            0x01 => Self::PayloadFormatIndicator(read_bool(reader)?),
            0x02 => Self::MessageExpiryInterval(reader.u32()?),
            0x03 => Self::ContentType(reader.string()?),
            0x08 => Self::ResponseTopic(read_response_topic(reader)?),
            0x09 => Self::CorrelationData(reader.binary()?),
            0x0B => Self::SubscriptionIdentifier(reader.variable_byte_integer()?),
            0x11 => Self::SessionExpiryInterval(reader.u32()?),
            0x12 => Self::AssignedClientIdentifier(reader.string()?),
            0x13 => Self::ServerKeepAlive(reader.u16()?),
            0x15 => Self::AuthenticationMethod(reader.string()?),
            0x16 => Self::AuthenticationData(reader.binary()?),
            0x17 => Self::RequestProblemInformation(read_bool(reader)?),
            0x18 => Self::WillDelayInterval(reader.u32()?),
            0x19 => Self::RequestResponseInformation(read_bool(reader)?),
            0x1A => Self::ResponseInformation(reader.string()?),
            0x1C => Self::ServerReference(reader.string()?),
            0x1F => Self::ReasonString(reader.string()?),
            0x21 => Self::ReceiveMaximum(reader.u16()?),
            0x22 => Self::TopicAliasMaximum(reader.u16()?),
            0x23 => Self::TopicAlias(reader.u16()?),
            0x24 => Self::MaximumQoS(read_bool(reader)?),
            0x25 => Self::RetainAvailable(read_bool(reader)?),
            0x26 => Self::UserProperty(reader.string()?, reader.string()?),
            0x27 => Self::MaximumPacketSize(reader.u32()?),
            0x28 => Self::WildcardSubscriptionAvailable(read_bool(reader)?),
            0x29 => Self::SubscriptionIdentifierAvailable(read_bool(reader)?),
            0x2A => Self::SharedSubscriptionAvailable(read_bool(reader)?),
            _ => {
                return Err(ProtocolViolation::malformed(
                    "a property identifier is unknown",
                ));
            }
        })
    }

    /// Values that the specification calls a Protocol Error although they can be parsed.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "few properties restrict their values"
    )]
    const fn check_value(self) -> Result<(), ProtocolViolation> {
        let detail = match self {
            Self::SubscriptionIdentifier(0) => "a subscription identifier is zero",
            Self::ReceiveMaximum(0) => "the receive maximum is zero",
            Self::MaximumPacketSize(0) => "the maximum packet size is zero",
            Self::TopicAlias(0) => {
                let detail = "a topic alias is zero";
                return Err(ProtocolViolation::new(
                    ReasonCode::TopicAliasInvalid,
                    detail,
                ));
            }
            _ => return Ok(()),
        };
        Err(ProtocolViolation::protocol(detail))
    }

    /// The identifier of §2.2.2.2.
    const fn identifier(self) -> u8 {
        match self {
            Self::PayloadFormatIndicator(_) => 0x01,
            Self::MessageExpiryInterval(_) => 0x02,
            Self::ContentType(_) => 0x03,
            Self::ResponseTopic(_) => 0x08,
            Self::CorrelationData(_) => 0x09,
            Self::SubscriptionIdentifier(_) => 0x0B,
            Self::SessionExpiryInterval(_) => 0x11,
            Self::AssignedClientIdentifier(_) => 0x12,
            Self::ServerKeepAlive(_) => 0x13,
            Self::AuthenticationMethod(_) => 0x15,
            Self::AuthenticationData(_) => 0x16,
            Self::RequestProblemInformation(_) => 0x17,
            Self::WillDelayInterval(_) => 0x18,
            Self::RequestResponseInformation(_) => 0x19,
            Self::ResponseInformation(_) => 0x1A,
            Self::ServerReference(_) => 0x1C,
            Self::ReasonString(_) => 0x1F,
            Self::ReceiveMaximum(_) => 0x21,
            Self::TopicAliasMaximum(_) => 0x22,
            Self::TopicAlias(_) => 0x23,
            Self::MaximumQoS(_) => 0x24,
            Self::RetainAvailable(_) => 0x25,
            Self::UserProperty(..) => 0x26,
            Self::MaximumPacketSize(_) => 0x27,
            Self::WildcardSubscriptionAvailable(_) => 0x28,
            Self::SubscriptionIdentifierAvailable(_) => 0x29,
            Self::SharedSubscriptionAvailable(_) => 0x2A,
        }
    }

    /// The owners that may carry it, as a sum of [`PropertyOwner`] values (table 2-4).
    const fn owners(self) -> u16 {
        use PropertyOwner::{Ack, Auth, Connack, Connect, Disconnect, Publish, Subscribe, Will};
        match self {
            Self::PayloadFormatIndicator(_)
            | Self::MessageExpiryInterval(_)
            | Self::ContentType(_)
            | Self::ResponseTopic(_)
            | Self::CorrelationData(_) => Publish as u16 | Will as u16,
            Self::SubscriptionIdentifier(_) => Publish as u16 | Subscribe as u16,
            Self::SessionExpiryInterval(_) => Connect as u16 | Connack as u16 | Disconnect as u16,
            Self::AuthenticationMethod(_) | Self::AuthenticationData(_) => {
                Connect as u16 | Connack as u16 | Auth as u16
            }
            Self::RequestProblemInformation(_) | Self::RequestResponseInformation(_) => {
                Connect as u16
            }
            Self::WillDelayInterval(_) => Will as u16,
            Self::ServerReference(_) => Connack as u16 | Disconnect as u16,
            Self::ReasonString(_) => Connack as u16 | Ack as u16 | Disconnect as u16 | Auth as u16,
            Self::ReceiveMaximum(_) | Self::TopicAliasMaximum(_) | Self::MaximumPacketSize(_) => {
                Connect as u16 | Connack as u16
            }
            Self::TopicAlias(_) => Publish as u16,
            Self::UserProperty(..) => u16::MAX,
            Self::AssignedClientIdentifier(_)
            | Self::ServerKeepAlive(_)
            | Self::ResponseInformation(_)
            | Self::MaximumQoS(_)
            | Self::RetainAvailable(_)
            | Self::WildcardSubscriptionAvailable(_)
            | Self::SubscriptionIdentifierAvailable(_)
            | Self::SharedSubscriptionAvailable(_) => Connack as u16,
        }
    }

    /// True for the properties that may stand several times in this block.
    const fn may_repeat(self, owner: PropertyOwner) -> bool {
        // A server sends one identifier for each matching subscription [MQTT-3.3.4-3].
        matches!(self, Self::UserProperty(..))
            || matches!(
                (self, owner),
                (Self::SubscriptionIdentifier(_), PropertyOwner::Publish)
            )
    }

    /// True for the properties that [`super::ForwardedProperties`] keeps.
    pub(super) const fn is_forwarded(self) -> bool {
        matches!(
            self,
            Self::PayloadFormatIndicator(_)
                | Self::ContentType(_)
                | Self::ResponseTopic(_)
                | Self::CorrelationData(_)
                | Self::UserProperty(..)
        )
    }

    /// Appends the encoded property.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.push(self.identifier());
        match self {
            Self::PayloadFormatIndicator(value)
            | Self::RequestProblemInformation(value)
            | Self::RequestResponseInformation(value)
            | Self::MaximumQoS(value)
            | Self::RetainAvailable(value)
            | Self::WildcardSubscriptionAvailable(value)
            | Self::SubscriptionIdentifierAvailable(value)
            | Self::SharedSubscriptionAvailable(value) => out.push(u8::from(value)),
            Self::ServerKeepAlive(value)
            | Self::ReceiveMaximum(value)
            | Self::TopicAliasMaximum(value)
            | Self::TopicAlias(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::MessageExpiryInterval(value)
            | Self::SessionExpiryInterval(value)
            | Self::WillDelayInterval(value)
            | Self::MaximumPacketSize(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::SubscriptionIdentifier(value) => put_variable_byte_integer(out, value),
            Self::ContentType(text)
            | Self::ResponseTopic(text)
            | Self::AssignedClientIdentifier(text)
            | Self::AuthenticationMethod(text)
            | Self::ResponseInformation(text)
            | Self::ServerReference(text)
            | Self::ReasonString(text) => put_string(out, text),
            Self::CorrelationData(bytes) | Self::AuthenticationData(bytes) => {
                put_binary(out, bytes);
            }
            Self::UserProperty(name, value) => {
                put_string(out, name);
                put_string(out, value);
            }
        }
    }
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, ProtocolViolation> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ProtocolViolation::protocol(
            "a property that is 0 or 1 has another value",
        )),
    }
}

/// A Response Topic must be a Topic Name without wildcards [MQTT-3.3.2-14].
fn read_response_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, ProtocolViolation> {
    let text = reader.string()?;
    match crate::TopicName::check(text) {
        Ok(()) => Ok(text),
        Err(_) => Err(ProtocolViolation::protocol(
            "a response topic is no topic name",
        )),
    }
}

impl<'a> Properties<'a> {
    /// Reads and checks the block that stands at the front of `reader`.
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        owner: PropertyOwner,
    ) -> Result<Self, ProtocolViolation> {
        let length = reader.variable_byte_integer()?;
        if length == 0 {
            return Ok(Self::default());
        }
        Self::checked(reader.take(length as usize)?, owner)
    }

    /// Encoded properties without their length, as [`Property::encode`] writes them.
    ///
    /// # Errors
    /// The rule that the block breaks in this packet.
    pub fn checked(raw: &'a [u8], owner: PropertyOwner) -> Result<Self, ProtocolViolation> {
        let mut seen = 0_u64;
        let mut block = Reader::new(raw);
        while !block.is_empty() {
            let property = Property::read(&mut block)?;
            if property.owners() & owner as u16 == 0 {
                return Err(ProtocolViolation::malformed(
                    "a property is not allowed here",
                ));
            }
            property.check_value()?;
            let bit = 1 << property.identifier();
            if seen & bit != 0 && !property.may_repeat(owner) {
                return Err(ProtocolViolation::protocol(
                    "a property stands more than once",
                ));
            }
            seen |= bit;
        }
        Ok(Self { raw })
    }

    /// A block that this package has encoded itself.
    pub(crate) const fn trusted(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The properties in the order in which they were sent.
    pub fn iter(self) -> impl Iterator<Item = Property<'a>> {
        let mut reader = Reader::new(self.raw);
        // The block was checked by `read`, so an error cannot come; ending early is harmless.
        std::iter::from_fn(move || {
            if reader.is_empty() {
                None
            } else {
                Property::read(&mut reader).ok()
            }
        })
    }

    /// The Reason String: what the peer has to say, for people.
    #[must_use]
    pub fn reason_string(self) -> Option<&'a str> {
        self.iter().find_map(|property| {
            if let Property::ReasonString(text) = property {
                Some(text)
            } else {
                None
            }
        })
    }

    /// The Server Reference: another server to use instead (§4.11).
    #[must_use]
    pub fn server_reference(self) -> Option<&'a str> {
        self.iter().find_map(|property| {
            if let Property::ServerReference(text) = property {
                Some(text)
            } else {
                None
            }
        })
    }

    /// True if there is no property.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The encoded properties without their length.
    pub(crate) const fn as_bytes(self) -> &'a [u8] {
        self.raw
    }
}

/// Appends a property block: its length, then the pieces one after the other.
pub(crate) fn put_block(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    put_variable_byte_integer(out, block_content_len(pieces));
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Bytes of a property block with its length.
pub(crate) fn block_len(pieces: &[&[u8]]) -> usize {
    let content = block_content_len(pieces);
    variable_byte_integer_len(content) + content as usize
}

fn block_content_len(pieces: &[&[u8]]) -> u32 {
    let content: usize = pieces.iter().map(|piece| piece.len()).sum();
    u32::try_from(content).unwrap_or(u32::MAX)
}
