//! Properties that a rule sets.

use std::mem::discriminant;

use gateway::ConfigError;
use mqtt::packet::{ForwardedProperties, Property};

use crate::config::Properties;
use crate::site::Site;

/// What a rule says of properties, ready for use.
#[derive(Clone, Debug, Default)]
pub(super) struct PropertyRule {
    set: ForwardedProperties,
    /// Seconds of the Message Expiry Interval.
    pub(super) expiry_seconds: Option<u32>,
}

impl PropertyRule {
    pub(super) fn new(
        site: &Site,
        place: &str,
        properties: &Properties,
    ) -> Result<Self, ConfigError> {
        let pairs = properties.user_property.iter().map(|(name, value)| {
            let key = format!("{place}.user_property.{name}");
            Ok((name.as_str(), site.text(&key, value)?))
        });
        let pairs: Vec<(&str, String)> = pairs.collect::<Result<_, _>>()?;
        let pairs = pairs
            .iter()
            .map(|(name, value)| Property::UserProperty(name, value));
        Ok(Self {
            set: ForwardedProperties::from_properties(properties.set().chain(pairs)),
            expiry_seconds: properties.expiry_seconds(),
        })
    }

    /// The properties of a message with what the rule sets. Its user properties are added, the
    /// others replace those of the message.
    pub(super) fn apply(&self, properties: &ForwardedProperties) -> ForwardedProperties {
        if self.set.as_bytes().is_empty() {
            return properties.clone();
        }
        if properties.as_bytes().is_empty() {
            return self.set.clone();
        }
        let is_pair = |it: &Property<'_>| matches!(it, Property::UserProperty(..));
        let is_kept = |it: &Property<'_>| {
            let is_set = |set: Property<'_>| discriminant(&set) == discriminant(it);
            is_pair(it) || !self.set.iter().any(is_set)
        };
        // Those of the message stay in front, as they were.
        let kept = properties.iter().filter(is_kept);
        ForwardedProperties::from_properties(kept.chain(self.set.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_properties_are_added_and_others_replaced() {
        let site = Site {
            bridge: "up".to_owned(),
            host_name: "box7".to_owned(),
            vin: None,
        };
        let text = "content_type = \"json\"\nuser_property = { a = \"${gateway}\" }";
        let properties: Properties = toml::from_str(text).unwrap();
        let rule = PropertyRule::new(&site, "p", &properties).unwrap();
        let message = ForwardedProperties::from_properties([
            Property::UserProperty("a", "1"),
            Property::ContentType("text"),
            Property::ResponseTopic("r"),
        ]);
        let expected = [
            Property::UserProperty("a", "1"),
            Property::ResponseTopic("r"),
            Property::ContentType("json"),
            Property::UserProperty("a", "up"),
        ];
        let set = rule.apply(&message);
        assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        let set = rule.apply(&ForwardedProperties::default());
        assert_eq!(set.iter().collect::<Vec<_>>(), expected[2..]);
        let nothing = PropertyRule::default();
        assert_eq!(nothing.apply(&message), message);
    }
}
