//! Complaints that are not worth a line each.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// Lets the first complaint through, and then at most one a minute.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    pub(crate) fn lets_through(&mut self) -> bool {
        let is_due = self.0.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}
