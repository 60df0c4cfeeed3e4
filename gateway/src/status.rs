//! What a gateway or bridge says of itself, read by logs, `$SYS`, metrics and the API.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Live state and counters of one gateway or bridge. Shared, cheap to update.
#[derive(Debug, Default)]
pub struct Status {
    link: Mutex<LinkState>,
    /// The time to the foreign side and back, in microseconds; 0 if it is not known.
    round_trip: AtomicU64,
    /// Messages in both directions.
    pub counters: Counters,
}

/// Whether the foreign side can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Not tried yet.
    #[default]
    Starting,
    /// Connected, bound or otherwise in service.
    Up,
    /// Out of service, with the reason in one sentence.
    Down(String),
}

impl LinkState {
    /// Up, unless an endpoint is missing, which is named.
    #[must_use]
    pub fn from_missing(endpoint: Option<String>) -> Self {
        endpoint.map_or(Self::Up, |endpoint| {
            Self::Down(format!("not connected to {endpoint}"))
        })
    }
}

/// Counts of messages since the daemon started.
#[derive(Debug, Default)]
pub struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

/// Why a message went no further. Every drop is counted under one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The foreign sample could not be read or matched no rule's form.
    Malformed,
    /// The MQTT payload could not be turned into what the foreign side expects.
    Untranslatable,
    /// The broker refused the message.
    Refused,
    /// The foreign side or a queue towards it had no room.
    NoRoom,
    /// No mapping rule applied.
    Unmapped,
    /// It has been here before, or went through too many brokers.
    Looped,
}

impl DropReason {
    /// All reasons, in the order in which they are reported.
    pub const ALL: [Self; 6] = [
        Self::Malformed,
        Self::Untranslatable,
        Self::Refused,
        Self::NoRoom,
        Self::Unmapped,
        Self::Looped,
    ];

    /// The reason as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Untranslatable => "untranslatable",
            Self::Refused => "refused",
            Self::NoRoom => "no_room",
            Self::Unmapped => "unmapped",
            Self::Looped => "looped",
        }
    }
}

impl Status {
    /// Sets whether the foreign side can be reached; true if that is a change.
    pub fn set_link(&self, state: LinkState) -> bool {
        let mut link = self.lock();
        let changed = *link != state;
        *link = state;
        changed
    }

    /// Sets whether the foreign side can be reached, and logs a change under the gateway's name.
    pub fn report_link(&self, gateway: &str, state: LinkState) {
        if !self.set_link(state.clone()) {
            return;
        }
        match state {
            LinkState::Starting => {}
            LinkState::Up => tracing::info!(gateway, "the gateway is up"),
            LinkState::Down(reason) => tracing::warn!(gateway, reason, "the gateway is down"),
        }
    }

    /// Counts a message that goes no further. The 1st, 2nd, 4th, 8th and so on of each reason is
    /// logged under the gateway's name, so that a flood of bad messages does not become a flood
    /// of lines.
    pub fn report_drop(&self, gateway: &str, reason: DropReason, error: &dyn Display) {
        let dropped = self.counters.count_dropped(reason);
        if dropped.is_power_of_two() {
            let reason = reason.as_str();
            tracing::warn!(gateway, reason, dropped, %error, "a message was dropped");
        }
    }

    /// Whether the foreign side can be reached.
    #[must_use]
    pub fn link(&self) -> LinkState {
        self.lock().clone()
    }

    /// Notes how long the foreign side took to answer.
    pub fn set_round_trip(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(micros.max(1), Ordering::Relaxed);
    }

    /// The time to the foreign side and back, as it was measured last.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    /// Counts messages that came from the foreign side and were published.
    pub fn count_received(&self, messages: u64) {
        self.received.fetch_add(messages, Ordering::Relaxed);
    }

    /// Counts messages that were handed to the foreign side.
    pub fn count_sent(&self, messages: u64) {
        self.sent.fetch_add(messages, Ordering::Relaxed);
    }

    /// Counts one message that went no further; returns how many there are now.
    fn count_dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Messages that came from the foreign side and were published.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Messages that were handed to the foreign side.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Messages that went no further for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }
}
