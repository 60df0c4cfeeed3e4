//! The store's own time.
//!
//! A wall clock jumps: a machine without a battery begins in 1970 and is told the time minutes
//! later. So the store counts milliseconds of its own, which begin with the wall clock when it is
//! made, and go on over restarts: the present one is written down with every commit that is
//! synced. As long as a machine is not booted again they advance with its boot clock, which nobody
//! sets and which goes on while the machine is suspended. Only the time between two boots is taken
//! from the wall clock, as far as that can be believed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt::Timestamp;
use rusqlite::{Connection, Error};
use rustix::time::{ClockId, clock_gettime};

const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// 2020-01-01 in milliseconds since the Unix epoch: a wall clock before that was not set.
const SET_CLOCK_MILLIS: u64 = 1_577_836_800_000;
/// The longest time between two boots that is believed, a week. A clock that was set wrong in one
/// of them must not end everything, and what is given out by default to end by itself, the longest
/// sessions, does so within a week.
const OFF_MILLIS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;

/// What the daemon takes for the present moment, in everything that is not for people to read.
/// It never goes backwards, also over restarts, and no jump of the wall clock moves it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    boot: Option<BootId>,
    /// The boot clock when this one began.
    started_millis: u64,
    /// The time that it began with.
    epoch: Timestamp,
}

/// What the kernel calls the time since the machine was booted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BootId(u128);

/// What the clocks of the machine say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// None if the kernel does not tell.
    pub(crate) boot: Option<BootId>,
    /// The boot clock.
    pub(crate) boot_millis: u64,
    /// The wall clock, since the Unix epoch.
    pub(crate) wall_millis: u64,
}

/// A moment as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The store's own time.
    pub(crate) time: Timestamp,
    pub(crate) reading: Reading,
}

impl Clock {
    /// A clock that begins with the wall clock, for what keeps nothing.
    #[must_use]
    pub fn start() -> Self {
        Self::begin(None, Timestamp::default())
    }

    /// Goes on from the last moment that is known; or else begins with the wall clock, but not
    /// before `earliest`.
    pub(crate) fn begin(last: Option<&Mark>, earliest: Timestamp) -> Self {
        let now = Reading::take(boot_id());
        Self {
            boot: now.boot,
            started_millis: now.boot_millis,
            epoch: last.map_or_else(
                || earliest.max(Timestamp::from_millis(now.wall_millis)),
                |last| last.continued(&now),
            ),
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(boot_millis())
    }

    /// A moment at which this delay has passed for certain: the clock counts whole milliseconds,
    /// so that the present one may have begun before.
    #[must_use]
    pub fn after(&self, delay: Duration) -> Timestamp {
        const STEP: Duration = Duration::from_millis(1);
        self.now().after(delay.saturating_add(STEP))
    }

    /// The wall clock, for people to read: milliseconds since the Unix epoch, 0 before it.
    #[must_use]
    pub fn wall_millis() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        millis(since.unwrap_or_default())
    }

    /// The present moment as it is to be written down.
    pub(crate) fn mark(&self) -> Mark {
        let reading = Reading::take(self.boot);
        let time = self.at(reading.boot_millis);
        Mark { time, reading }
    }

    fn at(&self, boot_millis: u64) -> Timestamp {
        let elapsed = boot_millis.saturating_sub(self.started_millis);
        self.epoch.after(Duration::from_millis(elapsed))
    }
}

impl Reading {
    fn take(boot: Option<BootId>) -> Self {
        Self {
            boot,
            boot_millis: boot_millis(),
            wall_millis: Clock::wall_millis(),
        }
    }

