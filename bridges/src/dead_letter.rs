//! What the hub does not want: kept aside here, with the reason.

use gateway::Client;
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, QoS, TopicName};

/// The user property with the reason.
const REASON: &str = "reason";
/// The user property of every message that was kept aside. If bridges forward such messages and
/// their hubs refuse them too, each would otherwise be kept aside by each bridge again and again.
const MARK: (&str, &str) = ("x-dead-letter", "1");

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

    /// Publishes a message here that the hub refused, and that was counted; not one that was a
    /// dead letter before, of whichever bridge.
    pub(crate) fn put(&self, message: &Message, reason: &str, client: &Client) {
        let Some(letter) = self.letter(message, reason) else {
            return;
        };
        if let Err(error) = client.publish_now(letter) {
            let topic = message.topic.as_str();
            tracing::warn!(topic, %error, "a message that the hub refused is lost");
        }
    }

    /// What is published for a message; none if it is thrown away.
    fn letter(&self, message: &Message, reason: &str) -> Option<Message> {
        let prefix = self.prefix.as_ref()?;
        if is_letter(message) {
            return None;
        }
        // Not if the topic becomes too long.
        let topic = TopicName::new(&format!("{prefix}{}", message.topic)).ok()?;
        let said = [(REASON, reason), MARK];
        let said = said.map(|(name, value)| Property::UserProperty(name, value));
        let properties = message.properties.iter().chain(said);
        let properties = ForwardedProperties::from_properties(properties);
        Some(Message {
            qos: message.qos.max(QoS::AtLeastOnce),
            expires_at: message.expires_at,
            properties,
            ..Message::new(topic, message.payload.clone())
        })
    }
}

fn is_letter(message: &Message) -> bool {
    let mut properties = message.properties.iter();
    properties.any(|it| matches!(it, Property::UserProperty(name, _) if name == MARK.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_never_one_again_at_any_bridge() {
        let [one, two, none] = ["lost/b1", "lost/b2", ""].map(DeadLetter::new);
        let own = Property::UserProperty("own", "x");
        let message = Message {
            properties: ForwardedProperties::from_properties([own]),
            ..Message::new(TopicName::new("a/b").unwrap(), "payload")
        };
        assert!(none.letter(&message, "no").is_none());
        let letter = one.letter(&message, "no").unwrap();
        assert_eq!(letter.topic.as_str(), "lost/b1/a/b");
        assert_eq!(letter.payload, "payload");
        assert_eq!(letter.qos, QoS::AtLeastOnce);
        let properties: Vec<_> = letter.properties.iter().collect();
        let reason = Property::UserProperty("reason", "no");
        let mark = Property::UserProperty("x-dead-letter", "1");
        assert_eq!(properties, [own, reason, mark]);
        for bridge in [&one, &two] {
            assert!(bridge.letter(&letter, "no").is_none());
        }
        assert!(two.letter(&message, "no").is_some());
    }
}
