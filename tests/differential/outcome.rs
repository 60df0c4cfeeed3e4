//! What a codec makes of bytes.

use crate::value::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More bytes are needed.
    Incomplete,
    /// There is no such packet; in the codec's own words.
    Refused(String),
    /// A packet at the front of the bytes.
    Taken {
        value: Value,
        /// The same packet, encoded by the same codec.
        encoded: Vec<u8>,
        /// The bytes that it takes.
        len: usize,
    },
}

impl Outcome {
    /// The codec's words for a refusal; none for a packet.
    pub(crate) fn refusal(&self) -> Option<&str> {
        match self {
            Self::Incomplete => Some("incomplete"),
            Self::Refused(words) => Some(words),
            Self::Taken { .. } => None,
        }
    }

    pub(crate) fn value(&self) -> Option<&Value> {
        match self {
            Self::Taken { value, .. } => Some(value),
            Self::Incomplete | Self::Refused(_) => None,
        }
    }
}
