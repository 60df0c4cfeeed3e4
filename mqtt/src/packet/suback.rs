//! SUBACK (§3.9) and UNSUBACK (§3.11): one code for each Topic Filter.

use super::connect::read_properties;
use super::frame::{Frame, PacketType, put_packet};
use super::primitive::Reader;
use super::property::{Properties, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation};

/// The answer to SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// That of the SUBSCRIBE.
    pub packet_id: u16,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// A Reason Code for each Topic Filter; in 3.1.1 0 to 2, or 0x80 for every failure.
    pub codes: &'a [u8],
}

/// The answer to UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// That of the UNSUBSCRIBE.
    pub packet_id: u16,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// A Reason Code for each Topic Filter; empty in 3.1.1.
    pub codes: &'a [u8],
}

impl<'a> Suback<'a> {
    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let (packet_id, properties, codes) = decode_codes(frame, version)?;
        // [MQTT-3.9.3-2]: table 3-8, and the four codes of 3.1.1.
        let is_allowed = |code: &u8| {
            matches!(code, 0..=2 | 0x80)
                || version.is_v5()
                    && matches!(code, 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2)
        };
        if codes.is_empty() || !codes.iter().all(is_allowed) {
            return Err(ProtocolViolation::malformed(
                "a SUBACK has no code or one that is reserved",
            ));
        }
        Ok(Self {
            packet_id,
            properties,
            codes,
        })
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Suback, |out| {
            put_codes(out, version, self.packet_id, self.properties);
            if version.is_v5() {
                out.extend_from_slice(self.codes);
            } else {
                // 3.1.1 knows one failure [MQTT-3.9.3-2].
                out.extend(self.codes.iter().map(|&code| code.min(0x80)));
            }
        });
    }
}

impl<'a> Unsuback<'a> {
    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let (packet_id, properties, codes) = decode_codes(frame, version)?;
        if !version.is_v5() && !codes.is_empty() {
            return Err(ProtocolViolation::malformed(
                "UNSUBACK has bytes behind its end",
            ));
        }
        // Table 3-9 [MQTT-3.11.3-2].
        let is_allowed = |code: &u8| matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91);
        if version.is_v5() && codes.is_empty() || !codes.iter().all(is_allowed) {
            return Err(ProtocolViolation::malformed(
                "an UNSUBACK has no code or one that is unknown",
            ));
        }
        Ok(Self {
            packet_id,
            properties,
            codes,
        })
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Unsuback, |out| {
            put_codes(out, version, self.packet_id, self.properties);
            if version.is_v5() {
                out.extend_from_slice(self.codes);
            }
        });
    }
}

fn decode_codes<'a>(
    frame: Frame<'a>,
    version: ProtocolVersion,
) -> Result<(u16, Properties<'a>, &'a [u8]), ProtocolViolation> {
    let mut reader = Reader::new(frame.body());
    let packet_id = reader.packet_id()?;
    let properties = read_properties(&mut reader, version, PropertyOwner::Ack)?;
    Ok((packet_id, properties, reader.rest()))
}

fn put_codes(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: u16,
    properties: Properties<'_>,
) {
    out.extend_from_slice(&packet_id.to_be_bytes());
    if version.is_v5() {
        put_block(out, &[properties.as_bytes()]);
    }
}
