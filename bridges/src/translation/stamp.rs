//! The number of a message on its way between two Tidegates.

use mqtt::packet::{ForwardedProperties, Property};

use super::BrokerId;

/// The user property: identifier and number, with a colon between.
const PROPERTY: &str = "x-origin-seq";

/// Names one message of one broker's bridge, over repetitions and restarts of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The broker that sent it to the hub.
    pub origin: BrokerId,
    /// Its number there: none comes twice, later messages have greater ones, and there may be gaps.
    pub sequence: u64,
}

impl Stamp {
    /// The stamp of a message; none if it has no sound one.
    #[must_use]
    pub fn of(properties: &ForwardedProperties) -> Option<Self> {
        let (origin, sequence) = properties.user_property(PROPERTY)?.split_once(':')?;
        // No sign and no leading zero: each number is written in one way.
        let number: u64 = sequence.parse().ok()?;
        let is_plain = number.to_string() == sequence;
        is_plain.then_some(Self {
            origin: BrokerId::new(origin).ok()?,
            sequence: number,
        })
    }

    /// The properties of a message with this stamp in place of any other.
    #[must_use]
    pub fn put(&self, properties: &ForwardedProperties) -> ForwardedProperties {
        let value = format!("{}:{}", self.origin, self.sequence);
        let stamp = [Property::UserProperty(PROPERTY, &value)];
        let is_stamp = |it: &Property<'_>| matches!(it, Property::UserProperty(PROPERTY, _));
        let others = properties.iter().filter(|it| !is_stamp(it));
        ForwardedProperties::from_properties(others.chain(stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(value: &str) -> ForwardedProperties {
        ForwardedProperties::from_properties([Property::UserProperty(PROPERTY, value)])
    }

    #[test]
    fn stamps_are_put_and_read_back() {
        let origin = BrokerId::new("site-7").unwrap();
        for sequence in [0, 1, u64::MAX] {
            let stamp = Stamp {
                origin: origin.clone(),
                sequence,
            };
            let other = Property::UserProperty("a", "b");
            let message = ForwardedProperties::from_properties([
                Property::UserProperty(PROPERTY, "other:1"),
                other,
            ]);
            let stamped = stamp.put(&message);
            assert_eq!(Stamp::of(&stamped), Some(stamp));
            assert_eq!(stamped.iter().count(), 2);
            assert_eq!(stamped.iter().next(), Some(other));
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        assert_eq!(Stamp::of(&ForwardedProperties::default()), None);
        for value in [
            "",
            "a",
            "a:",
            ":1",
            "a:-1",
            "a:+1",
            "a:01",
            "a: 1",
            "a:b",
            "a,b:1",
            "a:1:2",
            "a:18446744073709551616",
        ] {
            assert_eq!(Stamp::of(&properties(value)), None, "{value}");
        }
    }
}
