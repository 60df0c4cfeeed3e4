//! Keeps the log readable, and the disk free, when somebody causes the same line again and again:
//! a client that connects in a loop, one that breaks the protocol, messages beyond a limit.
//!
//! Each place in the program that logs has a budget of its own. What exceeds it is left out and
//! counted; the next line of that place that is let through is preceded by the count.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines of one place that may come at once.
const BURST: u32 = 200;
/// After how long one more may come.
const INTERVAL: Duration = Duration::from_millis(500);

/// A format of log lines that leaves out what comes too often. Debug and trace lines, which
/// somebody asked for, all come.
#[derive(Debug)]
pub(crate) struct LogLimit<F> {
    inner: F,
    budget: Budget,
    places: Mutex<HashMap<Identifier, Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    burst: u32,
    interval: Duration,
}

/// What one place has left.
#[derive(Clone, Copy, Debug)]
struct Place {
    lines: u32,
    since: Instant,
    left_out: u64,
}

impl<F> LogLimit<F> {
    /// Lines as `inner` writes them.
    pub(crate) fn new(inner: F) -> Self {
        let budget = Budget {
            burst: BURST,
            interval: INTERVAL,
        };
        Self::with_budget(inner, budget)
    }

    fn with_budget(inner: F, budget: Budget) -> Self {
        Self {
            inner,
            budget,
            places: Mutex::default(),
        }
    }

    /// Whether a line may come; if so, how many before it did not.
    fn admit(&self, place: Identifier) -> Option<u64> {
        let now = Instant::now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place);
        place
            .or_insert_with(|| Place::new(self.budget, now))
            .admit(self.budget, now)
    }
}

impl Place {
    const fn new(budget: Budget, now: Instant) -> Self {
        Self {
            lines: budget.burst,
            since: now,
            left_out: 0,
        }
    }

    fn admit(&mut self, budget: Budget, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.since);
        let earned = passed.as_nanos() / budget.interval.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= budget.burst - self.lines {
            *self = Self {
                left_out: self.left_out,
                ..Self::new(budget, now)
            };
        } else {
            self.lines += earned;
            self.since += budget.interval * earned;
        }
        if self.lines == 0 {
            self.left_out += 1;
            return None;
        }
        self.lines -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<S, N, F> FormatEvent<S, N> for LogLimit<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    /// Writes nothing for a line that is left out.
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        if *metadata.level() <= Level::INFO {
            let Some(left_out) = self.admit(metadata.callsite()) else {
                return Ok(());
            };
            if left_out > 0 {
                SystemTime.format_time(&mut writer)?;
                writeln!(
                    writer,
                    "  WARN lines like the next were left out count={left_out}"
                )?;
            }
        }
        self.inner.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[test]
    fn a_place_has_a_burst_and_then_one_line_for_each_interval() {
        let budget = Budget {
            burst: 3,
            interval: Duration::from_secs(2),
        };
        let start = Instant::now();
        let mut place = Place::new(budget, start);
        // Second, and what was left out before the line that comes then.
        let table = [
            (0, Some(0)),
            (0, Some(0)),
            (1, Some(0)),
            (1, None),
            (1, None),
            (2, Some(2)),
            (3, None),
            (5, Some(1)),
            (6, Some(0)),
            (6, None),
            (1_000, Some(1)),
            (1_000, Some(0)),
            (1_000, Some(0)),
            (1_000, None),
        ];
        for (row, (second, expected)) in table.into_iter().enumerate() {
            let now = start + Duration::from_secs(second);
            assert_eq!(place.admit(budget, now), expected, "row {row}");
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What is written while `work` runs, without time stamps.
    fn written(budget: Budget, work: impl FnOnce(&Lines)) -> Vec<String> {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .with_target(false)
            .with_writer(lines.clone())
            .map_event_format(|inner| LogLimit::with_budget(inner, budget))
            .finish();
        tracing::subscriber::with_default(log, || work(&lines));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(_, line)| line.trim().to_owned()).collect()
    }

    #[test]
    fn each_place_is_limited_on_its_own_and_debug_is_not() {
        let budget = Budget {
            burst: 2,
            interval: Duration::from_secs(1 << 30),
        };
        let written = written(budget, |_| {
            for number in 0..4 {
                tracing::info!(number, "one");
                tracing::debug!(number, "asked for");
            }
            tracing::warn!("another");
        });
        let expected = [
            "INFO one number=0",
            "DEBUG asked for number=0",
            "INFO one number=1",
            "DEBUG asked for number=1",
            "DEBUG asked for number=2",
            "DEBUG asked for number=3",
            "WARN another",
        ];
        assert_eq!(written, expected);
    }

    #[test]
    fn the_count_of_what_was_left_out_precedes_the_next_line() {
        let budget = Budget {
            burst: 1,
            interval: Duration::from_millis(20),
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut emitted = 0;
        let written = written(budget, |lines| {
            let is_said = || String::from_utf8_lossy(&lines.0.lock().unwrap()).contains("count=");
            while !is_said() {
                assert!(Instant::now() < deadline, "never said");
                tracing::info!(emitted, "line");
                emitted += 1;
            }
        });
        let counts = written.iter().filter_map(|line| {
            let count = line.strip_prefix("WARN lines like the next were left out count=")?;
            count.parse::<usize>().ok()
        });
        let lines = written.iter().filter(|line| line.starts_with("INFO line"));
        assert_eq!(counts.sum::<usize>() + lines.count(), emitted);
    }
}
