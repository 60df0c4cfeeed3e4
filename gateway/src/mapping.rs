//! The configured pieces of a mapping rule, shared by all gateways and bridges.

use mqtt::{QoS, TopicFilter, TopicName};
use serde::{Deserialize, Deserializer, de};

use crate::{Template, Values};

/// A Topic Filter that was checked while the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredFilter(pub TopicFilter);

/// A template that was parsed while the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredTemplate(pub Template);

/// A QoS written as the number 0, 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredQoS(pub QoS);

impl<'de> Deserialize<'de> for ConfiguredFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TopicFilter::new(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ConfiguredTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Template::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ConfiguredQoS {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        let qos = QoS::from_u8(number);
        qos.map(Self)
            .ok_or_else(|| de::Error::custom(format!("QoS is 0, 1 or 2, not {number}")))
    }
}

/// Chooses MQTT messages by their topic and gives templates the pieces: `$1` and so on for the
/// filter's wildcards, `${topic}` for the whole topic, `${gateway}` for the gateway's name.
#[derive(Clone, Debug)]
pub struct MqttSelector {
    filter: TopicFilter,
    gateway: String,
}

/// The pieces of one topic that a selector matched.
#[derive(Clone, Debug)]
pub struct MappedTopic<'t> {
    gateway: &'t str,
    topic: &'t str,
    captures: Vec<&'t str>,
}

impl MqttSelector {
    /// Placeholder names that [`MappedTopic`] has values for.
    pub const NAMES: [&'static str; 2] = ["topic", "gateway"];

    /// A selector of the named gateway.
    #[must_use]
    pub fn new(filter: TopicFilter, gateway: &str) -> Self {
        Self {
            filter,
            gateway: gateway.to_owned(),
        }
    }

    /// Wildcards of the filter, hence captures a template may use.
    #[must_use]
    pub fn wildcard_count(&self) -> usize {
        self.filter
            .as_str()
            .split('/')
            .filter(|level| matches!(*level, "+" | "#"))
            .count()
    }

    /// The pieces of `topic`, if the filter matches it.
    #[must_use]
    pub fn select<'t>(&'t self, topic: &'t TopicName) -> Option<MappedTopic<'t>> {
        let captures = self.filter.captures(topic.as_str())?;
        Some(MappedTopic {
            gateway: &self.gateway,
            topic: topic.as_str(),
            captures,
        })
    }
}

impl Values for MappedTopic<'_> {
    fn named(&self, name: &str, out: &mut String) -> bool {
        match name {
            "topic" => out.push_str(self.topic),
            "gateway" => out.push_str(self.gateway),
            _ => return false,
        }
        true
    }

    fn capture(&self, index: usize) -> Option<&str> {
        self.captures.get(index.checked_sub(1)?).copied()
    }
}
