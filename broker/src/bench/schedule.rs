//! When messages are due if they are published at a rate, whatever the broker does.

/// Moments at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Nanoseconds from the beginning to the first one.
    first: f64,
    /// Nanoseconds between two of them.
    interval: f64,
}

/// The publishers of one worker, whose messages are due in turn and at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    /// How many publishers take turns; at least 1.
    pub(super) publishers: u32,
    /// Nanoseconds between two messages of one publisher.
    pub(super) interval: f64,
    /// What share of the time between two turns this worker is behind the first one, so that
    /// workers do not all publish at once.
    pub(super) offset: f64,
}

impl Turns {
    /// When it is anybody's turn.
    pub(super) fn all(self) -> Schedule {
        let interval = self.interval / f64::from(self.publishers);
        Schedule {
            first: interval * self.offset,
            interval,
        }
    }

    /// When the messages of the publisher at this place are due.
    pub(super) fn of(self, place: u32) -> Schedule {
        let all = self.all();
        Schedule {
            first: all.first + f64::from(place) * all.interval,
            interval: self.interval,
        }
    }
}

impl Schedule {
    /// How many of its moments are over after this time in nanoseconds.
    pub(super) fn due(self, elapsed: u64) -> u64 {
        let since = to_float(elapsed) - self.first;
        if since < 0.0 {
            0
        } else {
            to_nanos(since / self.interval) + 1
        }
    }

    /// The moment with this number, counted from 0, in nanoseconds.
    pub(super) fn at(self, number: u64) -> u64 {
        to_nanos(self.first + to_float(number) * self.interval)
    }
}

/// Exact up to 2^53, which are 104 days.
const fn to_float(nanos: u64) -> f64 {
    nanos as f64
}

/// What is less than 0 is 0.
const fn to_nanos(nanos: f64) -> u64 {
    nanos as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn publishers_take_turns() {
        let turns = Turns {
            publishers: 4,
            interval: 8e6,
            offset: 0.5,
        };
        assert_eq!(
            [0, MILLI, 3 * MILLI].map(|it| turns.all().due(it)),
            [0, 1, 2]
        );
        for place in 0..4 {
            let schedule = turns.of(place);
            let first = MILLI + u64::from(place) * 2 * MILLI;
            assert_eq!(schedule.at(0), first);
            assert_eq!(schedule.at(3), first + 24 * MILLI);
            assert_eq!(schedule.due(first - 1), 0);
            assert_eq!(schedule.due(first), 1);
            assert_eq!(schedule.due(first + 8 * MILLI - 1), 1);
            assert_eq!(schedule.due(first + 80 * MILLI), 11);
        }
    }

    #[test]
    fn a_rate_is_kept_over_days() {
        let turns = Turns {
            publishers: 7,
            interval: 7e9 / 30_000.0,
            offset: 0.0,
        };
        let day = 86_400_000_000_000;
        let all: u64 = (0..7).map(|place| turns.of(place).due(day)).sum();
        assert!(all.abs_diff(86_400 * 30_000) <= 7, "{all}");
        assert!(turns.all().due(day).abs_diff(all) <= 7);
    }
}
