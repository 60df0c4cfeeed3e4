//! The Fixed Header (MQTT 5.0 §2.1): where one packet ends and the next begins.

use super::primitive::put_variable_byte_integer;
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// The flag of a packet that may have been sent before.
pub(super) const DUP: u8 = 0b1000;

/// One packet's bytes, not yet looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    packet_type: PacketType,
    flags: u8,
    /// The length has more bytes than it needs.
    is_padded: bool,
    /// The whole packet.
    packet: &'a [u8],
    body: &'a [u8],
}

/// The packet types of §2.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The flags this type must have; PUBLISH uses them, so it has none prescribed.
    const fn prescribed_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            Self::Connect
            | Self::Connack
            | Self::Puback
            | Self::Pubrec
            | Self::Pubcomp
            | Self::Suback
            | Self::Unsuback
            | Self::Pingreq
            | Self::Pingresp
            | Self::Disconnect
            | Self::Auth => Some(0),
        }
    }
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes` and the number of bytes it takes; none if more are
    /// needed.
    ///
    /// # Errors
    /// The header is malformed, or the whole packet is longer than `packet_bytes_max`. The
    /// latter is known from the header alone, so nothing is kept of such a packet.
    pub fn split(
        bytes: &'a [u8],
        packet_bytes_max: usize,
    ) -> Result<Option<(Self, usize)>, ProtocolViolation> {
        let Some((packet_type, header_len, packet_len)) = begin(bytes, packet_bytes_max)? else {
            return Ok(None);
        };
        let packet = bytes.get(..packet_len);
        Ok(packet.map(|it| (Self::new(packet_type, header_len, it), packet_len)))
    }

    /// The frame at the front of `bytes` as far as it has come, and the number of bytes that all of
    /// it takes; none if more are needed.
    ///
    /// # Errors
    /// The header is malformed.
    pub(super) fn begun(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, ProtocolViolation> {
        let begun = begin(bytes, usize::MAX)?;
        Ok(begun.map(|(packet_type, header_len, packet_len)| {
            let packet = bytes.get(..packet_len).unwrap_or(bytes);
            (Self::new(packet_type, header_len, packet), packet_len)
        }))
    }

    fn new(packet_type: PacketType, header_len: usize, packet: &'a [u8]) -> Self {
        Self {
            packet_type,
            flags: packet[0] & 0x0F,
            is_padded: header_len > 2 && packet[header_len - 1] == 0,
            packet,
            body: &packet[header_len..],
        }
    }

    /// The bytes that the packet at the front takes, complete or not; none while its header is
    /// incomplete.
    ///
    /// # Errors
    /// Those of [`Frame::split`].
    pub fn length(
        bytes: &[u8],
        packet_bytes_max: usize,
    ) -> Result<Option<usize>, ProtocolViolation> {
        let begun = begin(bytes, packet_bytes_max)?;
        Ok(begun.map(|(_, _, packet_len)| packet_len))
    }

    /// The type of the packet.
    #[must_use]
    pub const fn packet_type(self) -> PacketType {
        self.packet_type
    }

    pub(super) const fn flags(self) -> u8 {
        self.flags
    }

    /// The whole packet, with its header.
    pub(super) const fn packet(self) -> &'a [u8] {
        self.packet
    }

    pub(super) const fn is_padded(self) -> bool {
        self.is_padded
    }

    pub(super) const fn body(self) -> &'a [u8] {
        self.body
    }

    /// Reserved flags must have their prescribed values [MQTT-2.1.3-1]. MQTT 3.1 sends
    /// SUBSCRIBE, UNSUBSCRIBE and PUBREL again with DUP, so that bit is free there.
    pub(super) fn check_flags(self, version: ProtocolVersion) -> Result<(), ProtocolViolation> {
        let flags = match (version, self.packet_type.prescribed_flags()) {
            (ProtocolVersion::V31, Some(0b0010)) => self.flags & !DUP,
            _ => self.flags,
        };
        match self.packet_type.prescribed_flags() {
            Some(prescribed) if prescribed != flags => Err(ProtocolViolation::malformed(
                "reserved flags of a packet are set wrongly",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// MQTT 5 forbids a length with needless bytes [MQTT-1.5.5-1]; MQTT 3 does not.
    pub(super) fn check_length(self, version: ProtocolVersion) -> Result<(), ProtocolViolation> {
        if self.is_padded && version.is_v5() {
            let detail = "the length has needless bytes";
            return Err(ProtocolViolation::malformed(detail));
        }
        Ok(())
    }

    pub(super) const fn check_empty(self) -> Result<(), ProtocolViolation> {
        if self.body.is_empty() {
            return Ok(());
        }
        Err(ProtocolViolation::malformed(
            "a packet without a body has one",
        ))
    }
}

/// The type of the packet at the front, the bytes of its header, and its own.
fn begin(
    bytes: &[u8],
    packet_bytes_max: usize,
) -> Result<Option<(PacketType, usize, usize)>, ProtocolViolation> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let unknown = ProtocolViolation::malformed("the packet type is unknown");
    let packet_type = PacketType::from_u8(first >> 4).ok_or(unknown)?;
    let Some((length, length_len)) = remaining_length(rest)? else {
        return Ok(None);
    };
    let header_len = 1 + length_len;
    let packet_len = header_len + length;
    if packet_len > packet_bytes_max {
        let detail = "the packet is larger than its receiver accepts";
        return Err(ProtocolViolation::new(ReasonCode::PacketTooLarge, detail));
    }
    Ok(Some((packet_type, header_len, packet_len)))
}

/// The Remaining Length and the bytes it takes; none if more are needed.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, ProtocolViolation> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    Err(ProtocolViolation::malformed(
        "the remaining length is longer than four bytes",
    ))
}

/// Appends a packet whose body is written by `write`.
pub(super) fn put_packet(
    out: &mut Vec<u8>,
    packet_type: PacketType,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let flags = packet_type.prescribed_flags().unwrap_or(0);
    out.push((packet_type as u8) << 4 | flags);
    let start = out.len();
    write(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    // The length, which few packets need more than a byte for, is known last and stands first.
    let end = out.len();
    put_variable_byte_integer(out, length);
    let length_bytes = out.len() - end;
    out[start..].rotate_right(length_bytes);
}
