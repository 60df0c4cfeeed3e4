//! Properties that travel with a message, from its publisher to its subscribers.

use bytes::Bytes;

use super::primitive::Reader;
use super::property::{Properties, Property};
use crate::ProtocolViolation;

/// The properties of a PUBLISH or Will that reach subscribers unchanged, in their encoded form:
/// all but Message Expiry Interval, Topic Alias, Subscription Identifier and Will Delay Interval.
///
/// Kept encoded because the broker copies them far more often than anybody looks into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedProperties(Bytes);

/// What a server has to know of the properties of a PUBLISH, found in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// Those that travel, encoded, if nothing stands between them.
    pub forwarded: Option<&'a [u8]>,
    /// Message Expiry Interval, in seconds.
    pub expiry_interval: Option<u32>,
    /// Topic Alias.
    pub topic_alias: Option<u16>,
    /// How many User Properties there are.
    pub user_properties: usize,
    /// Whether there is a Subscription Identifier.
    pub has_subscription_identifier: bool,
}

/// How the value of a property is encoded (§2.2.2.2).
enum Form {
    Bytes(usize),
    Integer,
    Binary,
    Pair,
}

const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;

impl<'a> PublishProperties<'a> {
    /// Looks through a block that was checked when it was read.
    #[must_use]
    pub fn of(properties: Properties<'a>) -> Self {
        let raw = properties.as_bytes();
        let mut found = Self::default();
        let (mut start, mut end, mut is_scattered) = (0, 0, false);
        let mut position = 0;
        while let Some(&identifier) = raw.get(position) {
            let Some((form, value)) = form(identifier).zip(raw.get(position + 1..)) else {
                break;
            };
            let next = position + 1 + form.length(value);
            match identifier {
                MESSAGE_EXPIRY_INTERVAL => {
                    found.expiry_interval = value.first_chunk().copied().map(u32::from_be_bytes);
                }
                TOPIC_ALIAS => {
                    found.topic_alias = value.first_chunk().copied().map(u16::from_be_bytes);
                }
                SUBSCRIPTION_IDENTIFIER => found.has_subscription_identifier = true,
                _ => {
                    found.user_properties += usize::from(identifier == USER_PROPERTY);
                    if start == end {
                        start = position;
                    } else {
                        is_scattered |= end != position;
                    }
                    end = next;
                }
            }
            position = next;
        }
        if !is_scattered {
            found.forwarded = raw.get(start..end);
        }
        found
    }
}

impl Form {
    /// Bytes of a value that was checked.
    fn length(&self, value: &[u8]) -> usize {
        let binary = |at: usize| {
            let length = value.get(at..).and_then(<[u8]>::first_chunk);
            2 + length.map_or(0, |it| usize::from(u16::from_be_bytes(*it)))
        };
        match self {
            Self::Bytes(count) => *count,
            Self::Integer => 1 + value.iter().take_while(|&&byte| byte & 0x80 != 0).count(),
            Self::Binary => binary(0),
            Self::Pair => binary(0) + binary(binary(0)),
        }
    }
}

/// The form of a property that may stand in a PUBLISH.
const fn form(identifier: u8) -> Option<Form> {
    Some(match identifier {
        0x01 => Form::Bytes(1),
        TOPIC_ALIAS => Form::Bytes(2),
        MESSAGE_EXPIRY_INTERVAL => Form::Bytes(4),
        SUBSCRIPTION_IDENTIFIER => Form::Integer,
        0x03 | 0x08 | 0x09 => Form::Binary,
        USER_PROPERTY => Form::Pair,
        _ => return None,
    })
}

impl Properties<'_> {
    /// Those that travel with the message.
    #[must_use]
    pub fn forwarded(self) -> ForwardedProperties {
        if self.is_empty() {
            return ForwardedProperties::default();
        }
        if self.iter().all(Property::is_forwarded) {
            return ForwardedProperties(Bytes::copy_from_slice(self.as_bytes()));
        }
        ForwardedProperties::from_properties(self.iter())
    }
}

