//! NNG messages to MQTT messages and back. Nothing here waits or touches a socket.

use bytes::Bytes;
use gateway::{
    ANY_TEXT, ConfigError, ConfiguredTemplate, DropReason, MqttRule, SubscriptionRequest, Template,
};
use mqtt::{Message, QoS, TopicName, TopicNameError};

use crate::config::{Config, FromMqtt, ToMqtt};

/// Where a received message goes if its rule does not say.
const TOPIC: &str = "nng/${gateway}/${subject}";

/// The rules of one gateway, ready for use.
#[derive(Debug)]
pub(crate) struct Translation {
    gateway: String,
    to_mqtt: Vec<Received>,
    from_mqtt: Vec<Sent>,
}

#[derive(Debug)]
struct Received {
    prefix: String,
    delimiter: String,
    topic: Template,
    qos: QoS,
    retain: bool,
}

#[derive(Debug)]
struct Sent {
    rule: MqttRule,
    delimiter: String,
}

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untranslated {
    /// The message begins with no rule's prefix, or the topic matches no rule's filter.
    #[error("no rule applies")]
    NoRule,
    /// The message goes on behind the rule's prefix with something else than the delimiter.
    #[error("the rule's prefix is not followed by the rule's delimiter")]
    NotDelimited,
    /// The delimiter, which ends the subject, is nowhere behind the rule's prefix.
    #[error("the message does not contain the rule's delimiter")]
    NoDelimiter,
    /// Text was expected because it becomes part of a topic.
    #[error("the subject is not UTF-8 text")]
    NotText,
    /// The template renders to something that is no topic.
    #[error(transparent)]
    Topic(#[from] TopicNameError),
}

impl Untranslated {
    /// Under which reason the drop is counted.
    pub(crate) const fn reason(self) -> DropReason {
        match self {
            Self::NoRule => DropReason::Unmapped,
            Self::NotDelimited | Self::NoDelimiter | Self::NotText | Self::Topic(_) => {
                DropReason::Malformed
            }
        }
    }
}

impl Translation {
    /// Compiles the rules.
    ///
    /// # Errors
    /// A template with a placeholder that has no value, or one that never gives a topic.
    pub(crate) fn new(gateway: &str, config: &Config) -> Result<Self, ConfigError> {
        let rules = config.to_mqtt.iter().enumerate();
        let to_mqtt = rules.map(|(index, rule)| Received::new(gateway, index, rule));
        let rules = config.from_mqtt.iter().enumerate();
        let from_mqtt = rules.map(|(index, rule)| Sent::new(gateway, index, rule));
        Ok(Self {
            gateway: gateway.to_owned(),
            to_mqtt: to_mqtt.collect::<Result<_, _>>()?,
            from_mqtt: from_mqtt.collect::<Result<_, _>>()?,
        })
    }

    /// What the sub0 socket subscribes to.
    pub(crate) fn prefixes(&self) -> Vec<&str> {
        self.to_mqtt
            .iter()
            .map(|rule| rule.prefix.as_str())
            .collect()
    }

    /// What the gateway receives from MQTT.
    pub(crate) fn subscriptions(&self) -> Vec<SubscriptionRequest> {
        let rules = self.from_mqtt.iter();
        rules.map(|it| it.rule.subscription().clone()).collect()
    }

    /// The MQTT message that a received NNG message stands for.
    pub(crate) fn received(&self, bytes: &Bytes) -> Result<Message, Untranslated> {
        let mut rules = self.to_mqtt.iter();
        let rule = rules.find(|rule| bytes.starts_with(rule.prefix.as_bytes()));
        let rule = rule.ok_or(Untranslated::NoRule)?;
        let (subject, payload) = rule.split(bytes)?;
        let pieces = pieces(&self.gateway, &rule.prefix, subject);
        // The placeholders were checked, so there is always a value.
        let topic = rule
            .topic
            .render(pieces.as_slice())
            .ok_or(Untranslated::NoRule)?;
        let mut message = Message::new(TopicName::new(&topic)?, payload);
        message.qos = rule.qos;
        message.retain = rule.retain;
        Ok(message)
    }

    /// The NNG message that an MQTT message stands for.
    pub(crate) fn sent(&self, message: &Message) -> Result<Bytes, Untranslated> {
        for Sent { rule, delimiter } in &self.from_mqtt {
            if let Some(prefix) = rule.render(&message.topic) {
                let parts = [prefix.as_bytes(), delimiter.as_bytes(), &message.payload];
                return Ok(parts.concat().into());
            }
        }
        Err(Untranslated::NoRule)
    }
}

impl Received {
    fn new(gateway: &str, index: usize, rule: &ToMqtt) -> Result<Self, ConfigError> {
        let (prefix, delimiter) = (rule.prefix.clone(), rule.delimiter.clone());
        let subject = match delimiter.as_str() {
            "/" | "" => prefix.as_str(),
            _ => ANY_TEXT,
        };
        let pieces = pieces(gateway, &prefix, subject);
        let topic = ConfiguredTemplate::checked_topic(rule.topic.as_ref(), TOPIC, &pieces)
            .map_err(|error| ConfigError::new(format!("to_mqtt[{index}].topic"), error))?;
        Ok(Self {
            prefix,
            delimiter,
            topic,
            qos: rule.qos.0,
            retain: rule.retain,
        })
    }

    /// The subject and the payload of a message that begins with the rule's prefix.
    fn split<'b>(&'b self, bytes: &'b Bytes) -> Result<(&'b str, Bytes), Untranslated> {
        let after_prefix = bytes.slice(self.prefix.len()..);
        let delimiter = self.delimiter.as_bytes();
        // In a hierarchy of levels the first `/` says nothing, so the prefix is the subject.
        if matches!(self.delimiter.as_str(), "/" | "") {
            let is_delimited = self.prefix.is_empty() || self.prefix.ends_with(&self.delimiter);
            if is_delimited {
                return Ok((&self.prefix, after_prefix));
            }
            if !after_prefix.starts_with(delimiter) {
                return Err(Untranslated::NotDelimited);
            }
            return Ok((&self.prefix, after_prefix.slice(delimiter.len()..)));
        }
        let mut windows = after_prefix.windows(delimiter.len());
        let at = windows.position(|window| window == delimiter);
        let at = at.ok_or(Untranslated::NoDelimiter)? + self.prefix.len();
        let subject = bytes.get(..at).unwrap_or_default();
        let subject = std::str::from_utf8(subject).map_err(|_| Untranslated::NotText)?;
        Ok((subject, bytes.slice(at + delimiter.len()..)))
    }
}

