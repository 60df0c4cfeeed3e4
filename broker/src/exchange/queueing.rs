//! How a message waits in the queues of sessions, which follows from its topic.

use std::time::Duration;

use mqtt::session::QueueClass;
use mqtt::{QoS, TopicFilter, TopicName};

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
    /// True if all wait in one line, each until it is sent.
    pub(crate) const fn is_plain(&self) -> bool {
        self.lanes.is_empty() && self.latest_only.is_empty() && self.waiting_max.is_none()
    }

    /// How the deliveries of messages wait; those of QoS 0 do not.
    pub(crate) fn class_of(&self, topic: &TopicName, qos: QoS) -> QueueClass {
        let mut class = QueueClass::default();
        if !qos.is_acknowledged() {
            return class;
        }
        let topic = topic.as_str();
        let rule = self.lanes.iter().find(|(filter, _)| filter.matches(topic));
        if let Some((_, lane)) = rule {
            class.lane = *lane;
        }
        class.latest_only = self.latest_only.iter().any(|it| it.matches(topic));
        class
    }
}
