//! `ZeroMQ` messages to MQTT messages and back. Nothing here waits or touches a socket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway::{
    ANY_TEXT, ConfigError, ConfiguredTemplate, DropReason, MqttRule, SubscriptionRequest, Template,
};
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, QoS, TopicName, TopicNameError};

use crate::config::{Config, FromMqtt, Multipart, ToMqtt};
use crate::io::Frames;

/// Where a received message goes if its rule does not say.
const TOPIC: &str = "zmq/${gateway}/${frame}";

/// The rules of one gateway, ready for use.
#[derive(Debug)]
pub(crate) struct Translation {
    gateway: String,
    to_mqtt: Vec<Received>,
    from_mqtt: Vec<MqttRule>,
}

#[derive(Debug)]
struct Received {
    prefix: String,
    delimiter: Option<String>,
    topic: Template,
    qos: QoS,
    retain: bool,
    multipart: Multipart,
}

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untranslated {
    /// The first frame begins with no rule's prefix, or the topic matches no rule's filter.
    #[error("no rule applies")]
    NoRule,
    /// A single frame in which the rule's delimiter does not occur.
    #[error("the frame does not contain the rule's delimiter")]
    NoDelimiter,
    /// Text was expected because it becomes part of a topic.
    #[error("the topic frame is not UTF-8 text")]
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
            Self::NoDelimiter | Self::NotText | Self::Topic(_) => DropReason::Malformed,
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
        let from_mqtt = rules.map(|(index, rule)| sent(gateway, index, rule));
        Ok(Self {
            gateway: gateway.to_owned(),
            to_mqtt: to_mqtt.collect::<Result<_, _>>()?,
            from_mqtt: from_mqtt.collect::<Result<_, _>>()?,
        })
    }

    /// What the SUB socket subscribes to.
    pub(crate) fn prefixes(&self) -> Vec<&str> {
        self.to_mqtt
            .iter()
            .map(|rule| rule.prefix.as_str())
            .collect()
    }

    /// What the gateway receives from MQTT.
    pub(crate) fn subscriptions(&self) -> Vec<SubscriptionRequest> {
        let rules = self.from_mqtt.iter();
        rules.map(|rule| rule.subscription().clone()).collect()
    }

    /// The MQTT messages that a received `ZeroMQ` message stands for, at least one.
    pub(crate) fn received(&self, frames: &Frames) -> Result<Vec<Message>, Untranslated> {
        let (first, payloads) = frames.split_first().ok_or(Untranslated::NoRule)?;
        let mut rules = self.to_mqtt.iter();
        let rule = rules.find(|rule| first.starts_with(rule.prefix.as_bytes()));
        let rule = rule.ok_or(Untranslated::NoRule)?;
        let (frame, payloads) = match (payloads, &rule.delimiter) {
            ([], None) => (Ok(rule.prefix.as_str()), std::slice::from_ref(first)),
            ([], Some(delimiter)) => {
                let (text, payload) = split(first, delimiter).ok_or(Untranslated::NoDelimiter)?;
                let topic = self.topic(rule, std::str::from_utf8(text))?;
                return Ok(vec![rule.message(topic, payload)]);
            }
            (payloads, _) => (std::str::from_utf8(first), payloads),
        };
        let topic = self.topic(rule, frame)?;
        Ok(rule.messages(&topic, payloads))
    }

    fn topic(
        &self,
        rule: &Received,
        frame: Result<&str, std::str::Utf8Error>,
    ) -> Result<TopicName, Untranslated> {
        let frame = frame.map_err(|_| Untranslated::NotText)?;
        let pieces = pieces(&self.gateway, &rule.prefix, frame);
        // The placeholders were checked, so there is always a value.
        let topic = rule
            .topic
            .render(pieces.as_slice())
            .ok_or(Untranslated::NoRule)?;
        Ok(TopicName::new(&topic)?)
    }

    /// The `ZeroMQ` message that an MQTT message stands for.
    pub(crate) fn sent(&self, message: &Message) -> Result<Frames, Untranslated> {
        let mut rules = self.from_mqtt.iter();
        let frame = rules.find_map(|rule| rule.render(&message.topic));
        let frame = frame.ok_or(Untranslated::NoRule)?;
        Ok(vec![frame.into(), message.payload.clone()])
    }
}

