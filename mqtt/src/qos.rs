//! Quality of Service levels (MQTT 5.0 §4.3).

/// How hard sender and receiver try to get one Application Message across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: no acknowledgement, no retry.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: acknowledged by PUBACK, may arrive twice.
    AtLeastOnce = 1,
    /// QoS 2: four-packet handshake, arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level with this number, if there is one (3 is malformed, [MQTT-3.3.1-4]).
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// True for QoS 1 and 2, which are acknowledged and stored.
    #[must_use]
    pub const fn is_acknowledged(self) -> bool {
        !matches!(self, Self::AtMostOnce)
    }
}
