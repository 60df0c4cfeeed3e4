//! Topic rewriting: topics of PUBLISH and filters of SUBSCRIBE and UNSUBSCRIBE are replaced
//! before anything else looks at them.

use gateway::{Template, Values};
use mqtt::TopicFilter;
use regex::Regex;

use super::Who;

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct RewriteRule {
    /// What it looks at.
    pub(crate) source: TopicFilter,
    /// A further condition, which then says what `$1` and so on stand for; without it they are
    /// what the wildcards of `source` match.
    pub(crate) expression: Option<Regex>,
    /// What the topic becomes.
    pub(crate) destination: Template,
}

/// The rules in their order; the first that fits is the only one that counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewrites {
    /// For PUBLISH.
    pub(crate) publish: Vec<RewriteRule>,
    /// For SUBSCRIBE and UNSUBSCRIBE.
    pub(crate) subscribe: Vec<RewriteRule>,
}

impl Rewrites {
    /// The topic that a PUBLISH goes to in place of its own; none if no rule fits.
    pub(crate) fn topic(&self, topic: &str, who: Who<'_>) -> Option<String> {
        self.publish.iter().find_map(|rule| rule.apply(topic, who))
    }

    /// The filter that is subscribed to in place of the given one; none if no rule fits. Of a
    /// shared or exclusive subscription the part behind the prefix is replaced.
    pub(crate) fn filter(&self, text: &str, who: Who<'_>) -> Option<String> {
        if self.subscribe.is_empty() {
            return None;
        }
        // What is no filter is refused later, as it stands.
        let filter = TopicFilter::new(text).ok()?;
        let pattern = filter.pattern();
        let mut rules = self.subscribe.iter();
        let rewritten = rules.find_map(|rule| rule.apply(pattern, who))?;
        let prefix = text.strip_suffix(pattern).unwrap_or_default();
        Some(format!("{prefix}{rewritten}"))
    }
}

impl RewriteRule {
    /// A rule that fits but lacks a value, such as the name of a user without one, does not count.
    fn apply(&self, topic: &str, who: Who<'_>) -> Option<String> {
        let wildcards = self.source.captures(topic)?;
        let captures = match &self.expression {
            None => wildcards,
            Some(expression) => {
                let groups = expression.captures(topic)?;
                let groups = groups.iter().skip(1);
                groups.map(|it| it.map_or("", |it| it.as_str())).collect()
            }
        };
        self.destination.render(&Rewritten { who, captures })
    }
}

struct Rewritten<'a> {
    who: Who<'a>,
    captures: Vec<&'a str>,
}

impl Values for Rewritten<'_> {
    fn named(&self, name: &str, out: &mut String) -> bool {
        self.who.named(name, out)
    }

    fn capture(&self, index: usize) -> Option<&str> {
        self.captures.get(index.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source: &str, expression: Option<&str>, destination: &str) -> RewriteRule {
        RewriteRule {
            source: TopicFilter::new(source).unwrap(),
            expression: expression.map(|it| Regex::new(it).unwrap()),
            destination: Template::parse(destination).unwrap(),
        }
    }

    #[test]
    fn the_first_rule_that_fits_replaces_the_topic() {
        let rules = vec![
            rule("old/+/#", None, "new/$2/$1"),
            rule("x/#", Some("^x/y/(.+)$"), "z/y/$1"),
            rule("x/#", Some("^x/(.+)/(.+)$"), "${username}/$2"),
            rule("me/#", None, "of/${clientid}/$1"),
            rule("old/#", None, "never"),
        ];
        let rewrites = Rewrites {
            publish: rules.clone(),
            subscribe: rules,
        };
        let who = Who {
            client_id: "c",
            user_name: None,
        };
        let table = [
            ("old/a/b/c", Some("new/b/c/a")),
            ("x/y/1/2", Some("z/y/1/2")),
            ("x/1/2", None),
            ("x/1", None),
            ("me/1", Some("of/c/1")),
            ("other", None),
        ];
        for (topic, expected) in table {
            assert_eq!(rewrites.topic(topic, who).as_deref(), expected, "{topic}");
        }
        let known = Who {
            user_name: Some("u"),
            ..who
        };
        assert_eq!(rewrites.topic("x/1/2", known).as_deref(), Some("u/2"));
        for name in ["a/b", "+", "#", ""] {
            let wide = Who {
                user_name: Some(name),
                ..who
            };
            assert_eq!(rewrites.topic("x/1/2", wide), None, "{name}");
        }
        let table = [
            ("old/+/#", Some("new/#/+")),
            ("$share/g/me/+", Some("$share/g/of/c/+")),
            ("me/a#", None),
            ("other/#", None),
        ];
        for (filter, expected) in table {
            assert_eq!(
                rewrites.filter(filter, who).as_deref(),
                expected,
                "{filter}"
            );
        }
    }
}