impl Received {
    fn new(gateway: &str, index: usize, rule: &ToMqtt) -> Result<Self, ConfigError> {
        let pieces = pieces(gateway, &rule.prefix, ANY_TEXT);
        let topic = ConfiguredTemplate::checked_topic(rule.topic.as_ref(), TOPIC, &pieces)
            .map_err(|error| ConfigError::new(format!("to_mqtt[{index}].topic"), error))?;
        Ok(Self {
            prefix: rule.prefix.clone(),
            delimiter: rule.delimiter.clone(),
            topic,
            qos: rule.qos.0,
            retain: rule.retain,
            multipart: rule.multipart,
        })
    }

    fn message(&self, topic: TopicName, payload: Bytes) -> Message {
        let mut message = Message::new(topic, payload);
        message.qos = self.qos;
        message.retain = self.retain;
        message
    }

    fn messages(&self, topic: &TopicName, payloads: &[Bytes]) -> Vec<Message> {
        let one = |payload| vec![self.message(topic.clone(), payload)];
        match (payloads, self.multipart) {
            ([payload], _) | ([.., payload], Multipart::Last) => one(payload.clone()),
            (payloads, Multipart::Join) => one(payloads.concat().into()),
            (payloads, Multipart::Each) => {
                let each = payloads.iter().cloned();
                each.map(|payload| self.message(topic.clone(), payload))
                    .collect()
            }
            (payloads, Multipart::Json | Multipart::Last) => {
                let mut message = self.message(topic.clone(), json(payloads).into());
                let content_type = Property::ContentType("application/json");
                message.properties = ForwardedProperties::from_properties([content_type]);
                vec![message]
            }
        }
    }
}

/// What topics are made of.
const fn pieces<'p>(gateway: &'p str, prefix: &'p str, frame: &'p str) -> [(&'p str, &'p str); 3] {
    [("gateway", gateway), ("prefix", prefix), ("frame", frame)]
}

fn sent(gateway: &str, index: usize, rule: &FromMqtt) -> Result<MqttRule, ConfigError> {
    let request = SubscriptionRequest {
        filter: rule.filter.0.clone(),
        qos: rule.qos.0,
        retained: false,
    };
    MqttRule::new(gateway, request, rule.frame.as_ref())
        .map_err(|error| ConfigError::new(format!("from_mqtt[{index}].frame"), error))
}

/// What is before and after the first delimiter.
fn split<'f>(frame: &'f Bytes, delimiter: &str) -> Option<(&'f [u8], Bytes)> {
    let delimiter = delimiter.as_bytes();
    let at = frame
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    Some((frame.get(..at)?, frame.slice(at + delimiter.len()..)))
}

