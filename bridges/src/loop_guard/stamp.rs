//! The name of a message, which it keeps on all ways through all brokers.

use std::fmt;

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
        let mut parts = text.splitn(3, ':');
        let origin = BrokerId::new(parts.next()?).ok()?;
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let number = parts.next()?.parse().ok()?;
        let run = Run { origin, run };
        let stamp = Self { run, number };
        // No sign and no leading zero: each is written in one way.
        (stamp.to_string() == text).then_some(stamp)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { origin, run } = &self.run;
        write!(formatter, "{origin}:{run:x}:{}", self.number)
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
