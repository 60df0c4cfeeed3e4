//! A PUBLISH with all that is in it, in both directions.

use crate::property::{self, Property};
use crate::wire::{Packet, Version, packet};

/// A PUBLISH (§3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The Topic Name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The QoS.
    pub qos: u8,
    /// The RETAIN flag.
    pub retain: bool,
    /// The DUP flag.
    pub dup: bool,
    /// The Packet Identifier; 0 if there is none.
    pub identifier: u16,
    /// The properties; MQTT 3 has none.
    pub properties: Vec<Property>,
}

impl Message {
    /// A QoS 0 message.
    #[must_use]
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: false,
            dup: false,
            identifier: 0,
            properties: Vec::new(),
        }
    }

    /// With this QoS and Packet Identifier, which QoS 0 does not send.
    #[must_use]
    pub fn qos(self, qos: u8, identifier: u16) -> Self {
        Self {
            qos,
            identifier,
            ..self
        }
    }

    /// With the RETAIN flag.
    #[must_use]
    pub fn retained(self) -> Self {
        Self {
            retain: true,
            ..self
        }
    }

    /// With the DUP flag.
    #[must_use]
    pub fn again(self) -> Self {
        Self { dup: true, ..self }
    }

    /// With one more property.
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// The value of the first property with this identifier, as a number.
    #[must_use]
    pub fn number(&self, identifier: u8) -> Option<u32> {
        let mut properties = self.properties.iter();
        let found = properties.find(|it| it.identifier == identifier);
        found.map(Property::number)
    }

    /// The payload as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// Its bytes on the wire.
    ///
    /// # Panics
    /// The topic is longer than a topic can be.
    #[must_use]
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let length = u16::try_from(self.topic.len()).expect("a topic");
        let mut body = length.to_be_bytes().to_vec();
        body.extend(self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.identifier.to_be_bytes());
        }
        if version == Version::V5 {
            body.extend(property::encode(&self.properties));
        }
        body.extend(&self.payload);
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        packet(0x30 | flags, &body)
    }

    /// What a packet says as a PUBLISH; none if it is none, or malformed.
    #[must_use]
    pub fn decode(packet: &Packet, version: Version) -> Option<Self> {
        if packet.head >> 4 != 3 {
            return None;
        }
        let (length, rest) = packet.body.split_first_chunk()?;
        let (topic, mut rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let qos = packet.head >> 1 & 3;
        let mut message = Self::new(std::str::from_utf8(topic).ok()?, []).qos(qos, 0);
        message.dup = packet.head & 8 != 0;
        message.retain = packet.head & 1 != 0;
        if qos > 0 {
            let (identifier, after) = rest.split_first_chunk()?;
            message.identifier = u16::from_be_bytes(*identifier);
            rest = after;
        }
        if version == Version::V5 {
            (message.properties, rest) = property::decode(rest)?;
        }
        message.payload = rest.to_vec();
        Some(message)
    }
}
