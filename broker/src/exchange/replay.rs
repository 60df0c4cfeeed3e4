//! Pulling into a session what does not come by publishing: retained messages for its new
//! subscriptions, and the part of its queue that only the store has.

use std::sync::Arc;
use std::task::Waker;

use mqtt::session::Delivery;
use persistence::Operation;

use super::Exchange;
use crate::link::{Link, Place, Terms};
use crate::retained::Piece;

/// Retained messages that are put into a session's queue at a time.
const REPLAY_BATCH: usize = 64;
/// Pieces of the retained messages that are looked through in vain before others have their turn.
const EMPTY_PIECES_MAX: usize = 16;

impl Exchange {
    /// Fills a session's queue from where more is waiting: retained messages for new
    /// subscriptions, and the part of its queue that only the store has. Its owner calls this
    /// whenever it has sent what was in memory, so a slow one costs no memory.
    pub(crate) fn refill(&self, link: &Arc<Link>) {
        self.load_page(link);
        let mut state = link.lock();
        for _ in 0..EMPTY_PIECES_MAX {
            if !state.session.is_drained() {
                return;
            }
            let Some(place) = state.replays.next() else {
                return;
            };
            drop(state);
            let (filter, after) = (place.filter.clone(), place.after.clone());
            // Until they are put in nobody replaces them: none comes behind its successor.
            let put = |piece| self.replay(link, place, piece);
            let has_room = self
                .retained
                .visit(&filter, after.as_ref(), REPLAY_BATCH, put);
            if !has_room {
                return;
            }
            state = link.lock();
        }
        // The owner goes on when others had their turn.
        let is_due = state.session.is_drained() && !state.replays.is_empty();
        let waker = is_due.then(|| state.notify()).flatten();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Fetches the next part of a session's queue from the store, if its turn has come.
    pub(crate) fn load_page(&self, link: &Arc<Link>) {
        let Some(session) = link.stored() else {
            return;
        };
        let mut state = link.lock();
        // The last page may have shown that others have to make way.
        link.forget_evicted(&mut state, &self.store);
        let request = state.session.page_wanted();
        drop(state);
        let Some(request) = request else {
            return;
        };
        let owner = Arc::clone(link);
        let reply = Box::new(move |page, complete| {
            let mut state = owner.lock();
            state.session.page_loaded(page, complete);
            state.settle();
            let waker = state.notify();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        });
        self.store
            .submit(Operation::LoadPage(session, request, reply));
    }

    /// Puts the retained messages that come at a place into a session's queue. False if there is
    /// no room for the rest, which then comes when the queue is drained again: none of them is
    /// dropped.
    fn replay(&self, link: &Arc<Link>, mut place: Place, piece: Piece) -> bool {
        let now = self.now();
        let mut state = link.lock();
        state.bound_memory();
        let Some(Terms {
            options,
            identifier,
        }) = state.replays.terms(&place)
        else {
            // The subscription has ended meanwhile, or another connection was faster.
            return true;
        };
        for message in piece.messages {
            let topic = message.topic.clone();
            let mut storing = self.storing(&message);
            let delivery = Delivery {
                sequence: 0,
                qos: message.qos.min(options.qos),
                message,
                retain: true, // [MQTT-3.3.1-8]
                subscription_ids: identifier.into_iter().collect(),
                class: storing.class,
                expires_at: storing.expires_at,
            };
            if !delivery.message.is_expired(now) {
                if !state.session.has_room(&delivery) {
                    return false;
                }
                link.put(&mut state, delivery, &mut storing);
            }
            state.replays.advance(&mut place, topic, true);
        }
        match piece.reached {
            Some(topic) => state.replays.advance(&mut place, topic, false),
            None => state.replays.finish(place),
        }
        true
    }
}
