//! Sessions that are there before their client: their queues collect from the start on.

use std::time::Duration;

use mqtt::TopicFilter;
use mqtt::packet::SubscriptionOptions;

use crate::exchange::Exchange;
use crate::registry::{Claim, Ending};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PresetSession {
    pub(crate) client_id: String,
    /// How long it waits for its client, from the start of the daemon on.
    pub(crate) expiry: Duration,
    pub(crate) subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
}

impl Exchange {
    /// Makes the session, or adds to one that is there the subscriptions that it lacks.
    pub(crate) fn preset(&self, preset: &PresetSession) {
        let attached = self.attach(Claim {
            client_id: &preset.client_id,
            clean_start: false,
            expiry: preset.expiry,
            inflight_messages_max: self.limits.inflight_messages_max,
            keep_alive_millis: None,
            will: None,
        });
        for (filter, options) in &preset.subscriptions {
            let known = attached.link.lock().subscriptions.contains(filter);
            let is_taken = !known
                && self
                    .subscribe(&attached.link, filter.clone(), *options, None)
                    .is_none();
            if is_taken {
                let client_id = preset.client_id.as_str();
                tracing::warn!(client_id, %filter, "another client has this filter exclusively");
            }
        }
        let ending = Ending {
            will: None,
            session_expiry: None,
        };
        self.detach(&attached.link, attached.owner, ending);
    }
}
