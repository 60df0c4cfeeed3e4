//! What clients ask for under one filter.

use mqtt::QoS;

use super::{Router, Subscription, is};
use crate::demand::is_client;

impl Router {
    /// The highest QoS with which clients subscribe to a filter, in groups or not; none if no
    /// client does.
    pub(crate) fn wanted(&self, pattern: &str) -> Option<QoS> {
        let of_client = |it: &Subscription| is_client(&it.link).then_some(it.options.qos);
        if pattern.contains(['+', '#']) {
            self.wildcard.read().get(pattern)?.highest(of_client)
        } else {
            let hash = self.hash(pattern);
            let shard = self.shard(hash).read();
            let exact = shard.find(hash, is(pattern))?;
            exact.subscribers.highest(of_client)
        }
    }
}
