//! Samples to messages and back: pure, without a socket or a clock.

use std::ops::Range;
use std::sync::Arc;

use gateway::{ANY_TEXT, ConfiguredTemplate, Template, TemplateError, Values};
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, QoS, TopicName};
use serde_json::Value;

use crate::cdr::{self, Encoding, ReadError, Reading, WriteError};
use crate::type_tree::{Structure, Type};

/// Where samples are published unless the rule says otherwise.
const TOPIC: &str = "dds/${domain}/${dds_topic}";

/// What the payload of every published message is.
const CONTENT_TYPE: &str = "application/json";

/// How the samples of one DDS topic become messages.
#[derive(Debug)]
pub(crate) struct ToMqtt {
    gateway: String,
    domain: String,
    dds_topic: String,
    structure: Arc<Structure>,
    topic: Template,
    qos: QoS,
    retain: bool,
    properties: ForwardedProperties,
}

/// Where samples come from and how they are published.
#[derive(Debug)]
pub(crate) struct Publication<'p> {
    pub(crate) gateway: &'p str,
    pub(crate) domain: u32,
    pub(crate) dds_topic: &'p str,
    pub(crate) topic: Option<&'p ConfiguredTemplate>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// A sample that cannot be published.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SampleError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the topic that the sample is to be published to is not valid: {0:?}")]
    Topic(String),
}

/// A message that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadError {
    #[error("the payload is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ToMqtt {
    pub(crate) fn new(
        publication: Publication<'_>,
        structure: Arc<Structure>,
    ) -> Result<Self, TemplateError> {
        let members = structure.members.iter();
        let members = members.filter(|member| has_text(&member.member_type));
        let domain = publication.domain.to_string();
        // A member with one of the first names is hidden.
        let mut pieces = vec![
            ("gateway", publication.gateway),
            ("domain", domain.as_str()),
            ("dds_topic", publication.dds_topic),
            ("type", structure.name.as_str()),
        ];
        pieces.extend(members.map(|member| (member.name.as_str(), ANY_TEXT)));
        let topic = ConfiguredTemplate::checked_topic(publication.topic, TOPIC, &pieces)?;
        Ok(Self {
            gateway: publication.gateway.to_owned(),
            domain,
            dds_topic: publication.dds_topic.to_owned(),
            topic,
            qos: publication.qos,
            retain: publication.retain,
            properties: ForwardedProperties::from_properties([Property::ContentType(CONTENT_TYPE)]),
            structure,
        })
    }

    pub(crate) fn dds_topic(&self) -> &str {
        &self.dds_topic
    }

    pub(crate) fn structure(&self) -> &Structure {
        &self.structure
    }

    /// The message for a sample with its encapsulation header.
    pub(crate) fn message(&self, sample: &[u8]) -> Result<Message, SampleError> {
        let reading = cdr::read(&self.structure, sample)?;
        let values = SampleValues {
            rule: self,
            reading: &reading,
        };
        // The names were checked, so there is a value for each.
        let topic = self.topic.render(&values).unwrap_or_default();
        let topic = TopicName::new(&topic).map_err(|_| SampleError::Topic(topic))?;
        let mut message = Message::new(topic, reading.json);
        message.qos = self.qos;
        message.retain = self.retain;
        message.properties = self.properties.clone();
        Ok(message)
    }
}

/// True for types whose values can stand in a topic.
const fn has_text(member_type: &Type) -> bool {
    match member_type {
        Type::Primitive(_) | Type::Text { .. } | Type::Enumeration(_) => true,
        Type::Sequence { .. } | Type::Array { .. } | Type::Structure(_) => false,
    }
}

struct SampleValues<'s> {
    rule: &'s ToMqtt,
    reading: &'s Reading,
}

impl SampleValues<'_> {
    fn member(&self, name: &str) -> Option<&str> {
        let members = &self.rule.structure.members;
        let index = members.iter().position(|member| member.name == name)?;
        let span: Range<usize> = self.reading.members.get(index)?.clone();
        self.reading.json.get(span)
    }
}

impl Values for SampleValues<'_> {
    fn named(&self, name: &str, out: &mut String) -> bool {
        match name {
            "gateway" => out.push_str(&self.rule.gateway),
            "domain" => out.push_str(&self.rule.domain),
            "dds_topic" => out.push_str(&self.rule.dds_topic),
            "type" => out.push_str(&self.rule.structure.name),
            _ => {
                let Some(json) = self.member(name) else {
                    return false;
                };
                // Strings lose their quotes and escapes; anything else stands as it is.
                match serde_json::from_str::<String>(json) {
                    Ok(text) => out.push_str(&text),
                    Err(_) => out.push_str(json),
                }
            }
        }
        true
    }

    fn capture(&self, _index: usize) -> Option<&str> {
        None
    }
}

/// The sample for a message's payload, with its encapsulation header.
pub(crate) fn sample(
    structure: &Structure,
    encoding: Encoding,
    payload: &[u8],
) -> Result<Vec<u8>, PayloadError> {
    let json: Value = serde_json::from_slice(payload)?;
    Ok(cdr::write(structure, encoding, &json)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::idl::Idl;

    fn rule(topic: &str) -> Result<ToMqtt, TemplateError> {
        let text = "enum E { A, B }; struct S { string s; double d; boolean b; E e; char c;
            sequence<long> l; long domain; };";
        let publication = Publication {
            gateway: "g",
            domain: 3,
            dds_topic: "T",
            topic: Some(&ConfiguredTemplate(Template::parse(topic)?)),
            qos: QoS::AtLeastOnce,
            retain: true,
        };
        ToMqtt::new(
            publication,
            Arc::clone(Idl::parse(text).unwrap().find("S").unwrap()),
        )
    }

    #[test]
    fn members_become_levels_of_the_topic() {
        let json = json!({"s": "a/\"b\"", "d": 0.5, "b": true, "e": "B", "c": "\\", "l": [],
            "domain": 9});
        let table = [
            ("${gateway}/${domain}/${dds_topic}/${type}", "g/3/T/S"),
            ("x/${s}", "x/a/\"b\""),
            ("${d}/${b}/${e}/${c}", "0.5/true/B/\\"),
        ];
        for (template, expected) in table {
            let rule = rule(template).unwrap();
            let payload = json.to_string();
            let sample = sample(&rule.structure, Encoding::Xcdr1, payload.as_bytes()).unwrap();
            let message = rule.message(&sample).unwrap();
            assert_eq!(message.topic.as_str(), expected);
            assert_eq!(message.payload, payload);
            assert_eq!((message.qos, message.retain), (QoS::AtLeastOnce, true));
            assert_eq!(message.properties.content_type(), Some("application/json"));
        }
    }

    #[test]
    fn a_topic_that_is_not_valid_is_refused_as_early_as_it_can_be() {
        for template in ["${l}", "$1", "", "${s}/#", "$SYS/${s}"] {
            assert!(rule(template).is_err(), "{template}");
        }
        let rule = rule("${s}").unwrap();
        for text in ["", "a/+"] {
            let json = json!({"s": text, "d": 0, "b": true, "e": "A", "c": "c", "l": [],
                "domain": 9});
            let json = json.to_string();
            let sample = sample(&rule.structure, Encoding::Xcdr1, json.as_bytes()).unwrap();
            let refused = SampleError::Topic(text.to_owned());
            assert_eq!(rule.message(&sample).err(), Some(refused));
        }
    }
}