/// A JSON array of the frames in Base64, whose alphabet needs no escapes.
fn json(frames: &[Bytes]) -> String {
    let mut text = String::from("[");
    for (index, frame) in frames.iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { ",\"" });
        STANDARD.encode_string(frame, &mut text);
        text.push('"');
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translation(rules: &str) -> Translation {
        Translation::new("plant", &toml::from_str(rules).unwrap()).unwrap()
    }

    fn frames(parts: &[&[u8]]) -> Frames {
        parts
            .iter()
            .map(|part| Bytes::copy_from_slice(part))
            .collect()
    }

    fn topics_and_payloads(messages: &[Message]) -> Vec<(&str, &[u8])> {
        messages
            .iter()
            .map(|message| (message.topic.as_str(), &*message.payload))
            .collect()
    }

    #[test]
    fn topics_that_can_never_be_valid_are_refused() {
        let new = |rule: &str| {
            let config: Config = toml::from_str(&format!("to_mqtt = [{{ {rule} }}]")).unwrap();
            Translation::new("plant", &config).map_err(|error| error.key)
        };
        for rule in [
            "topic = \"\"",
            "topic = \"a/+\"",
            "topic = \"a/#/${frame}\"",
            "topic = \"a/${prefix}\", prefix = \"#\"",
            "topic = \"$SYS/${frame}\"",
        ] {
            let key = new(rule).err();
            assert_eq!(key.as_deref(), Some("to_mqtt[0].topic"), "{rule}");
        }
        for rule in ["topic = \"${frame}\"", "prefix = \"a\""] {
            assert!(new(rule).is_ok(), "{rule}");
        }
    }

    #[test]
    fn received_messages_become_mqtt_messages() {
        type Row<'r> = (&'r str, &'r [&'r [u8]], &'r [(&'r str, &'r [u8])]);
        let table: [Row<'_>; 17] = [
            // One payload frame is the payload, whatever is in it.
            ("", &[b"a/b", b"21"], &[("zmq/plant/a/b", b"21")]),
            ("", &[b"a/b", b"\0\xff"], &[("zmq/plant/a/b", b"\0\xff")]),
            ("", &[b"a/b", b""], &[("zmq/plant/a/b", b"")]),
            (
                "prefix = \"a/\", topic = \"x/${prefix}${gateway}/${frame}\"",
                &[b"a/b", b"21"],
                &[("x/a/plant/a/b", b"21")],
            ),
            // A single frame without delimiter is all payload.
            ("", &[b"a/b 21"], &[("zmq/plant/", b"a/b 21")]),
            (
                "prefix = \"a/\"",
                &[b"a/b \xff"],
                &[("zmq/plant/a/", b"a/b \xff")],
            ),
            // A single frame with delimiter is split at the first one.
            (
                "delimiter = \" \"",
                &[b"10001 70 55"],
                &[("zmq/plant/10001", b"70 55")],
            ),
            ("delimiter = \" \"", &[b"a "], &[("zmq/plant/a", b"")]),
            ("delimiter = \"::\"", &[b"a::b"], &[("zmq/plant/a", b"b")]),
            // The delimiter is for single frames only.
            (
                "delimiter = \" \"",
                &[b"a b", b"c d"],
                &[("zmq/plant/a b", b"c d")],
            ),
            // Several payload frames.
            (
                "",
                &[b"t", b"a", b""],
                &[("zmq/plant/t", b"[\"YQ==\",\"\"]")],
            ),
            (
                "multipart = \"json\"",
                &[b"t", b"\xff\xfe\xfd", b"a", b"ab"],
                &[("zmq/plant/t", b"[\"//79\",\"YQ==\",\"YWI=\"]")],
            ),
            (
                "multipart = \"join\"",
                &[b"t", b"a", b"", b"bc"],
                &[("zmq/plant/t", b"abc")],
            ),
            (
                "multipart = \"last\"",
                &[b"t", b"a", b"b"],
                &[("zmq/plant/t", b"b")],
            ),
            (
                "multipart = \"each\"",
                &[b"t", b"a", b"b"],
                &[("zmq/plant/t", b"a"), ("zmq/plant/t", b"b")],
            ),
            (
                "multipart = \"each\"",
                &[b"t", b"a"],
                &[("zmq/plant/t", b"a")],
            ),
            ("topic = \"fixed\"", &[b"\xff"], &[("fixed", b"\xff")]),
        ];
        for (rule, parts, expected) in table {
            let rules = translation(&format!("to_mqtt = [{{ {rule} }}]"));
            let messages = rules.received(&frames(parts)).unwrap();
            assert_eq!(topics_and_payloads(&messages), expected, "{rule} {parts:?}");
        }
    }

    #[test]
    fn unreadable_messages_are_dropped_with_their_reason() {
        type Row<'r> = (&'r str, &'r [&'r [u8]], Untranslated, DropReason);
        let table: [Row<'_>; 6] = [
            (
                "prefix = \"a\"",
                &[b"b", b"1"],
                Untranslated::NoRule,
                DropReason::Unmapped,
            ),
            (
                "",
                &[b"\xff", b"1"],
                Untranslated::NotText,
                DropReason::Malformed,
            ),
            (
                "",
                &[b"a/#", b"1"],
                Untranslated::Topic(TopicNameError::Wildcard),
                DropReason::Malformed,
            ),
            (
                "",
                &[b"a\0", b"1"],
                Untranslated::Topic(TopicNameError::Null),
                DropReason::Malformed,
            ),
            (
                "topic = \"${frame}\", delimiter = \" \"",
                &[b" 1"],
                Untranslated::Topic(TopicNameError::Empty),
                DropReason::Malformed,
            ),
            (
                "delimiter = \" \"",
                &[b"abc"],
                Untranslated::NoDelimiter,
                DropReason::Malformed,
            ),
        ];
        for (rule, parts, expected, reason) in table {
            let rules = translation(&format!("to_mqtt = [{{ {rule} }}]"));
            let error = rules.received(&frames(parts)).unwrap_err();
            assert_eq!((error, error.reason()), (expected, reason), "{rule}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = translation(
            r#"to_mqtt = [
                { prefix = "a/b", topic = "first", qos = 1, retain = true },
                { prefix = "a/", topic = "second" },
            ]"#,
        );
        assert_eq!(rules.prefixes(), ["a/b", "a/"]);
        let first = &rules.received(&frames(&[b"a/b/c", b"1"])).unwrap()[0];
        assert_eq!(first.topic.as_str(), "first");
        assert_eq!((first.qos, first.retain), (QoS::AtLeastOnce, true));
        let second = &rules.received(&frames(&[b"a/c", b"1"])).unwrap()[0];
        assert_eq!(second.topic.as_str(), "second");
        assert_eq!((second.qos, second.retain), (QoS::AtMostOnce, false));
    }

    #[test]
    fn only_json_states_a_content_type() {
        let rules = translation("to_mqtt = [{}]");
        let one = rules.received(&frames(&[b"t", b"a"])).unwrap();
        assert_eq!(one[0].properties.content_type(), None);
        let two = rules.received(&frames(&[b"t", b"a", b"b"])).unwrap();
        assert_eq!(two[0].properties.content_type(), Some("application/json"));
    }

    #[test]
    fn mqtt_messages_become_two_frames() {
        let rules = translation(
            r#"from_mqtt = [
                { filter = "cmd/zmq/#", frame = "$1", qos = 1 },
                { filter = "cmd/+/all", frame = "${gateway}:$1:${topic}" },
                { filter = "raw/#" },
            ]"#,
        );
        let table = [
            ("cmd/zmq/valve/1", Some("valve/1")),
            ("cmd/x/all", Some("plant:x:cmd/x/all")),
            // The first rule that matches decides.
            ("cmd/zmq/all", Some("all")),
            ("cmd/zmq", Some("")),
            ("raw/a", Some("raw/a")),
            ("other", None),
        ];
        for (topic, expected) in table {
            let message = Message::new(TopicName::new(topic).unwrap(), "open");
            let sent = rules.sent(&message);
            let expected = expected.map(|frame| frames(&[frame.as_bytes(), b"open"]));
            assert_eq!(sent, expected.ok_or(Untranslated::NoRule), "{topic}");
        }
        let requests = rules.subscriptions();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0].filter.as_str(), "cmd/zmq/#");
        assert_eq!(requests[0].qos, QoS::AtLeastOnce);
        assert!(requests.iter().all(|request| !request.retained));
    }

    #[test]
    fn placeholders_are_checked_when_the_gateway_is_made() {
        let table = [
            ("to_mqtt = [{ topic = \"${topic}\" }]", "to_mqtt[0].topic"),
            ("to_mqtt = [{ topic = \"$1\" }]", "to_mqtt[0].topic"),
            (
                "from_mqtt = [{ filter = \"a/#\" }, { filter = \"b/+\", frame = \"$2\" }]",
                "from_mqtt[1].frame",
            ),
        ];
        for (text, key) in table {
            let error = Translation::new("plant", &toml::from_str(text).unwrap()).unwrap_err();
            assert_eq!(error.key, key);
        }
    }
}
