//! Protocol versions, as the name and level byte of CONNECT state them.

/// The MQTT version a Network Connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1 (2010), whose protocol is named MQIsdp.
    V31 = 3,
    /// MQTT 3.1.1 (OASIS Standard, 2014).
    V311 = 4,
    /// MQTT 5.0 (OASIS Standard, 2019).
    V5 = 5,
}

impl ProtocolVersion {
    /// The version with this Protocol Name and Protocol Level, if it is supported.
    #[must_use]
    pub fn from_name_and_level(name: &str, level: u8) -> Option<Self> {
        match (name, level) {
            ("MQIsdp", 3) => Some(Self::V31),
            ("MQTT", 4) => Some(Self::V311),
            ("MQTT", 5) => Some(Self::V5),
            _ => None,
        }
    }

    /// The Protocol Name.
    #[must_use]
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }

    /// True where packets carry properties and reason codes.
    #[must_use]
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}
