//! Subscriptions that the server makes for every client that connects.

use std::sync::Arc;

use gateway::Template;
use mqtt::TopicFilter;
use mqtt::packet::SubscriptionOptions;

use super::Who;
use crate::exchange::Exchange;
use crate::link::Link;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct AutoSubscription {
    /// The filter, filled in for the client.
    pub(crate) filter: Template,
    pub(crate) options: SubscriptionOptions,
}

impl Exchange {
    /// Makes the subscriptions that every client gets. One whose filter lacks a value for this
    /// client, or is no filter with it, is left out.
    pub(crate) fn auto_subscribe(&self, link: &Arc<Link>, who: Who<'_>) {
        for subscription in &self.extensions.auto_subscriptions {
            let text = subscription.filter.render(&who);
            let filter = text.and_then(|text| TopicFilter::new(&text).ok());
            let made =
                filter.and_then(|filter| self.subscribe(link, filter, subscription.options, None));
            if made.is_none() {
                let client_id = who.client_id;
                tracing::debug!(client_id, "an automatic subscription is not possible");
            }
        }
    }
}
