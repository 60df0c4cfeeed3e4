//! CONNECT to CONNACK (§3.1.4): what is granted to a client, or why it is refused.

use std::time::Duration;

use super::{Limits, ServerConnection, WillMessage};
use crate::packet::{Connack, Connect, Packet, Properties, Property};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode};

/// A CONNECT that can be accepted, with everything it settles.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The state machine of the connection from here on.
    pub connection: ServerConnection,
    /// The Client Identifier, the client's own or an assigned one.
    pub client_id: String,
    /// Forget an earlier session of this client.
    pub clean_start: bool,
    /// How long the session outlives the connection; zero ends it with the connection.
    pub session_expiry: Duration,
    /// The most deliveries that may be unacknowledged at the client.
    pub inflight_messages_max: u16,
    /// What to publish if the connection ends without a DISCONNECT.
    pub will: Option<WillMessage>,
    version: ProtocolVersion,
    assigned: bool,
    asked_expiry: Option<u32>,
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
        let asked = Asked::read(connect);
        if asked.authentication {
            let detail = "no enhanced authentication method is supported";
            return Err(ProtocolViolation::new(
                ReasonCode::BadAuthenticationMethod,
                detail,
            ));
        }
        let assigned = connect.client_id.is_empty();
        let client_id = if assigned {
            // [MQTT-3.1.3-8] of 3.1.1
            if !connect.version.is_v5() && !connect.clean_start {
                let detail = "an empty client identifier needs a clean session";
                return Err(ProtocolViolation::new(
                    ReasonCode::ClientIdentifierNotValid,
                    detail,
                ));
            }
            assign()
        } else {
            check_client_id(connect.client_id, limits)?;
            connect.client_id.to_owned()
        };
        let Ok(will) = connect.will.as_ref().map(WillMessage::new).transpose() else {
            let detail = "the will topic is no topic name";
            return Err(ProtocolViolation::new(ReasonCode::TopicNameInvalid, detail));
        };
        let session_expiry = match connect.version {
            ProtocolVersion::V5 => asked.session_expiry(limits),
            ProtocolVersion::V311 if connect.clean_start => Duration::ZERO,
            ProtocolVersion::V311 => limits.session_expiry_v3,
        };
        Ok(Self {
            connection: ServerConnection::new(connect, limits, asked.packet_bytes_max),
            client_id,
            clean_start: connect.clean_start,
            session_expiry,
            inflight_messages_max: asked.receive_maximum.min(limits.inflight_messages_max),
            will,
            version: connect.version,
            assigned,
            asked_expiry: asked.session_expiry,
        })
    }

    /// Appends the CONNACK that accepts the connection.
    pub fn encode_connack(&self, session_present: bool, limits: &Limits, out: &mut Vec<u8>) {
        let mut raw = Vec::new();
        if self.version.is_v5() {
            Property::ReceiveMaximum(limits.receive_maximum).encode(&mut raw);
            Property::MaximumPacketSize(limits.packet_bytes_max).encode(&mut raw);
            // Shared Subscriptions are refused with 0x9E, see `ServerConnection`.
            Property::SharedSubscriptionAvailable(false).encode(&mut raw);
            if self.assigned {
                Property::AssignedClientIdentifier(&self.client_id).encode(&mut raw);
            }
            let granted = expiry_seconds(self.session_expiry);
            if self.asked_expiry.is_some_and(|asked| asked != granted) {
                Property::SessionExpiryInterval(granted).encode(&mut raw);
            }
        }
        let connack = Connack {
            session_present,
            reason: ReasonCode::Success,
            properties: Properties::trusted(&raw),
        };
        Packet::Connack(connack).encode(self.version, out);
    }
}

/// Appends the CONNACK that refuses a connection, if its version allows to say why.
///
/// `version` is what the CONNECT stated, as far as it could be read. 3.1.1 has an answer for five
/// reasons only; for others the connection is closed without one (3.1.1 §3.1.4).
pub fn encode_refusal(
    version: Option<ProtocolVersion>,
    violation: &ProtocolViolation,
    out: &mut Vec<u8>,
) {
    let version = version.unwrap_or(ProtocolVersion::V311);
    let has_code = !matches!(
        violation.reason,
        ReasonCode::MalformedPacket | ReasonCode::ProtocolError | ReasonCode::TopicNameInvalid
    );
    let mut raw = Vec::new();
    if version.is_v5() {
        Property::ReasonString(violation.detail).encode(&mut raw);
    } else if !has_code {
        return;
    }
    let connack = Connack {
        session_present: false,
        reason: violation.reason,
        properties: Properties::trusted(&raw),
    };
    Packet::Connack(connack).encode(version, out);
}

/// The properties of CONNECT that settle something.
struct Asked {
    receive_maximum: u16,
    packet_bytes_max: u32,
    session_expiry: Option<u32>,
    authentication: bool,
}

impl Asked {
    fn read(connect: &Connect<'_>) -> Self {
        let mut asked = Self {
            receive_maximum: u16::MAX,
            packet_bytes_max: u32::MAX,
            session_expiry: None,
            authentication: false,
        };
        for property in connect.properties.iter() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the rest needs no decision")]
            match property {
                Property::ReceiveMaximum(value) => asked.receive_maximum = value,
                Property::MaximumPacketSize(value) => asked.packet_bytes_max = value,
                Property::SessionExpiryInterval(value) => asked.session_expiry = Some(value),
                Property::AuthenticationMethod(_) => asked.authentication = true,
                _ => {}
            }
        }
        asked
    }

    fn session_expiry(&self, limits: &Limits) -> Duration {
        granted_expiry(self.session_expiry.unwrap_or(0), limits)
    }
}

/// The Session Expiry Interval that a client is granted.
pub(super) fn granted_expiry(asked_seconds: u32, limits: &Limits) -> Duration {
    Duration::from_secs(asked_seconds.into()).min(limits.session_expiry_max)
}

fn expiry_seconds(expiry: Duration) -> u32 {
    u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)
}

fn check_client_id(client_id: &str, limits: &Limits) -> Result<(), ProtocolViolation> {
    let detail = if client_id.len() > limits.client_id_bytes_max {
        "the client identifier is too long"
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
