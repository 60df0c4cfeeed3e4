//! Pulling into a session what does not come by publishing: retained messages for its new
//! subscriptions, and the part of its queue that only the store has.

use std::sync::Arc;

use mqtt::Message;
use mqtt::session::Delivery;
use persistence::Operation;

use super::Exchange;
use crate::link::{Link, Replay};

/// Retained messages that are put into a session's queue at a time.
const REPLAY_BATCH: usize = 64;

impl Exchange {
    /// Fills a session's queue from where more is waiting: retained messages for new
    /// subscriptions, and the part of its queue that only the store has. Its owner calls this
    /// whenever it has sent what was in memory, so a slow one costs no memory.
    pub(crate) fn refill(&self, link: &Arc<Link>) {
        self.load_page(link);
        let mut state = link.lock();
        while state.session.is_drained() {
            let Some(mut replay) = state.replays.pop_front() else {
                return;
            };
            drop(state);
            let after = replay.after.as_ref();
            let messages = self.router.retained(&replay.filter, after, REPLAY_BATCH);
            replay.after = messages.last().map(|message| message.topic.clone());
            let more = messages.len() == REPLAY_BATCH;
            for message in messages {
                self.replay(link, message, &replay);
            }
            state = link.lock();
            if more {
                state.replays.push_front(replay);
            }
        }
    }

    /// Fetches the next part of a session's queue from the store, if its turn has come.
    pub(crate) fn load_page(&self, link: &Arc<Link>) {
        let Some(session) = link.stored() else {
            return;
        };
        let Some(request) = link.lock().session.page_wanted() else {
            return;
        };
        let owner = Arc::clone(link);
        let reply = Box::new(move |page, complete| {
            let mut state = owner.lock();
            state.session.page_loaded(page, complete);
            let waker = state.notify();
            drop(state);
            waker.into_iter().for_each(std::task::Waker::wake);
        });
        self.store
            .submit(Operation::LoadPage(session, request, reply));
    }

    fn replay(&self, link: &Link, message: Arc<Message>, replay: &Replay) {
        if message.is_expired(self.now()) {
            return;
        }
        let delivery = Delivery {
            sequence: 0,
            qos: message.qos.min(replay.options.qos),
            message,
            retain: true, // [MQTT-3.3.1-8]
            subscription_ids: replay.identifier.into_iter().collect(),
        };
        self.count(link.deliver(delivery, &mut None, &self.store));
    }
}