/// What topics are made of.
const fn pieces<'p>(
    gateway: &'p str,
    prefix: &'p str,
    subject: &'p str,
) -> [(&'p str, &'p str); 3] {
    [
        ("gateway", gateway),
        ("prefix", prefix),
        ("subject", subject),
    ]
}

impl Sent {
    fn new(gateway: &str, index: usize, rule: &FromMqtt) -> Result<Self, ConfigError> {
        let delimiter = rule.delimiter.clone();
        let request = SubscriptionRequest {
            filter: rule.filter.0.clone(),
            qos: rule.qos.0,
            retained: false,
        };
        let rule = MqttRule::new(gateway, request, rule.prefix.as_ref())
            .map_err(|error| ConfigError::new(format!("from_mqtt[{index}].prefix"), error))?;
        Ok(Self { rule, delimiter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translation(rules: &str) -> Translation {
        Translation::new("line", &toml::from_str(rules).unwrap()).unwrap()
    }

    fn received(rule: &str, bytes: &[u8]) -> Result<Message, Untranslated> {
        let rules = translation(&format!("to_mqtt = [{{ {rule} }}]"));
        rules.received(&Bytes::copy_from_slice(bytes))
    }

    /// Rule, NNG message, MQTT topic, MQTT payload.
    const RECEIVED: [(&str, &[u8], &str, &[u8]); 17] = [
        // NanoMQ's delimiter rule and the examples of its documentation.
        (
            "prefix = \"nng/pub\"",
            b"nng/pub/123/hello",
            "nng/line/nng/pub",
            b"123/hello",
        ),
        (
            "prefix = \"nng/pub\", delimiter = \"/\", topic = \"local/nng\"",
            b"nng/pub/123/1234:payload",
            "local/nng",
            b"123/1234:payload",
        ),
        (
            "prefix = \"nng/pub\", delimiter = \":\", topic = \"${subject}\"",
            b"nng/pub/123/1234:payload",
            "nng/pub/123/1234",
            b"payload",
        ),
        (
            "prefix = \"nng\", topic = \"local/nng\", qos = 1",
            b"nng/hello",
            "local/nng",
            b"hello",
        ),
        (
            "prefix = \"ekuiper\", delimiter = \":\", topic = \"local/ekuiper\"",
            b"ekuiper:{\"a\":1}",
            "local/ekuiper",
            b"{\"a\":1}",
        ),
        // The payload may be empty or anything.
        ("prefix = \"a\"", b"a/", "nng/line/a", b""),
        (
            "prefix = \"a\"",
            b"a/\0\xff/\xfe",
            "nng/line/a",
            b"\0\xff/\xfe",
        ),
        (
            "prefix = \"a\", delimiter = \":\"",
            b"a:",
            "nng/line/a",
            b"",
        ),
        (
            "prefix = \"a\", delimiter = \":\"",
            b"a:\xff:b",
            "nng/line/a",
            b"\xff:b",
        ),
        // A prefix that is empty or ends with the delimiter needs no further one.
        ("", b"/a/b", "nng/line/", b"/a/b"),
        ("prefix = \"a/\"", b"a/b/c", "nng/line/a/", b"b/c"),
        (
            "delimiter = \"\", topic = \"all\"",
            b"\xff\0",
            "all",
            b"\xff\0",
        ),
        (
            "prefix = \"a\", delimiter = \"\"",
            b"abc",
            "nng/line/a",
            b"bc",
        ),
        // Other delimiters.
        (
            "delimiter = \" \"",
            b"10001 70 55",
            "nng/line/10001",
            b"70 55",
        ),
        ("delimiter = \"::\"", b"a:b::c", "nng/line/a:b", b"c"),
        (
            "prefix = \"a:b\", delimiter = \":\"",
            b"a:b:c",
            "nng/line/a:b",
            b"c",
        ),
        (
            "prefix = \"a\", topic = \"${prefix}/${gateway}/${subject}\"",
            b"a/b",
            "a/line/a",
            b"b",
        ),
    ];

    #[test]
    fn topics_that_can_never_be_valid_are_refused() {
        let new = |rule: &str| {
            let config: Config = toml::from_str(&format!("to_mqtt = [{{ {rule} }}]")).unwrap();
            Translation::new("plant", &config).map_err(|error| error.key)
        };
        for rule in [
            "topic = \"\"",
            "topic = \"a/+\"",
            "topic = \"a/#/${subject}\"",
            "topic = \"a/${prefix}\", prefix = \"#\"",
            "topic = \"$SYS/${subject}\"",
            "topic = \"${subject}\"",
            "prefix = \"+\"",
        ] {
            let key = new(rule).err();
            assert_eq!(key.as_deref(), Some("to_mqtt[0].topic"), "{rule}");
        }
        for rule in [
            "topic = \"${subject}\", delimiter = \":\"",
            "topic = \"${subject}\", prefix = \"a/\"",
        ] {
            assert!(new(rule).is_ok(), "{rule}");
        }
    }

    #[test]
    fn received_messages_become_mqtt_messages() {
        for (rule, bytes, topic, payload) in RECEIVED {
            let message = received(rule, bytes).unwrap();
            assert_eq!(message.topic.as_str(), topic, "{rule}");
            assert_eq!(&*message.payload, payload, "{rule}");
            assert!(message.properties.as_bytes().is_empty());
        }
    }

    #[test]
    fn unreadable_messages_are_dropped_with_their_reason() {
        type Row<'r> = (&'r str, &'r [u8], Untranslated, DropReason);
        let table: [Row<'_>; 7] = [
            (
                "prefix = \"a\"",
                b"b/1",
                Untranslated::NoRule,
                DropReason::Unmapped,
            ),
            (
                "prefix = \"nng/pub\"",
                b"nng/public/1",
                Untranslated::NotDelimited,
                DropReason::Malformed,
            ),
            (
                "prefix = \"a\"",
                b"a",
                Untranslated::NotDelimited,
                DropReason::Malformed,
            ),
            (
                "prefix = \"a\", delimiter = \":\"",
                b"a/b",
                Untranslated::NoDelimiter,
                DropReason::Malformed,
            ),
            (
                "delimiter = \":\"",
                b"\xff:1",
                Untranslated::NotText,
                DropReason::Malformed,
            ),
            (
                "delimiter = \":\"",
                b"a/+:1",
                Untranslated::Topic(TopicNameError::Wildcard),
                DropReason::Malformed,
            ),
            (
                "delimiter = \":\", topic = \"${subject}\"",
                b":1",
                Untranslated::Topic(TopicNameError::Empty),
                DropReason::Malformed,
            ),
        ];
        for (rule, bytes, expected, reason) in table {
            let error = received(rule, bytes).unwrap_err();
            assert_eq!((error, error.reason()), (expected, reason), "{rule}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = translation(
            r#"to_mqtt = [
                { prefix = "a/b", topic = "first", qos = 1, retain = true },
                { prefix = "a", topic = "second" },
            ]"#,
        );
        assert_eq!(rules.prefixes(), ["a/b", "a"]);
        let first = rules.received(&Bytes::from_static(b"a/b/c")).unwrap();
        assert_eq!(first.topic.as_str(), "first");
        assert_eq!((first.qos, first.retain), (QoS::AtLeastOnce, true));
        let second = rules.received(&Bytes::from_static(b"a/c")).unwrap();
        assert_eq!(second.topic.as_str(), "second");
        assert_eq!((second.qos, second.retain), (QoS::AtMostOnce, false));
    }

    #[test]
    fn mqtt_messages_become_prefix_delimiter_and_payload() {
        let rules = translation(
            r#"from_mqtt = [
                { filter = "cmd/nng/#", prefix = "$1", qos = 1 },
                { filter = "cmd/+/all", prefix = "${gateway}:$1:${topic}", delimiter = "" },
                { filter = "nng/#", prefix = "remote/nng", delimiter = ":" },
                { filter = "raw/#", delimiter = ":" },
            ]"#,
        );
        let table = [
            ("cmd/nng/valve/1", Some("valve/1/open")),
            ("cmd/x/all", Some("line:x:cmd/x/allopen")),
            // The first rule that matches decides.
            ("cmd/nng/all", Some("all/open")),
            // NanoMQ's `remote_topic`, and the topic itself in its absence.
            ("nng/a", Some("remote/nng:open")),
            ("raw/a", Some("raw/a:open")),
            ("other", None),
        ];
        for (topic, expected) in table {
            let message = Message::new(TopicName::new(topic).unwrap(), "open");
            let sent = rules.sent(&message);
            assert_eq!(
                sent,
                expected.map(Bytes::from).ok_or(Untranslated::NoRule),
                "{topic}"
            );
        }
        let requests = rules.subscriptions();
        assert_eq!(requests.len(), 4);
        assert_eq!(requests[0].filter.as_str(), "cmd/nng/#");
        assert_eq!(requests[0].qos, QoS::AtLeastOnce);
        assert!(requests.iter().all(|request| !request.retained));
    }

    #[test]
    fn placeholders_are_checked_when_the_gateway_is_made() {
        let table = [
            ("to_mqtt = [{ topic = \"${topic}\" }]", "to_mqtt[0].topic"),
            ("to_mqtt = [{ topic = \"$1\" }]", "to_mqtt[0].topic"),
            (
                "from_mqtt = [{ filter = \"a/#\" }, { filter = \"b/+\", prefix = \"$2\" }]",
                "from_mqtt[1].prefix",
            ),
        ];
        for (text, key) in table {
            let error = Translation::new("line", &toml::from_str(text).unwrap()).unwrap_err();
            assert_eq!(error.key, key);
        }
    }
}
