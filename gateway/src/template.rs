//! Text with placeholders: `${name}` for named values, `$1` to `$9` for wildcard captures,
//! `${topic[2]}` for levels of the topic.

use std::fmt;

use mqtt::{TopicName, TopicNameError};

/// Stands for a value that only a message has, where a template is checked.
pub const ANY_TEXT: &str = "x";

/// A parsed template, such as `plant/${gateway}/$1`.
///
/// Levels of a topic are counted from 1: `${topic[2]}` is the second, `${topic[2..]}` what begins
/// with it, `${topic[2..4]}` three levels. Those that a topic does not have are left out.
///
/// `$$` stands for a dollar sign. A dollar sign before anything else stands for itself, so
/// `$SYS/x` needs no escape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Named(String),
    Capture(usize),
    Levels(Levels),
}

/// Neighbouring levels of a topic, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The first of them.
    pub first: usize,
    /// The last of them; none for all that follow.
    pub last: Option<usize>,
}

/// Where a template's placeholders get their values.
pub trait Values {
    /// Appends the value of `${name}` to `out`; false if there is no such value.
    fn named(&self, name: &str, out: &mut String) -> bool;

    /// The value of `$index`, counted from 1; none if fewer wildcards captured something.
    fn capture(&self, index: usize) -> Option<&str>;

    /// The topic that levels are taken from; none where there is no topic.
    fn topic(&self) -> Option<&str> {
        None
    }
}

/// Names with their values; nothing is captured.
impl Values for [(&str, &str)] {
    fn named(&self, name: &str, out: &mut String) -> bool {
        let found = self.iter().find(|(known, _)| *known == name);
        out.push_str(found.map_or("", |(_, value)| value));
        found.is_some()
    }

    fn capture(&self, _index: usize) -> Option<&str> {
        None
    }
}

impl Levels {
    /// The whole topic.
    pub const ALL: Self = Self {
        first: 1,
        last: None,
    };

    /// These levels of a topic, as far as it has them.
    #[must_use]
    pub fn of(self, topic: &str) -> &str {
        let mut ends = topic.match_indices('/').map(|(at, _)| at);
        let skipped = self.first.saturating_sub(1);
        let start = match skipped.checked_sub(1) {
            None => 0,
            Some(before) => match ends.nth(before) {
                Some(end) => end + 1,
                None => return "",
            },
        };
        let more = self.last.map(|last| last.saturating_sub(self.first));
        let end = more.and_then(|more| ends.nth(more));
        topic.get(start..end.unwrap_or(topic.len())).unwrap_or("")
    }

