//! Making and ending subscriptions.

use std::num::NonZero;
use std::sync::Arc;

use mqtt::packet::{RetainHandling, SubscriptionOptions};
use mqtt::{Sharing, TopicFilter};
use persistence::{Operation, Position, StoredSubscription};

use super::Exchange;
use crate::link::{Link, Terms};
use crate::router::Subscription;

impl Exchange {
    /// Makes or replaces a subscription and prepares what retained messages it is due. None if
    /// the filter is another session's exclusively.
    pub(crate) fn subscribe(
        &self,
        link: &Arc<Link>,
        filter: TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> Option<Position> {
        let entry = Subscription {
            link: Arc::clone(link),
            options,
            // There is no identifier 0 (§3.8.2.1.2).
            identifier: identifier.and_then(NonZero::new),
        };
        if !self.router.subscribe(&filter, entry) {
            return None;
        }
        // What is retained from here on is routed to the subscription, which is there already.
        let may_match = self.retained.may_match(&filter);
        let subscribed = filter.clone();
        let mut state = link.lock();
        if state.ended {
            drop(state);
            self.router.unsubscribe(&filter, link);
            return Some(Position(0));
        }
        let is_new = state.subscriptions.insert(filter.clone());
        state.left_groups.retain(|group| *group != filter);
        let is_due = match options.retain_handling {
            // A Shared Subscription gets none, whoever comes to it (§4.8.2).
            _ if matches!(filter.sharing(), Sharing::Group(_)) => false,
            RetainHandling::Send => may_match,
            RetainHandling::SendIfNew => may_match && is_new,
            RetainHandling::DoNotSend => false,
        };
        let terms = Terms {
            options,
            identifier,
        };
        state.replays.subscribed(&filter, terms, is_due);
        // Under the lock: a session that ends is taken out of the store after this.
        let stored = link.durable().map(|session| {
            let subscription = StoredSubscription {
                filter,
                options,
                identifier,
            };
            self.store
                .submit(Operation::Subscribe(session, subscription))
        });
        drop(state);
        self.demand.note(&subscribed);
        Some(stored.unwrap_or(Position(0)))
    }

    /// Ends a subscription; at the position returned that is durable. None if there was none.
    pub(crate) fn unsubscribe(&self, link: &Link, filter: &TopicFilter) -> Option<Position> {
        let mut state = link.lock();
        state.replays.unsubscribed(filter);
        let existed = state.subscriptions.remove(filter);
        if existed && matches!(filter.sharing(), Sharing::Group(_)) {
            state.leave(filter.clone());
        }
        drop(state);
        self.router.unsubscribe(filter, link);
        self.demand.note(filter);
        let ended = link.durable().filter(|_| existed).map(|session| {
            self.store
                .submit(Operation::Unsubscribe(session, filter.clone()))
        });
        existed.then_some(ended.unwrap_or(Position(0)))
    }
}
