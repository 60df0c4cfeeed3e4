//! Text with placeholders: `${name}` for named values, `$1` to `$9` for wildcard captures.

use std::fmt;

use mqtt::{TopicName, TopicNameError};

/// Stands for a value that only a message has, where a template is checked.
pub const ANY_TEXT: &str = "x";

/// A parsed template, such as `plant/${gateway}/$1`.
///
/// `$$` stands for a dollar sign. A dollar sign before anything else stands for itself, so
/// `$SYS/x` needs no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Named(String),
    Capture(usize),
}

/// Where a template's placeholders get their values.
pub trait Values {
    /// Appends the value of `${name}` to `out`; false if there is no such value.
    fn named(&self, name: &str, out: &mut String) -> bool;

    /// The value of `$index`, counted from 1; none if fewer wildcards captured something.
    fn capture(&self, index: usize) -> Option<&str>;
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
                Part::Named(_) | Part::Capture(_) => {
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
            let part = name
                .parse()
                .map_or_else(|_| Part::Named(name.to_owned()), Part::Capture);
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

    /// Checks that every placeholder can have a value.
    ///
    /// # Errors
    /// The first placeholder that is neither in `names` nor among the first `captures` captures.
    pub fn check(&self, names: &[&str], captures: usize) -> Result<(), TemplateError> {
        for part in &self.parts {
            match part {
                Part::Named(name) if !names.contains(&name.as_str()) => {
                    let known = names.join(", ");
                    return Err(TemplateError::UnknownName {
                        name: name.clone(),
                        known,
                    });
                }
                Part::Capture(index) if *index == 0 || *index > captures => {
                    let error = TemplateError::NoSuchCapture {
                        index: *index,
                        available: captures,
                    };
                    return Err(error);
                }
                Part::Literal(_) | Part::Named(_) | Part::Capture(_) => {}
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
        assert_eq!(template.check(&["gateway"], 2), Ok(()));
        assert_eq!(
            template.check(&["gateway"], 1),
            Err(TemplateError::NoSuchCapture {
                index: 2,
                available: 1
            })
        );
        assert!(matches!(
            template.check(&["topic"], 2),
            Err(TemplateError::UnknownName { .. })
        ));
    }
}
