//! From CONNECT to CONNACK (§3.1, §3.2).

use std::time::Duration;

use super::{Authentication, Limits, ServerConnection, WillMessage};
use crate::packet::{Connack, Connect, Packet, Properties, Property};
use crate::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode};

/// A CONNECT that can be accepted, with everything it settles.
#[derive(Debug)]
pub struct Handshake {
    /// The state machine of the connection from here on.
    pub connection: ServerConnection,
    /// The Client Identifier, the client's own or an assigned one.
    pub client_id: String,
    /// The user name, if the client gave one.
    pub user_name: Option<String>,
    /// Forget an earlier session of this client.
    pub clean_start: bool,
    /// How long the session outlives the connection; zero ends it with the connection.
    pub session_expiry: Duration,
    /// The most deliveries that may be unacknowledged at the client.
    pub inflight_messages_max: u16,
    /// What to publish if the connection ends without a DISCONNECT.
    pub will: Option<WillMessage>,
    /// Seconds of the Keep Alive, as the client has to keep it.
    pub keep_alive: u16,
    /// User Properties of the CONNACK, which are left out where it has no room for them or the
    /// version has none.
    pub user_properties: Vec<(&'static str, &'static str)>,
    asked: Asked,
    assigned: bool,
    authentication_data: Vec<u8>,
}

impl Handshake {
    /// Decides on a CONNECT. `assign` makes an identifier for a client that brings none.
    ///
    /// # Errors
    /// The reason to refuse it with, see [`encode_refusal`].
    pub fn new(
        connect: &Connect<'_>,
        limits: &Limits,
        assign: impl FnOnce() -> String,
    ) -> Result<Self, ProtocolViolation> {
        let asked = Asked::read(connect, limits)?;
        let assigned = connect.client_id.is_empty();
        let client_id = if assigned {
            check_may_be_assigned(connect)?;
            assign()
        } else {
            check_client_id(connect, limits)?;
            connect.client_id.to_owned()
        };
        let will = match &connect.will {
            Some(will) => Some(WillMessage::new(will, &client_id, limits)?),
            None => None,
        };
        let session_expiry = match connect.version {
            ProtocolVersion::V5 => granted_expiry(asked.session_expiry.unwrap_or(0), limits),
            ProtocolVersion::V31 | ProtocolVersion::V311 if connect.clean_start => Duration::ZERO,
            ProtocolVersion::V31 | ProtocolVersion::V311 => limits.session_expiry_v3,
        };
        let keep_alive = match limits.server_keep_alive {
            Some(seconds) if connect.version.is_v5() => seconds, // [MQTT-3.2.2-21]
            _ => connect.keep_alive,
        };
        Ok(Self {
            connection: ServerConnection::new(connect, &asked, keep_alive, limits),
            client_id,
            user_name: connect.user_name.map(str::to_owned),
            clean_start: connect.clean_start,
            session_expiry,
            inflight_messages_max: asked.receive_maximum.min(limits.inflight_messages_max),
            will,
            keep_alive,
            user_properties: Vec::new(),
            asked,
            assigned,
            authentication_data: Vec::new(),
        })
    }

    /// The client has authenticated itself by the method that its CONNECT named; `data` are the
    /// last ones for it. Without this a CONNECT that names a method must not be accepted.
    pub fn authenticated(&mut self, authentication: Authentication, data: Vec<u8>) {
        self.connection.authentication = Some(Box::new(authentication));
        self.authentication_data = data;
    }

    /// Appends the CONNACK that accepts the connection. False if the client would not accept a
    /// packet of that size: then it can only be closed [MQTT-3.1.2-24].
    #[must_use]
    pub fn encode_connack(
        &self,
        session_present: bool,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut raw = Vec::new();
        let version = self.connection.version();
        if version.is_v5() {
            self.encode_properties(limits, &mut raw);
        }
        let required = raw.len();
        let durability = limits.durability.as_deref().map(|it| ("durability", it));
        let said = self.user_properties.iter().copied().chain(durability);
        for (name, value) in said.filter(|_| version.is_v5()) {
            Property::UserProperty(name, value).encode(&mut raw);
        }
        let start = out.len();
        // [MQTT-3.2.2-20]
        for properties in [raw.as_slice(), raw.get(..required).unwrap_or_default()] {
            let connack = Connack {
                session_present,
                reason: ReasonCode::Success,
                properties: Properties::trusted(properties),
            };
            Packet::Connack(connack).encode(version, out);
            if out.len() - start <= self.asked.packet_bytes_max as usize {
                return true;
            }
            out.truncate(start);
        }
        false
    }

