//! Connections that have not sent their CONNECT: there are only so many, and the oldest makes way.
//!
//! Whoever means it sends a CONNECT at once, so those who come are worth more than those who wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// What is dropped is told to go.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Greeting<'h> {
    line: &'h HalfOpen,
    number: u64,
    going: oneshot::Receiver<()>,
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
    pub(super) fn enter(&self) -> Greeting<'_> {
        let (staying, going) = oneshot::channel();
        let mut line = self.lock();
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, staying);
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
    pub(super) async fn ordered_to_go(&mut self) {
        (&mut self.going).await.ok();
    }
}

impl Drop for Greeting<'_> {
    fn drop(&mut self) {
        self.line.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_way_and_who_is_done_takes_no_room() {
        let half_open = HalfOpen::new(2);
        let mut first = half_open.enter();
        drop(half_open.enter());
        let mut third = half_open.enter();
        assert!(
            first
                .going
                .try_recv()
                .is_err_and(|it| it == oneshot::error::TryRecvError::Empty)
        );
        let mut fourth = half_open.enter();
        let is_going = |it: &mut Greeting<'_>| {
            it.going.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        };
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
}