    /// Reads what stands in `${topic[...]}`.
    fn parse(name: &str) -> Option<Self> {
        let inner = name.strip_prefix("topic[")?.strip_suffix(']')?;
        let levels = match inner.split_once("..") {
            None => {
                let level = inner.parse().ok()?;
                Self {
                    first: level,
                    last: Some(level),
                }
            }
            Some((first, "")) => Self {
                first: first.parse().ok()?,
                last: None,
            },
            Some((first, last)) => Self {
                first: first.parse().ok()?,
                last: Some(last.parse().ok()?),
            },
        };
        let is_sound = levels.first > 0 && levels.last.is_none_or(|last| last >= levels.first);
        is_sound.then_some(levels)
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        match last {
            Some(last) if last == first => write!(formatter, "${{topic[{first}]}}"),
            Some(last) => write!(formatter, "${{topic[{first}..{last}]}}"),
            None => write!(formatter, "${{topic[{first}..]}}"),
        }
    }
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${` without `}`.
    #[error("a placeholder is not closed: `}}` is missing")]
    Unclosed,
    /// A `${name}` that this kind of template does not know.
    #[error("unknown placeholder `${{{name}}}`; known here: {known}")]
    UnknownName {
        /// The name in the template.
        name: String,
        /// The names that could stand there, separated by commas.
        known: String,
    },
    /// A `$n` beyond the wildcards of the filter.
    #[error("`${index}` has no value: the filter has {available} wildcard(s)")]
    NoSuchCapture {
        /// The number in the template.
        index: usize,
        /// How many wildcards there are.
        available: usize,
    },
    /// A `${topic[n]}` that no topic of the filter has.
    #[error("`{levels}` has no value: topics of the filter have {available} level(s)")]
    NoSuchLevel {
        /// The levels in the template.
        levels: Levels,
        /// How many there are at most.
        available: usize,
    },
    /// A template for topics that gives none, whatever the values of its placeholders are.
    #[error("{0}")]
    Topic(#[from] TopicNameError),
    /// A template for topics of this broker whose every topic is below `$SYS`.
    #[error("only the broker itself publishes below `$SYS`")]
    Reserved,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// A placeholder that is not closed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            let (part, tail) = Self::parse_placeholder(after)?;
            rest = tail;
            match part {
                Part::Literal(text) => literal.push_str(&text),
                Part::Named(_) | Part::Capture(_) | Part::Levels(_) => {
                    Self::push_literal(&mut parts, &mut literal);
                    parts.push(part);
                }
            }
        }
        literal.push_str(rest);
        Self::push_literal(&mut parts, &mut literal);
        Ok(Self { parts })
    }

    /// Parses what follows a dollar sign; returns it and the text behind it.
    fn parse_placeholder(after: &str) -> Result<(Part, &str), TemplateError> {
        if let Some(inner) = after.strip_prefix('{') {
            let (name, tail) = inner.split_once('}').ok_or(TemplateError::Unclosed)?;
            let part = match (name.parse(), Levels::parse(name)) {
                (Ok(index), _) => Part::Capture(index),
                (Err(_), Some(levels)) => Part::Levels(levels),
                (Err(_), None) => Part::Named(name.to_owned()),
            };
            return Ok((part, tail));
        }
        if let Some(tail) = after.strip_prefix('$') {
            return Ok((Part::Literal("$".to_owned()), tail));
        }
        let digit = after.chars().next().and_then(|first| first.to_digit(10));
        match digit {
            Some(index) => Ok((Part::Capture(index as usize), after.get(1..).unwrap_or(""))),
            None => Ok((Part::Literal("$".to_owned()), after)),
        }
    }

    fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(literal)));
        }
    }

    /// The template for some levels of a topic.
    #[must_use]
    pub fn of_levels(levels: Levels) -> Self {
        let parts = vec![Part::Levels(levels)];
        Self { parts }
    }

    /// The template with the values of `known`, which never change, in place of their names.
    #[must_use]
    pub fn with(&self, known: &[(&str, &str)]) -> Self {
        let resolved = self.parts.iter().map(|part| match part {
            Part::Named(name) => match known.iter().find(|(known, _)| known == name) {
                Some((_, value)) => Part::Literal((*value).to_owned()),
                None => part.clone(),
            },
            Part::Literal(_) | Part::Capture(_) | Part::Levels(_) => part.clone(),
        });
        Self::joined(resolved)
    }

    /// The templates one behind the other.
    #[must_use]
    pub fn concat<'t>(templates: impl IntoIterator<Item = &'t Self>) -> Self {
        let parts = templates.into_iter().flat_map(|it| it.parts.iter());
        Self::joined(parts.cloned())
    }

    /// Makes one literal of neighbouring ones.
    fn joined(all: impl Iterator<Item = Part>) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        for part in all {
            if let Part::Literal(text) = &part {
                literal.push_str(text);
            } else {
                Self::push_literal(&mut parts, &mut literal);
                parts.push(part);
            }
        }
        Self::push_literal(&mut parts, &mut literal);
        Self { parts }
    }

    /// The text of a template without placeholders.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            [..] => None,
        }
    }

    /// True if it has `${name}`.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        let named = |part: &Part| matches!(part, Part::Named(it) if it == name);
        self.parts.iter().any(named)
    }

    /// True if its text, apart from its placeholders, has one of these characters.
    #[must_use]
    pub fn has_any(&self, characters: &[char]) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Literal(text) => text.contains(characters),
            Part::Named(_) | Part::Capture(_) | Part::Levels(_) => false,
        })
    }

    /// Checks that every placeholder can have a value. A template for no topic has no levels.
    ///
    /// # Errors
    /// The first placeholder that is neither in `names` nor among the first `captures` captures
    /// or `levels` levels.
    pub fn check(
        &self,
        names: &[&str],
        captures: usize,
        levels: usize,
    ) -> Result<(), TemplateError> {
        let unknown = |name: String| TemplateError::UnknownName {
            name,
            known: names.join(", "),
        };
        for part in &self.parts {
            match part {
                Part::Named(name) if !names.contains(&name.as_str()) => {
                    return Err(unknown(name.clone()));
                }
                Part::Levels(part) if levels == 0 => {
                    let name = part.to_string();
                    let name = name.trim_start_matches("${").trim_end_matches('}');
                    return Err(unknown(name.to_owned()));
                }
                Part::Levels(part) if part.first > levels => {
                    return Err(TemplateError::NoSuchLevel {
                        levels: *part,
                        available: levels,
                    });
                }
                Part::Capture(index) if *index == 0 || *index > captures => {
                    let error = TemplateError::NoSuchCapture {
                        index: *index,
                        available: captures,
                    };
                    return Err(error);
                }
                Part::Literal(_) | Part::Named(_) | Part::Capture(_) | Part::Levels(_) => {}
            }
        }
        Ok(())
    }

    /// Checks that what the template gives can be published at this broker.
    ///
    /// `example` has for each placeholder the value that it always has, or [`ANY_TEXT`].
    ///
    /// # Errors
    /// The rule of a topic that every text of this template breaks.
    pub fn check_topic(&self, example: &(impl Values + ?Sized)) -> Result<(), TemplateError> {
        let topic = self.render(example).unwrap_or_default();
        TopicName::check(&topic)?;
        if topic.starts_with("$SYS/") {
            return Err(TemplateError::Reserved);
        }
        Ok(())
    }

    /// Fills in the values; none if a placeholder has no value.
    #[must_use]
    pub fn render(&self, values: &(impl Values + ?Sized)) -> Option<String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Named(name) => {
                    if !values.named(name, &mut out) {
                        return None;
                    }
                }
                Part::Capture(index) => out.push_str(values.capture(*index)?),
                Part::Levels(levels) => out.push_str(levels.of(values.topic()?)),
            }
        }
        Some(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(text) => formatter.write_str(&text.replace('$', "$$"))?,
                Part::Named(name) => write!(formatter, "${{{name}}}")?,
                Part::Capture(index) => write!(formatter, "${{{index}}}")?,
                Part::Levels(levels) => levels.fmt(formatter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plant;

    impl Values for Plant {
        fn named(&self, name: &str, out: &mut String) -> bool {
            if name == "gateway" {
                out.push_str("line1");
            }
            name == "gateway"
        }

        fn capture(&self, index: usize) -> Option<&str> {
            ["x", "y/z"].get(index.checked_sub(1)?).copied()
        }

        fn topic(&self) -> Option<&str> {
            Some("a/b//d")
        }
    }

    #[test]
    fn templates_render() {
        let table = [
            ("plain", Some("plain")),
            ("", Some("")),
            ("a/${gateway}/b", Some("a/line1/b")),
            ("$1-$2", Some("x-y/z")),
            ("${2}${1}", Some("y/zx")),
            ("$SYS/$$1", Some("$SYS/$1")),
            ("cost$", Some("cost$")),
            ("$3", None),
            ("${other}", None),
            (
                "${topic[1]}-${topic[2]}-${topic[3]}-${topic[4]}",
                Some("a-b--d"),
            ),
            ("${topic[2..]}", Some("b//d")),
            ("${topic[1..]}", Some("a/b//d")),
            ("${topic[2..3]}", Some("b/")),
            ("${topic[1..9]}", Some("a/b//d")),
            ("<${topic[5]}${topic[5..]}>", Some("<>")),
            ("${topic[0]}", None),
            ("${topic[3..2]}", None),
            ("${topic[x]}", None),
        ];
        for (text, expected) in table {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.render(&Plant).as_deref(), expected, "{text}");
            let printed = Template::parse(&template.to_string()).unwrap();
            assert_eq!(printed, template, "{text}");
        }
        assert_eq!(Template::parse("a/${b"), Err(TemplateError::Unclosed));
    }

    #[test]
    fn templates_are_put_together() {
        let parse = |text: &str| Template::parse(text).unwrap();
        let known = [("gateway", "line1"), ("VIN", "$1")];
        let template = parse("a/${gateway}/${VIN}").with(&known);
        assert_eq!(template.as_literal(), Some("a/line1/$1"));
        let template = Template::concat([&parse("a/"), &parse("+/$1"), &parse("")]);
        assert_eq!(template, parse("a/+/$1"));
        assert!(template.has_any(&['+']) && !template.has_any(&['1']));
        assert_eq!(
            (parse("").as_literal(), template.as_literal()),
            (Some(""), None)
        );
        let levels = Levels {
            first: 2,
            last: None,
        };
        assert_eq!(Template::of_levels(levels), parse("${topic[2..]}"));
    }

    #[test]
    fn templates_that_never_give_a_topic_are_found_before_use() {
        let example = [("any", ANY_TEXT), ("empty", "")];
        let table = [
            ("a/${any}", Ok(())),
            ("${any}", Ok(())),
            ("$$SYS", Ok(())),
            ("", Err(TemplateError::Topic(TopicNameError::Empty))),
            ("${empty}", Err(TemplateError::Topic(TopicNameError::Empty))),
            (
                "${any}/+",
                Err(TemplateError::Topic(TopicNameError::Wildcard)),
            ),
            ("$SYS/${any}", Err(TemplateError::Reserved)),
        ];
        for (text, expected) in table {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.check_topic(example.as_slice()), expected, "{text}");
        }
    }

    #[test]
    fn placeholders_are_checked_before_use() {
        let template = Template::parse("${gateway}/$2").unwrap();
        assert_eq!(template.check(&["gateway"], 2, 0), Ok(()));
        assert_eq!(
            template.check(&["gateway"], 1, 0),
            Err(TemplateError::NoSuchCapture {
                index: 2,
                available: 1
            })
        );
        assert!(matches!(
            template.check(&["topic"], 2, 0),
            Err(TemplateError::UnknownName { .. })
        ));
        let template = Template::parse("${topic[2..]}").unwrap();
        assert_eq!(template.check(&[], 0, 2), Ok(()));
        let error = template.check(&[], 0, 1).unwrap_err().to_string();
        let expected = "`${topic[2..]}` has no value: topics of the filter have 1 level(s)";
        assert_eq!(error, expected);
        let error = template.check(&["a", "b"], 0, 0).unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown placeholder `${topic[2..]}`; known here: a, b"
        );
    }
}
