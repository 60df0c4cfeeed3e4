//! What a client asks for in CONNECT (§3.1).

use std::fmt;
use std::time::Duration;

use super::super::WillMessage;
use super::super::handshake::expiry_seconds;
use crate::packet::{Connect, Frame, Packet, Properties, Property, Will};
use crate::{ProtocolVersion, ProtocolViolation, QoS};

/// Bytes of all properties of one packet, and of a will, that a client sends; more are refused.
const PROPERTIES_BYTES_MAX: usize = 1 << 20;

/// What a client asks for, and the limits that it states or keeps.
///
/// What the version does not have is left out of CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The version of all packets.
    pub version: ProtocolVersion,
    /// Say that this is a bridge. Not in MQTT 5.
    pub is_bridge: bool,
    /// Empty if the server is to choose one.
    pub client_id: String,
    /// The user name.
    pub user_name: Option<String>,
    /// The password, at most 65,535 bytes. MQTT 3 needs a user name with it.
    pub password: Option<Vec<u8>>,
    /// Seconds of the Keep Alive; zero for none. See [`super::ServerTerms::keep_alive`].
    pub keep_alive: u16,
    /// Begin with a new session. In MQTT 3 the session also ends with the connection then.
    pub clean_start: bool,
    /// How long the server is to keep the session after the connection; from 4,294,967,295
    /// seconds on for ever. MQTT 5 only.
    pub session_expiry: Duration,
    /// Unacknowledged QoS 1 and 2 messages that the server may send, at least 1. One that sends more
    /// is put up with, as Mosquitto 2.0 does after a burst of acknowledgements: the caller bounds
    /// what it reads. MQTT 5 only.
    pub receive_maximum: u16,
    /// Bytes of a whole packet, at least 1; the caller splits what it receives by it. A larger
    /// one ends the connection with 0x95, unless [`super::ClientConnection::oversized`] knows it.
    pub packet_bytes_max: u32,
    /// Bytes of a packet that is sent at most, whatever the server accepts.
    pub server_packet_bytes_max: u32,
    /// Topic Aliases that the server may use; others end the connection with 0x94.
    pub topic_alias_max: u16,
    /// Topic Aliases that are used towards the server at most, whatever it allows.
    pub server_topic_alias_max: u16,
    /// The greatest QoS that was ever subscribed with: a message above it ends the connection.
    pub qos_max: QoS,
    /// Let the server send Reason Strings and User Properties in any packet that has them.
    pub request_problem_information: bool,
    /// Ask for Response Information.
    pub request_response_information: bool,
    /// The User Properties of CONNECT.
    pub user_properties: Vec<(String, String)>,
    /// What the server publishes if the connection ends without a DISCONNECT.
    pub will: Option<WillMessage>,
}

impl ClientOptions {
    /// A session that ends with its connection, without credentials or a will; change the fields
    /// for more.
    #[must_use]
    pub fn new(version: ProtocolVersion, client_id: &str) -> Self {
        Self {
            version,
            is_bridge: false,
            client_id: client_id.to_owned(),
            user_name: None,
            password: None,
            keep_alive: 60,
            clean_start: true,
            session_expiry: Duration::ZERO,
            receive_maximum: 1_024,
            packet_bytes_max: 1 << 20,
            server_packet_bytes_max: u32::MAX,
            topic_alias_max: 0,
            server_topic_alias_max: 0,
            qos_max: QoS::ExactlyOnce,
            request_problem_information: true,
            request_response_information: false,
            user_properties: Vec::new(),
            will: None,
        }
    }

    /// True if a server that does not know the version may know that of
    /// [`ClientOptions::fall_back`].
    #[must_use]
    pub const fn can_fall_back(&self) -> bool {
        self.version.is_v5() || self.is_bridge
    }

    /// What is to be tried after a refusal of the version: MQTT 3.1.1 without the bridge bit, or
    /// 3.1 without it.
    pub const fn fall_back(&mut self) {
        if self.version.is_v5() {
            self.version = ProtocolVersion::V311;
        }
        self.is_bridge = false;
    }

