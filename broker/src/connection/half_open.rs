//! Connections that have not sent their CONNECT: there are only so many, and the oldest makes way.
//! So does who takes too long, which the timekeeper finds, so that none of them needs a timer.
//!
//! Whoever means it sends a CONNECT at once, so those who come are worth more than those who wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mqtt::Timestamp;
use tokio::sync::oneshot;

/// Those of one listener.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    most: usize,
    waiting: Mutex<Line>,
}

/// In the order in which they came.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

/// When one of them came, and how it is told to go. It makes way when this is dropped.
#[derive(Debug)]
struct Waiting {
    since: Timestamp,
    going: oneshot::Sender<Dismissal>,
}

/// Why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dismissal {
    /// Others want its room.
    MakesWay,
    /// It has had its time.
    TimedOut,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Greeting<'h> {
    line: &'h HalfOpen,
    number: u64,
    going: oneshot::Receiver<Dismissal>,
}

impl HalfOpen {
    /// So many at most.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            waiting: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One comes; if there are too many, the oldest has to go.
    pub(super) fn enter(&self, now: Timestamp) -> Greeting<'_> {
        let (sender, going) = oneshot::channel();
        let waiting = Waiting {
            since: now,
            going: sender,
        };
        let mut line = self.lock();
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, waiting);
        if line.waiting.len() > self.most {
            line.waiting.pop_first();
        }
        drop(line);
        Greeting {
            line: self,
            number,
            going,
        }
    }

    /// Those that came so long ago have to go.
    pub(super) fn expire(&self, now: Timestamp, time_max: Duration) {
        let mut line = self.lock();
        while let Some(oldest) = line.waiting.first_entry()
            && now.since(oldest.get().since) >= time_max
        {
            // One that has just sent its CONNECT does not listen any more.
            oldest.remove().going.send(Dismissal::TimedOut).ok();
        }
    }

    /// The older half has to go.
    pub(crate) fn shrink(&self) {
        let mut line = self.lock();
        let gone = line.waiting.len().div_ceil(2);
        for _ in 0..gone {
            line.waiting.pop_first();
        }
    }
}

impl Greeting<'_> {
    /// Comes to an end when this one has to go.
    pub(super) async fn dismissed(&mut self) -> Dismissal {
        (&mut self.going).await.unwrap_or(Dismissal::MakesWay)
    }
}

impl Drop for Greeting<'_> {
    fn drop(&mut self) {
        // First, or it would wake itself.
        self.going.close();
        self.line.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn the_oldest_makes_way_and_who_is_done_takes_no_room() {
        let half_open = HalfOpen::new(2);
        let mut first = half_open.enter(NOW);
        drop(half_open.enter(NOW));
        let mut third = half_open.enter(NOW);
        assert!(
            first
                .going
                .try_recv()
                .is_err_and(|it| it == TryRecvError::Empty)
        );
        let mut fourth = half_open.enter(NOW);
        let is_going = |it: &mut Greeting<'_>| it.going.try_recv() == Err(TryRecvError::Closed);
        assert!(is_going(&mut first));
        assert!(!is_going(&mut third));
        half_open.shrink();
        assert!(is_going(&mut third) && !is_going(&mut fourth));
        half_open.shrink();
        assert!(is_going(&mut fourth));
        half_open.shrink();
        drop((first, third, fourth));
        assert!(half_open.lock().waiting.is_empty());
    }

    #[test]
    fn who_is_done_does_not_wake_itself() {
        let half_open = HalfOpen::new(1);
        let mut greeting = half_open.enter(NOW);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(pin!(greeting.dismissed()).poll(&mut context).is_pending());
        drop(greeting);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        let mut greeting = half_open.enter(NOW);
        assert!(pin!(greeting.dismissed()).poll(&mut context).is_pending());
        half_open.shrink();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_has_had_its_time_has_to_go() {
        const TIME_MAX: Duration = Duration::from_millis(100);
        let half_open = HalfOpen::new(10);
        let mut first = half_open.enter(NOW);
        drop(half_open.enter(NOW));
        let mut third = half_open.enter(NOW.after(Duration::from_millis(1)));
        half_open.expire(NOW.after(TIME_MAX - Duration::from_millis(1)), TIME_MAX);
        assert_eq!(first.going.try_recv(), Err(TryRecvError::Empty));
        half_open.expire(NOW.after(TIME_MAX), TIME_MAX);
        assert_eq!(first.going.try_recv(), Ok(Dismissal::TimedOut));
        assert_eq!(third.going.try_recv(), Err(TryRecvError::Empty));
        half_open.expire(NOW.after(2 * TIME_MAX), TIME_MAX);
        assert_eq!(third.going.try_recv(), Ok(Dismissal::TimedOut));
        assert!(half_open.lock().waiting.is_empty());
    }
}
