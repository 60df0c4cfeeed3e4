//! `forwards` and `subscription`: what goes to the hub, and what comes from it.

use gateway::{ConfigError, ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate};
use mqtt::{QoS, Sharing};
use serde::Deserialize;

use super::Properties;

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
    /// The highest QoS to receive with; 1 if absent.
    #[serde(default = "subscription_qos")]
    pub qos: ConfiguredQoS,
    /// The retain flag: 0 off, 1 on, 2 (if absent) as the hub sends it.
    #[serde(default = "retain_as_it_is")]
    pub retain: u8,
}

const fn retain_as_it_is() -> u8 {
    2
}

const fn subscription_qos() -> ConfiguredQoS {
    ConfiguredQoS(QoS::AtLeastOnce)
}

impl Forward {
    /// Checks what a single value cannot show; `place` is where the rule is.
    pub(super) fn check(&self, place: &str) -> Result<(), ConfigError> {
        if self.qos.is_some_and(|qos| qos.0 == QoS::ExactlyOnce) {
            let problem = "QoS 2 towards the hub is not supported, use 1";
            return Err(ConfigError::new(format!("{place}.qos"), problem));
        }
        check_retain(place, self.retain)?;
        for (list, filters) in [("allow", &self.allow), ("deny", &self.deny)] {
            let mut filters = filters.iter();
            if let Some(at) = filters.position(|it| it.0.sharing() != Sharing::Each) {
                let problem = "is a filter of topics, not of a shared or exclusive subscription";
                return Err(ConfigError::new(format!("{place}.{list}[{at}]"), problem));
            }
        }
        self.properties.check(&format!("{place}.properties"))
    }
}

impl Subscription {
    /// Checks what a single value cannot show; `place` is where the rule is.
    pub(super) fn check(&self, place: &str) -> Result<(), ConfigError> {
        check_retain(place, self.retain)
    }
}

fn check_retain(place: &str, retain: u8) -> Result<(), ConfigError> {
    if retain > 2 {
        let problem = "is 0 (off), 1 (on) or 2 (as published)";
        return Err(ConfigError::new(format!("{place}.retain"), problem));
    }
    Ok(())
}
