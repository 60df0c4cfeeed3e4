//! Which brokers a message has passed, so that none of them takes it twice.
//!
//! Each bridge of a Tidegate appends the broker's identifier to a user property, and drops what
//! comes back with it. No Local (MQTT 5) and the bridge bit (MQTT 3.1.1) only help between two
//! brokers; this helps in a ring of any length. Other brokers pass the property on as it is.
//! Anybody who may publish may also write it, and thereby keep his own messages from crossing.

use std::fmt;

use mqtt::packet::{ForwardedProperties, Property};

/// The user property: the brokers that a message has passed, the latest last, with commas between.
const PROPERTY: &str = "x-origin";

/// Brokers that a message may pass, the present one included. Beyond, it is dropped and counted.
pub const HOPS_MAX: usize = 8;

/// Bytes of a broker's identifier.
const ID_BYTES_MAX: usize = 64;

/// What tells one broker from all others that its messages can reach.
///
/// It must stay the same over restarts. A broker that has lost its store takes a new one, because
/// its sequence numbers begin anew ([`crate::Stamp`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerId(String);

/// Why a text is no identifier of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to {ID_BYTES_MAX} letters, digits and the signs - _ .")]
pub struct BrokerIdError;

/// Why a message does not cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoopError {
    /// It has been here.
    #[error("the message has been here before")]
    Returned,
    /// It has been at [`HOPS_MAX`] brokers.
    #[error("the message has passed {HOPS_MAX} brokers")]
    TooManyHops,
}

/// The mark of this broker.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    own: BrokerId,
    /// The properties of a message that had none.
    alone: ForwardedProperties,
}

impl BrokerId {
    /// Checks and keeps an identifier.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn new(text: &str) -> Result<Self, BrokerIdError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_sound = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        is_sound.then(|| Self(text.to_owned())).ok_or(BrokerIdError)
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Origin {
    pub(crate) fn new(own: BrokerId) -> Self {
        let property = Property::UserProperty(PROPERTY, own.as_str());
        Self {
            alone: ForwardedProperties::from_properties([property]),
            own,
        }
    }

    /// Whether a message that came from a hub may stay.
    pub(crate) fn check(&self, properties: &ForwardedProperties) -> Result<(), LoopError> {
        self.count_hops(properties, HOPS_MAX).map(drop)
    }

    /// The properties of a message that goes to a hub: with this broker behind those that it has
    /// passed.
    pub(crate) fn mark(
        &self,
        properties: &ForwardedProperties,
    ) -> Result<ForwardedProperties, LoopError> {
        if properties.as_bytes().is_empty() {
            return Ok(self.alone.clone());
        }
        // What has been here goes on here, though not by a bridge: it is marked once.
        let before = match self.count_hops(properties, HOPS_MAX - 1) {
            Ok(before) => before,
            Err(LoopError::Returned) => return Ok(properties.clone()),
            Err(error @ LoopError::TooManyHops) => return Err(error),
        };
        let mut list = String::new();
        if before > 0 {
            for broker in brokers(properties) {
                list.push_str(broker);
                list.push(',');
            }
        }
        list.push_str(self.own.as_str());
        let others = properties.iter().filter(|it| !is_mark(it));
        let mark = [Property::UserProperty(PROPERTY, &list)];
        Ok(ForwardedProperties::from_properties(others.chain(mark)))
    }

    fn count_hops(
        &self,
        properties: &ForwardedProperties,
        hops_max: usize,
    ) -> Result<usize, LoopError> {
        let mut hops = 0;
        for broker in brokers(properties) {
            if broker == self.own.as_str() {
                return Err(LoopError::Returned);
            }
            hops += 1;
        }
        if hops > hops_max {
            return Err(LoopError::TooManyHops);
        }
        Ok(hops)
    }
}

fn is_mark(property: &Property<'_>) -> bool {
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

    fn origin(id: &str) -> Origin {
        Origin::new(BrokerId::new(id).unwrap())
    }

    fn with(pairs: &[(&str, &str)]) -> ForwardedProperties {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| Property::UserProperty(name, value));
        ForwardedProperties::from_properties(pairs)
    }

    #[test]
    fn a_message_is_marked_at_each_broker_and_recognised_at_the_first() {
        let nothing = ForwardedProperties::default();
        let first = origin("a").mark(&nothing).unwrap();
        assert_eq!(first, with(&[("x-origin", "a")]));
        let second = origin("b").mark(&first).unwrap();
        assert_eq!(second.user_property("x-origin"), Some("a,b"));
        assert_eq!(origin("c").check(&second), Ok(()));
        for id in ["a", "b"] {
            assert_eq!(origin(id).check(&second), Err(LoopError::Returned));
        }
        // It is no part of a name that is looked for.
        let other = with(&[("x-origin", "ab, bc"), ("origin", "b"), ("x-origin", ",")]);
        assert_eq!(origin("b").check(&other), Ok(()));
        let marked = origin("b").mark(&other).unwrap();
        assert_eq!(marked, with(&[("origin", "b"), ("x-origin", "ab,bc,b")]));
        assert_eq!(origin("b").mark(&marked), Ok(marked));
        let twice = with(&[("x-origin", "a"), ("x-origin", "b")]);
        assert_eq!(origin("b").check(&twice), Err(LoopError::Returned));
    }

    #[test]
    fn brokers_are_counted() {
        let mut properties = with(&[("x", "y")]);
        for hop in 1..=HOPS_MAX {
            let here = origin(&format!("broker-{hop}"));
            assert_eq!(here.check(&properties), Ok(()), "{hop}");
            properties = here.mark(&properties).unwrap();
        }
        let last = origin("last");
        assert_eq!(last.check(&properties), Ok(()));
        assert_eq!(last.mark(&properties), Err(LoopError::TooManyHops));
        let longer = with(&[("x-origin", "1,2,3,4,5,6,7,8,9")]);
        assert_eq!(last.check(&longer), Err(LoopError::TooManyHops));
        // A loop is told from a long way.
        let loops = with(&[("x-origin", "1,2,3,4,5,6,7,8,9,last")]);
        assert_eq!(last.check(&loops), Err(LoopError::Returned));
    }

    #[test]
    fn identifiers_are_checked() {
        let long = "x".repeat(ID_BYTES_MAX);
        for text in ["a", "A-b_c.9", &long] {
            assert_eq!(BrokerId::new(text).unwrap().as_str(), text);
        }
        for text in ["", "a,b", "a b", "a:1", "ä", &format!("{long}x")] {
            assert_eq!(BrokerId::new(text), Err(BrokerIdError), "{text}");
        }
    }
}
