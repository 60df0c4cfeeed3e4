//! What the daemon publishes itself.

use std::sync::Arc;

use mqtt::{Message, TopicName};

use super::{Exchange, merge};
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
        let mut matches = Vec::new();
        let choice = self.choice(&message.topic, "");
        self.router.matches(choice, &mut matches);
        let mut storing = self.storing(&message);
        merge(&mut matches, None, |to, merged| {
            // What finds no room is counted.
            self.deliver(to, choice, &message, merged, &mut storing)
                .ok();
        });
    }

    /// Routes what the daemon says of an event, which is made only if anybody listens.
    pub(crate) fn route_if_wanted(
        &self,
        topic: TopicName,
        describe: impl FnOnce(TopicName) -> Message,
    ) {
        let mut matches = Vec::new();
        self.router.matches(self.choice(&topic, ""), &mut matches);
        if matches.is_empty() {
            return;
        }
        let message = Arc::new(describe(topic));
        self.route(message, None);
    }
}
