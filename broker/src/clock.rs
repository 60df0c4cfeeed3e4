//! The daemon's only clock for MQTT matters.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mqtt::Timestamp;

/// Milliseconds since the Unix epoch as the wall clock had it at start, plus monotonic time
/// since: a jump of the wall clock while the daemon runs expires nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    epoch: Timestamp,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub(crate) fn start() -> Self {
        // A wall clock before 1970 counts as 1970.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            epoch: Timestamp::default().after(wall),
        }
    }

    /// A moment at which this delay has passed for certain: the clock counts whole milliseconds,
    /// so that the present one may have begun before.
    #[must_use]
    pub(crate) fn after(&self, delay: Duration) -> Timestamp {
        const STEP: Duration = Duration::from_millis(1);
        self.now().after(delay.saturating_add(STEP))
    }

    /// The present moment.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        self.epoch.after(self.started.elapsed())
    }
}
