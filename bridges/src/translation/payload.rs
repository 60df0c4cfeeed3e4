//! A payload that is made from a message.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gateway::{ConfigError, MatchedTopic, Template, Values};
use mqtt::{QoS, TopicFilter};

use crate::site::Site;

/// The placeholders besides those of topics.
const NAMES: [&str; 9] = [
    "payload",
    "payload_json",
    "payload_base64",
    "topic_json",
    "qos",
    "retain",
    "gateway",
    "HOSTNAME",
    "VIN",
];

/// The template of a payload, ready for use.
#[derive(Clone, Debug)]
pub(super) struct PayloadTemplate(Template);

/// What a payload is made from.
pub(super) struct Content<'m> {
    pub(super) matched: MatchedTopic<'m>,
    pub(super) payload: &'m [u8],
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl PayloadTemplate {
    /// Puts the values of the site into a template for what a filter matches.
    pub(super) fn new(
        site: &Site,
        key: &str,
        filter: &TopicFilter,
        template: &Template,
    ) -> Result<Self, ConfigError> {
        let template = site.template(key, template)?;
        let checked = MatchedTopic::check(&template, filter, &NAMES);
        checked.map_err(|error| ConfigError::new(key, error))?;
        Ok(Self(template))
    }

    /// The payload; none if the template wants text and the message has something else.
    pub(super) fn render(&self, content: &Content<'_>) -> Option<Bytes> {
        self.0.render(content).map(Bytes::from)
    }
}

impl Content<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = || std::str::from_utf8(self.payload).ok();
        let json = |text: &str| serde_json::to_string(text).ok().map(Cow::Owned);
        match name {
            "payload" => text().map(Cow::Borrowed),
            "payload_json" => text().and_then(json),
            "payload_base64" => Some(STANDARD.encode(self.payload).into()),
            "topic_json" => self.matched.topic().and_then(json),
            "qos" => Some((self.qos as u8).to_string().into()),
            "retain" => Some(self.retain.to_string().into()),
            _ => None,
        }
    }
}

impl Values for Content<'_> {
    fn named(&self, name: &str, out: &mut String) -> bool {
        if let Some(value) = self.value(name) {
            out.push_str(&value);
            return true;
        }
        self.matched.named(name, out)
    }

    fn capture(&self, index: usize) -> Option<&str> {
        self.matched.capture(index)
    }

    fn topic(&self) -> Option<&str> {
        self.matched.topic()
    }
}

#[cfg(test)]
mod tests {
    use mqtt::TopicName;

    use super::*;

    fn rendered(template: &str, payload: &[u8]) -> Option<Bytes> {
        let site = Site {
            bridge: "up".to_owned(),
            host_name: "box7".to_owned(),
            vin: None,
        };
        let filter = TopicFilter::new("plant/#").unwrap();
        let topic = TopicName::new("plant/\"a\"/b").unwrap();
        let template = Template::parse(template).unwrap();
        let template = PayloadTemplate::new(&site, "payload", &filter, &template).unwrap();
        template.render(&Content {
            matched: MatchedTopic::new(&filter, &topic).unwrap(),
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
        })
    }

    #[test]
    fn payloads_are_wrapped() {
        let table: [(&str, &[u8], Option<&str>); 6] = [
            ("<${payload}>", b"21\n", Some("<21\n>")),
            (
                r#"{"topic":${topic_json},"payload":${payload_json},"qos":${qos},"retain":${retain}}"#,
                b"a \"quoted\"\nline",
                Some(
                    r#"{"topic":"plant/\"a\"/b","payload":"a \"quoted\"\nline","qos":1,"retain":true}"#,
                ),
            ),
            ("${payload_base64}", b"\xFF\x00", Some("/wA=")),
            ("${payload}", b"\xFF", None),
            ("${payload_json}", b"\xFF", None),
            (
                "${HOSTNAME}/${gateway} ${topic} $1 ${topic[3]}",
                b"",
                Some("box7/up plant/\"a\"/b \"a\"/b b"),
            ),
        ];
        for (template, payload, expected) in table {
            let expected = expected.map(Bytes::from);
            assert_eq!(rendered(template, payload), expected, "{template}");
        }
    }
}
