//! How a gateway is told to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mqtt::Message;

/// Shared by the actor of a gateway and its session.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_ordered: bool,
    last_words: Option<Arc<Message>>,
    waker: Option<Waker>,
}

impl Stop {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateway is to stop, and may tell this to the foreign side.
    pub(super) fn order(&self, last_words: Option<Message>) {
        let mut state = self.lock();
        state.is_ordered = true;
        state.last_words = last_words.map(Arc::new);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready once it is ordered.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Option<Arc<Message>>> {
        let mut state = self.lock();
        if state.is_ordered {
            return Poll::Ready(state.last_words.clone());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
