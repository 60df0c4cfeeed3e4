//! What the daemon publishes itself.

use std::sync::Arc;

use mqtt::{Message, TopicName};
use persistence::Operation;

use super::{Exchange, Refusal};
use crate::retained::RetainedLimits;

impl Exchange {
    /// Publishes what the daemon says of itself: retained, but in memory only, because it is
    /// said again after a restart and is not worth a write.
    pub(crate) fn announce(&self, topic: TopicName, payload: String) {
        let mut message = Message::new(topic, payload);
        message.retain = true;
        let message = Arc::new(message);
        self.retained
            .set(&message, &RetainedLimits::NONE, Refusal::Silence, |_| {})
            .ok();
        let route = self.resolve(&message.topic, None);
        let mut storing = self.storing(&message);
        // What finds no room is counted.
        self.deliver(&route, &message, "", &mut storing);
    }

    /// The last message that is retained on exactly this topic.
    pub(crate) fn last(&self, topic: &TopicName) -> Option<Arc<Message>> {
        self.retained.get(topic)
    }

    /// [`Exchange::announce`] for what is not known again after a restart, so that it is stored; an
    /// empty one removes it.
    pub(crate) fn announce_stored(&self, topic: TopicName, payload: String) {
        self.announce(topic.clone(), payload);
        let kept = self.last(&topic);
        self.store.submit(Operation::Retain(topic, kept));
    }

    /// Routes what the daemon says of an event, which is made only if anybody listens. Without a
    /// topic of this name, which a Client Identifier may spoil, nobody can.
    pub(crate) fn route_if_wanted(&self, topic: &str, describe: impl FnOnce() -> String) {
        if self.router.has_subscriber(topic)
            && let Ok(topic) = TopicName::new(topic)
        {
            let message = Arc::new(Message::new(topic, describe()));
            // Nobody is told that it is not taken, so it is.
            self.route(message, None, Refusal::Silence).ok();
        }
    }
}
