//! Whether the connection of a link is served by an actor, and how long that had nothing to do.
//!
//! One number that the connection writes when it is polled and the timekeeper when it sweeps, so
//! that a connection needs neither a timer nor a look at the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mqtt::Timestamp;

/// There is no actor: the connection is passive, or there is none, or a gateway has the link.
const PASSIVE: u64 = 0;
const ACTIVE: u64 = 1;
/// The actor is to look whether it can be passivated.
const ASKED: u64 = 2;
/// From here on: the millisecond since when the actor has had nothing to do.
const QUIET: u64 = 3;

/// The activity of one link.
#[derive(Debug, Default)]
pub(crate) struct Activity(AtomicU64);

impl Activity {
    /// The actor is polled; true if it was asked to look whether it can be passivated.
    pub(crate) fn stir(&self) -> bool {
        self.0.load(Ordering::Relaxed) != ACTIVE && self.0.swap(ACTIVE, Ordering::Relaxed) == ASKED
    }

    /// The actor is no more.
    pub(crate) fn passivate(&self) {
        self.0.store(PASSIVE, Ordering::Relaxed);
    }

    /// True if there is no actor.
    #[cfg(test)]
    pub(crate) fn is_passive(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PASSIVE
    }

    /// Asks an actor that has had nothing to do for so long since an earlier call; true if it has
    /// to be woken for that.
    pub(crate) fn ask(&self, now: Timestamp, passive_after: Duration) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        let next = match seen {
            PASSIVE | ASKED => return false,
            ACTIVE => now.as_millis().max(QUIET),
            since if now.since(Timestamp::from_millis(since)) < passive_after => return false,
            _since => ASKED,
        };
        // If the actor is polled in between, it is not quiet.
        let (set, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let changed = self.0.compare_exchange(seen, next, set, failure);
        changed.is_ok() && next == ASKED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_actor_is_asked_once_it_was_quiet_for_the_time_and_only_once() {
        let activity = Activity::default();
        assert!(!activity.stir());
        // The first sweep sees that it is quiet.
        for second in 10..15 {
            assert!(!activity.ask(at(second), AFTER), "{second}");
        }
        assert!(activity.ask(at(15), AFTER));
        assert!(!activity.ask(at(16), AFTER));
        assert!(activity.stir());
        assert!(!activity.stir());
    }

    #[test]
    fn an_actor_that_is_polled_in_between_is_not_asked() {
        let activity = Activity::default();
        activity.stir();
        assert!(!activity.ask(at(10), AFTER));
        assert!(!activity.stir());
        assert!(!activity.ask(at(15), AFTER));
        assert!(!activity.ask(at(19), AFTER));
        assert!(activity.ask(at(20), AFTER));
    }

    #[test]
    fn what_is_passive_is_never_asked() {
        let activity = Activity::default();
        for second in 0..20 {
            assert!(!activity.ask(at(second), Duration::ZERO));
        }
        activity.stir();
        activity.passivate();
        assert!(!activity.ask(at(20), Duration::ZERO));
        assert!(!activity.ask(at(40), Duration::ZERO));
        assert!(activity.is_passive());
        assert!(!activity.stir(), "nobody asked");
    }
}