    /// Appends the CONNECT.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), ProtocolViolation> {
        self.check_lengths()?;
        let (mut raw, mut will_raw) = (Vec::new(), Vec::new());
        self.encode_properties(&mut raw);
        if let Some(will) = &self.will {
            will.encode_properties(&mut will_raw);
        }
        if raw.len().max(will_raw.len()) > PROPERTIES_BYTES_MAX {
            let detail = "the properties of CONNECT are larger than 1 MiB";
            return Err(ProtocolViolation::malformed(detail));
        }
        let connect = Connect {
            version: self.version,
            is_bridge: self.is_bridge && !self.version.is_v5(),
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            properties: Properties::trusted(&raw),
            client_id: &self.client_id,
            will: self.will.as_ref().map(|will| Will {
                qos: will.message.qos,
                retain: will.message.retain,
                properties: Properties::trusted(&will_raw),
                topic: will.message.topic.as_str(),
                payload: &will.message.payload,
            }),
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
        };
        let start = out.len();
        Packet::Connect(connect).encode(self.version, out);
        // A server would find the other mistakes like this.
        let checked = check(out.get(start..).unwrap_or_default());
        if checked.is_err() {
            out.truncate(start);
        }
        checked
    }

    fn encode_properties(&self, raw: &mut Vec<u8>) {
        if !self.session_expiry.is_zero() {
            Property::SessionExpiryInterval(expiry_seconds(self.session_expiry)).encode(raw);
        }
        Property::ReceiveMaximum(self.receive_maximum).encode(raw);
        Property::MaximumPacketSize(self.packet_bytes_max).encode(raw);
        // What is the default need not be said.
        if self.topic_alias_max > 0 {
            Property::TopicAliasMaximum(self.topic_alias_max).encode(raw);
        }
        if !self.request_problem_information {
            Property::RequestProblemInformation(false).encode(raw);
        }
        if self.request_response_information {
            Property::RequestResponseInformation(true).encode(raw);
        }
        for (name, value) in &self.user_properties {
            Property::UserProperty(name, value).encode(raw);
        }
    }

    fn check_lengths(&self) -> Result<(), ProtocolViolation> {
        // 3.1.1 [MQTT-3.1.3-7]
        if self.client_id.is_empty() && !self.clean_start && !self.version.is_v5() {
            let detail = "an empty client identifier needs a clean session";
            return Err(ProtocolViolation::protocol(detail));
        }
        let user_name = self.user_name.as_ref().map_or(0, String::len);
        let password = self.password.as_ref().map_or(0, Vec::len);
        let will = self.will.as_ref().map_or(0, |it| it.message.payload.len());
        check_strings(&self.user_properties)?;
        check_length([self.client_id.len(), user_name, password, will])
    }
}

/// Whether these User Properties can be encoded.
pub(super) fn check_strings(pairs: &[(String, String)]) -> Result<(), ProtocolViolation> {
    let texts = pairs.iter().flat_map(|(name, value)| [name, value]);
    if texts.clone().any(|it| it.contains('\0')) {
        let detail = "a user property has a null character"; // [MQTT-1.5.4-2]
        return Err(ProtocolViolation::malformed(detail));
    }
    check_length(texts.map(String::len))
}

fn check_length(lengths: impl IntoIterator<Item = usize>) -> Result<(), ProtocolViolation> {
    let mut lengths = lengths.into_iter();
    if lengths.any(|it| it > usize::from(u16::MAX)) {
        let detail = "a field is longer than 65,535 bytes";
        return Err(ProtocolViolation::malformed(detail));
    }
    Ok(())
}

fn check(connect: &[u8]) -> Result<(), ProtocolViolation> {
    match Frame::split(connect, usize::MAX)? {
        Some((frame, _)) => Packet::decode(frame, ProtocolVersion::V5).map(drop),
        None => Ok(()),
    }
}

/// Without what is secret.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ClientOptions");
        debug
            .field("version", &self.version)
            .field("is_bridge", &self.is_bridge)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
