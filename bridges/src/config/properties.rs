//! MQTT 5 properties of a message, as they are configured.

use std::collections::BTreeMap;

use gateway::ConfigError;
use mqtt::TopicName;
use mqtt::packet::Property;
use serde::Deserialize;

/// Properties of a message (MQTT 5.0 §3.3.2.3). What is absent is not sent, or left as it is; so is
/// what is empty or 0, as NanoMQ's examples have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Properties {
    /// 1 if the payload is UTF-8 text.
    pub payload_format_indicator: u8,
    /// Seconds after which the message is no longer worth delivering.
    pub message_expiry_interval: u32,
    /// What the payload is, such as `application/json`.
    pub content_type: String,
    /// The topic for an answer.
    pub response_topic: String,
    /// What an answer is to be recognised by.
    pub correlation_data: String,
    /// Seconds that the hub waits before it publishes a will; only of `will`.
    pub will_delay_interval: u32,
    /// Names with their values; of the placeholders, those that do not depend on the message.
    pub user_property: BTreeMap<String, String>,
}

impl Properties {
    /// Checks what a single value cannot show; `place` is where the properties are.
    pub(super) fn check(&self, place: &str) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| {
            let key = format!("{place}.{key}");
            Err(ConfigError::new(key, problem))
        };
        if self.payload_format_indicator > 1 {
            return refuse("payload_format_indicator", "is 0 (not said) or 1 (text)");
        }
        if !self.response_topic.is_empty()
            && let Err(error) = TopicName::check(&self.response_topic)
        {
            return refuse("response_topic", &error.to_string());
        }
        let texts = [
            ("content_type", &self.content_type),
            ("correlation_data", &self.correlation_data),
        ];
        for (key, text) in texts {
            check_text(&format!("{place}.{key}"), text)?;
        }
        check_user_property(&format!("{place}.user_property"), &self.user_property)
    }

    /// The Message Expiry Interval, in seconds.
    pub(crate) fn expiry_seconds(&self) -> Option<u32> {
        Some(self.message_expiry_interval).filter(|it| *it > 0)
    }

    /// Those that are set, apart from the user properties and the Message Expiry Interval.
    pub(crate) fn set(&self) -> impl Iterator<Item = Property<'_>> {
        let text = |text| Some(text).filter(|it: &&str| !it.is_empty());
        let format = self.payload_format_indicator == 1;
        let correlation = text(&self.correlation_data).map(str::as_bytes);
        let single = [
            format.then_some(Property::PayloadFormatIndicator(true)),
            text(&self.content_type).map(Property::ContentType),
            text(&self.response_topic).map(Property::ResponseTopic),
            correlation.map(Property::CorrelationData),
        ];
        single.into_iter().flatten()
    }
}

/// Checks that names and values can be sent.
pub(super) fn check_user_property(
    place: &str,
    user_property: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let mut pairs = user_property.iter();
    pairs.try_for_each(|(name, value)| {
        let key = format!("{place}.{name}");
        check_text(&key, name)?;
        check_text(&key, value)
    })
}

/// Checks that a text can be sent (§1.5.4).
fn check_text(key: &str, text: &str) -> Result<(), ConfigError> {
    if text.len() > usize::from(u16::MAX) {
        return Err(ConfigError::new(key, "must not be longer than 65535 bytes"));
    }
    if text.contains('\0') {
        return Err(ConfigError::new(key, "must not contain a null character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused_with_its_key() {
        let long = "x".repeat(65_536);
        let table = [
            (
                "payload_format_indicator = 2".to_owned(),
                "payload_format_indicator",
            ),
            ("response_topic = \"a/+\"".to_owned(), "response_topic"),
            ("content_type = \"a\\u0000\"".to_owned(), "content_type"),
            (format!("correlation_data = \"{long}\""), "correlation_data"),
            (format!("user_property.a = \"{long}\""), "user_property.a"),
            (
                "user_property.\"a\\u0000\" = \"b\"".to_owned(),
                "user_property.a\0",
            ),
        ];
        for (text, key) in table {
            let properties: Properties = toml::from_str(&text).unwrap();
            let error = properties.check("p").unwrap_err();
            assert_eq!(error.key, format!("p.{key}"));
        }
        let text = "content_type = \"text\"\nmessage_expiry_interval = 5\nuser_property.a = \"b\"";
        let properties: Properties = toml::from_str(text).unwrap();
        assert_eq!(properties.check("p"), Ok(()));
        assert_eq!(properties.expiry_seconds(), Some(5));
        assert!(properties.set().eq([Property::ContentType("text")]));
    }

    #[test]
    fn what_is_empty_is_absent() {
        let text = "payload_format_indicator = 0\nmessage_expiry_interval = 0\ncontent_type = \"\"\n\
                    response_topic = \"\"\ncorrelation_data = \"\"";
        let properties: Properties = toml::from_str(text).unwrap();
        assert_eq!(properties.check("p"), Ok(()));
        assert_eq!(
            (properties.expiry_seconds(), properties.set().count()),
            (None, 0)
        );
        assert_eq!(properties, Properties::default());
    }
}
