//! AUTH (§3.15): enhanced authentication, MQTT 5 only.

use super::frame::{Frame, PacketType, put_packet};
use super::primitive::Reader;
use super::property::{Properties, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// One step of an authentication exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// Method and data.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        if !version.is_v5() {
            return Err(ProtocolViolation::malformed(
                "AUTH does not exist in MQTT 3.1.1",
            ));
        }
        let mut reader = Reader::new(frame.body());
        let mut packet = Self {
            reason: ReasonCode::Success,
            properties: Properties::default(),
        };
        if reader.is_empty() {
            return Ok(packet);
        }
        let unknown = ProtocolViolation::malformed("the reason of an AUTH is unknown");
        let reason = ReasonCode::from_u8(reader.u8()?).ok_or(unknown)?;
        // [MQTT-3.15.2-1]
        if !matches!(
            reason,
            ReasonCode::Success | ReasonCode::ContinueAuthentication | ReasonCode::ReAuthenticate
        ) {
            return Err(unknown);
        }
        packet.reason = reason;
        packet.properties = Properties::read(&mut reader, PropertyOwner::Auth)?;
        if !reader.is_empty() {
            return Err(ProtocolViolation::malformed(
                "AUTH has bytes behind its end",
            ));
        }
        Ok(packet)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Auth, |out| {
            if self.reason != ReasonCode::Success || !self.properties.is_empty() {
                out.push(self.reason as u8);
                put_block(out, &[self.properties.as_bytes()]);
            }
        });
    }
}
