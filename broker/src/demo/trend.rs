//! How fast a count changes, and how it has changed so far.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What the rate is taken of. A count that is not said again for so long stands still.
const SPAN: Duration = Duration::from_millis(1_250);
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A count over the last moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Trend {
    samples: VecDeque<(Instant, u64)>,
}

impl Trend {
    pub(super) fn enter(&mut self, at: Instant, count: u64) {
        self.samples.retain(|(then, _)| *then + SPAN >= at);
        self.samples.push_back((at, count));
    }

    /// By how much the count grows in a second; below 0 it falls.
    pub(super) fn per_second(&self, now: Instant) -> i64 {
        let mut recent = self.samples.iter().filter(|(at, _)| *at + SPAN >= now);
        let (Some(first), Some(last)) = (recent.next(), recent.next_back()) else {
            return 0;
        };
        let millis = (last.0 - first.0).as_millis().max(1);
        let change = i128::from(last.1) - i128::from(first.1);
        i64::try_from(change * 1_000 / millis.cast_signed()).unwrap_or_default()
    }
}

/// A count from the beginning on.
#[derive(Clone, Debug, Default)]
pub(super) struct Curve {
    counts: Vec<u64>,
}

impl Curve {
    pub(super) fn enter(&mut self, count: u64) {
        self.counts.push(count);
    }

    /// All of it in at most so many characters, from 0 to `top`.
    pub(super) fn draw(&self, width: usize, top: u64) -> String {
        let share = self.counts.len().div_ceil(width.max(1)).max(1);
        let highest = self.counts.chunks(share).map(|it| it.iter().max());
        let steps = highest.flatten().map(|&count| {
            let step = count.min(top) * (STEPS.len() as u64 - 1) / top.max(1);
            STEPS[usize::try_from(step).unwrap_or_default()]
        });
        steps.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_moments() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut trend = Trend::default();
        assert_eq!(trend.per_second(start), 0);
        for step in 0..=8 {
            trend.enter(after(step * 250), step * 100);
        }
        assert_eq!(trend.per_second(after(2_000)), 400);
        // Nothing more is said: it stands still.
        assert_eq!(trend.per_second(after(3_300)), 0);
        trend.enter(after(4_000), 800);
        trend.enter(after(4_250), 300);
        assert_eq!(trend.per_second(after(4_250)), -2_000);
    }

    #[test]
    fn a_curve_shows_all_of_it_in_its_width() {
        let mut curve = Curve::default();
        assert_eq!(curve.draw(4, 7), "");
        for count in [0, 1, 7] {
            curve.enter(count);
        }
        assert_eq!(curve.draw(4, 7), "▁▂█");
        for count in [7, 4, 0, 0, 0] {
            curve.enter(count);
        }
        assert_eq!(curve.draw(4, 7), "▂█▅▁");
    }
}
