//! The bytes of a day: pure. They are written down now and then, so that a restart of the daemon
//! does not give a metered link its day again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A day, by which the Unix time goes too.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How often the wall clock is asked whether the day is over: it may be set while the bridge waits.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// A day is written down in so many parts, each before it is used: so often at most, and after a
/// crash what counts as used is too much by one part at most, and never too little.
const PARTS: u64 = 64;
#[cfg(test)]
/// Some day at noon.
pub(crate) const NOON: Duration = Duration::from_secs(20_000 * 86_400 + 43_200);

/// Bytes of a day (UTC), by the wall clock.
///
/// A clock that is set to another day, later or earlier, begins that day with nothing used. Else a
/// clock that was ahead for a moment would keep the bridge waiting until then. But a day that was
/// left for an earlier one, as by a machine that starts without the time, goes on where it was.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: u64,
    day: Day,
    /// A later day of which something is used.
    later: Option<Day>,
    /// What is written down of the day.
    recorded: u64,
    /// It was said of this day that nothing is left.
    is_told: bool,
}

/// What was used of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    /// Days since the beginning of 1970.
    day: u64,
    used: u64,
}

/// The form in which it is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    day: Day,
    #[serde(default)]
    later: Option<Day>,
}

impl Budget {
    /// A budget of so many bytes, as far as they are not used by what was written down.
    pub(crate) fn resume(bytes: u64, record: &str) -> Self {
        // Nothing was, or by a later version.
        let record: Record = serde_json::from_str(record).unwrap_or_default();
        Self {
            bytes,
            day: record.day,
            later: record.later,
            recorded: record.day.used,
            is_told: false,
        }
    }

    fn begin(&mut self, wall: Duration) {
        let day = wall.as_secs() / DAY.as_secs();
        let left = self.day;
        if day == left.day {
            return;
        }
        let resumed = self.later.take_if(|it| it.day <= day);
        let resumed = resumed.filter(|it| it.day == day);
        // What was sent before the clock was set was sent on this day.
        let used = resumed.map_or(0, |it| it.used.saturating_add(left.used));
        self.day = Day { day, used };
        if left.day > day && left.used > 0 {
            self.later = Some(left);
        }
        self.recorded = 0;
        self.is_told = false;
    }

    /// Notes what went to the hub. Returns what is to be written down, if it is time to.
    pub(crate) fn spend(&mut self, bytes: u64, wall: Duration) -> Option<String> {
        self.begin(wall);
        self.day.used = self.day.used.saturating_add(bytes);
        let used = self.day.used;
        // Beyond the budget only acknowledgements and the like go.
        if used == 0 || used <= self.recorded || self.recorded >= self.bytes {
            return None;
        }
        let part = (self.bytes / PARTS).max(1);
        Some(self.record(used.saturating_add(part)))
    }

    /// What is to be written down when the bridge ends in order, if it is anything new.
    pub(crate) fn settle(&mut self) -> Option<String> {
        let used = self.day.used;
        (used != self.recorded).then(|| self.record(used))
    }

    fn record(&mut self, used: u64) -> String {
        self.recorded = used;
        let record = Record {
            day: Day { used, ..self.day },
            later: self.later,
        };
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// Bytes that are not used.
    pub(crate) fn left(&mut self, wall: Duration) -> u64 {
        self.begin(wall);
        self.bytes.saturating_sub(self.day.used)
    }

    /// How long until it is worth while to look again; none if something is left.
    pub(crate) fn wait(&mut self, wall: Duration) -> Option<Duration> {
        const TICK: Duration = Duration::from_millis(1);
        if self.left(wall) > 0 {
            return None;
        }
        let passed = Duration::new(wall.as_secs() % DAY.as_secs(), wall.subsec_nanos());
        let left = DAY.saturating_sub(passed) + TICK;
        Some(left.min(LOOK_INTERVAL))
    }

    /// True once for each day of which nothing is left.
    pub(crate) const fn is_news(&mut self) -> bool {
        self.day.used >= self.bytes && !std::mem::replace(&mut self.is_told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(record: &str) -> u64 {
        let record: Record = serde_json::from_str(record).unwrap();
        record.day.used
    }

    #[test]
    fn what_is_used_up_is_said_once_a_day() {
        let mut budget = Budget::resume(1_000, "");
        for day in 0..3 {
            budget.spend(999, NOON + day * DAY);
            assert!(!budget.is_news());
            budget.spend(1, NOON + day * DAY);
            assert!(budget.is_news() && !budget.is_news());
        }
    }

    #[test]
    fn few_records_are_written_and_none_is_behind() {
        let mut budget = Budget::resume(64_000, "");
        let (mut records, mut last) = (0, 0);
        // Twice the budget, in small packets.
        for sent in 1..=12_800 {
            if let Some(record) = budget.spend(10, NOON) {
                records += 1;
                last = used(&record);
            }
            let real = 10 * sent;
            assert!(real > 64_000 || (real..=real + 1_000).contains(&last));
        }
        assert!((60..=65).contains(&records), "{records}");
        assert_eq!(budget.settle().as_deref().map(used), Some(128_000));
        assert_eq!(budget.settle(), None);
    }

    #[test]
    fn a_day_goes_on_after_a_crash_and_after_an_end_in_order() {
        let mut budget = Budget::resume(1_000, "");
        let crashed = budget.spend(600, NOON).unwrap();
        let mut after_crash = Budget::resume(1_000, &crashed);
        let ended = budget.settle().unwrap();
        let mut after_end = Budget::resume(1_000, &ended);
        for (budget, left) in [(&mut after_crash, 385), (&mut after_end, 400)] {
            assert_eq!(budget.wait(NOON), None);
            budget.spend(left - 1, NOON);
            assert_eq!(budget.wait(NOON), None);
            budget.spend(1, NOON);
            assert_eq!(budget.wait(NOON), Some(LOOK_INTERVAL));
            assert_eq!(budget.wait(NOON + DAY), None);
        }
        for strange in ["", "{}", "{\"day\":\"x\"}", "5"] {
            assert_eq!(Budget::resume(1, strange).wait(NOON), None);
        }
    }

    #[test]
    fn a_machine_that_starts_without_the_time_has_its_day_when_it_knows_it() {
        let mut budget = Budget::resume(1_000, "");
        budget.spend(900, NOON);
        let record = budget.settle().unwrap();
        // It starts in 1970, twice.
        let mut budget = Budget::resume(1_000, &record);
        assert_eq!(budget.wait(Duration::ZERO), None);
        budget.spend(50, Duration::ZERO);
        let record = budget.settle().unwrap();
        let mut budget = Budget::resume(1_000, &record);
        budget.spend(49, Duration::ZERO);
        assert_eq!(budget.wait(NOON), None);
        budget.spend(1, NOON);
        assert_eq!(budget.wait(NOON), Some(LOOK_INTERVAL));
        assert_eq!(budget.wait(NOON + DAY), None);
    }
}
