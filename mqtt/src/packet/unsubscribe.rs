//! UNSUBSCRIBE (§3.10).

use super::connect::read_properties;
use super::frame::{Frame, PacketType, put_packet};
use super::primitive::{Reader, put_string};
use super::property::{Properties, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation};

/// A client no longer wants messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The UNSUBACK repeats it.
    pub packet_id: u16,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    payload: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let mut reader = Reader::new(frame.body());
        let packet_id = reader.packet_id()?;
        let properties = read_properties(&mut reader, version, PropertyOwner::Unsubscribe)?;
        let payload = reader.rest();
        // [MQTT-3.10.3-2]
        if reader.is_empty() {
            return Err(ProtocolViolation::protocol(
                "UNSUBSCRIBE without a topic filter",
            ));
        }
        while !reader.is_empty() {
            reader.string()?;
        }
        Ok(Self {
            packet_id,
            properties,
            payload,
        })
    }

    /// The Topic Filters in their order; whether each is a valid filter is not yet checked.
    pub fn filters(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.payload);
        // `decode` went over the payload, so an error cannot come.
        std::iter::from_fn(move || reader.string().ok())
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Unsubscribe, |out| {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
            if version.is_v5() {
                put_block(out, &[self.properties.as_bytes()]);
            }
            out.extend_from_slice(self.payload);
        });
    }
}

/// Appends an UNSUBSCRIBE for these filters; MQTT 3 has no properties.
pub(crate) fn put_unsubscribe<'f>(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: u16,
    properties: Properties<'_>,
    filters: impl IntoIterator<Item = &'f str>,
) {
    let mut payload = Vec::new();
    for filter in filters {
        put_string(&mut payload, filter);
    }
    let unsubscribe = Unsubscribe {
        packet_id,
        properties,
        payload: &payload,
    };
    unsubscribe.encode(version, out);
}
