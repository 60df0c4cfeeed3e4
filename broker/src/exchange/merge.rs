//! Overlapping subscriptions of one session: it gets each message once.

use std::sync::Arc;

use mqtt::Message;
use mqtt::packet::SubscriptionOptions;
use mqtt::session::Delivery;

use crate::link::{Link, Storing};
use crate::router::{Match, Subscription};

/// What the overlapping subscriptions of one session come to together.
#[derive(Default)]
pub(super) struct Merged {
    options: SubscriptionOptions,
    identifiers: Vec<u32>,
}

impl From<&Subscription> for Merged {
    fn from(subscription: &Subscription) -> Self {
        Self {
            options: subscription.options,
            identifiers: subscription.identifier.into_iter().collect(),
        }
    }
}

impl Merged {
    pub(super) fn delivery(self, message: &Arc<Message>, storing: &Storing<'_>) -> Delivery {
        Delivery {
            sequence: 0,
            message: Arc::clone(message),
            qos: message.qos.min(self.options.qos),
            retain: message.retain && self.options.retain_as_published,
            subscription_ids: self.identifiers,
            class: storing.class,
            expires_at: storing.expires_at,
        }
    }
}

/// Calls `deliver` once for each session among the matches, with the highest QoS and all
/// identifiers of its subscriptions [MQTT-3.3.4-2] [MQTT-3.3.4-3], and once for each group;
/// returns how often that is.
pub(super) fn merge(
    matches: &mut [Match],
    publisher: Option<&Link>,
    mut deliver: impl FnMut(&Match, Merged),
) -> usize {
    let address = |it: &Match| Arc::as_ptr(&it.subscription.link).addr();
    if matches.len() > 1 {
        matches.sort_unstable_by_key(|it| (address(it), it.share.is_some()));
    }
    let mut count = 0;
    let together =
        |a: &Match, b: &Match| address(a) == address(b) && a.share.is_none() && b.share.is_none();
    for group in matches.chunk_by(together) {
        // Not the session counts, which may be another one by now, but its client [MQTT-3.8.3-3].
        let own = |it: &Subscription| publisher.is_some_and(|by| by.client_id == it.link.client_id);
        let mut merged: Option<Merged> = None;
        for it in group
            .iter()
            .filter(|it| !(it.subscription.options.no_local && own(&it.subscription)))
        {
            let subscription = &it.subscription;
            let merged = merged.get_or_insert_default();
            merged.options.qos = merged.options.qos.max(subscription.options.qos);
            merged.options.retain_as_published |= subscription.options.retain_as_published;
            merged.identifiers.extend(subscription.identifier);
        }
        if let Some(merged) = merged {
            count += 1;
            deliver(&group[0], merged);
        }
    }
    count
}
