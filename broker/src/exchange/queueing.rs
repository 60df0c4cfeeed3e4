//! How a message waits in the queues of sessions, which follows from its topic.

use std::time::Duration;

use mqtt::session::QueueClass;
use mqtt::{Message, TopicFilter};

/// What is configured of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueRules {
    /// Lanes by topics; the first filter that matches counts.
    pub(crate) lanes: Vec<(TopicFilter, u8)>,
    /// Topics of which only the last message waits.
    pub(crate) latest_only: Vec<TopicFilter>,
    /// How long a delivery waits at most, whatever its message says.
    pub(crate) waiting_max: Option<Duration>,
}

impl QueueRules {
    /// How the deliveries of a message wait; those of QoS 0 do not.
    pub(crate) fn class_of(&self, message: &Message) -> QueueClass {
        let mut class = QueueClass::default();
        if !message.qos.is_acknowledged() {
            return class;
        }
        let topic = message.topic.as_str();
        let rule = self.lanes.iter().find(|(filter, _)| filter.matches(topic));
        if let Some((_, lane)) = rule {
            class.lane = *lane;
        }
        class.latest_only = self.latest_only.iter().any(|it| it.matches(topic));
        class
    }
}
