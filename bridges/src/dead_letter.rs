//! What the hub does not want: kept aside here, with the reason.

use gateway::Client;
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, QoS, TopicName};

/// The user property with the reason.
const REASON: &str = "reason";

/// Where messages go that the hub refuses.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// Before the message's own topic; none to throw them away.
    prefix: Option<String>,
}

impl DeadLetter {
    /// Messages go below this topic, or nowhere if it is empty.
    pub(crate) fn new(topic: &str) -> Self {
        let prefix = (!topic.is_empty()).then(|| format!("{topic}/"));
        Self { prefix }
    }

    /// Publishes a message here that the hub refused.
    pub(crate) fn put(&self, message: &Message, reason: &str, client: &Client) {
        let Some(prefix) = &self.prefix else {
            return;
        };
        // A topic that becomes too long; it was counted.
        let Ok(topic) = TopicName::new(&format!("{prefix}{}", message.topic)) else {
            return;
        };
        let reason = [Property::UserProperty(REASON, reason)];
        let properties = message.properties.iter().chain(reason);
        let properties = ForwardedProperties::from_properties(properties);
        let letter = Message {
            qos: message.qos.max(QoS::AtLeastOnce),
            expires_at: message.expires_at,
            properties,
            ..Message::new(topic, message.payload.clone())
        };
        if let Err(error) = client.publish_now(letter) {
            let topic = message.topic.as_str();
            tracing::warn!(topic, %error, "a message that the hub refused is lost");
        }
    }
}
