//! Sessions that have ended and leave something to the groups that they were in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use mqtt::TopicFilter;
use persistence::Operation;
use tokio::sync::Notify;

use crate::exchange::Exchange;
use crate::link::Link;

/// Those of which a part of the queue has to be loaded first.
#[derive(Debug, Default)]
pub(super) struct Departures {
    waiting: Mutex<Vec<Departed>>,
    loaded: Arc<Loaded>,
}

/// A session that has ended and the Shared Subscriptions that it had.
#[derive(Clone, Debug)]
pub(super) struct Departed {
    pub(super) link: Arc<Link>,
    pub(super) shares: Vec<TopicFilter>,
}

/// Woken when a part of a queue is loaded. It has no session, which has it as its waker.
#[derive(Debug, Default)]
struct Loaded(Notify);

impl Wake for Loaded {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Departures {
    fn waiting(&self) -> MutexGuard<'_, Vec<Departed>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// Ready when [`Exchange::go_on_departing`] has something to do.
    pub(crate) async fn departing(&self) {
        self.registry.departures.loaded.0.notified().await;
    }

    /// Gives on what was loaded of sessions that have ended.
    pub(crate) fn go_on_departing(&self) {
        let waiting = std::mem::take(&mut *self.registry.departures.waiting());
        waiting.into_iter().for_each(|it| self.depart(it));
    }

    /// Gives what a session that has ended did not deliver to the other members of its groups,
    /// then removes it from the store. If a part of its queue has to be loaded first, the rest is
    /// done when it is.
    pub(super) fn depart(&self, departed: Departed) {
        let Departed { link, shares } = &departed;
        if !shares.is_empty() {
            let departures = &self.registry.departures;
            let mut state = link.lock();
            let deliveries = state.session.take_undelivered();
            let waits = state.session.backlog() > 0;
            state.register(&Waker::from(Arc::clone(&departures.loaded)));
            drop(state);
            self.redistribute(shares, deliveries);
            if waits {
                // Before the page can be there.
                departures.waiting().push(departed.clone());
                self.load_page(link);
                return;
            }
        }
        // Publishers may know the link for a while; what waited in it is of no use.
        link.lock().forget();
        if let Some(session) = link.stored() {
            self.store.submit(Operation::DeleteSession(session));
        }
    }
}
