//! Waiting for somebody who has no room, longer each time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses between tries.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Pauses so far.
    pauses: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Ready at the end of a pause, which begins if there is none.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let length = FIRST.saturating_mul(1 << self.pauses.min(10)).min(LONGEST);
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(length)));
        ready!(pause.as_mut().poll(context));
        self.pause = None;
        self.pauses += 1;
        Poll::Ready(())
    }

    /// Pauses since there was room.
    pub(crate) const fn pauses(&self) -> u32 {
        self.pauses
    }

    /// There was room: the next pause is a first one.
    pub(crate) fn reset(&mut self) {
        if self.pauses > 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_there_is_room() {
        let mut patience = Patience::default();
        let mut lengths = Vec::new();
        for _ in 0..8 {
            let start = Instant::now();
            poll_fn(|context| patience.poll(context)).await;
            lengths.push(start.elapsed().as_millis());
        }
        let rounded: Vec<u128> = lengths.iter().map(|it| it / 100 * 100).collect();
        assert_eq!(rounded, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        patience.reset();
        let start = Instant::now();
        poll_fn(|context| patience.poll(context)).await;
        assert!(start.elapsed() < FIRST * 2);
    }
}
