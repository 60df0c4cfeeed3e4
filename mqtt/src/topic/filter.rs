//! A validated Topic Filter: what a subscription asks for.

use std::fmt;
use std::sync::Arc;

use super::{TOPIC_LEVELS_MAX, level_count};

/// A Topic Filter, possibly with wildcards and with a prefix that says who else receives;
/// cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

/// Who receives a message that matches a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing<'f> {
    /// Every subscriber.
    Each,
    /// One member of the group with this Share Name: `$share/{name}/{filter}` (§4.8.2).
    Group(&'f str),
    /// The only subscriber that there may be: `$exclusive/{filter}`, an addition to MQTT.
    Exclusive,
}

const SHARE: &str = "$share/";
const EXCLUSIVE: &str = "$exclusive/";

/// Why a string is no Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicFilterError {
    /// [MQTT-4.7.3-1]
    #[error("a topic filter must not be empty")]
    Empty,
    /// [MQTT-4.7.1-1]
    #[error("`#` must stand alone in the last level of a topic filter")]
    MultiLevelWildcard,
    /// [MQTT-4.7.1-2]
    #[error("`+` must stand alone in its level of a topic filter")]
    SingleLevelWildcard,
    /// [MQTT-4.7.3-2]
    #[error("a topic filter must not contain a null character")]
    Null,
    /// [MQTT-4.7.3-3]
    #[error("a topic filter must not be longer than 65535 bytes")]
    TooLong,
    /// More than [`TOPIC_LEVELS_MAX`] levels behind the prefix.
    #[error("a topic filter must not have more than {TOPIC_LEVELS_MAX} levels")]
    TooManyLevels,
    /// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    #[error("a share name must not be empty or have wildcards, and `/` must follow it")]
    ShareName,
}

impl TopicFilter {
    /// Checks and keeps a Topic Filter.
    ///
    /// # Errors
    /// The rule of §4.7 that `text` breaks.
    pub fn new(text: &str) -> Result<Self, TopicFilterError> {
        if text.is_empty() {
            return Err(TopicFilterError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(TopicFilterError::TooLong);
        }
        if text.contains('\0') {
            return Err(TopicFilterError::Null);
        }
        if let Some(shared) = text.strip_prefix(SHARE) {
            match shared.split_once('/') {
                Some(("", _)) | None => return Err(TopicFilterError::ShareName),
                Some((name, _)) if name.contains(['+', '#']) => {
                    return Err(TopicFilterError::ShareName);
                }
                Some(_) => {}
            }
        }
        let pattern = split_prefix(text).1;
        if pattern.is_empty() {
            return Err(TopicFilterError::Empty);
        }
        let mut levels = pattern.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicFilterError::MultiLevelWildcard);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicFilterError::SingleLevelWildcard);
            }
        }
        if level_count(pattern) > TOPIC_LEVELS_MAX {
            return Err(TopicFilterError::TooManyLevels);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The filter as text, with its prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is matched against names: the filter without its prefix.
    #[must_use]
    pub fn pattern(&self) -> &str {
        split_prefix(&self.0).1
    }

    /// Who receives what matches.
    #[must_use]
    pub fn sharing(&self) -> Sharing<'_> {
        split_prefix(&self.0).0
    }

    /// True if the filter has `+` or `#`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.pattern().contains(['+', '#'])
    }

    /// True if a message published to `name` belongs to this filter.
    ///
    /// A wildcard at the first level does not match a name that begins with `$` [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.walk(name, |_| {})
    }

    /// What the wildcards stand for when `name` matches: one piece for each `+`, and for `#` the
    /// rest of the name (empty when it matches the parent level).
    #[must_use]
    pub fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut captures = Vec::new();
        self.walk(name, |piece| captures.push(piece))
            .then_some(captures)
    }

    /// Whether a name matches; `capture` is given what the wildcards stand for.
    fn walk<'n>(&self, name: &'n str, mut capture: impl FnMut(&'n str)) -> bool {
        let pattern = self.pattern();
        if name.starts_with('$') && pattern.starts_with(['+', '#']) {
            return false;
        }
        let (mut levels, mut rest) = (Some(pattern), Some(name));
        while let Some((level, more)) = levels.map(split_level) {
            if level == "#" {
                capture(rest.unwrap_or(""));
                return true;
            }
            let Some((head, tail)) = rest.map(split_level) else {
                return false;
            };
            if level == "+" {
                capture(head);
            } else if level != head {
                return false;
            }
            (levels, rest) = (more, tail);
        }
        rest.is_none()
    }
}

