//! The name of a message, which it keeps on all ways through all brokers.

use std::fmt;
use std::str::FromStr;

use mqtt::packet::{ForwardedProperties, Property};

use super::BrokerId;

/// The user property: identifier, run and number, with colons between.
pub(super) const PROPERTY: &str = "x-origin-seq";

/// One run of the broker where messages are published, from a start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The broker.
    pub origin: BrokerId,
    /// A random number, so that nothing has to be stored for the numbers to be new after a
    /// restart.
    pub run: u64,
}

/// Why a text names no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the identifier of a broker, a colon and a hexadecimal number")]
pub struct InvalidRun;

/// The name of one message. It is given once, when the message is published, and is stored with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where it was published, and in which run.
    pub run: Run,
    /// Its number there: none comes twice, later messages have greater ones, and there may be gaps.
    pub number: u64,
}

impl Stamp {
    /// The stamp of a message; none if it has no sound one.
    #[must_use]
    pub fn of(properties: &ForwardedProperties) -> Option<Self> {
        let text = properties.user_property(PROPERTY)?;
        let (run, number) = text.rsplit_once(':')?;
        let stamp = Self {
            run: run.parse().ok()?,
            number: number.parse().ok()?,
        };
        // No sign and no leading zero.
        (stamp.to_string() == text).then_some(stamp)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.run, self.number)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{:x}", self.origin, self.run)
    }
}

impl FromStr for Run {
    type Err = InvalidRun;

    fn from_str(text: &str) -> Result<Self, InvalidRun> {
        let (origin, number) = text.split_once(':').ok_or(InvalidRun)?;
        let run = Self {
            origin: BrokerId::new(origin).map_err(|_| InvalidRun)?,
            run: u64::from_str_radix(number, 16).map_err(|_| InvalidRun)?,
        };
        // It is written in one way.
        let is_sound = run.to_string() == text;
        is_sound.then_some(run).ok_or(InvalidRun)
    }
}

/// The properties of a message that is made of another and is not the same any longer.
pub(crate) fn without_stamp(properties: &ForwardedProperties) -> ForwardedProperties {
    if properties.user_property(PROPERTY).is_none() {
        return properties.clone();
    }
    ForwardedProperties::from_properties(properties.iter().filter(|it| !is_stamp(it)))
}

pub(super) fn is_stamp(property: &Property<'_>) -> bool {
    matches!(property, Property::UserProperty(PROPERTY, _))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(value: &str) -> ForwardedProperties {
        let other = Property::UserProperty("a", "b");
        let stamp = Property::UserProperty(PROPERTY, value);
        ForwardedProperties::from_properties([stamp, other])
    }

    #[test]
    fn stamps_are_written_and_read_back() {
        for number in [0, 1, u64::MAX] {
            let run = Run {
                origin: BrokerId::new("site-7").unwrap(),
                run: !number,
            };
            let stamp = Stamp { run, number };
            let message = properties(&stamp.to_string());
            assert_eq!(stamp.run.to_string().parse(), Ok(stamp.run.clone()));
            assert_eq!(Stamp::of(&message), Some(stamp));
            let without = without_stamp(&message);
            assert_eq!(Stamp::of(&without), None);
            assert_eq!(without.user_property("a"), Some("b"));
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        assert_eq!(Stamp::of(&ForwardedProperties::default()), None);
        for value in [
            "",
            "a",
            "a:1",
            "a:1:",
            ":1:1",
            "a:1:-1",
            "a:1:+1",
            "a:+1:1",
            "a:01:1",
            "a:1:01",
            "a:A:1",
            "a:1: 1",
            "a:1:b",
            "a:g:1",
            "a,b:1:1",
            "a:1:1:2",
            "a:1:18446744073709551616",
        ] {
            assert_eq!(Stamp::of(&properties(value)), None, "{value}");
        }
    }
}
