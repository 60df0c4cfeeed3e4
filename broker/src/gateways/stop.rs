//! How a gateway is told to stop.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use gateway::Farewell;

/// Shared by the actor of a gateway and its session.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ordered: Option<Farewell>,
    waker: Option<Waker>,
}

impl Stop {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateway is to stop like this.
    pub(super) fn order(&self, farewell: Farewell) {
        let mut state = self.lock();
        state.ordered = Some(farewell);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready once it is ordered.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Farewell> {
        let mut state = self.lock();
        if let Some(farewell) = &state.ordered {
            return Poll::Ready(farewell.clone());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
