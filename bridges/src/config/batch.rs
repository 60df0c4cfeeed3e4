//! The keys of `batch{}`: many messages in one packet, towards a hub that is a Tidegate.

use std::time::Duration;

use gateway::{ByteSize, ConfigError, ConfiguredDuration};
use serde::Deserialize;

use crate::batch::{BYTES_MAX, MESSAGES_MAX};

/// How messages are packed. Without this block none are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// How much work is put into it: 1 (fast) to 19 (small). Default 9.
    pub compression_level: u8,
    /// Bytes of the packets in a batch before they are compressed, 1 KiB to 256 KiB. Default 64 KiB,
    /// beyond which little is saved; but one batch is on its way at a time. A message that is larger
    /// goes by itself.
    pub max_bytes: ByteSize,
    /// Messages in a batch, 2 to 4,096. Default 1,000.
    pub max_messages: u16,
    /// How long a message waits for others, up to 60s. Default 1s; with 0 only those go together that
    /// wait anyway.
    pub linger: ConfiguredDuration,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            compression_level: 9,
            max_bytes: ByteSize::kibibytes(64),
            max_messages: 1_000,
            linger: ConfiguredDuration::from_secs(1),
        }
    }
}

impl Batch {
    /// Checks what a single value cannot show.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bytes = ByteSize::kibibytes(1)..=ByteSize(BYTES_MAX as u64);
        let (key, problem) = if !(1..=19).contains(&self.compression_level) {
            ("compression_level", "must be from 1 to 19")
        } else if !bytes.contains(&self.max_bytes) {
            ("max_bytes", "must be from 1 KiB to 256 KiB")
        } else if !(2..=MESSAGES_MAX).contains(&self.max_messages.into()) {
            ("max_messages", "must be from 2 to 4096")
        } else if self.linger.0 > Duration::from_secs(60) {
            ("linger", "must be from 0s to 60s")
        } else {
            return Ok(());
        };
        Err(ConfigError::new(format!("batch.{key}"), problem))
    }
}
