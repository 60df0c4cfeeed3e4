//! A validated Topic Name: what a message is published to.

use std::fmt;
use std::sync::Arc;

use super::{TOPIC_LEVELS_MAX, level_count};

/// A Topic Name without wildcards; cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a string is no Topic Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// [MQTT-4.7.3-1]
    #[error("a topic name must not be empty")]
    Empty,
    /// [MQTT-3.3.2-2]
    #[error("a topic name must not contain the wildcards `+` and `#`")]
    Wildcard,
    /// [MQTT-4.7.3-2]
    #[error("a topic name must not contain a null character")]
    Null,
    /// [MQTT-4.7.3-3]
    #[error("a topic name must not be longer than 65535 bytes")]
    TooLong,
    /// More than [`TOPIC_LEVELS_MAX`] levels.
    #[error("a topic name must not have more than {TOPIC_LEVELS_MAX} levels")]
    TooManyLevels,
}

impl TopicName {
    /// Checks and keeps a Topic Name.
    ///
    /// # Errors
    /// The rule of §4.7 that `text` breaks.
    pub fn new(text: &str) -> Result<Self, TopicNameError> {
        Self::check(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// Checks a Topic Name without keeping it.
    ///
    /// # Errors
    /// The rule of §4.7 that `text` breaks.
    pub fn check(text: &str) -> Result<(), TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(TopicNameError::TooLong);
        }
        // Without branches, so that several bytes are looked at together.
        let is_special = |byte: u8| byte == b'+' || byte == b'#' || byte == 0;
        let has_special = text.bytes().fold(false, |has, it| has | is_special(it));
        if has_special && text.bytes().find(|it| is_special(*it)) == Some(0) {
            return Err(TopicNameError::Null);
        } else if has_special {
            return Err(TopicNameError::Wildcard);
        }
        // A shorter one cannot have so many.
        if text.len() >= TOPIC_LEVELS_MAX && level_count(text) > TOPIC_LEVELS_MAX {
            return Err(TopicNameError::TooManyLevels);
        }
        Ok(())
    }

    /// Whether the specification allows it, although it may have more levels than are taken.
    pub(crate) fn is_allowed(text: &str) -> bool {
        matches!(
            Self::check(text),
            Ok(()) | Err(TopicNameError::TooManyLevels)
        )
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `$SYS` and `$tidegate` and what is below them, where only a server publishes
    /// (§4.7.2).
    #[must_use]
    pub fn is_system(&self) -> bool {
        let rest = self.0.strip_prefix("$SYS");
        rest.or_else(|| self.0.strip_prefix("$tidegate"))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether this client may publish here. `$SYS` is the server's, except for what bridges of
    /// Mosquitto say of themselves: `$SYS/broker/connection/{their client identifier}/state`. So is
    /// `$tidegate`: what is sent there is for the server itself, and never routed.
    #[must_use]
    pub fn may_be_published_by(&self, client_id: &str) -> bool {
        let own = self.0.strip_prefix("$SYS/broker/connection/");
        let own = own.and_then(|rest| rest.strip_suffix("/state"));
        !self.is_system() || own == Some(client_id)
    }

    /// True for names that begin with `$`, which wildcards at the first level do not match
    /// [MQTT-4.7.2-1].
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_alone_speaks_below_sys_except_for_bridges_of_themselves() {
        let table = [
            ("t", true),
            ("$SYSTEM", true),
            ("$SYS", false),
            ("$SYS/broker/uptime", false),
            ("$SYS/broker/connection/c/state", true),
            ("$SYS/broker/connection/d/state", false),
            ("$SYS/broker/connection/c", false),
            ("$tidegate", false),
            ("$tidegate/batch", false),
            ("$tidegates", true),
        ];
        for (name, expected) in table {
            let name = TopicName::new(name).unwrap();
            assert_eq!(name.may_be_published_by("c"), expected, "{name}");
        }
    }

    // Conforms: 5.0 [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
    // Conforms: 3.1.1 [MQTT-4.7.1-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
    #[test]
    fn names_are_checked() {
        let levels = vec!["x"; TOPIC_LEVELS_MAX].join("/");
        let table = [
            ("a", Ok(())),
            ("/", Ok(())),
            ("a//b", Ok(())),
            ("$SYS/broker", Ok(())),
            (levels.as_str(), Ok(())),
            ("", Err(TopicNameError::Empty)),
            ("a/+", Err(TopicNameError::Wildcard)),
            ("a#", Err(TopicNameError::Wildcard)),
            ("a\0b", Err(TopicNameError::Null)),
        ];
        for (text, expected) in table {
            assert_eq!(TopicName::check(text), expected, "{text:?}");
        }
        let deep = format!("{levels}/x");
        assert_eq!(TopicName::check(&deep), Err(TopicNameError::TooManyLevels));
        let long = "x".repeat(65_536);
        assert_eq!(TopicName::check(&long), Err(TopicNameError::TooLong));
    }
}
