//! What a client can be told and what it reports; a script gets and prints it as JSON lines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::Version;

/// What a client is told to do.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Answered with [`Event::Connected`].
    Connect(Connect),
    /// One packet with all of them; answered with [`Event::Subscribed`].
    Subscribe(Subscribe),
    /// Answered with [`Event::Unsubscribed`].
    Unsubscribe {
        /// The Topic Filter.
        filter: String,
    },
    /// Answered with [`Event::Published`] when it is acknowledged to the end.
    Publish(Message),
    /// Answered with [`Event::Disconnected`].
    Disconnect,
}

/// How to connect.
#[derive(Clone, Debug, Serialize)]
pub struct Connect {
    /// The port of the loopback interface.
    pub port: u16,
    /// The protocol version.
    pub version: Version,
    /// The Client Identifier.
    pub client_id: String,
    /// No earlier session is resumed, and this one ends with its connection.
    pub clean: bool,
    /// The Will Message.
    pub will: Option<Message>,
}

/// A SUBSCRIBE.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subscribe {
    /// Its Topic Filters.
    pub subscriptions: Vec<Subscription>,
    /// The Subscription Identifier.
    pub identifier: Option<u32>,
}

/// A Topic Filter and its options; all but the QoS are MQTT 5's.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subscription {
    /// The Topic Filter.
    pub filter: String,
    /// The greatest QoS.
    pub qos: u8,
    /// Not what the client itself publishes.
    pub no_local: bool,
    /// The retain flag as the publisher set it.
    pub retain_as_published: bool,
    /// 0, 1 or 2.
    pub retain_handling: u8,
}

/// What a client reports.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// CONNACK.
    Connected {
        /// The server had a session.
        session_present: bool,
        /// How many Topic Aliases the server accepts.
        topic_alias_maximum: u16,
    },
    /// SUBACK.
    Subscribed {
        /// For each Topic Filter.
        codes: Vec<u8>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// For each Topic Filter in MQTT 5, else none.
        codes: Vec<u8>,
    },
    /// The PUBLISH is sent (QoS 0), or its PUBACK or PUBCOMP has come, or a PUBREC that refuses it.
    Published {
        /// The reason, if the client shows it.
        code: Option<u8>,
    },
    /// PUBLISH.
    Message(Message),
    /// The connection has ended.
    Disconnected {
        /// The reason of the server's DISCONNECT, if there was one.
        code: Option<u8>,
    },
    /// The client did not do what it was told.
    Failed {
        /// What it says of that.
        reason: String,
    },
}

/// A message, on either way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The Topic Name.
    pub topic: String,
    /// The payload.
    pub payload: Payload,
    /// The QoS.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// MQTT 5's properties.
    pub properties: Properties,
}

/// The properties of a PUBLISH. Those that are absent are left out in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "they are named as in the specification")]
pub struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_format_indicator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_expiry_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_alias: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_data: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user_properties: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscription_identifiers: Vec<u32>,
}

/// Bytes; hexadecimal in JSON, and shown by their beginning.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Payload(pub Vec<u8>);

impl Message {
    /// A message with QoS 1 that is not retained.
    #[must_use]
    pub fn new(topic: impl Into<String>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.into(),
            payload: Payload(payload.as_ref().to_owned()),
            qos: 1,
            retain: false,
            properties: Properties::default(),
        }
    }

    /// The same with this QoS.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// The same with this retain flag.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// The same with these properties.
    #[must_use]
    pub fn with(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(32)];
        write!(f, "{} bytes \"{}\"", self.0.len(), shown.escape_ascii())
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> Self {
        payload.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Payload {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        let pairs = digits.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Option<_> = bytes.collect();
        bytes
            .map(Self)
            .ok_or_else(|| format!("not hexadecimal: {digits}"))
    }
}
