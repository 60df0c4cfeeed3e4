//! How long the oldest message of an outbox has waited. Neither memory nor the store has a time for
//! each message, so it follows from how far the outbox had come at which moment.

use std::collections::VecDeque;
use std::time::Duration;

use mqtt::Timestamp;

/// Moments that are known of one outbox. With more, every second one is forgotten, and they are noted
/// half as often: what is known is exact to a hundredth of the longest wait.
const MOMENTS_MAX: u32 = 256;

/// When the outbox had come how far, since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    moments: VecDeque<Moment>,
    /// The time between two of them, at least.
    step: Duration,
}

#[derive(Debug)]
struct Moment {
    /// The number that the next message would have had.
    next: u64,
    at: Timestamp,
}

impl Ages {
    /// Notes that the next message will have this number; `oldest` is the number of the oldest one
    /// that is there, or `next`.
    pub(crate) fn note(&mut self, oldest: u64, next: u64, at: Timestamp) {
        while self.moments.front().is_some_and(|it| it.next <= oldest) {
            self.moments.pop_front();
        }
        match self.moments.back() {
            None => self.step = Duration::ZERO,
            Some(last) if at.since(last.at) < self.step => return,
            Some(_) => {}
        }
        if next <= self.moments.back().map_or(oldest, |it| it.next) {
            return;
        }
        self.moments.push_back(Moment { next, at });
        if self.moments.len() > MOMENTS_MAX as usize {
            let mut is_kept = false;
            self.moments.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            let first = self.moments.front().map_or(at, |it| it.at);
            self.step = at.since(first) * 2 / MOMENTS_MAX;
        }
    }

    /// How long the message with this number has waited, at least.
    pub(crate) fn of(&self, number: u64, now: Timestamp) -> Duration {
        let later = self.moments.partition_point(|it| it.next <= number);
        let moment = self.moments.get(later);
        moment.map_or(Duration::ZERO, |it| now.since(it.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn ages_are_those_of_the_first_moment_with_the_message() {
        let mut ages = Ages::default();
        ages.note(7, 7, at(1));
        assert_eq!(ages.of(7, at(1)), Duration::ZERO, "an empty outbox");
        // 7 and 8 come, nothing, 9 to 99 come.
        ages.note(7, 9, at(2));
        ages.note(7, 9, at(3));
        ages.note(7, 100, at(4));
        for (number, age) in [(7, 10), (8, 10), (9, 8), (99, 8), (100, 0)] {
            assert_eq!(ages.of(number, at(12)).as_secs(), age, "{number}");
        }
        ages.note(9, 100, at(13));
        assert_eq!(ages.moments.len(), 1, "what has gone is forgotten");
        assert_eq!(ages.of(9, at(14)).as_secs(), 10);
    }

    #[test]
    fn a_long_wait_is_known_well_enough() {
        const DAY: u64 = 24 * 3_600;
        let mut ages = Ages::default();
        for second in 0..7 * DAY {
            ages.note(0, second + 1, at(second));
            assert!(ages.moments.len() <= MOMENTS_MAX as usize);
        }
        let now = at(7 * DAY);
        assert_eq!(ages.of(0, now).as_secs(), 7 * DAY);
        for number in (0..7 * DAY).step_by(997) {
            let age = ages.of(number, now).as_secs();
            let real = 7 * DAY - number;
            let least = real.saturating_sub(7 * DAY / 100);
            assert!((least..=real).contains(&age), "{number}: {age}");
        }
    }
}
