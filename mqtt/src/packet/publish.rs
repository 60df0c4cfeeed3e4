//! PUBLISH (§3.3): an Application Message on its way.

use super::connect::read_properties;
use super::frame::{Frame, PacketType};
use super::primitive::{Reader, put_string, put_variable_byte_integer, variable_byte_integer_len};
use super::property::{Properties, PropertyOwner, block_len, put_block};
use crate::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode, TopicName};

/// A published message, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Everything but properties and payload.
    pub header: PublishHeader<'a>,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// The Application Message, uninterpreted.
    pub payload: &'a [u8],
}

/// The flags, topic and identifier of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHeader<'a> {
    /// This may have been sent before.
    pub dup: bool,
    /// The level of this hop.
    pub qos: QoS,
    /// From a client: keep it. To a client: it was kept, or see Retain As Published.
    pub retain: bool,
    /// The Topic Name, of any number of levels; empty if a Topic Alias stands for it.
    pub topic: &'a str,
    /// The Packet Identifier; zero for QoS 0, which has none.
    pub packet_id: u16,
}

impl<'a> Publish<'a> {
    /// Decodes the packet in a frame of this type, like [`super::Packet::decode`].
    ///
    /// # Errors
    /// The rule that the packet breaks.
    pub fn decode(frame: Frame<'a>, version: ProtocolVersion) -> Result<Self, ProtocolViolation> {
        frame.check_length(version)?;
        let flags = frame.flags();
        // [MQTT-3.3.1-4]
        let malformed = ProtocolViolation::malformed("the QoS of a PUBLISH is 3");
        let qos = QoS::from_u8(flags >> 1 & 0b11).ok_or(malformed)?;
        let dup = flags & 0b1000 != 0;
        // [MQTT-3.3.1-2]; MQTT 3.1 gives DUP no meaning there and does not forbid it.
        if dup && !qos.is_acknowledged() && version != ProtocolVersion::V31 {
            return Err(ProtocolViolation::malformed(
                "DUP is set on a QoS 0 PUBLISH",
            ));
        }
        let mut reader = Reader::new(frame.body());
        let topic = reader.string()?;
        let packet_id = if qos.is_acknowledged() {
            reader.packet_id()?
        } else {
            0
        };
        let properties = read_properties(&mut reader, version, PropertyOwner::Publish)?;
        // An empty topic is checked against the Topic Alias by the connection.
        if !(TopicName::is_allowed(topic) || topic.is_empty() && version.is_v5()) {
            let detail = "the topic of a PUBLISH is no topic name"; // [MQTT-3.3.2-2]
            return Err(ProtocolViolation::new(ReasonCode::TopicNameInvalid, detail));
        }
        let header = PublishHeader {
            dup: dup && qos.is_acknowledged(),
            qos,
            retain: flags & 1 != 0,
            topic,
            packet_id,
        };
        Ok(Self {
            header,
            properties,
            payload: reader.rest(),
        })
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        encode_publish(
            out,
            version,
            &self.header,
            &[self.properties.as_bytes()],
            self.payload,
        );
    }
}

/// Appends a PUBLISH whose properties are given as encoded pieces, in one pass without copies
/// in between. In 3.1.1 the properties are left out. Returns where the Packet Identifier is, or
/// would be.
pub fn encode_publish(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    header: &PublishHeader<'_>,
    properties: &[&[u8]],
    payload: &[u8],
) -> usize {
    let acknowledged = header.qos.is_acknowledged();
    let length = 2
        + header.topic.len()
        + if acknowledged { 2 } else { 0 }
        + if version.is_v5() {
            block_len(properties)
        } else {
            0
        }
        + payload.len();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.reserve(1 + variable_byte_integer_len(length) + length as usize);
    let flags = u8::from(header.dup) << 3 | (header.qos as u8) << 1 | u8::from(header.retain);
    out.push((PacketType::Publish as u8) << 4 | flags);
    put_variable_byte_integer(out, length);
    put_string(out, header.topic);
    let packet_id_at = out.len();
    if acknowledged {
        out.extend_from_slice(&header.packet_id.to_be_bytes());
    }
    if version.is_v5() {
        put_block(out, properties);
    }
    out.extend_from_slice(payload);
    packet_id_at
}
