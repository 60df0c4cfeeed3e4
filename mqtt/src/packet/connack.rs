//! CONNACK (§3.2): the server's answer to CONNECT.

use super::connect::read_properties;
use super::frame::{Frame, PacketType, put_packet};
use super::primitive::Reader;
use super::property::{Properties, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// The server accepts or refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// True if the server has kept a session for this client.
    pub session_present: bool,
    /// Success or why not. In 3.1.1 one of five Connect Return Codes stands for it.
    pub reason: ReasonCode,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    /// The refusal of a server that does not know the version of the CONNECT and answers in the
    /// form of another one (§3.1.2.2); none if this is none.
    #[must_use]
    pub fn stated_refusal(frame: Frame<'_>) -> Option<ReasonCode> {
        let unsupported = ReasonCode::UnsupportedProtocolVersion;
        match (frame.packet_type(), frame.body()) {
            (PacketType::Connack, [0, code]) if *code != 0 && *code != unsupported as u8 => {
                from_return_code(*code)
            }
            (PacketType::Connack, [0, code, ..]) if *code == unsupported as u8 => Some(unsupported),
            _ => None,
        }
    }

    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let mut reader = Reader::new(frame.body());
        let flags = reader.u8()?;
        let code = reader.u8()?;
        // MQTT 3.1 has no Session Present; the byte is reserved.
        let session_present = version != ProtocolVersion::V31 && flags == 1;
        // [MQTT-3.2.2-1]
        if flags > 1 && version != ProtocolVersion::V31 {
            return Err(ProtocolViolation::malformed(
                "reserved CONNACK flags are set",
            ));
        }
        let unknown = ProtocolViolation::malformed("the CONNACK code is unknown");
        let reason = if version.is_v5() {
            ReasonCode::from_u8(code).filter(|&reason| is_allowed(reason))
        } else {
            from_return_code(code)
        };
        let reason = reason.ok_or(unknown)?;
        // [MQTT-3.2.2-6], 3.1.1 [MQTT-3.2.2-4]
        if session_present && reason != ReasonCode::Success {
            return Err(ProtocolViolation::malformed(
                "a CONNACK that refuses has a session",
            ));
        }
        let properties = read_properties(&mut reader, version, PropertyOwner::Connack)?;
        if !reader.is_empty() {
            return Err(ProtocolViolation::malformed(
                "CONNACK has bytes behind its end",
            ));
        }
        Ok(Self {
            session_present,
            reason,
            properties,
        })
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Connack, |out| {
            // MQTT 3.1 has no Session Present; the byte is reserved.
            let session_present = self.session_present && version != ProtocolVersion::V31;
            out.push(u8::from(session_present));
            if version.is_v5() {
                out.push(self.reason as u8);
                put_block(out, &[self.properties.as_bytes()]);
            } else {
                out.push(self.reason.connect_return_code());
            }
        });
    }
}

/// The Reason Code that a 3.1.1 Connect Return Code stands for (3.1.1 §3.2.2.3).
const fn from_return_code(code: u8) -> Option<ReasonCode> {
    Some(match code {
        0 => ReasonCode::Success,
        1 => ReasonCode::UnsupportedProtocolVersion,
        2 => ReasonCode::ClientIdentifierNotValid,
        3 => ReasonCode::ServerUnavailable,
        4 => ReasonCode::BadUserNameOrPassword,
        5 => ReasonCode::NotAuthorized,
        _ => return None,
    })
}

/// The Reason Codes of table 3-1 [MQTT-3.2.2-8].
const fn is_allowed(reason: ReasonCode) -> bool {
    matches!(
        reason as u8,
        0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
    )
}