impl ForwardedProperties {
    /// Encodes properties in their order; those that do not travel are left out.
    #[must_use]
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = Property<'a>>) -> Self {
        let mut out = Vec::new();
        for property in properties {
            if property.is_forwarded() {
                property.encode(&mut out);
            }
        }
        Self(out.into())
    }

    /// Keeps what [`PublishProperties::forwarded`] says.
    #[must_use]
    pub fn copied(forwarded: &[u8]) -> Self {
        if forwarded.is_empty() {
            return Self::default();
        }
        Self(Bytes::copy_from_slice(forwarded))
    }

    /// Takes back what [`ForwardedProperties::as_bytes`] gave, for example from a store.
    ///
    /// # Errors
    /// The bytes are no properties of a PUBLISH.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, ProtocolViolation> {
        let mut reader = Reader::new(&bytes);
        while !reader.is_empty() {
            if !Property::read(&mut reader)?.is_forwarded() {
                return Err(ProtocolViolation::malformed("a property does not travel"));
            }
        }
        Ok(Self(bytes))
    }

    /// The properties in the order in which the publisher sent them.
    pub fn iter(&self) -> impl Iterator<Item = Property<'_>> {
        Properties::trusted(&self.0).iter()
    }

    /// The encoded properties.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The MIME type or other description of the payload.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.iter().find_map(|property| {
            if let Property::ContentType(text) = property {
                Some(text)
            } else {
                None
            }
        })
    }

    /// The first user property of this name.
    #[must_use]
    pub fn user_property(&self, wanted: &str) -> Option<&str> {
        self.iter().find_map(|property| {
            let Property::UserProperty(name, value) = property else {
                return None;
            };
            (name == wanted).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_finds_what_a_full_decoding_finds() {
        let table: [&[Property<'_>]; 6] = [
            &[],
            &[Property::TopicAlias(7), Property::UserProperty("a", "b")],
            &[
                Property::UserProperty("a", ""),
                Property::MessageExpiryInterval(9),
                Property::UserProperty("", "c"),
            ],
            &[
                Property::PayloadFormatIndicator(true),
                Property::ContentType("text"),
                Property::ResponseTopic("r"),
                Property::CorrelationData(b"1234"),
                Property::SubscriptionIdentifier(300),
            ],
            &[
                Property::SubscriptionIdentifier(1),
                Property::TopicAlias(1),
                Property::MessageExpiryInterval(70_000),
            ],
            &[Property::ContentType(""), Property::ResponseTopic("x/y")],
        ];
        for properties in table {
            let mut raw = Vec::new();
            properties.iter().for_each(|it| it.encode(&mut raw));
            let block = Properties::trusted(&raw);
            let found = PublishProperties::of(block);
            let travels: Vec<bool> = properties.iter().map(|it| it.is_forwarded()).collect();
            let mut runs: Vec<bool> = travels.clone();
            runs.dedup();
            let is_scattered = runs.iter().filter(|it| **it).count() > 1;
            let forwarded = block.forwarded();
            let expected = (!is_scattered).then_some(&forwarded.as_bytes()[..]);
            assert_eq!(found.forwarded, expected, "{properties:?}");
            let users = |it: &&Property<'_>| matches!(it, Property::UserProperty(..));
            let count = properties.iter().filter(users).count();
            assert_eq!(found.user_properties, count, "{properties:?}");
            let has = |wanted: Property<'_>| properties.contains(&wanted);
            let alias = found.topic_alias.map(Property::TopicAlias);
            assert!(alias.is_none_or(has), "{properties:?}");
            let expiry = found.expiry_interval.map(Property::MessageExpiryInterval);
            assert!(expiry.is_none_or(has), "{properties:?}");
            let identifiers = |it: &Property<'_>| matches!(it, Property::SubscriptionIdentifier(_));
            let expected = properties.iter().any(identifiers);
            assert_eq!(found.has_subscription_identifier, expected);
            let aliases = |it: &Property<'_>| matches!(it, Property::TopicAlias(_));
            assert_eq!(alias.is_some(), properties.iter().any(aliases));
            let expiries = |it: &Property<'_>| matches!(it, Property::MessageExpiryInterval(_));
            assert_eq!(expiry.is_some(), properties.iter().any(expiries));
        }
    }
}
