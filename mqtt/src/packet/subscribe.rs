//! SUBSCRIBE (§3.8): one or more Topic Filters with their options.

use super::connect::read_properties;
use super::frame::{Frame, PacketType, put_packet};
use super::primitive::{Reader, put_string};
use super::property::{Properties, Property, PropertyOwner, put_block};
use crate::{ProtocolVersion, ProtocolViolation, QoS};

/// A client asks for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The SUBACK repeats it.
    pub packet_id: u16,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    payload: &'a [u8],
    version: ProtocolVersion,
}

/// Subscription Options (§3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The highest QoS for messages to this subscriber.
    pub qos: QoS,
    /// Do not send back what this client published itself.
    pub no_local: bool,
    /// Keep the retain flag as it was published.
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent at the time of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Send = 0,
    /// Only if the subscription is new.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl SubscriptionOptions {
    /// Reads the options byte; reserved bits must be zero [MQTT-3.8.3-5]. In MQTT 3 a QoS of 3 is
    /// malformed too (3.1.1 [MQTT-3.8.3-4]).
    ///
    /// # Errors
    /// A reserved bit is set or a value does not exist.
    pub fn from_u8(byte: u8, version: ProtocolVersion) -> Result<Self, ProtocolViolation> {
        let reserved = if version.is_v5() {
            0b1100_0000
        } else {
            0b1111_1100
        };
        let malformed = ProtocolViolation::malformed("subscription options are malformed");
        if byte & reserved != 0 {
            return Err(malformed);
        }
        let too_high = if version.is_v5() {
            ProtocolViolation::protocol("the QoS of a subscription is 3")
        } else {
            malformed
        };
        let qos = QoS::from_u8(byte & 0b11).ok_or(too_high)?;
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(ProtocolViolation::protocol("retain handling is 3")),
        };
        let no_local = byte & 0b100 != 0;
        let retain_as_published = byte & 0b1000 != 0;
        Ok(Self {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        })
    }

    /// The options as one byte of the packet.
    #[must_use]
    pub fn to_u8(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, ProtocolViolation> {
        let mut reader = Reader::new(frame.body());
        let packet_id = reader.packet_id()?;
        let properties = read_properties(&mut reader, version, PropertyOwner::Subscribe)?;
        let payload = reader.rest();
        // [MQTT-3.8.3-2]
        if reader.is_empty() {
            return Err(ProtocolViolation::protocol(
                "SUBSCRIBE without a topic filter",
            ));
        }
        while !reader.is_empty() {
            reader.string()?;
            SubscriptionOptions::from_u8(reader.u8()?, version)?;
        }
        Ok(Self {
            packet_id,
            properties,
            payload,
            version,
        })
    }

    /// The Topic Filters in their order; whether each is a valid filter is not yet checked.
    pub fn filters(&self) -> impl Iterator<Item = (&'a str, SubscriptionOptions)> + use<'a> {
        let (mut reader, version) = (Reader::new(self.payload), self.version);
        // `decode` went over the payload, so an error cannot come.
        std::iter::from_fn(move || {
            let filter = reader.string().ok()?;
            let options = SubscriptionOptions::from_u8(reader.u8().ok()?, version).ok()?;
            Some((filter, options))
        })
    }

    /// The Subscription Identifier that belongs to all filters of this packet.
    #[must_use]
    pub fn identifier(&self) -> Option<u32> {
        self.properties.iter().find_map(|property| {
            if let Property::SubscriptionIdentifier(value) = property {
                Some(value)
            } else {
                None
            }
        })
    }

    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        put_packet(out, PacketType::Subscribe, |out| {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
            if version.is_v5() {
                put_block(out, &[self.properties.as_bytes()]);
            }
            out.extend_from_slice(self.payload);
        });
    }
}

/// Appends a SUBSCRIBE for these filters, without properties.
pub fn encode_subscribe(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: u16,
    filters: &[(&str, SubscriptionOptions)],
) {
    let filters = filters.iter().copied();
    put_subscribe(out, version, packet_id, Properties::default(), filters);
}

/// The same with properties, which MQTT 3 does not have, nor any option but the QoS.
pub(crate) fn put_subscribe<'f>(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: u16,
    properties: Properties<'_>,
    filters: impl IntoIterator<Item = (&'f str, SubscriptionOptions)>,
) {
    let mut payload = Vec::new();
    for (filter, options) in filters {
        put_string(&mut payload, filter);
        payload.push(if version.is_v5() {
            options.to_u8()
        } else {
            options.qos as u8
        });
    }
    let subscribe = Subscribe {
        packet_id,
        properties,
        payload: &payload,
        version,
    };
    subscribe.encode(version, out);
}