    fn encode_properties(&self, limits: &Limits, raw: &mut Vec<u8>) {
        Property::ReceiveMaximum(limits.receive_maximum).encode(raw);
        Property::MaximumPacketSize(limits.packet_bytes_max).encode(raw);
        if limits.topic_alias_max > 0 {
            Property::TopicAliasMaximum(limits.topic_alias_max).encode(raw);
        }
        if limits.qos_max < QoS::ExactlyOnce {
            Property::MaximumQoS(limits.qos_max == QoS::AtLeastOnce).encode(raw);
        }
        // What is available need not be said.
        if !limits.retain_available {
            Property::RetainAvailable(false).encode(raw);
        }
        if !limits.wildcard_subscription_available {
            Property::WildcardSubscriptionAvailable(false).encode(raw);
        }
        if !limits.subscription_identifier_available {
            Property::SubscriptionIdentifierAvailable(false).encode(raw);
        }
        if !limits.shared_subscription_available {
            Property::SharedSubscriptionAvailable(false).encode(raw);
        }
        if self.assigned {
            Property::AssignedClientIdentifier(&self.client_id).encode(raw); // [MQTT-3.2.2-16]
        }
        let granted = expiry_seconds(self.session_expiry);
        if self.asked.session_expiry.is_some_and(|it| it != granted) {
            Property::SessionExpiryInterval(granted).encode(raw);
        }
        if let Some(seconds) = limits.server_keep_alive {
            Property::ServerKeepAlive(seconds).encode(raw);
        }
        if let Some(template) = &limits.response_information
            && self.asked.response_information
        {
            let information = template.replace("${clientid}", &self.client_id);
            Property::ResponseInformation(&information).encode(raw); // [MQTT-3.1.2-28]
        }
        if let Some(authentication) = &self.connection.authentication {
            authentication.encode_properties(&self.authentication_data, raw);
        }
    }
}

/// Appends the CONNACK that refuses a connection, if its version and size allow to say why.
///
/// `version` and `packet_bytes_max` are what the CONNECT stated, as far as it could be read. MQTT 3
/// has an answer for five reasons only; for others the connection is closed without one (3.1.1
/// §3.1.4).
pub fn encode_refusal(
    version: Option<ProtocolVersion>,
    packet_bytes_max: u32,
    violation: &ProtocolViolation,
    limits: &Limits,
    out: &mut Vec<u8>,
) {
    let version = version.unwrap_or(ProtocolVersion::V311);
    let has_code = !matches!(
        violation.reason,
        ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::TopicNameInvalid
            | ReasonCode::QoSNotSupported
            | ReasonCode::RetainNotSupported
    );
    let mut raw = Vec::new();
    if version.is_v5() {
        Property::ReasonString(violation.detail).encode(&mut raw);
        encode_server_reference(violation.reason, limits, &mut raw);
    } else if !has_code {
        return;
    }
    let connack = |raw| {
        Packet::Connack(Connack {
            session_present: false, // [MQTT-3.2.2-6]
            reason: violation.reason,
            properties: Properties::trusted(raw),
        })
    };
    let start = out.len();
    // [MQTT-3.2.2-19], [MQTT-3.1.2-24]
    for properties in [raw.as_slice(), &[]] {
        connack(properties).encode(version, out);
        if out.len() - start <= packet_bytes_max as usize {
            return;
        }
        out.truncate(start);
    }
}

/// Where to go instead, for the two reasons that say so (§4.11).
pub(super) fn encode_server_reference(reason: ReasonCode, limits: &Limits, raw: &mut Vec<u8>) {
    let is_redirection = matches!(
        reason,
        ReasonCode::UseAnotherServer | ReasonCode::ServerMoved
    );
    if let Some(reference) = &limits.server_reference
        && is_redirection
    {
        Property::ServerReference(reference).encode(raw);
    }
}

