//! Topic Aliases (§3.3.2.3.4): numbers that stand for Topic Names on one connection.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::IncomingTopic;
use crate::{ProtocolViolation, ReasonCode, TopicName, TopicNameError};

/// The sender's aliases; memory is taken when it uses the first.
#[derive(Clone, Debug, Default)]
pub(super) struct IncomingAliases {
    names: Vec<Option<TopicName>>,
}

impl IncomingAliases {
    /// The topic of a PUBLISH: `topic` itself, which a given alias then stands for, or what the
    /// alias stands for if `topic` is empty.
    pub(super) fn resolve<'p>(
        &mut self,
        topic: &'p str,
        alias: Option<u16>,
        alias_max: u16,
    ) -> Result<IncomingTopic<'p>, ProtocolViolation> {
        let Some(alias) = alias else {
            // Decoding leaves this to the connection.
            if topic.is_empty() {
                let detail = "a PUBLISH without topic or topic alias";
                return Err(ProtocolViolation::protocol(detail));
            }
            return Ok(IncomingTopic::Stated(topic));
        };
        let invalid = ProtocolViolation::new(
            ReasonCode::TopicNameInvalid,
            "the topic of a PUBLISH is no topic name",
        );
        // [MQTT-3.3.2-8] [MQTT-3.3.2-9]
        if alias == 0 || alias > alias_max {
            return Err(ProtocolViolation::new(
                ReasonCode::TopicAliasInvalid,
                "a topic alias is zero or above the topic alias maximum",
            ));
        }
        if self.names.is_empty() {
            self.names.resize(usize::from(alias_max), None);
        }
        let slot = &mut self.names[usize::from(alias) - 1];
        if topic.is_empty() {
            let detail = "a topic alias that stands for nothing";
            let name = slot.clone().map(IncomingTopic::Aliased);
            return name.ok_or_else(|| ProtocolViolation::protocol(detail));
        }
        *slot = match TopicName::new(topic) {
            // It is refused as a message, and stands for nothing.
            Err(TopicNameError::TooManyLevels) => None,
            name => Some(name.map_err(|_| invalid)?),
        };
        Ok(IncomingTopic::Stated(topic))
    }
}

/// This side's aliases: a topic has one place by its hash, and the last topic sent there has
/// the alias. What is sent often keeps its place, and nothing has to be searched or evicted.
#[derive(Clone, Debug, Default)]
pub(super) struct OutgoingAliases {
    names: Vec<Option<TopicName>>,
    alias_max: u16,
}

/// Bytes of a Topic Alias property; a shorter topic is sent as it is.
const ALIAS_BYTES: usize = 3;

impl OutgoingAliases {
    pub(super) const fn new(alias_max: u16) -> Self {
        Self {
            names: Vec::new(),
            alias_max,
        }
    }

    /// True if the receiver takes none.
    pub(super) const fn are_off(&self) -> bool {
        self.alias_max == 0
    }

    /// The alias for a topic, and whether the receiver knows it already. None if there is none to
    /// be had or nothing to be won.
    pub(super) fn find(&self, topic: &TopicName) -> Option<(u16, bool)> {
        if self.alias_max == 0 || topic.as_str().len() <= ALIAS_BYTES {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        topic.as_str().hash(&mut hasher);
        let place = u16::try_from(hasher.finish() % u64::from(self.alias_max)).ok()?;
        let holder = self.names.get(usize::from(place)).and_then(Option::as_ref);
        Some((place + 1, holder == Some(topic)))
    }

    /// Has a PUBLISH encoded with the alias of its topic, if there is one: `encode` is given the
    /// topic to state and the alias, and tells whether the receiver accepts the packet.
    pub(super) fn send(
        &mut self,
        topic: &TopicName,
        mut encode: impl FnMut(&str, Option<u16>) -> bool,
    ) -> bool {
        let Some((alias, is_known)) = self.find(topic) else {
            return encode(topic.as_str(), None);
        };
        if is_known {
            return encode("", Some(alias));
        }
        if !encode(topic.as_str(), Some(alias)) {
            // The alias may be what there is no room for.
            return encode(topic.as_str(), None);
        }
        self.set(alias, topic);
        true
    }

    /// The receiver has been sent this alias with this topic.
    pub(super) fn set(&mut self, alias: u16, topic: &TopicName) {
        if self.names.is_empty() {
            self.names.resize(usize::from(self.alias_max), None);
        }
        self.names[usize::from(alias) - 1] = Some(topic.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Conforms: 5.0 [MQTT-3.2.2-17] [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.3.2-12]
    #[test]
    fn an_alias_stands_for_the_topic_it_was_last_sent_with() {
        let mut aliases = IncomingAliases::default();
        let mut resolve = |topic, alias| {
            let name = aliases.resolve(topic, alias, 2);
            name.map(|name| name.as_str().to_owned())
                .map_err(|it| it.reason)
        };
        assert_eq!(resolve("a", None), Ok("a".to_owned()));
        assert_eq!(resolve("", None), Err(ReasonCode::ProtocolError));
        assert_eq!(resolve("", Some(1)), Err(ReasonCode::ProtocolError));
        assert_eq!(resolve("b", Some(1)), Ok("b".to_owned()));
        assert_eq!(resolve("", Some(1)), Ok("b".to_owned()));
        assert_eq!(resolve("c", Some(2)), Ok("c".to_owned()));
        assert_eq!(resolve("d", Some(1)), Ok("d".to_owned()));
        assert_eq!(resolve("", Some(1)), Ok("d".to_owned()));
        assert_eq!(resolve("", Some(2)), Ok("c".to_owned()));
        assert_eq!(resolve("e", Some(3)), Err(ReasonCode::TopicAliasInvalid));
        assert_eq!(resolve("", Some(0)), Err(ReasonCode::TopicAliasInvalid));
    }

    // Conforms: 5.0 [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
    #[test]
    fn the_client_is_told_an_alias_before_it_is_used() {
        let mut aliases = OutgoingAliases::new(3);
        let mut known: [Option<TopicName>; 3] = Default::default();
        for index in 0..1_000 {
            let topic = TopicName::new(&format!("topic/{}", index * index % 17)).unwrap();
            let (alias, is_known) = aliases.find(&topic).unwrap();
            let holder = &mut known[usize::from(alias) - 1];
            assert_eq!(is_known, holder.as_ref() == Some(&topic));
            *holder = Some(topic.clone());
            aliases.set(alias, &topic);
        }
        let topic = TopicName::new("topic").unwrap();
        assert_eq!(OutgoingAliases::new(0).find(&topic), None);
        let short = TopicName::new("t").unwrap();
        assert_eq!(aliases.find(&short), None);
    }
}
