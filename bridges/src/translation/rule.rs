//! One rule, in either direction: which topics it takes, and the topic that it makes of each.

use gateway::{ConfigError, ConfiguredTemplate, Levels, MatchedTopic, Template};
use mqtt::{TopicFilter, TopicName, TopicNameError};

use crate::site::Site;

/// A rule, ready for use.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The topics that it takes.
    pub(super) filter: TopicFilter,
    /// The topic that it makes; none for the same.
    topic: Option<Template>,
}

/// A rule as it is configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'c> {
    /// Where it is, such as `forwards[0]`.
    pub(super) place: &'c str,
    /// The key of what it takes, and its value.
    pub(super) source: (&'static str, &'c TopicFilter),
    /// The key of what it makes, and its value.
    pub(super) target: (&'static str, Option<&'c ConfiguredTemplate>),
    pub(super) prefix: &'c ConfiguredTemplate,
    pub(super) suffix: &'c ConfiguredTemplate,
}

impl Rule {
    /// Compiles a rule. Refuses one that never gives a topic.
    pub(super) fn new(site: &Site, written: &Written<'_>) -> Result<Self, ConfigError> {
        let key = |key: &str| format!("{}.{key}", written.place);
        let filter = site.filter(&key(written.source.0), written.source.1)?;
        let middle = written.middle(site, &filter)?;
        let fixed = |name: &str, template: &ConfiguredTemplate| {
            let template = site.template(&key(name), &template.0)?;
            check_placeholders(&key(name), &template, &filter)?;
            Ok(template)
        };
        let prefix = fixed("prefix", written.prefix)?;
        let suffix = fixed("suffix", written.suffix)?;
        let whole = Template::of_levels(Levels::ALL);
        let middle_or_whole = middle.as_ref().unwrap_or(&whole);
        let with_prefix = Template::concat([&prefix, middle_or_whole]);
        let with_both = Template::concat([&with_prefix, &suffix]);
        for (name, template) in [
            (written.target.0, middle_or_whole),
            ("prefix", &with_prefix),
            ("suffix", &with_both),
        ] {
            check_topic(&key(name), template, &filter)?;
        }
        Ok(Self {
            topic: (with_both != whole).then_some(with_both),
            filter,
        })
    }

    /// Whether it makes topics that are not those that it takes.
    pub(super) const fn is_renaming(&self) -> bool {
        self.topic.is_some()
    }

    /// The topic for a topic that the filter matches.
    pub(super) fn topic(&self, topic: &TopicName) -> Result<TopicName, TopicNameError> {
        let Some(template) = &self.topic else {
            return Ok(topic.clone());
        };
        let matched = MatchedTopic::new(&self.filter, topic);
        // What is rendered has all its values: its placeholders were checked.
        let rendered = matched.and_then(|matched| template.render(&matched));
        TopicName::new(&rendered.unwrap_or_default())
    }

    /// A topic that the rule makes, for checks.
    pub(super) fn example(&self) -> Option<TopicName> {
        let topic = MatchedTopic::example(&self.filter);
        self.topic(&TopicName::new(&topic).ok()?).ok()
    }
}

impl Written<'_> {
    /// The topic without prefix and suffix; none for the same.
    fn middle(&self, site: &Site, filter: &TopicFilter) -> Result<Option<Template>, ConfigError> {
        let (key, target) = self.target;
        let Some(target) = target else {
            return Ok(None);
        };
        let key = format!("{}.{key}", self.place);
        let template = site.template(&key, &target.0)?;
        match template.as_literal() {
            // NanoMQ writes an empty topic for the same.
            Some("") => Ok(None),
            Some(text) if text.contains(['+', '#']) => match kept_levels(filter.pattern(), text) {
                Some(levels) => Ok(Some(Template::of_levels(levels))),
                None => Err(ConfigError::new(key, self.advice(filter, text))),
            },
            Some(_) => Ok(Some(template)),
            None if template.has_any(&['+', '#']) => {
                let problem = "has both placeholders and wildcards; \
                               write `$1` for what the first wildcard stands for, and so on";
                Err(ConfigError::new(key, problem))
            }
            None => {
                check_placeholders(&key, &template, filter)?;
                Ok(Some(template))
            }
        }
    }

    /// What to write for a topic whose wildcards stand for nothing.
    fn advice(&self, filter: &TopicFilter, text: &str) -> String {
        let source = self.source.0;
        let pattern = filter.pattern();
        let is_wildcard = |level: &&str| matches!(*level, "+" | "#");
        let available = pattern.split('/').filter(is_wildcard).count();
        if available == 0 {
            return format!("`{source}` has no wildcard, so there can be none here");
        }
        let mut index = 0;
        let levels = text.split('/').map(|level| {
            if !is_wildcard(&level) {
                return level.to_owned();
            }
            index += 1;
            format!("${index}")
        });
        let instead = levels.collect::<Vec<_>>().join("/");
        let instead = if index > available || instead.contains(['+', '#']) {
            "`$1` for what its first wildcard stands for, and so on".to_owned()
        } else {
            format!("`{instead}`")
        };
        format!("`{text}` is no part of `{source}`, from one `/` to another; write {instead}")
    }
}