/// What stands before the pattern, and the pattern. A malformed prefix is part of the pattern.
fn split_prefix(text: &str) -> (Sharing<'_>, &str) {
    if let Some((name, pattern)) = text.strip_prefix(SHARE).and_then(|it| it.split_once('/')) {
        (Sharing::Group(name), pattern)
    } else if let Some(pattern) = text.strip_prefix(EXCLUSIVE) {
        (Sharing::Exclusive, pattern)
    } else {
        (Sharing::Each, text)
    }
}

/// The first level of a topic string, and what follows its separator if there is one.
pub(super) fn split_level(text: &str) -> (&str, Option<&str>) {
    // Levels are short: looking at one byte after the other is faster than a search.
    match text.bytes().position(|byte| byte == b'/') {
        Some(end) => {
            let (head, rest) = text.split_at(end);
            (head, rest.get(1..))
        }
        None => (text, None),
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Conforms: 5.0 [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
    // Conforms: 5.0 [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    // Conforms: 3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
    #[test]
    fn filters_are_checked() {
        let table = [
            ("#", None),
            ("+", None),
            ("a/+/b/#", None),
            ("/", None),
            ("/+", None),
            ("", Some(TopicFilterError::Empty)),
            ("a/#/b", Some(TopicFilterError::MultiLevelWildcard)),
            ("a#", Some(TopicFilterError::MultiLevelWildcard)),
            ("##", Some(TopicFilterError::MultiLevelWildcard)),
            ("a+/b", Some(TopicFilterError::SingleLevelWildcard)),
            ("++", Some(TopicFilterError::SingleLevelWildcard)),
            ("a\0", Some(TopicFilterError::Null)),
            ("$share/g/a/+", None),
            ("$share/g//", None),
            ("$share", None),
            ("$share/g", Some(TopicFilterError::ShareName)),
            ("$share//a", Some(TopicFilterError::ShareName)),
            ("$share/+/a", Some(TopicFilterError::ShareName)),
            ("$share/g#/a", Some(TopicFilterError::ShareName)),
            ("$share/g/", Some(TopicFilterError::Empty)),
            ("$share/g/#/a", Some(TopicFilterError::MultiLevelWildcard)),
            ("$exclusive/a/#", None),
            ("$exclusive/", Some(TopicFilterError::Empty)),
        ];
        for (text, expected) in table {
            assert_eq!(TopicFilter::new(text).err(), expected, "{text:?}");
        }
        let of_length = |length| TopicFilter::new(&"x".repeat(length)).err();
        assert_eq!(of_length(65_535), None);
        assert_eq!(of_length(65_536), Some(TopicFilterError::TooLong));
    }

    // Conforms: 5.0 [MQTT-4.7.2-1] [MQTT-4.7.3-4]; 3.1.1 [MQTT-4.7.2-1] [MQTT-4.7.3-4]
    #[test]
    fn names_match_filters() {
        // From the examples of MQTT 5.0 §4.7.1.2, §4.7.1.3 and §4.7.2.
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("#", "a", true),
            ("#", "/", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a/b", "a", false),
            ("a", "a/b", false),
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/a/+", "$share/g/a/b", false),
            ("$share/g/#", "$SYS/x", false),
            ("$exclusive/a", "a", true),
            // Nothing is normalised: a letter composed and decomposed, spaces, empty levels.
            ("caf\u{e9}", "cafe\u{301}", false),
            ("caf\u{e9}", "caf\u{e9}", true),
            ("a b/+", "a b/ ", true),
            ("a/b", "a/b ", false),
            ("a//b", "a/b", false),
            ("\u{feff}a", "a", false),
        ];
        for (filter, name, expected) in table {
            let filter = TopicFilter::new(filter).unwrap();
            assert_eq!(filter.matches(name), expected, "{filter} on {name}");
        }
    }

    #[test]
    fn prefixes_are_told_from_patterns() {
        let table = [
            ("a/b", Sharing::Each, "a/b"),
            ("$share/g/a/b", Sharing::Group("g"), "a/b"),
            ("$share/g//b", Sharing::Group("g"), "/b"),
            ("$shared/g/a", Sharing::Each, "$shared/g/a"),
            ("$exclusive/a/b", Sharing::Exclusive, "a/b"),
        ];
        for (text, sharing, pattern) in table {
            let filter = TopicFilter::new(text).unwrap();
            assert_eq!((filter.sharing(), filter.pattern()), (sharing, pattern));
        }
    }

    #[test]
    fn wildcards_capture() {
        let filter = TopicFilter::new("a/+/b/#").unwrap();
        assert_eq!(filter.captures("a/x/b/c/d"), Some(vec!["x", "c/d"]));
        assert_eq!(filter.captures("a/x/b"), Some(vec!["x", ""]));
        assert_eq!(filter.captures("a/x/c"), None);
    }
}