    /// Milliseconds that have passed since an earlier reading; fewer where that is not known, so
    /// that nothing ends too early.
    fn millis_since(&self, then: &Self) -> u64 {
        let is_same_boot = self.boot.is_some() && self.boot == then.boot;
        let elapsed = self.boot_millis.checked_sub(then.boot_millis);
        if let Some(elapsed) = elapsed.filter(|_| is_same_boot) {
            return elapsed;
        }
        if then.wall_millis.min(self.wall_millis) < SET_CLOCK_MILLIS {
            return 0;
        }
        let off = self.wall_millis.saturating_sub(then.wall_millis);
        off.min(OFF_MILLIS_MAX)
    }
}

impl Mark {
    /// The store's own time at a later reading.
    fn continued(&self, now: &Reading) -> Timestamp {
        let elapsed = now.millis_since(&self.reading);
        self.time.after(Duration::from_millis(elapsed))
    }

    /// What was written down last; none if nothing was.
    pub(crate) fn load(connection: &Connection) -> Result<Option<Self>, Error> {
        let sql = "SELECT time, wall, boot_id, boot_clock FROM store WHERE time IS NOT NULL";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let boot: Option<String> = row.get(2)?;
        Ok(Some(Self {
            time: Timestamp::from_millis(row.get(0)?),
            reading: Reading {
                boot: boot.and_then(|it| BootId::parse(&it)),
                boot_millis: row.get(3)?,
                wall_millis: row.get(1)?,
            },
        }))
    }
}

impl BootId {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().replace('-', "");
        u128::from_str_radix(&digits, 16).ok().map(Self)
    }
}

impl std::fmt::Display for BootId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

fn boot_id() -> Option<BootId> {
    let text = std::fs::read_to_string(BOOT_ID_FILE);
    text.ok().and_then(|it| BootId::parse(&it))
}