/// Which levels of a topic are kept if this part of the filter is what is left of it.
fn kept_levels(pattern: &str, part: &str) -> Option<Levels> {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let part: Vec<&str> = part.split('/').collect();
    let dropped = pattern.windows(part.len()).position(|it| it == part)?;
    let end = dropped + part.len();
    Some(Levels {
        first: dropped + 1,
        last: (end < pattern.len()).then_some(end),
    })
}

fn check_placeholders(
    key: &str,
    template: &Template,
    filter: &TopicFilter,
) -> Result<(), ConfigError> {
    let known = ["gateway", "HOSTNAME", "VIN"];
    let checked = MatchedTopic::check(template, filter, &known);
    checked.map_err(|error| ConfigError::new(key, error))
}

/// Refuses a template that gives no topic for the filter's topics.
fn check_topic(key: &str, template: &Template, filter: &TopicFilter) -> Result<(), ConfigError> {
    let refused = |error: TopicNameError| ConfigError::new(key, error);
    let example = TopicName::new(&MatchedTopic::example(filter)).map_err(refused)?;
    let matched = MatchedTopic::new(filter, &example);
    let topic = matched.and_then(|it| template.render(&it));
    TopicName::check(&topic.unwrap_or_default()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topic that a rule makes, or what is said of the rule.
    fn mapped(filter: &str, target: &str, topic: &str) -> String {
        let template = |text| ConfiguredTemplate(Template::parse(text).unwrap());
        let site = Site {
            bridge: "up".to_owned(),
            host_name: "box7".to_owned(),
            vin: Some("V1".to_owned()),
        };
        let written = Written {
            place: "forwards[0]",
            source: ("local_topic", &TopicFilter::new(filter).unwrap()),
            target: ("remote_topic", Some(&template(target))),
            prefix: &ConfiguredTemplate::default(),
            suffix: &ConfiguredTemplate::default(),
        };
        match Rule::new(&site, &written) {
            Ok(rule) => {
                let topic = rule.topic(&TopicName::new(topic).unwrap());
                topic.map_or_else(|error| error.to_string(), |it| it.to_string())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_part_of_the_filter_keeps_these_levels() {
        const FILTER: &str = "785f/zb/+/abv/#";
        let table = [
            (FILTER, "+/abv/#", "785f/zb/abc/abv/x/y", "abc/abv/x/y"),
            ("785f/zb/+/abv/+/#", "+", "785f/zb/abc/abv/x/y", "abc"),
            (FILTER, "zb/+", "785f/zb/abc/abv/x/y", "zb/abc"),
            (FILTER, "#", "785f/zb/abc/abv/x/y", "x/y"),
            (FILTER, "#", "785f/zb/abc/abv/x", "x"),
            (FILTER, "abc", "785f/zb/abc/abv/x", "abc"),
            ("785f/zb/+/+/abv/#", "+/+", "785f/zb/1/2/abv/3", "1/2"),
            ("+/nanomq/#", "#", "cmd/nanomq/hello/world", "hello/world"),
            ("785f/zb/#", "zb/#", "785f/zb/lamp", "zb/lamp"),
            // `#` stands for no level too.
            ("a/b/#", "b/#", "a/b", "b"),
            ("a/b/#", "#", "a/b", "a topic name must not be empty"),
            ("$share/g/a/b/#", "b/#", "a/b/c", "b/c"),
            ("a/${VIN}/+", "+", "a/V1/c", "c"),
            ("a/${VIN}/#", "${VIN}/#", "a/V1/c", "V1/c"),
        ];
        for (filter, target, topic, expected) in table {
            assert_eq!(
                mapped(filter, target, topic),
                expected,
                "{filter} to {target}"
            );
        }
    }

    #[test]
    fn a_wildcard_that_stands_for_nothing_is_answered_with_what_to_write() {
        let advice = |instead: &str| {
            format!(" is no part of `local_topic`, from one `/` to another; write {instead}")
        };
        let numbered = advice("`$1` for what its first wildcard stands for, and so on");
        let table = [
            ("_/_/#", "group1/system1/#", advice("`group1/system1/$1`")),
            ("topic1/#", "device/topic1/#", advice("`device/topic1/$1`")),
            ("+/x/#", "+/#", advice("`$1/$2`")),
            ("x/ab/#", "b/#", advice("`b/$1`")),
            ("x/#", "+/+", numbered.clone()),
            ("x/#", "a+", numbered),
        ];
        for (filter, target, expected) in table {
            let expected = format!("forwards[0].remote_topic: `{target}`{expected}");
            assert_eq!(mapped(filter, target, "t"), expected, "{filter}");
        }
        let error = mapped("a/b", "c/#", "t");
        let expected = "`local_topic` has no wildcard, so there can be none here";
        assert_eq!(error, format!("forwards[0].remote_topic: {expected}"));
        let error = mapped("a/#", "$1/#", "t");
        assert!(
            error.contains("has both placeholders and wildcards; write `$1`"),
            "{error}"
        );
    }
}
