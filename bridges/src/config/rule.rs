//! `forwards` and `subscription`: what goes to the hub, and what comes from it.

use std::collections::BTreeMap;

use gateway::{ConfigError, ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate};
use mqtt::packet::RetainHandling;
use mqtt::{QoS, Sharing};
use serde::Deserialize;

use super::check::check_identifier;
use super::properties::check_user_property;
use super::{Flag, NoEffect, Properties};

/// One rule from here to the hub.
///
/// Placeholders in topics: `${topic}`, `${topic[2]}` (its second level), `${topic[2..]}`, `$1` (what
/// the first wildcard of `local_topic` stands for), `${gateway}` (the bridge's name),
/// `${HOSTNAME}` and `${VIN}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The local messages that are forwarded; of the placeholders, those that do not depend on
    /// the message.
    pub local_topic: ConfiguredFilter,
    /// Their topic at the hub; the local topic if absent or empty. With wildcards it is a part of
    /// `local_topic`, whose levels are kept: `b/#` of `a/b/#`.
    pub remote_topic: Option<ConfiguredTemplate>,
    /// Text before the topic; empty if absent.
    #[serde(default)]
    pub prefix: ConfiguredTemplate,
    /// Text behind the topic; empty if absent.
    #[serde(default)]
    pub suffix: ConfiguredTemplate,
    /// The QoS to send with; as published, but at least 1, if absent.
    pub qos: Option<ConfiguredQoS>,
    /// The retain flag: 0 off, 1 on, 2 (if absent) as published.
    #[serde(default = "retain_as_it_is")]
    pub retain: u8,
    /// If there are some, only local topics that match one of these filters.
    #[serde(default)]
    pub allow: Vec<ConfiguredFilter>,
    /// No local topics that match one of these filters, whatever `allow` says.
    #[serde(default)]
    pub deny: Vec<ConfiguredFilter>,
    /// The payload at the hub; as published if absent. `${payload}` stands for a payload of text,
    /// `${payload_json}` for it as a JSON string, `${payload_base64}` for any payload,
    /// `${topic_json}`, `${qos}` and `${retain}` for what the local message has; and there are the
    /// placeholders of topics.
    pub payload: Option<ConfiguredTemplate>,
    /// Properties that replace those of the message, and user properties that are added to it.
    #[serde(default)]
    pub properties: Properties,
}

/// One rule from the hub to here. Placeholders are those of [`Forward`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// What is subscribed to at the hub.
    pub remote_topic: ConfiguredFilter,
    /// The topic here; the hub's topic if absent or empty. With wildcards it is a part of
    /// `remote_topic`, whose levels are kept.
    pub local_topic: Option<ConfiguredTemplate>,
    /// Text before the topic; empty if absent.
    #[serde(default)]
    pub prefix: ConfiguredTemplate,
    /// Text behind the topic; empty if absent.
    #[serde(default)]
    pub suffix: ConfiguredTemplate,
    /// The highest QoS to receive with, 0 to 2; 1 if absent.
    #[serde(default = "subscription_qos")]
    pub qos: ConfiguredQoS,
    /// The retain flag: 0 off, 1 on, 2 (if absent) as the hub sends it.
    #[serde(default = "retain_as_it_is")]
    pub retain: u8,
    /// Whether the hub sends the retain flag as it was published (MQTT 5); true if absent. With
    /// MQTT 3, and if false, only messages that were retained before have it.
    #[serde(default = "on")]
    pub retain_as_published: Flag,
    /// Whether the hub sends what it has retained (MQTT 5): 0 at every SUBSCRIBE, 1 (if absent) if
    /// the subscription is new, 2 never.
    #[serde(default = "if_new")]
    pub retain_handling: u8,
    /// Whether the hub does not send back what this bridge sent it (MQTT 5); true if absent.
    #[serde(default = "on", alias = "no_local")]
    pub nolocal: Flag,
    /// The Subscription Identifier (MQTT 5), 1 to 268,435,455; that of `sub_properties` if absent.
    pub identifier: Option<u32>,
    /// User properties of the SUBSCRIBE (MQTT 5), besides those of `sub_properties`; none if absent.
    #[serde(default)]
    pub user_property: BTreeMap<String, String>,
    /// No effect.
    #[serde(default)]
    pub stream_id: NoEffect,
}

const fn on() -> Flag {
    Flag(true)
}

const fn if_new() -> u8 {
    1
}

const fn retain_as_it_is() -> u8 {
    2
}

const fn subscription_qos() -> ConfiguredQoS {
    ConfiguredQoS(QoS::AtLeastOnce)
}

impl Subscription {
    /// How the hub is asked for what it has retained.
    pub(crate) const fn handling(&self) -> RetainHandling {
        match self.retain_handling {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        }
    }
}

impl Forward {
    /// Checks what a single value cannot show; `place` is where the rule is.
    pub(super) fn check(&self, place: &str) -> Result<(), ConfigError> {
        check_retain(place, self.retain)?;
        for (list, filters) in [("allow", &self.allow), ("deny", &self.deny)] {
            let mut filters = filters.iter();
            if let Some(at) = filters.position(|it| it.0.sharing() != Sharing::Each) {
                let problem = "is a filter of topics, not of a shared or exclusive subscription";
                return Err(ConfigError::new(format!("{place}.{list}[{at}]"), problem));
            }
        }
        if self.properties.will_delay_interval > 0 {
            let key = format!("{place}.properties.will_delay_interval");
            return Err(ConfigError::new(key, "is a property of `will` only"));
        }
        self.properties.check(&format!("{place}.properties"))
    }
}

impl Subscription {
    /// Checks what a single value cannot show; `place` is where the rule is.
    pub(super) fn check(&self, place: &str) -> Result<(), ConfigError> {
        check_retain(place, self.retain)?;
        if self.retain_handling > 2 {
            let key = format!("{place}.retain_handling");
            let problem = "is 0 (at every SUBSCRIBE), 1 (if it is new) or 2 (never)";
            return Err(ConfigError::new(key, problem));
        }
        check_identifier(&format!("{place}.identifier"), self.identifier)?;
        check_user_property(&format!("{place}.user_property"), &self.user_property)
    }
}

fn check_retain(place: &str, retain: u8) -> Result<(), ConfigError> {
    if retain > 2 {
        let problem = "is 0 (off), 1 (on) or 2 (as published)";
        return Err(ConfigError::new(format!("{place}.retain"), problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_have_defaults_and_numbers_for_flags() {
        let read = |text: &str| -> Subscription { toml::from_str(text).unwrap() };
        let topic = "remote_topic = \"a\"";
        let plain = read(topic);
        assert_eq!(
            (plain.retain_as_published, plain.nolocal),
            (Flag(true), Flag(true))
        );
        assert_eq!((plain.retain_handling, plain.retain), (1, 2));
        assert_eq!(plain.qos.0, QoS::AtLeastOnce);
        for (text, expected) in [("0", false), ("false", false), ("1", true), ("true", true)] {
            let rule = read(&format!(
                "{topic}\nretain_as_published = {text}\nno_local = {text}"
            ));
            let flags = (rule.retain_as_published, rule.nolocal);
            assert_eq!(flags, (Flag(expected), Flag(expected)), "{text}");
        }
    }
}
