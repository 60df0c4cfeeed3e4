//! MQTT 5 properties of a message, as they are configured.

use std::collections::BTreeMap;

use gateway::ConfigError;
use mqtt::TopicName;
use serde::Deserialize;

/// Properties of a message (MQTT 5.0 §3.3.2.3). What is absent is not sent, or left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Properties {
    /// 1 if the payload is UTF-8 text, 0 if it may be anything.
    pub payload_format_indicator: Option<u8>,
    /// Seconds after which the message is no longer worth delivering.
    pub message_expiry_interval: Option<u32>,
    /// What the payload is, such as `application/json`.
    pub content_type: Option<String>,
    /// The topic for an answer.
    pub response_topic: Option<String>,
    /// What an answer is to be recognised by.
    pub correlation_data: Option<String>,
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
        if self.payload_format_indicator.is_some_and(|it| it > 1) {
            return refuse("payload_format_indicator", "is 0 (anything) or 1 (text)");
        }
        if let Some(topic) = &self.response_topic
            && let Err(error) = TopicName::check(topic)
        {
            return refuse("response_topic", &error.to_string());
        }
        let texts = [
            ("content_type", &self.content_type),
            ("correlation_data", &self.correlation_data),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                check_text(&format!("{place}.{key}"), text)?;
            }
        }
        check_user_property(&format!("{place}.user_property"), &self.user_property)
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
    }
}
