//! What is known of a gateway or bridge at one moment, for `$SYS`, metrics and the API alike.

use std::sync::Arc;
use std::time::Duration;

use crate::{DropReason, LinkState};

/// The state of one gateway or bridge, see [`crate::Status::report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// Whether the foreign side can be reached.
    pub link: LinkState,
    /// Milliseconds since 1970, by the wall clock, when it went up or down; 0 if it has done
    /// neither yet.
    pub since_millis: u64,
    /// What it is connected to, if there are several it could be.
    pub address: Option<Arc<str>>,
    /// Why it was down last, unless that was wanted, also if it is up again; or what the foreign side
    /// refused later than that.
    pub last_error: Option<String>,
    /// The time to the foreign side and back, as it was measured last.
    pub round_trip: Option<Duration>,
    /// Messages that came from the foreign side and were published.
    pub received: u64,
    /// Messages that were handed to the foreign side.
    pub sent: u64,
    /// Messages that went no further, by reason.
    pub dropped: [(DropReason, u64); DropReason::ALL.len()],
    /// What waits for the foreign side, if that is kept until it is acknowledged.
    pub outbox: Option<Outbox>,
}

/// What waits for the foreign side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    /// Messages that are not acknowledged, sent or not.
    pub messages: u64,
    /// Bytes of their topics, payloads and properties.
    pub bytes: u64,
    /// How long the oldest of them has waited, to a hundredth of the longest wait; what was there before the daemon
    /// started counts from then on. Zero if there is none.
    pub oldest: Duration,
    /// It is nearly full.
    pub is_alarming: bool,
}

impl LinkState {
    /// The state in one word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down(_) => "down",
        }
    }

    /// Why it is down, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Starting | Self::Up => None,
            Self::Down(reason) => Some(reason),
        }
    }
}
