//! The caps of a metered link: so many messages and bytes in a second, and bytes in a day.
//!
//! What was sent is counted afterwards, since acknowledgements and PINGREQ have to go in any case.
//! So a cap may be exceeded by one packet, of whatever size, which is worked off before the next
//! message goes: nothing is too large to be sent ever, and the average holds. A batch of messages
//! never exceeds what is left of the day, see `service/batching.rs`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway::{Client, Status};
use tokio::time::{Instant, Sleep, sleep};

use crate::budget::Budget;
use crate::config::Config;
use crate::record;

/// How much may go at once that was not used before.
const BURST: Duration = Duration::from_secs(1);
/// What is said of a bridge whose budget is.
const USED_UP: &str = "the bytes of this day are used up: the outbox waits until midnight UTC";
/// What timers count in: a shorter pause would end too early.
const TICK: Duration = Duration::from_millis(1);

/// What the hub may be sent.
pub(crate) struct Rate {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    budget: Option<Budget>,
    /// Where the budget is written down.
    client: Client,
    pause: Option<Pin<Box<Sleep>>>,
}

/// What the clocks show.
#[derive(Clone, Copy, Debug)]
struct Now {
    monotonic: Instant,
    /// Since the beginning of 1970, UTC.
    wall: Duration,
}

impl Now {
    fn read() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            monotonic: Instant::now(),
            wall: wall.unwrap_or_default(),
        }
    }
}

impl Rate {
    /// The caps of a bridge, of which nothing is used but what was written down of this day.
    pub(crate) fn new(config: &Config, client: &Client) -> Self {
        let budget = config.daily_bytes.bytes();
        let record = client.record().unwrap_or_default();
        Self {
            messages: Bucket::new(config.max_messages_per_second.into()),
            bytes: Bucket::new(config.max_bytes_per_second.bytes()),
            budget: (budget > 0).then(|| Budget::resume(budget, &record)),
            client: client.clone(),
            pause: None,
        }
    }

    /// True if there is a cap.
    pub(crate) const fn is_limited(&self) -> bool {
        self.messages.is_some() || self.bytes.is_some() || self.budget.is_some()
    }

    /// Counts what goes to the hub.
    pub(crate) fn count(&mut self, messages: u64, bytes: u64) {
        if self.is_limited() && (messages, bytes) != (0, 0) {
            self.count_at(messages, bytes, Now::read());
        }
    }

    fn count_at(&mut self, messages: u64, bytes: u64, now: Now) {
        if let Some(bucket) = &mut self.messages {
            bucket.take(messages, now.monotonic);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes, now.monotonic);
        }
        if let Some(budget) = &mut self.budget
            && let Some(record) = budget.spend(bytes, now.wall)
        {
            record::put(&self.client, &record);
        }
    }

    /// Bytes that are left of the day; none if they are not counted.
    pub(crate) fn left(&mut self) -> Option<u64> {
        self.budget.as_mut().map(|it| it.left(Now::read().wall))
    }

    /// How long the next message has to wait; none if it may go.
    fn wait(&mut self, now: Now) -> Option<Duration> {
        let buckets = [&self.messages, &self.bytes].into_iter().flatten();
        let second = buckets.filter_map(|it| it.wait(now.monotonic)).max();
        let budget = self.budget.as_mut();
        second.max(budget.and_then(|it| it.wait(now.wall)))
    }

    /// Ready when a message may go. Says once a day, in the log under the bridge's name and in its
    /// status, that the budget of the day is used up.
    pub(crate) fn poll(
        &mut self,
        bridge: &str,
        status: &Status,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if !self.is_limited() {
            return Poll::Ready(());
        }
        while let Some(wait) = self.wait(Now::read()) {
            if self.budget.as_mut().is_some_and(Budget::is_news) {
                tracing::warn!(bridge, "{USED_UP}");
                status.note_problem(USED_UP.to_owned());
            }
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(wait)));
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        self.pause = None;
        Poll::Ready(())
    }
}

/// What was used is written down as it is.
impl Drop for Rate {
    fn drop(&mut self) {
        if let Some(record) = self.budget.as_mut().and_then(Budget::settle) {
            record::put(&self.client, &record);
        }
    }
}

/// So much in a second on average, and a second's worth at once.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    /// The end of the time that what was taken is worth; none if nothing was.
    until: Option<Instant>,
}

impl Bucket {
    /// A full one; none if there is no limit, 0.
    fn new(per_second: u64) -> Option<Self> {
        (per_second > 0).then_some(Self {
            per_second,
            until: None,
        })
    }

