//! What the daemon publishes itself.

use std::sync::Arc;

use mqtt::{Message, TopicName};

use super::Exchange;
use crate::retained::RetainedLimits;

impl Exchange {
    /// Publishes what the daemon says of itself: retained, but in memory only, because it is
    /// said again after a restart and is not worth a write.
    pub(crate) fn announce(&self, topic: TopicName, payload: String) {
        let mut message = Message::new(topic, payload);
        message.retain = true;
        let message = Arc::new(message);
        self.retained
            .set(&message, &RetainedLimits::NONE, |_| {})
            .ok();
        let route = self.resolve(&message.topic, None);
        let mut storing = self.storing(&message);
        // What finds no room is counted.
        self.deliver(&route, &message, "", &mut storing);
    }

    /// Routes what the daemon says of an event, which is made only if anybody listens.
    pub(crate) fn route_if_wanted(
        &self,
        topic: TopicName,
        describe: impl FnOnce(TopicName) -> Message,
    ) {
        let route = self.resolve(&topic, None);
        if route.targets.is_empty() && route.groups.is_empty() {
            return;
        }
        let message = Arc::new(describe(topic));
        self.route(message, None);
    }
}
