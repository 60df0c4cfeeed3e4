//! Pauses between attempts: exponential, capped, with full jitter.

use std::time::Duration;

/// Produces the pause before each further attempt at something that failed.
///
/// With full jitter each pause is drawn between zero and the current cap, so that a fleet
/// which lost its hub does not come back at the same moment. Deterministic for a given seed.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// The cap of the first pause, the cap of all pauses, and a seed that differs between peers.
    #[must_use]
    pub const fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self {
            first,
            max,
            failures: 0,
            random: seed | 1,
        }
    }

    /// The pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let cap = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(self.max);
        self.failures = self.failures.saturating_add(1);
        // xorshift64: jitter needs spread, not secrecy.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let millis = u64::try_from(cap.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random % millis.saturating_add(1))
    }

    /// An attempt succeeded: the next pause is a first one.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 42);
        let mut longest = Duration::ZERO;
        for attempt in 0..2000_u32 {
            let pause = backoff.next_pause();
            let cap = Duration::from_secs(2_u64.saturating_pow(attempt).min(60));
            assert!(pause <= cap, "attempt {attempt}: {pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest > Duration::from_secs(50));
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_secs(1));
    }
}