    fn take(&mut self, count: u64, now: Instant) {
        let nanos = u128::from(count) * Duration::from_secs(1).as_nanos();
        let nanos = nanos.div_ceil(self.per_second.into());
        let worth = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.until = Some(self.until.map_or(now, |until| until.max(now)) + worth);
    }

    /// How long until there is something in it; none if there is.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let ahead = self.until?.saturating_duration_since(now);
        let over = ahead.checked_sub(BURST)?;
        Some(over + TICK)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use gateway::testing::FakeBroker;

    use super::*;
    use crate::budget::{DAY, LOOK_INTERVAL, NOON};

    fn rate(text: &str) -> Rate {
        let broker = Arc::new(FakeBroker::default());
        Rate::new(&toml::from_str(text).unwrap(), &broker.client())
    }

    async fn go(rate: &mut Rate) {
        let status = Status::default();
        poll_fn(|context| rate.poll("b", &status, context)).await;
    }

    async fn send(rate: &mut Rate, messages: u32) {
        for _ in 0..messages {
            go(rate).await;
            rate.count(1, 500);
        }
    }

    /// The clocks so long after noon.
    fn after(start: Instant, time: Duration) -> Now {
        Now {
            monotonic: start + time,
            wall: NOON + time,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_without_a_cap() {
        let mut rate = rate("");
        let start = Instant::now();
        for _ in 0..10_000 {
            go(&mut rate).await;
            rate.count(1, 1 << 20);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_may_go_at_once_and_the_rest_on_average() {
        for text in [
            "max_messages_per_second = 100",
            "max_bytes_per_second = 50000",
        ] {
            let mut rate = rate(text);
            let start = Instant::now();
            for (count, seconds) in [(100, 0_u128), (100, 1), (800, 9)] {
                send(&mut rate, count).await;
                let at = start.elapsed().as_millis();
                let expected = seconds * 1_000;
                assert!(
                    (expected.saturating_sub(20)..=expected).contains(&at),
                    "{text}: {count} more after {at} ms"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_without_messages_is_not_added_to_others() {
        let mut rate = rate("max_messages_per_second = 10");
        sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        send(&mut rate, 30).await;
        assert!(start.elapsed() >= Duration::from_millis(1_800));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_a_second_goes_and_is_worked_off() {
        let mut rate = rate("max_bytes_per_second = 1000");
        let start = Instant::now();
        go(&mut rate).await;
        rate.count(1, 10_000);
        assert_eq!(start.elapsed(), Duration::ZERO);
        // Acknowledgements go all the same, and are counted.
        rate.count(0, 500);
        go(&mut rate).await;
        assert_eq!(start.elapsed(), Duration::from_millis(9_501));
    }

    #[tokio::test]
    async fn the_budget_begins_anew_at_midnight() {
        let start = Instant::now();
        let mut rate = rate("daily_bytes = 1000");
        let half = Duration::from_secs(12 * 3_600);
        let millisecond = Duration::from_millis(1);
        for (at, bytes, left) in [
            (Duration::ZERO, 999, None),
            // The packet that uses it up may be larger than what is left.
            (Duration::ZERO, 5_000, Some(LOOK_INTERVAL)),
            (half - 5 * millisecond, 0, Some(6 * millisecond)),
            (half, 0, None),
            (half, 1_000, Some(LOOK_INTERVAL)),
            (3 * half - millisecond, 0, Some(2 * millisecond)),
            (3 * half, 999, None),
        ] {
            let now = after(start, at);
            rate.count_at(1, bytes, now);
            assert_eq!(rate.wait(now), left, "{at:?}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_to_another_day_begins_it() {
        let start = Instant::now();
        let mut rate = rate("daily_bytes = 1000");
        let mut now = after(start, Duration::ZERO);
        for wall in [NOON, NOON + 400 * DAY, NOON, Duration::ZERO] {
            now.wall = wall;
            assert_eq!(rate.wait(now), None);
            rate.count_at(1, 1_000, now);
            assert_eq!(rate.wait(now), Some(LOOK_INTERVAL));
        }
    }

    #[tokio::test]
    async fn the_longest_wait_counts() {
        let start = Instant::now();
        let mut rate =
            rate("max_messages_per_second = 1\nmax_bytes_per_second = 1\ndaily_bytes = 9");
        let now = after(start, Duration::ZERO);
        rate.count_at(3, 5, now);
        assert_eq!(rate.wait(now), Some(Duration::from_millis(4_001)));
        rate.count_at(0, 4, now);
        assert_eq!(rate.wait(now), Some(LOOK_INTERVAL));
    }
}
