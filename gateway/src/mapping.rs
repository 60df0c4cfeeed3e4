//! The configured pieces of a mapping rule, shared by all gateways and bridges.

use mqtt::{QoS, TopicFilter, TopicName};
use serde::{Deserialize, Deserializer, de};

use crate::{ANY_TEXT, SubscriptionRequest, Template, TemplateError, Values};

/// A Topic Filter that was checked while the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredFilter(pub TopicFilter);

/// A template that was parsed while the configuration was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl ConfiguredTemplate {
    /// The template of a rule that publishes at this broker, `default` if it has none, with its
    /// placeholders and its topics checked.
    ///
    /// `pieces` are the placeholders that are known, each with the value that it always has or
    /// with [`ANY_TEXT`].
    ///
    /// # Errors
    /// A placeholder that is not among `pieces`, or a template that never gives a topic.
    pub fn checked_topic(
        configured: Option<&Self>,
        default: &str,
        pieces: &[(&str, &str)],
    ) -> Result<Template, TemplateError> {
        let names: Vec<&str> = pieces.iter().map(|(name, _)| *name).collect();
        let template = Self::or(configured, default)?;
        template.check(&names, 0, 0)?;
        template.check_topic(pieces)?;
        Ok(template)
    }

    fn or(configured: Option<&Self>, default: &str) -> Result<Template, TemplateError> {
        match configured {
            Some(configured) => Ok(configured.0.clone()),
            None => Template::parse(default),
        }
    }
}

/// The text that a message gets if its rule does not say.
const TOPIC: &str = "${topic}";

/// The side of a rule that MQTT messages come in at: which ones, and the text that each is given.
///
/// Placeholders: those of [`MatchedTopic`], and `${gateway}` for the gateway's name.
#[derive(Clone, Debug)]
pub struct MqttRule {
    subscription: SubscriptionRequest,
    template: Template,
}

impl MqttRule {
    /// A rule of the named gateway; without a template a message's text is its topic.
    ///
    /// # Errors
    /// A placeholder that has no value.
    pub fn new(
        gateway: &str,
        subscription: SubscriptionRequest,
        template: Option<&ConfiguredTemplate>,
    ) -> Result<Self, TemplateError> {
        let template = ConfiguredTemplate::or(template, TOPIC)?;
        MatchedTopic::check(&template, &subscription.filter, &["gateway"])?;
        Ok(Self {
            template: template.with(&[("gateway", gateway)]),
            subscription,
        })
    }

    /// The text for a topic that the filter matches, with [`ANY_TEXT`] for each of its wildcards.
    #[must_use]
    pub fn example(&self) -> Option<String> {
        let topic = MatchedTopic::example(&self.subscription.filter);
        self.render(&TopicName::new(&topic).ok()?)
    }

    /// What has to be subscribed to for the rule.
    #[must_use]
    pub const fn subscription(&self) -> &SubscriptionRequest {
        &self.subscription
    }

    /// The text for messages of this topic; none if the filter does not match it.
    #[must_use]
    pub fn render(&self, topic: &TopicName) -> Option<String> {
        let filter = &self.subscription.filter;
        self.template.render(&MatchedTopic::new(filter, topic)?)
    }
}

/// A topic that a filter matched: `${topic}` is all of it, `${topic[2]}` its second level, `$1` what
/// the first wildcard stands for.
#[derive(Clone, Debug)]
pub struct MatchedTopic<'t> {
    topic: &'t str,
    captures: Vec<&'t str>,
}

impl<'t> MatchedTopic<'t> {
    /// None if the filter does not match the topic.
    #[must_use]
    pub fn new(filter: &TopicFilter, topic: &'t TopicName) -> Option<Self> {
        let topic = topic.as_str();
        let captures = filter.captures(topic)?;
        Some(Self { topic, captures })
    }

    /// A topic that the filter matches, with [`ANY_TEXT`] for each of its wildcards.
    #[must_use]
    pub fn example(filter: &TopicFilter) -> String {
        let levels = filter.pattern().split('/').map(|level| match level {
            "+" | "#" => ANY_TEXT,
            literal => literal,
        });
        levels.collect::<Vec<_>>().join("/")
    }

    /// Checks that every placeholder has a value for the topics that the filter matches; `names`
    /// are those that there are besides.
    ///
    /// # Errors
    /// The first placeholder that has none.
    pub fn check(
        template: &Template,
        filter: &TopicFilter,
        names: &[&str],
    ) -> Result<(), TemplateError> {
        let names: Vec<&str> = ["topic"].iter().chain(names).copied().collect();
        let levels = || filter.pattern().split('/');
        let wildcards = levels().filter(|it| matches!(*it, "+" | "#")).count();
        let levels_max = match levels().next_back() {
            Some("#") => usize::MAX,
            Some(_) | None => levels().count(),
        };
        template.check(&names, wildcards, levels_max)
    }
}

impl Values for MatchedTopic<'_> {
    fn named(&self, name: &str, out: &mut String) -> bool {
        [("topic", self.topic)].named(name, out)
    }

    fn capture(&self, index: usize) -> Option<&str> {
        self.captures.get(index.checked_sub(1)?).copied()
    }

    fn topic(&self) -> Option<&str> {
        Some(self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(filter: &str, template: Option<&str>) -> Result<MqttRule, TemplateError> {
        let request = SubscriptionRequest {
            filter: TopicFilter::new(filter).unwrap(),
            qos: QoS::AtMostOnce,
            retained: false,
        };
        let template = template.map(|text| ConfiguredTemplate(Template::parse(text).unwrap()));
        MqttRule::new("plant", request, template.as_ref())
    }

    #[test]
    fn matching_topics_are_rendered() {
        let table = [
            ("a/#", None, Some("a/b/c")),
            (
                "+/b/#",
                Some("${gateway}:$2:$1:${topic}"),
                Some("plant:c:a:a/b/c"),
            ),
            ("a/#", Some("${topic[2..]}/${topic[1]}"), Some("b/c/a")),
            ("a/+", None, None),
        ];
        for (filter, template, expected) in table {
            let text = rule(filter, template).unwrap();
            let text = text.render(&TopicName::new("a/b/c").unwrap());
            assert_eq!(text.as_deref(), expected, "{filter}");
        }
        let example = rule("a/+/#", Some("$2/$1/b")).unwrap().example();
        assert_eq!(example.as_deref(), Some("x/x/b"));
        assert!(rule("a/+", Some("$2")).is_err());
        assert!(rule("a/+", Some("${topic[3]}")).is_err());
        assert!(rule("a/#", Some("${topic[3]}")).is_ok());
        assert!(rule("a/+", Some("${prefix}")).is_err());
    }
}