fn boot_millis() -> u64 {
    // It begins with 0, so it is a span.
    let since = Duration::try_from(clock_gettime(ClockId::Boottime));
    millis(since.unwrap_or_default())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;
    const HOUR: u64 = 3_600 * SECOND;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    /// In 2026.
    const WALL: u64 = 1_780_000_000_000;
    const UPTIME: u64 = 5 * HOUR;
    const HERE: Option<BootId> = Some(BootId(7));
    const THERE: Option<BootId> = Some(BootId(8));

    fn reading(boot: Option<BootId>, boot_millis: u64, wall_millis: u64) -> Reading {
        Reading {
            boot,
            boot_millis,
            wall_millis,
        }
    }

    /// What passes according to the store from a moment in 2026 to a later one.
    fn passes(now: Reading) -> u64 {
        passes_from(reading(HERE, UPTIME, WALL), now)
    }

    fn passes_from(then: Reading, now: Reading) -> u64 {
        // Its own time has nothing to do with the clocks of the machine.
        let time = Timestamp::from_millis(123);
        let last = Mark {
            time,
            reading: then,
        };
        let continued = last.continued(&now);
        assert!(continued >= time, "it went backwards");
        u64::try_from(continued.since(time).as_millis()).unwrap()
    }

    #[test]
    fn on_one_boot_the_wall_clock_does_not_count() {
        let later = UPTIME + 90 * SECOND;
        let walls = [
            ("goes on", WALL + 90 * SECOND),
            ("stands still", WALL),
            ("jumps a year ahead", WALL + YEAR),
            ("jumps a year back", WALL - YEAR),
            ("jumps an hour back", WALL - HOUR),
            ("is lost", 5 * SECOND),
            ("is the last one there is", u64::MAX),
        ];
        for (what, wall) in walls {
            let now = reading(HERE, later, wall);
            assert_eq!(passes(now), 90 * SECOND, "the wall clock {what}");
        }
        // Told the time between two runs.
        let then = reading(HERE, 20 * SECOND, 20 * SECOND);
        let now = reading(HERE, 50 * SECOND, WALL);
        assert_eq!(passes_from(then, now), 30 * SECOND);
        // Suspended: the boot clock counts that.
        let now = reading(HERE, UPTIME + 3 * DAY, WALL + 3 * DAY);
        assert_eq!(passes(now), 3 * DAY);
        // Longer than what would be believed of the wall clock.
        assert_eq!(passes(reading(HERE, UPTIME + YEAR, WALL)), YEAR);
        assert_eq!(passes(reading(HERE, UPTIME, WALL + DAY)), 0);
    }

    #[test]
    fn between_two_boots_the_wall_clock_counts_if_it_can_be_believed() {
        let cases = [
            ("two hours", WALL + 2 * HOUR, 2 * HOUR),
            ("nothing", WALL, 0),
            ("an hour back", WALL - HOUR, 0),
            ("a year back", WALL - YEAR, 0),
            ("a week", WALL + OFF_MILLIS_MAX, OFF_MILLIS_MAX),
            ("a year ahead", WALL + YEAR, OFF_MILLIS_MAX),
            ("the end of time", u64::MAX, OFF_MILLIS_MAX),
            ("not set", 3 * SECOND, 0),
            ("a moment before it counts as set", SET_CLOCK_MILLIS - 1, 0),
        ];
        for (what, wall, expected) in cases {
            // Also where the boot clock happens to have come further.
            for boot_millis in [10 * SECOND, 9 * HOUR] {
                let now = reading(THERE, boot_millis, wall);
                assert_eq!(passes(now), expected, "{what}");
            }
        }
        // It was not set when the machine was switched off.
        let then = reading(HERE, UPTIME, UPTIME);
        assert_eq!(passes_from(then, reading(THERE, 10 * SECOND, WALL)), 0);
        // It never was, and says as much as the boot clock.
        let now = reading(THERE, 9 * HOUR, 9 * HOUR);
        assert_eq!(passes_from(then, now), 0);
        let first = reading(HERE, UPTIME, SET_CLOCK_MILLIS);
        let now = reading(THERE, 10 * SECOND, SET_CLOCK_MILLIS + HOUR);
        assert_eq!(passes_from(first, now), HOUR);
    }

    #[test]
    fn a_boot_that_has_no_name_is_no_other_boots_and_no_same_one() {
        for (then, now) in [(None, None), (HERE, None), (None, HERE)] {
            let then = reading(then, UPTIME, WALL);
            let now = reading(now, UPTIME + 90 * SECOND, WALL + HOUR);
            assert_eq!(passes_from(then, now), HOUR);
        }
        // A boot clock that is behind itself is not that of the same boot, whatever it is called.
        let now = reading(HERE, UPTIME - 1, WALL + HOUR);
        assert_eq!(passes(now), HOUR);
    }

    #[test]
    fn a_boot_id_is_read_as_the_kernel_writes_it() {
        let text = "8baf52ac-9f76-4c2c-b25c-807e3351589a\n";
        let id = BootId::parse(text).unwrap();
        let stored = id.to_string();
        assert_eq!(stored, "8baf52ac9f764c2cb25c807e3351589a");
        assert_eq!(BootId::parse(&stored), Some(id));
        for text in ["", "\n", "unknown", "8baf52ac-9f76-4c2c-b25c-807e3351589a0"] {
            assert_eq!(BootId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_begins_does_so_with_the_wall_clock_but_not_before_what_was() {
        let wall = Timestamp::from_millis(Clock::wall_millis());
        assert!(Clock::start().now() >= wall);
        let later = wall.after(Duration::from_secs(1_000_000));
        let clock = Clock::begin(None, later);
        assert!(clock.now() >= later && clock.after(Duration::ZERO) > later);
    }

    #[test]
    fn a_mark_is_a_moment_from_which_the_same_boot_goes_on() {
        let clock = Clock::start();
        let mark = clock.mark();
        let next = Clock::begin(Some(&mark), Timestamp::default());
        let (before, between, after) = (clock.now(), next.now(), clock.now());
        assert!(
            before <= between && between <= after,
            "{before:?} {between:?} {after:?}"
        );
    }
}
