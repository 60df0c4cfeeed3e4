//! The properties of a packet that came, to be looked into.

use crate::property::{self, Property};
use crate::wire::Packet;

/// A property block in its order; empty where a packet has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block(pub Vec<Property>);

impl Block {
    /// The block that is the rest of a packet.
    ///
    /// # Panics
    /// It is malformed, longer than it has to be written, or something follows.
    #[must_use]
    #[track_caller]
    pub fn read(bytes: &[u8]) -> Self {
        let Some((properties, [])) = property::decode(bytes) else {
            panic!("no property block: {bytes:02x?}");
        };
        // [MQTT-1.5.5-1]
        assert_eq!(property::encode(&properties), bytes);
        Self(properties)
    }

    /// The block of a PUBACK and its like, or of a DISCONNECT.
    ///
    /// # Panics
    /// It is malformed.
    #[must_use]
    #[track_caller]
    pub fn of(packet: &Packet) -> Self {
        let start = if packet.head == 0xe0 { 1 } else { 3 };
        let bytes = packet.body.get(start..).unwrap_or_default();
        if bytes.is_empty() {
            return Self::default();
        }
        Self::read(bytes)
    }

    /// The first property of this kind.
    #[must_use]
    pub fn find(&self, identifier: u8) -> Option<&Property> {
        self.0.iter().find(|it| it.identifier == identifier)
    }

    /// The value of a property that is a number of one, two or four bytes.
    #[must_use]
    pub fn number(&self, identifier: u8) -> Option<u32> {
        self.find(identifier).map(Property::number)
    }

    /// The value of a property that is a string.
    ///
    /// # Panics
    /// It is no UTF-8.
    #[must_use]
    pub fn text(&self, identifier: u8) -> Option<&str> {
        let bytes = self.find(identifier)?.value.get(2..)?;
        Some(str::from_utf8(bytes).expect("UTF-8"))
    }
}
