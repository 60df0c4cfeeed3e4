//! What a peer did wrong, with the Reason Code that tells it so.

use crate::ReasonCode;

/// A packet or a sequence of packets that the specification forbids. The fault is the peer's:
/// its Network Connection is closed, nobody else's [MQTT-4.13.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ProtocolViolation {
    /// What a CONNACK or DISCONNECT says.
    pub reason: ReasonCode,
    /// The rule that was broken, as a sentence without a full stop.
    pub detail: &'static str,
}

impl ProtocolViolation {
    /// A packet that cannot be parsed.
    #[must_use]
    pub const fn malformed(detail: &'static str) -> Self {
        Self {
            reason: ReasonCode::MalformedPacket,
            detail,
        }
    }

    /// A packet that can be parsed but must not be sent, or not now.
    #[must_use]
    pub const fn protocol(detail: &'static str) -> Self {
        Self {
            reason: ReasonCode::ProtocolError,
            detail,
        }
    }

    /// A violation with a Reason Code of its own.
    #[must_use]
    pub const fn new(reason: ReasonCode, detail: &'static str) -> Self {
        Self { reason, detail }
    }
}
