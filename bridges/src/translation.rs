//! Messages here and messages at the hub: pure.

use std::time::Duration;

use bytes::Bytes;
use gateway::{
    ConfigError, ConfiguredTemplate, Delivery, MqttRule, SubscriptionRequest, TemplateError,
};
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};

use crate::config::Config;

/// The rules of one bridge, ready for use.
#[derive(Debug)]
pub(crate) struct Translation {
    forwards: Vec<Rule>,
    subscriptions: Vec<Rule>,
}

/// One rule in either direction.
#[derive(Debug)]
struct Rule {
    source: MqttRule,
    prefix: String,
    suffix: String,
    /// Towards the hub; the other way a message keeps the QoS that the hub sent it with.
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
            let filter = &it.local_topic.0;
            let place = format!("forwards[{index}]");
            if filter.pattern().starts_with('$') {
                // `$SYS` and the like describe this broker and mean nothing at another.
                let problem = "topics that begin with `$` belong to this broker and stay here";
                return Err(ConfigError::new(format!("{place}.local_topic"), problem));
            }
            let request = request(filter, QoS::AtLeastOnce);
            let rule = Rule {
                source: source(name, request, it.remote_topic.as_ref()).map_err(|problem| {
                    ConfigError::new(format!("{place}.remote_topic"), problem)
                })?,
                prefix: it.prefix.clone(),
                suffix: it.suffix.clone(),
                qos: it.qos.map(|qos| qos.0),
                retain: retain_override(it.retain),
            };
            rule.check(&place, "remote_topic")
        });
        let subscriptions = config.subscription.iter().enumerate().map(|(index, it)| {
            let place = format!("subscription[{index}]");
            let request = request(&it.remote_topic.0, it.qos.0);
            let rule = Rule {
                source: source(name, request, it.local_topic.as_ref())
                    .map_err(|problem| ConfigError::new(format!("{place}.local_topic"), problem))?,
                prefix: it.prefix.clone(),
                suffix: it.suffix.clone(),
                qos: None,
                retain: retain_override(it.retain),
            };
            rule.check(&place, "local_topic")?
                .check_not_reserved(&place)
        });
        Ok(Self {
            forwards: forwards.collect::<Result<_, _>>()?,
            subscriptions: subscriptions.collect::<Result<_, _>>()?,
        })
    }

    /// What the bridge's session subscribes to here.
    pub(crate) fn local_subscriptions(&self) -> Vec<SubscriptionRequest> {
        let rules = self.forwards.iter();
        rules
            .map(|rule| rule.source.subscription().clone())
            .collect()
    }

    /// What the bridge subscribes to at the hub.
    pub(crate) fn remote_subscriptions(&self) -> impl Iterator<Item = &SubscriptionRequest> {
        let rules = self.subscriptions.iter();
        rules.map(|rule| rule.source.subscription())
    }

    /// What one delivery becomes at the hub: a message for each rule that matches.
    pub(crate) fn forward(&self, delivery: &Delivery) -> Vec<Forwarded> {
        let message = &delivery.message;
        let forwarded = self.forwards.iter().filter_map(|rule| {
            let topic = rule.topic(&rule.source.render(&message.topic)?)?;
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
        let mut rules = self.subscriptions.iter();
        let (rule, topic) = rules.find_map(|rule| Some((rule, rule.source.render(&remote)?)))?;
        let topic = rule.topic(&topic)?;
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
    /// Refuses a rule that never gives a topic; `key` is where the rule has it.
    fn check(self, place: &str, key: &str) -> Result<Self, ConfigError> {
        let middle = self.source.example().unwrap_or_default();
        for (key, text) in [
            (key, middle.clone()),
            ("prefix", format!("{}{middle}", self.prefix)),
            ("suffix", format!("{}{middle}{}", self.prefix, self.suffix)),
        ] {
            TopicName::check(&text)
                .map_err(|error| ConfigError::new(format!("{place}.{key}"), error))?;
        }
        Ok(self)
    }

    fn check_not_reserved(self, place: &str) -> Result<Self, ConfigError> {
        let topic = self.topic(&self.source.example().unwrap_or_default());
        if topic.is_some_and(|it| it.as_str().starts_with("$SYS/")) {
            let key = format!("{place}.local_topic");
            return Err(ConfigError::new(key, TemplateError::Reserved));
        }
        Ok(self)
    }

    fn topic(&self, middle: &str) -> Option<TopicName> {
        TopicName::new(&format!("{}{middle}{}", self.prefix, self.suffix)).ok()
    }
}

/// What a rule takes and the topic that it makes of that; the error is the reason.
fn source(
    name: &str,
    request: SubscriptionRequest,
    topic: Option<&ConfiguredTemplate>,
) -> Result<MqttRule, String> {
    // NanoMQ writes an empty topic for "the same".
    let topic = topic.filter(|it| !it.0.to_string().is_empty());
    let text = topic.map(|it| it.0.to_string()).unwrap_or_default();
    if text.contains(['+', '#']) {
        return Err(format!(
            "`{text}` has a wildcard; use $1 for the first wildcard of the filter"
        ));
    }
    MqttRule::new(name, request, topic).map_err(|error| error.to_string())
}

fn request(filter: &TopicFilter, qos: QoS) -> SubscriptionRequest {
    SubscriptionRequest {
        filter: filter.clone(),
        qos,
        retained: true,
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
            dup: false,
        };
        let forwarded = translation(rules).unwrap().forward(&delivery);
        forwarded.into_iter().map(|it| it.topic).collect()
    }

    #[test]
    fn topics_are_mapped_towards_the_hub() {
        let table: [(&str, &str, &[&str]); 9] = [
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
                r##"forwards = [{ local_topic = "#" }]"##,
                "$SYS/broker",
                &[],
            ),
            (
                r#"forwards = [{ local_topic = "$share/g/a/#", remote_topic = "$1" }]"#,
                "a/b",
                &["b"],
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
        let forward = "forwards = [{ local_topic";
        let subscribe = "subscription = [{ remote_topic";
        let table = [
            (forward, r#""a", remote_topic = "$1""#, "remote_topic"),
            (forward, r#""a/#", remote_topic = "b/#""#, "remote_topic"),
            (
                forward,
                r#""a/#", remote_topic = "${nothing}""#,
                "remote_topic",
            ),
            (forward, r#""a/#", prefix = "+/""#, "prefix"),
            (forward, r#""a/#", suffix = "/#""#, "suffix"),
            (forward, r#""$SYS/#""#, "local_topic"),
            (subscribe, r#""a/#", local_topic = "+""#, "local_topic"),
            (
                subscribe,
                r#""a/#", local_topic = "$SYS/$1""#,
                "local_topic",
            ),
            (subscribe, r#""$SYS/#""#, "local_topic"),
            (subscribe, r##""a", suffix = "#""##, "suffix"),
        ];
        for (list, rule, key) in table {
            let error = translation(&format!("{list} = {rule} }}]")).unwrap_err();
            assert!(
                error.key.ends_with(&format!("[0].{key}")),
                "{rule}: {error}"
            );
        }
    }
}