/// The properties of CONNECT that settle something.
#[derive(Debug)]
pub(super) struct Asked {
    receive_maximum: u16,
    pub(super) packet_bytes_max: u32,
    pub(super) session_expiry: Option<u32>,
    pub(super) topic_alias_max: u16,
    pub(super) problem_information: bool,
    response_information: bool,
}

impl Asked {
    fn read(connect: &Connect<'_>, limits: &Limits) -> Result<Self, ProtocolViolation> {
        let mut asked = Self {
            receive_maximum: u16::MAX,
            packet_bytes_max: connect.packet_bytes_max(),
            session_expiry: None,
            topic_alias_max: 0,
            problem_information: true,
            response_information: false,
        };
        check_user_properties(connect.properties, limits)?;
        for property in connect.properties.iter() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the rest needs no decision")]
            match property {
                Property::ReceiveMaximum(value) => asked.receive_maximum = value,
                Property::SessionExpiryInterval(value) => asked.session_expiry = Some(value),
                Property::TopicAliasMaximum(value) => asked.topic_alias_max = value,
                Property::RequestProblemInformation(value) => asked.problem_information = value,
                Property::RequestResponseInformation(value) => asked.response_information = value,
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// The Session Expiry Interval that a client is granted.
pub(super) fn granted_expiry(asked_seconds: u32, limits: &Limits) -> Duration {
    Duration::from_secs(asked_seconds.into()).min(limits.session_expiry_max)
}

/// An interval as it is encoded; what is too long for that never ends.
pub(super) fn expiry_seconds(expiry: Duration) -> u32 {
    u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)
}

/// Refuses a block with more user properties than this server accepts.
pub(super) fn check_user_properties(
    properties: Properties<'_>,
    limits: &Limits,
) -> Result<(), ProtocolViolation> {
    let is_user = |property: &Property<'_>| matches!(property, Property::UserProperty(..));
    check_user_property_count(properties.iter().filter(is_user).count(), limits)
}

/// The same if they are counted already.
pub(super) fn check_user_property_count(
    count: usize,
    limits: &Limits,
) -> Result<(), ProtocolViolation> {
    if count > limits.user_properties_max {
        let detail = "a packet has more user properties than this server accepts";
        return Err(ProtocolViolation::new(ReasonCode::QuotaExceeded, detail));
    }
    Ok(())
}

/// Whether a CONNECT may leave the Client Identifier to the server.
fn check_may_be_assigned(connect: &Connect<'_>) -> Result<(), ProtocolViolation> {
    let detail = match connect.version {
        ProtocolVersion::V5 => return Ok(()),
        ProtocolVersion::V31 => "MQTT 3.1 needs a client identifier",
        // 3.1.1 [MQTT-3.1.3-8]
        ProtocolVersion::V311 if !connect.clean_start => {
            "an empty client identifier needs a clean session"
        }
        ProtocolVersion::V311 => return Ok(()),
    };
    Err(ProtocolViolation::new(
        ReasonCode::ClientIdentifierNotValid,
        detail,
    ))
}

/// Characters of a Client Identifier of MQTT 3.1 (3.1 §3.1).
const CLIENT_ID_CHARACTERS_V31: usize = 23;

fn check_client_id(connect: &Connect<'_>, limits: &Limits) -> Result<(), ProtocolViolation> {
    let client_id = connect.client_id;
    let detail = if client_id.len() > limits.client_id_bytes_max {
        "the client identifier is too long"
    } else if connect.version == ProtocolVersion::V31
        && client_id.chars().count() > CLIENT_ID_CHARACTERS_V31
    {
        "a client identifier of MQTT 3.1 has at most 23 characters"
    } else if client_id.starts_with("$") {
        // The names of gateways and bridges, which clients must not take over.
        "a client identifier must not begin with a dollar sign"
    } else {
        return Ok(());
    };
    Err(ProtocolViolation::new(
        ReasonCode::ClientIdentifierNotValid,
        detail,
    ))
}
