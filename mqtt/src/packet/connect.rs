//! CONNECT (§3.1): the first packet of every Network Connection.

use super::frame::{Frame, PacketType, put_packet};
use super::primitive::{Reader, put_binary, put_string};
use super::property::{Properties, Property, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode, TopicName};

/// A client asks to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version all packets of this connection use.
    pub version: ProtocolVersion,
    /// The client is a bridge: the level byte has its highest bit set. A convention of 3.1 and
    /// 3.1.1 brokers; what MQTT 5 has subscription options for.
    pub is_bridge: bool,
    /// Clean Start, in 3.1.1 Clean Session.
    pub clean_start: bool,
    /// Seconds without a packet after which the client counts as dead, 1.5 times; 0 for never.
    pub keep_alive: u16,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// Empty if the server is to choose one.
    pub client_id: &'a str,
    /// What to publish if the connection ends without a DISCONNECT.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
}

/// The Will Message as CONNECT carries it (§3.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// Will Topic.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
}

/// Connect Flags (§3.1.2.3).
const CLEAN_START: u8 = 1 << 1;
const WILL: u8 = 1 << 2;
const WILL_RETAIN: u8 = 1 << 5;
const PASSWORD: u8 = 1 << 6;
const USER_NAME: u8 = 1 << 7;
/// In the level byte.
const BRIDGE: u8 = 1 << 7;

impl<'a> Connect<'a> {
    /// The version that a refusal of a CONNECT is written in: the one that it states, even if
    /// the rest of it is malformed, and the latest if it states a later one.
    #[must_use]
    pub fn stated_version(frame: Frame<'_>) -> Option<ProtocolVersion> {
        let mut reader = Reader::new(frame.body());
        let (name, level) = (reader.string().ok()?, reader.u8().ok()?);
        let level = if name == ProtocolVersion::V5.protocol_name() {
            (level & !BRIDGE).min(ProtocolVersion::V5 as u8)
        } else {
            level & !BRIDGE
        };
        ProtocolVersion::from_name_and_level(name, level)
    }

    /// Bytes of the largest packet that the client accepts.
    #[must_use]
    pub fn packet_bytes_max(&self) -> u32 {
        let stated = self.properties.iter().find_map(|property| {
            if let Property::MaximumPacketSize(value) = property {
                Some(value)
            } else {
                None
            }
        });
        stated.unwrap_or(u32::MAX)
    }

    pub(super) fn decode(frame: Frame<'a>) -> Result<Self, ProtocolViolation> {
        let mut reader = Reader::new(frame.body());
        let (version, is_bridge) = decode_version(&mut reader)?;
        frame.check_length(version)?;
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let properties = read_properties(&mut reader, version, PropertyOwner::Connect)?;
        let client_id = reader.string()?;
        let will = if flags & WILL == 0 {
            None
        } else {
            Some(Will::decode(&mut reader, version, flags)?)
        };
        let is_left_out = |reader: Reader<'_>| version == ProtocolVersion::V31 && reader.is_empty();
        // In 3.1 the length counts for more than these flags (3.1 §3.1).
        let user_name = if flags & USER_NAME == 0 || is_left_out(reader) {
            None
        } else {
            Some(reader.string()?)
        };
        let password = if flags & PASSWORD == 0 || is_left_out(reader) {
            None
        } else {
            Some(reader.binary()?)
        };
        if !reader.is_empty() {
            return Err(ProtocolViolation::malformed(
                "CONNECT has bytes behind its payload",
            ));
        }
        let clean_start = flags & CLEAN_START != 0;
        Ok(Self {
            version,
            is_bridge,
            clean_start,
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Connect, |out| {
            put_string(out, self.version.protocol_name());
            let bridge = if self.is_bridge { BRIDGE } else { 0 };
            out.extend_from_slice(&[self.version as u8 | bridge, self.flags()]);
            out.extend_from_slice(&self.keep_alive.to_be_bytes());
            if self.version.is_v5() {
                put_block(out, &[self.properties.as_bytes()]);
            }
            put_string(out, self.client_id);
            if let Some(will) = &self.will {
                if self.version.is_v5() {
                    put_block(out, &[will.properties.as_bytes()]);
                }
                put_string(out, will.topic);
                put_binary(out, will.payload);
            }
            if let Some(user_name) = self.user_name {
                put_string(out, user_name);
            }
            if let Some(password) = self.password {
                put_binary(out, password);
            }
        });
    }

    fn flags(&self) -> u8 {
        let will = self.will.map_or(0, |will| {
            WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 }
        });
        will | if self.clean_start { CLEAN_START } else { 0 }
            | self.user_name.map_or(0, |_| USER_NAME)
            | self.password.map_or(0, |_| PASSWORD)
    }
}

impl<'a> Will<'a> {
    fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        flags: u8,
    ) -> Result<Self, ProtocolViolation> {
        let properties = read_properties(reader, version, PropertyOwner::Will)?;
        let topic = reader.string()?;
        if TopicName::check(topic).is_err() {
            let detail = "the will topic is no topic name";
            return Err(ProtocolViolation::new(ReasonCode::TopicNameInvalid, detail));
        }
        let payload = reader.binary()?;
        let malformed = ProtocolViolation::malformed("the will QoS is 3");
        let qos = QoS::from_u8(flags >> 3 & 0b11).ok_or(malformed)?;
        Ok(Self {
            qos,
            retain: flags & WILL_RETAIN != 0,
            properties,
            topic,
            payload,
        })
    }
}

/// Protocol Name and Protocol Version (§3.1.2.1, §3.1.2.2), and whether the bridge bit is set.
fn decode_version(reader: &mut Reader<'_>) -> Result<(ProtocolVersion, bool), ProtocolViolation> {
    let unsupported = ProtocolViolation::new(
        ReasonCode::UnsupportedProtocolVersion,
        "the protocol version is not supported",
    );
    let name = reader.string()?;
    let level = reader.u8()?;
    let is_bridge = level & BRIDGE != 0;
    match ProtocolVersion::from_name_and_level(name, level & !BRIDGE) {
        Some(version) if !(is_bridge && version.is_v5()) => Ok((version, is_bridge)),
        _ => Err(unsupported),
    }
}

fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), ProtocolViolation> {
    let detail = if flags & 1 != 0 && version != ProtocolVersion::V31 {
        "the reserved connect flag is set" // [MQTT-3.1.2-3]
    } else if flags & WILL == 0 && flags & 0b0011_1000 != 0 {
        "will QoS or will retain is set without a will" // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    } else if flags & 0b0001_1000 == 0b0001_1000 {
        "the will QoS is 3" // [MQTT-3.1.2-12]
    } else if !version.is_v5() && flags & (USER_NAME | PASSWORD) == PASSWORD {
        "a password without a user name" // 3.1.1 [MQTT-3.1.2-22]
    } else {
        return Ok(());
    };
    Err(ProtocolViolation::malformed(detail))
}

/// The property block, which 3.1.1 does not have.
pub(super) fn read_properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
    owner: PropertyOwner,
) -> Result<Properties<'a>, ProtocolViolation> {
    if version.is_v5() {
        Properties::read(reader, owner)
    } else {
        Ok(Properties::default())
    }
}
