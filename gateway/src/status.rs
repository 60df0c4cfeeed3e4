//! What a gateway or bridge says of itself, read by logs, `$SYS`, metrics and the API.

use std::fmt::Display;
use std::mem::discriminant;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Outbox, StatusReport};

/// Live state and counters of one gateway or bridge. Shared, cheap to update.
#[derive(Debug, Default)]
pub struct Status {
    link: Mutex<Link>,
    /// The link was looked at since it changed last.
    is_seen: AtomicBool,
    /// The outbox is nearly full.
    is_alarming: AtomicBool,
    /// The time to the foreign side and back, in microseconds; 0 if it is not known.
    round_trip: AtomicU64,
    /// Messages in both directions.
    pub counters: Counters,
}

/// The link with what is told of it.
#[derive(Debug, Default)]
struct Link {
    state: LinkState,
    /// Milliseconds since 1970 when it went up or down; 0 until the change is seen.
    since_millis: u64,
    address: Option<Arc<str>>,
    last_error: Option<String>,
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
    /// The message is larger than what is taken in, here or by the foreign side.
    TooLarge,
    /// The connection to the foreign side ended before it was sent, and nothing keeps it.
    LinkDown,
}

impl DropReason {
    /// All reasons, in the order in which they are reported.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Untranslatable,
        Self::Refused,
        Self::NoRoom,
        Self::Unmapped,
        Self::TooLarge,
        Self::LinkDown,
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
            Self::TooLarge => "too_large",
            Self::LinkDown => "link_down",
        }
    }
}

impl Status {
    /// Sets whether the foreign side can be reached; true if that is a change. Why it cannot is the
    /// last error from then on.
    pub fn set_link(&self, state: LinkState) -> bool {
        let error = state.reason().map(str::to_owned);
        self.set(state, None, error)
    }

    /// It is out of service because somebody wants that, which is no error.
    pub fn set_stopped(&self, reason: &str) {
        self.set(LinkState::Down(reason.to_owned()), None, None);
    }

    fn set(&self, state: LinkState, address: Option<&str>, error: Option<String>) -> bool {
        let mut link = self.lock();
        if link.state == state && link.address.as_deref() == address {
            return false;
        }
        link.last_error = error.or_else(|| link.last_error.take());
        // Another reason or another address does not make it down or up anew.
        if discriminant(&link.state) != discriminant(&state) {
            link.since_millis = 0;
        }
        link.address = address.map(Into::into);
        link.state = state;
        self.is_seen.store(false, Ordering::Release);
        true
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

    /// The foreign side can be reached at this address; logs a change under the gateway's name.
    pub fn report_up(&self, gateway: &str, address: &str) {
        if self.set(LinkState::Up, Some(address), None) {
            tracing::info!(gateway, address, "the gateway is up");
        }
    }

    /// Notes what does not work although the foreign side can be reached. It is the last error until
    /// another one comes.
    pub fn note_problem(&self, problem: String) {
        let mut link = self.lock();
        if link.last_error.as_ref() != Some(&problem) {
            link.last_error = Some(problem);
            self.is_seen.store(false, Ordering::Release);
        }
    }

    /// Whether the link is not as it was at the last call, or there was none. What has gone up or
    /// down since is so from this time on, milliseconds since 1970.
    pub fn take_change(&self, wall_millis: impl FnOnce() -> u64) -> bool {
        if self.is_seen.load(Ordering::Acquire) {
            return false;
        }
        let mut link = self.lock();
        self.is_seen.store(true, Ordering::Release);
        if link.since_millis == 0 {
            link.since_millis = wall_millis();
        }
        true
    }

    /// Notes whether the outbox is nearly full; true if that is a change.
    pub fn set_alarm(&self, is_alarming: bool) -> bool {
        self.is_alarming.swap(is_alarming, Ordering::Relaxed) != is_alarming
    }

    /// Whether the outbox is nearly full.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.is_alarming.load(Ordering::Relaxed)
    }

    /// Everything at this moment; the outbox is what the daemon knows.
    #[must_use]
    pub fn report(&self, outbox: Option<Outbox>) -> StatusReport {
        let link = self.lock();
        StatusReport {
            link: link.state.clone(),
            since_millis: link.since_millis,
            address: link.address.clone(),
            last_error: link.last_error.clone(),
            round_trip: self.round_trip(),
            received: self.counters.received(),
            sent: self.counters.sent(),
            dropped: DropReason::ALL.map(|reason| (reason, self.counters.dropped(reason))),
            outbox,
        }
    }

