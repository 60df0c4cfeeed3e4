//! `retain`: retained messages.

use gateway::ByteSize;
use serde::Deserialize;

/// Limits of retained messages. What exceeds them is not taken from MQTT 5 publishers, who get 0x97
/// at QoS 1 and 2. All others are not told: theirs is delivered but not retained, and removes the
/// one before it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retain {
    /// Bytes of the largest payload that is retained; default 256 KiB. With 0 nothing is.
    pub(crate) max_payload_size: ByteSize,
    /// Retained messages of all topics; default 100000. With 0 nothing is retained.
    pub(crate) max_messages: u64,
    /// Bytes of the topics, payloads and properties of all retained messages; default 64 MiB.
    /// With 0 nothing is retained.
    pub(crate) max_size: ByteSize,
}

impl Default for Retain {
    fn default() -> Self {
        Self {
            max_payload_size: ByteSize::kibibytes(256),
            max_messages: 100_000,
            max_size: ByteSize::mebibytes(64),
        }
    }
}
