//! DISCONNECT (§3.14): the last packet of a connection that ends in order.

use super::frame::{Frame, PacketType, put_packet};
use super::primitive::Reader;
use super::property::{Properties, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// One side ends the connection. A 3.1.1 server closes without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Always success in 3.1.1.
    pub reason: ReasonCode,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// The code for a reason to disconnect: some have a code for CONNACK only.
    pub(crate) const fn reason(reason: ReasonCode) -> ReasonCode {
        if is_allowed(reason) {
            reason
        } else {
            ReasonCode::ProtocolError
        }
    }

    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let mut reader = Reader::new(frame.body());
        let mut packet = Self {
            reason: ReasonCode::Success,
            properties: Properties::default(),
        };
        if version.is_v5() && !reader.is_empty() {
            let unknown = ProtocolViolation::malformed("the reason of a DISCONNECT is unknown");
            let reason = ReasonCode::from_u8(reader.u8()?).filter(|&reason| is_allowed(reason));
            packet.reason = reason.ok_or(unknown)?;
            if !reader.is_empty() {
                packet.properties = Properties::read(&mut reader, PropertyOwner::Disconnect)?;
            }
        }
        if !reader.is_empty() {
            return Err(ProtocolViolation::malformed(
                "DISCONNECT has bytes behind its end",
            ));
        }
        Ok(packet)
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Disconnect, |out| {
            let plain = self.reason == ReasonCode::Success && self.properties.is_empty();
            if version.is_v5() && !plain {
                out.push(self.reason as u8);
                put_block(out, &[self.properties.as_bytes()]);
            }
        });
    }
}

/// The Reason Codes of table 3-10 [MQTT-3.14.2-1], and 0x8C, which ends a re-authentication
/// (§4.12.1).
const fn is_allowed(reason: ReasonCode) -> bool {
    matches!(
        reason as u8,
        0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
    )
}
