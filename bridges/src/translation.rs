//! Messages here and messages at the hub: pure.

use std::time::Duration;

use bytes::Bytes;
use gateway::{
    ConfiguredTemplate, Delivery, MappedTopic, MqttSelector, SubscriptionRequest, Template,
};
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};

use crate::config::{Config, ConfigError};

/// The rules of one bridge, ready for use.
#[derive(Debug)]
pub(crate) struct Translation {
    forwards: Vec<Rule>,
    subscriptions: Vec<Rule>,
}

/// One rule in either direction.
#[derive(Debug)]
struct Rule {
    filter: TopicFilter,
    selector: MqttSelector,
    topic: Option<Template>,
    prefix: String,
    suffix: String,
    qos: Option<QoS>,
    retain: Option<bool>,
}

/// A message as it is sent to the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: ForwardedProperties,
}

/// A message as it came from the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) properties: ForwardedProperties,
}

impl Translation {
    pub(crate) fn new(name: &str, config: &Config) -> Result<Self, ConfigError> {
        let forwards = config.forwards.iter().enumerate().map(|(index, it)| {
            let key = || format!("forwards[{index}].remote_topic");
            let filter = it.local_topic.0.clone();
            let rule = Rule::new(name, filter, it.remote_topic.as_ref(), key)?;
            Ok(Rule {
                prefix: it.prefix.clone(),
                suffix: it.suffix.clone(),
                qos: it.qos.map(|qos| qos.0),
                retain: retain_override(it.retain),
                ..rule
            })
        });
        let subscriptions = config.subscription.iter().enumerate().map(|(index, it)| {
            let key = || format!("subscription[{index}].local_topic");
            let filter = it.remote_topic.0.clone();
            let rule = Rule::new(name, filter, it.local_topic.as_ref(), key)?;
            Ok(Rule {
                prefix: it.prefix.clone(),
                suffix: it.suffix.clone(),
                qos: Some(it.qos.0),
                retain: retain_override(it.retain),
                ..rule
            })
        });
        Ok(Self {
            forwards: forwards.collect::<Result<_, _>>()?,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    }

    /// What the bridge's session subscribes to here.
    pub(crate) fn local_subscriptions(&self) -> Vec<SubscriptionRequest> {
        let requests = self.forwards.iter().map(|rule| SubscriptionRequest {
            filter: rule.filter.clone(),
            qos: QoS::AtLeastOnce,
            retained: true,
        });
        requests.collect()
    }

    /// What the bridge subscribes to at the hub.
    pub(crate) fn remote_subscriptions(&self) -> impl Iterator<Item = (&TopicFilter, QoS)> {
        self.subscriptions
            .iter()
            .map(|rule| (&rule.filter, rule.qos.unwrap_or(QoS::AtLeastOnce)))
    }

    /// What one delivery becomes at the hub: a message for each rule that matches.
    pub(crate) fn forward(&self, delivery: &Delivery) -> Vec<Forwarded> {
        let message = &delivery.message;
        // `$SYS` and the like describe this broker and mean nothing at another.
        if message.topic.is_reserved() {
            return Vec::new();
        }
        let forwarded = self.forwards.iter().filter_map(|rule| {
            let pieces = rule.selector.select(&message.topic)?;
            let topic = rule.topic(message.topic.as_str(), &pieces)?;
            Some(Forwarded {
                topic: topic.as_str().to_owned(),
                payload: message.payload.clone(),
                qos: rule.qos.unwrap_or(QoS::AtLeastOnce),
                retain: rule.retain.unwrap_or(message.retain),
                properties: message.properties.clone(),
            })
        });
        forwarded.collect()
    }

    /// What a message from the hub becomes here; none if no rule gives it a valid topic.
    pub(crate) fn receive(&self, received: Received, now: Timestamp) -> Option<Message> {
        let remote = TopicName::new(&received.topic).ok()?;
        let (rule, pieces) = self
            .subscriptions
            .iter()
            .find_map(|rule| Some((rule, rule.selector.select(&remote)?)))?;
        let topic = rule.topic(remote.as_str(), &pieces)?;
        let expiry = received
            .expiry_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        Some(Message {
            topic,
            payload: received.payload,
            qos: received.qos,
            retain: rule.retain.unwrap_or(received.retain),
            expires_at: expiry.map(|expiry| now.after(expiry)),
            properties: received.properties,
        })
    }
}

impl Rule {
    fn new(
        name: &str,
        filter: TopicFilter,
        topic: Option<&ConfiguredTemplate>,
        key: impl FnOnce() -> String,
    ) -> Result<Self, ConfigError> {
        let selector = MqttSelector::new(filter.clone(), name);
        // NanoMQ writes an empty topic for "the same".
        let topic = topic
            .map(|it| &it.0)
            .filter(|it| !it.to_string().is_empty())
            .cloned();
        if let Some(template) = &topic {
            let check = template.check(&MqttSelector::NAMES, selector.wildcard_count());
            let text = template.to_string();
            if let Err(error) = check {
                return Err(ConfigError::new(key(), error));
            }
            if text.contains(['+', '#']) {
                let problem =
                    format!("`{text}` has a wildcard; use $1 for the first wildcard of the filter");
                return Err(ConfigError::new(key(), problem));
            }
        }
        let (prefix, suffix) = (String::new(), String::new());
        Ok(Self {
            filter,
            selector,
            topic,
            prefix,
            suffix,
            qos: None,
            retain: None,
        })
    }

    fn topic(&self, original: &str, pieces: &MappedTopic<'_>) -> Option<TopicName> {
        let middle = match &self.topic {
            Some(template) => template.render(pieces)?,
            None => original.to_owned(),
        };
        TopicName::new(&format!("{}{middle}{}", self.prefix, self.suffix)).ok()
    }
}

const fn retain_override(retain: u8) -> Option<bool> {
    match retain {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The properties that travel, from their values at the hub.
pub(crate) fn properties<'a>(
    properties: impl IntoIterator<Item = Property<'a>>,
) -> ForwardedProperties {
    ForwardedProperties::from_properties(properties)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway::DeliveryId;

    use super::*;

    fn translation(text: &str) -> Result<Translation, ConfigError> {
        let config: Config = toml::from_str(&format!("server = \"hub\"\n{text}")).unwrap();
        Translation::new("up", &config)
    }

    fn forwarded_topics(rules: &str, topic: &str) -> Vec<String> {
        let message = Message::new(TopicName::new(topic).unwrap(), "x");
        let delivery = Delivery {
            id: DeliveryId(1),
            message: Arc::new(message),
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let forwarded = translation(rules).unwrap().forward(&delivery);
        forwarded.into_iter().map(|it| it.topic).collect()
    }

    #[test]
    fn topics_are_mapped_towards_the_hub() {
        let table: [(&str, &str, &[&str]); 8] = [
            (r#"forwards = [{ local_topic = "a/#" }]"#, "a/b", &["a/b"]),
            (
                r#"forwards = [{ local_topic = "a/#", remote_topic = "" }]"#,
                "a/b",
                &["a/b"],
            ),
            (
                r#"forwards = [{ local_topic = "a/#", prefix = "p/", suffix = "/s" }]"#,
                "a/b",
                &["p/a/b/s"],
            ),
            (
                r#"forwards = [{ local_topic = "a/#", remote_topic = "all" }]"#,
                "a/b",
                &["all"],
            ),
            (
                r#"forwards = [{ local_topic = "a/+/#", remote_topic = "$2/$1/${gateway}" }]"#,
                "a/b/c/d",
                &["c/d/b/up"],
            ),
            (
                r#"forwards = [{ local_topic = "a/#" }, { local_topic = "+/b", prefix = "2/" }]"#,
                "a/b",
                &["a/b", "2/a/b"],
            ),
            (r#"forwards = [{ local_topic = "a/#" }]"#, "b", &[]),
            (
                r#"forwards = [{ local_topic = "$SYS/#" }]"#,
                "$SYS/broker",
                &[],
            ),
        ];
        for (rules, topic, expected) in table {
            assert_eq!(
                forwarded_topics(rules, topic),
                expected,
                "{rules} on {topic}"
            );
        }
    }

    #[test]
    fn topics_are_mapped_from_the_hub_by_the_first_rule() {
        let rules = r##"subscription = [
            { remote_topic = "cmd/up/#", local_topic = "cmd/$1", retain = 0 },
            { remote_topic = "#", prefix = "hub/" }]"##;
        let translation = translation(rules).unwrap();
        let received = |topic: &str| Received {
            topic: topic.to_owned(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::AtLeastOnce,
            retain: true,
            expiry_seconds: Some(5),
            properties: ForwardedProperties::default(),
        };
        let now = Timestamp::from_millis(1_000);
        let message = translation
            .receive(received("cmd/up/valve/1"), now)
            .unwrap();
        assert_eq!(message.topic.as_str(), "cmd/valve/1");
        assert!(!message.retain);
        assert_eq!(message.expires_at, Some(Timestamp::from_millis(6_000)));
        let message = translation.receive(received("news"), now).unwrap();
        assert_eq!((message.topic.as_str(), message.retain), ("hub/news", true));
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        for rules in [
            r#"forwards = [{ local_topic = "a", remote_topic = "$1" }]"#,
            r#"forwards = [{ local_topic = "a/#", remote_topic = "b/#" }]"#,
            r#"forwards = [{ local_topic = "a/#", remote_topic = "${nothing}" }]"#,
        ] {
            let error = translation(rules).unwrap_err();
            assert_eq!(error.key, "forwards[0].remote_topic", "{rules}");
        }
    }
}
