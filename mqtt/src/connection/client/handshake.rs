//! From CONNECT to CONNACK (§3.1, §3.2), seen from the client.

use super::{ClientConnection, ClientOptions, ServerTerms};
use crate::packet::{Connack, Frame, Packet, Properties};
use crate::{ProtocolViolation, ReasonCode};

/// A CONNECT that was sent and is not answered yet.
#[derive(Debug)]
pub struct ClientHandshake<'o> {
    options: &'o ClientOptions,
}

/// The answer to a CONNECT.
#[derive(Debug)]
pub enum ClientAnswer {
    /// The connection is accepted.
    Accepted {
        /// The state machine of the connection from here on.
        connection: Box<ClientConnection>,
        /// The server has kept the session. If this side has none, the connection has to be
        /// closed [MQTT-3.2.2-4].
        session_present: bool,
    },
    /// It is not.
    Refused(ClientRefusal),
}

/// Why a server does not accept a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRefusal {
    /// The Reason Code; for MQTT 3 the one that its Connect Return Code stands for.
    pub reason: ReasonCode,
    /// What the server has to say.
    pub reason_string: Option<String>,
    /// Another server to use.
    pub server_reference: Option<String>,
    /// It is the version that is refused, and [`ClientOptions::fall_back`] has another.
    pub is_worth_falling_back: bool,
}

impl<'o> ClientHandshake<'o> {
    /// Appends the CONNECT.
    ///
    /// # Errors
    /// A packet made of these options would be malformed; nothing is appended.
    pub fn new(options: &'o ClientOptions, out: &mut Vec<u8>) -> Result<Self, ProtocolViolation> {
        options.encode(out)?;
        Ok(Self { options })
    }

    /// Takes the first packet of the server.
    ///
    /// # Errors
    /// It is no answer to the CONNECT; the connection is closed.
    pub fn handle(self, frame: Frame<'_>) -> Result<ClientAnswer, ProtocolViolation> {
        match Packet::decode(frame, self.options.version) {
            Ok(Packet::Connack(connack)) => self.on_connack(&connack),
            Ok(Packet::Auth(_)) => {
                let detail = "AUTH without a method agreed on";
                Err(ProtocolViolation::protocol(detail))
            }
            Ok(
                Packet::Connect(_)
                | Packet::Publish(_)
                | Packet::Ack(_)
                | Packet::Subscribe(_)
                | Packet::Suback(_)
                | Packet::Unsubscribe(_)
                | Packet::Unsuback(_)
                | Packet::Pingreq
                | Packet::Pingresp
                | Packet::Disconnect(_),
            ) => {
                let detail = "the first packet of a server is no CONNACK";
                Err(ProtocolViolation::protocol(detail))
            }
            Err(violation) => {
                let reason = Connack::stated_refusal(frame).ok_or(violation)?;
                Ok(self.refused(reason, Properties::default()))
            }
        }
    }

    fn on_connack(self, connack: &Connack<'_>) -> Result<ClientAnswer, ProtocolViolation> {
        if connack.reason != ReasonCode::Success {
            return Ok(self.refused(connack.reason, connack.properties));
        }
        let terms = ServerTerms::read(connack, self.options)?;
        // [MQTT-3.2.2-2]
        if connack.session_present && self.options.clean_start {
            let detail = "a session is present after a clean start";
            return Err(ProtocolViolation::protocol(detail));
        }
        Ok(ClientAnswer::Accepted {
            connection: Box::new(ClientConnection::new(self.options, terms)),
            session_present: connack.session_present,
        })
    }

    fn refused(&self, reason: ReasonCode, properties: Properties<'_>) -> ClientAnswer {
        let is_version = reason == ReasonCode::UnsupportedProtocolVersion;
        ClientAnswer::Refused(ClientRefusal {
            reason,
            reason_string: properties.reason_string().map(str::to_owned),
            server_reference: properties.server_reference().map(str::to_owned),
            is_worth_falling_back: is_version && self.options.can_fall_back(),
        })
    }
}
