//! Which brokers a message has passed.

use mqtt::packet::{ForwardedProperties, Property};

use super::{BrokerId, Repetition};

/// The user property: the brokers that have taken a message, the latest last, with commas between.
pub(super) const PROPERTY: &str = "x-origin";

/// Brokers that a message may pass, the one where it was published included. Beyond, it is not
/// taken, which is counted.
pub const HOPS_MAX: usize = 8;

/// This broker on the way of messages.
#[derive(Debug)]
pub(super) struct Hops {
    own: BrokerId,
}

impl Hops {
    pub(super) const fn new(own: BrokerId) -> Self {
        Self { own }
    }

    /// The list of a message that is published here.
    pub(super) fn first(&self) -> String {
        self.own.as_str().to_owned()
    }

    /// The list of a message that a bridge brings, with this broker behind the others.
    pub(super) fn extended(&self, properties: &ForwardedProperties) -> Result<String, Repetition> {
        let own = self.own.as_str();
        if brokers(properties).any(|it| it == own) {
            return Err(Repetition::Returned);
        }
        if brokers(properties).count() >= HOPS_MAX {
            return Err(Repetition::TooManyHops);
        }
        let mut list = String::new();
        for broker in brokers(properties) {
            list.push_str(broker);
            list.push(',');
        }
        list.push_str(own);
        Ok(list)
    }
}

pub(super) fn is_mark(property: &Property<'_>) -> bool {
    matches!(property, Property::UserProperty(PROPERTY, _))
}

/// The brokers that a message has passed.
fn brokers(properties: &ForwardedProperties) -> impl Iterator<Item = &str> {
    let marks = properties.iter().filter_map(|property| {
        if let Property::UserProperty(PROPERTY, value) = property {
            Some(value)
        } else {
            None
        }
    });
    let names = marks.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(id: &str) -> Hops {
        Hops::new(BrokerId::new(id).unwrap())
    }

    fn with(pairs: &[(&str, &str)]) -> ForwardedProperties {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| Property::UserProperty(name, value));
        ForwardedProperties::from_properties(pairs)
    }

    #[test]
    fn a_broker_stands_in_the_list_once() {
        let passed = with(&[("x-origin", "a,b")]);
        assert_eq!(hops("c").extended(&passed).unwrap(), "a,b,c");
        for id in ["a", "b"] {
            assert_eq!(hops(id).extended(&passed), Err(Repetition::Returned));
        }
        // It is no part of a name that is looked for.
        let other = with(&[("x-origin", "ab, bc"), ("origin", "b"), ("x-origin", ",")]);
        assert_eq!(hops("b").extended(&other).unwrap(), "ab,bc,b");
        let twice = with(&[("x-origin", "a"), ("x-origin", "b")]);
        assert_eq!(hops("b").extended(&twice), Err(Repetition::Returned));
        let nothing = ForwardedProperties::default();
        assert_eq!(hops("a").extended(&nothing).unwrap(), hops("a").first());
    }

    #[test]
    fn brokers_are_counted() {
        let mut list = hops("1").first();
        for hop in 2..=HOPS_MAX {
            let passed = with(&[("x-origin", &list)]);
            list = hops(&hop.to_string()).extended(&passed).unwrap();
        }
        let passed = with(&[("x-origin", &list)]);
        let last = hops("last");
        assert_eq!(last.extended(&passed), Err(Repetition::TooManyHops));
        // A loop is told from a long way.
        let loops = with(&[("x-origin", "1,2,3,4,5,6,7,8,9,last")]);
        assert_eq!(last.extended(&loops), Err(Repetition::Returned));
    }
}
