//! Keeps a peer from filling the log: a few lines, then a pause, then how many were left out.

use std::time::{Duration, Instant};

/// Lines that are let through in one window.
const LINES_PER_WINDOW: u32 = 5;
/// How long a window lasts.
const WINDOW: Duration = Duration::from_secs(10);

/// Decides which lines of one kind are logged.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    window: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl RateLimit {
    pub(crate) const fn new() -> Self {
        Self {
            window: None,
            lines: 0,
            left_out: 0,
        }
    }

    /// If a line may be logged now, how many were left out since the last one.
    pub(crate) fn admit(&mut self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&mut self, now: Instant) -> Option<u64> {
        if self
            .window
            .is_none_or(|start| now.duration_since(start) >= WINDOW)
        {
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_PER_WINDOW {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut limit = RateLimit::new();
        let start = Instant::now();
        let admitted = (0..100).filter(|_| limit.admit_at(start).is_some()).count();
        assert_eq!(admitted, LINES_PER_WINDOW as usize);
        assert_eq!(limit.admit_at(start + WINDOW), Some(95));
        assert_eq!(limit.admit_at(start + WINDOW), Some(0));
    }
}
