//! Protocol versions, as the level byte of CONNECT states them.

/// The MQTT version a Network Connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1 (OASIS Standard, 2014).
    V311 = 4,
    /// MQTT 5.0 (OASIS Standard, 2019).
    V5 = 5,
}

impl ProtocolVersion {
    /// The version with this protocol level, if it is supported.
    #[must_use]
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            4 => Some(Self::V311),
            5 => Some(Self::V5),
            _ => None,
        }
    }

    /// True where packets carry properties and reason codes.
    #[must_use]
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}