    /// Counts a message that goes no further. The 1st, 2nd, 4th, 8th and so on of each reason is
    /// logged under the gateway's name and is the last error, so that a flood of bad messages does
    /// not become a flood of lines.
    pub fn report_drop(&self, gateway: &str, reason: DropReason, error: &dyn Display) {
        let dropped = self.counters.count_dropped(reason);
        if dropped.is_power_of_two() {
            let reason = reason.as_str();
            tracing::warn!(gateway, reason, dropped, %error, "a message was dropped");
            self.note_problem(format!("a message was dropped: {error}"));
        }
    }

    /// Whether the foreign side can be reached.
    #[must_use]
    pub fn link(&self) -> LinkState {
        self.lock().state.clone()
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

    fn lock(&self) -> MutexGuard<'_, Link> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn down(reason: &str) -> LinkState {
        LinkState::Down(reason.to_owned())
    }

    #[test]
    fn each_change_is_seen_once_with_its_time() {
        let status = Status::default();
        let since = || status.report(None).since_millis;
        assert!(status.take_change(|| 1), "the beginning");
        assert_eq!(
            (status.report(None).link, since()),
            (LinkState::Starting, 1)
        );
        assert!(!status.take_change(|| 2));
        assert!(status.set_link(down("refused")));
        assert!(!status.set_link(down("refused")));
        assert!(status.take_change(|| 3));
        assert_eq!(since(), 3);
        // Still down, whatever the reason.
        status.set_link(down("no route"));
        assert!(status.take_change(|| 4));
        assert_eq!((status.link(), since()), (down("no route"), 3));
        // Up and down between two looks is a time of its own.
        status.report_up("bridge/hub", "mqtt-tcp://a");
        status.set_link(down("lost"));
        assert!(status.take_change(|| 5));
        assert_eq!(since(), 5);
    }

    #[test]
    fn an_address_is_known_while_it_is_up_and_the_last_error_for_good() {
        let status = Status::default();
        assert_eq!(status.report(None).last_error, None);
        status.set_link(down("refused"));
        status.report_up("bridge/hub", "mqtt-tcp://a");
        assert!(status.take_change(|| 7));
        status.report_up("bridge/hub", "mqtt-tcp://b");
        assert!(status.take_change(|| 8), "another hub");
        let report = status.report(None);
        assert_eq!(report.address.as_deref(), Some("mqtt-tcp://b"));
        assert_eq!(report.last_error.as_deref(), Some("refused"));
        assert_eq!(report.since_millis, 7);
        status.set_link(down("lost"));
        let report = status.report(None);
        assert_eq!(report.address, None);
        assert_eq!(report.last_error.as_deref(), Some("lost"));
    }

    #[test]
    fn a_stop_that_is_wanted_is_told_and_is_no_error() {
        let status = Status::default();
        for error in [None, Some("refused")] {
            if let Some(error) = error {
                status.set_link(down(error));
            }
            status.set_link(LinkState::Up);
            status.set_stopped("paused");
            assert!(status.take_change(|| 7));
            let report = status.report(None);
            assert_eq!((report.link, report.since_millis), (down("paused"), 7));
            assert_eq!(report.last_error.as_deref(), error);
        }
    }

    #[test]
    fn a_problem_is_told_once_and_leaves_the_link_up() {
        let status = Status::default();
        status.report_up("bridge/hub", "mqtt-tcp://a");
        assert!(status.take_change(|| 7));
        for is_new in [true, false] {
            status.note_problem("a filter is refused".to_owned());
            assert_eq!(status.take_change(|| 8), is_new);
        }
        let report = status.report(None);
        assert_eq!(report.last_error.as_deref(), Some("a filter is refused"));
        assert_eq!((report.link, report.since_millis), (LinkState::Up, 7));
    }

    #[test]
    fn fewer_and_fewer_of_many_drops_are_told() {
        let status = Status::default();
        status.report_up("bridge/hub", "mqtt-tcp://a");
        assert!(status.take_change(|| 7));
        let mut told = Vec::new();
        for number in 1..=20 {
            status.report_drop("bridge/hub", DropReason::Refused, &number);
            if status.take_change(|| 8) {
                told.extend(status.report(None).last_error);
            }
        }
        let expected = [1, 2, 4, 8, 16].map(|it| format!("a message was dropped: {it}"));
        assert_eq!(told, expected);
        assert_eq!(status.link(), LinkState::Up);
    }

    #[test]
    fn an_alarm_is_a_change_once() {
        let status = Status::default();
        let changes = [false, true, true, false].map(|it| status.set_alarm(it));
        assert_eq!(changes, [false, true, false, true]);
    }
}
