//! The client's side of one Network Connection: what a bridge sends to its hub, and what it may
//! get from it.
//!
//! The session is the caller's: Packet Identifiers, what is in flight, and which QoS 2 messages
//! have been received ([`crate::session::Inbound`]). So is the time: the caller sends PINGREQ.

mod handshake;
mod options;
mod outgoing;
mod oversized;
mod request;
mod terms;

pub use handshake::{ClientAnswer, ClientHandshake, ClientRefusal};
pub use options::ClientOptions;
pub use outgoing::OutgoingPublish;
pub use oversized::OversizedPublish;
pub use request::RequestError;
pub use terms::ServerTerms;

use request::Requests;

use super::alias::{IncomingAliases, OutgoingAliases};
use super::{IncomingPublish, PendingAck};
use crate::packet::{
    Ack, AckKind, Disconnect, Frame, Packet, Properties, Property, Publish, PublishHeader,
    PublishProperties, Suback, Unsuback,
};
use crate::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode};

/// The state of one connection that a server has accepted.
#[derive(Debug)]
pub struct ClientConnection {
    version: ProtocolVersion,
    terms: ServerTerms,
    /// The limits that the server was told.
    topic_alias_max: u16,
    qos_max: QoS,
    problem_information: bool,
    requests: Requests,
    incoming_aliases: IncomingAliases,
    outgoing_aliases: OutgoingAliases,
}

/// What one packet of the server asks of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAction<'p> {
    /// Take in a message, then acknowledge it. One of QoS 2 may have come before: then it is
    /// acknowledged only.
    Publish(IncomingPublish<'p>),
    /// An acknowledgement came; PUBREC and PUBREL are to be answered.
    Ack(Ack<'p>),
    /// The answer to a SUBSCRIBE that was sent, with a code for each of its filters.
    Suback(Suback<'p>),
    /// The answer to an UNSUBSCRIBE that was sent; in MQTT 5 with a code for each of its filters.
    Unsuback(Unsuback<'p>),
    /// The answer to PINGREQ.
    Pingresp,
    /// The server ends the connection.
    Disconnect(Disconnect<'p>),
}

impl ClientConnection {
    fn new(options: &ClientOptions, terms: ServerTerms) -> Self {
        let alias_max = terms.topic_alias_max.min(options.server_topic_alias_max);
        Self {
            version: options.version,
            terms,
            topic_alias_max: options.topic_alias_max,
            qos_max: options.qos_max,
            problem_information: options.request_problem_information,
            requests: Requests::default(),
            incoming_aliases: IncomingAliases::default(),
            outgoing_aliases: OutgoingAliases::new(alias_max),
        }
    }

    /// The version of this connection's packets.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What the server allows and grants.
    #[must_use]
    pub const fn terms(&self) -> &ServerTerms {
        &self.terms
    }

    /// Handles one packet of the server.
    ///
    /// # Errors
    /// It is malformed, or must not be sent, or not now: the connection is closed, in MQTT 5 with
    /// a DISCONNECT.
    pub fn handle<'p>(&mut self, frame: Frame<'p>) -> Result<ClientAction<'p>, ProtocolViolation> {
        if let Some(kind) = AckKind::of(frame.packet_type()) {
            let ack = Ack::decode_tolerantly(kind, frame, self.version)?;
            self.check_problem_information(ack.properties)?;
            return Ok(ClientAction::Ack(ack));
        }
        match Packet::decode(frame, self.version)? {
            Packet::Publish(publish) => self.on_publish(publish).map(ClientAction::Publish),
            Packet::Ack(ack) => Ok(ClientAction::Ack(ack)),
            Packet::Suback(suback) => {
                self.check_problem_information(suback.properties)?;
                self.requests.on_suback(&suback)?;
                Ok(ClientAction::Suback(suback))
            }
            Packet::Unsuback(unsuback) => {
                self.check_problem_information(unsuback.properties)?;
                self.requests.on_unsuback(&unsuback, self.version)?;
                Ok(ClientAction::Unsuback(unsuback))
            }
            Packet::Pingresp => Ok(ClientAction::Pingresp),
            Packet::Disconnect(disconnect) => self.on_disconnect(disconnect),
            Packet::Connack(_) => Err(ProtocolViolation::protocol("a second CONNACK")),
            // [MQTT-4.12.0-6]
            Packet::Auth(_) => Err(ProtocolViolation::protocol(
                "AUTH without a method agreed on",
            )),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq => Err(ProtocolViolation::protocol(
                "a packet that only a client sends",
            )),
        }
    }

    fn on_publish<'p>(
        &mut self,
        publish: Publish<'p>,
    ) -> Result<IncomingPublish<'p>, ProtocolViolation> {
        let header = publish.header;
        let ack = self.acknowledgement(&header)?;
        let properties = PublishProperties::of(publish.properties);
        let topic = self.incoming_aliases.resolve(
            header.topic,
            properties.topic_alias,
            self.topic_alias_max,
        )?;
        Ok(IncomingPublish {
            topic,
            publish,
            properties,
            ack,
        })
    }

    /// What a message is acknowledged with; none if it has QoS 0.
    fn acknowledgement(
        &self,
        header: &PublishHeader<'_>,
    ) -> Result<Option<PendingAck>, ProtocolViolation> {
        if header.qos > self.qos_max {
            let detail = "the QoS is above that of every subscription";
            return Err(ProtocolViolation::protocol(detail));
        }
        Ok(match header.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(PendingAck::puback(header.packet_id)),
            QoS::ExactlyOnce => Some(PendingAck::pubrec(header.packet_id)),
        })
    }

    fn on_disconnect<'p>(
        &self,
        disconnect: Disconnect<'p>,
    ) -> Result<ClientAction<'p>, ProtocolViolation> {
        let expires = |it: Property<'_>| matches!(it, Property::SessionExpiryInterval(_));
        let detail = if !self.version.is_v5() {
            "a server of MQTT 3 sends no DISCONNECT"
        } else if disconnect.reason == ReasonCode::DisconnectWithWill {
            "a reason to disconnect that only a client has"
        } else if disconnect.properties.iter().any(expires) {
            // [MQTT-3.14.2-2]
            "a server must not send a session expiry interval in DISCONNECT"
        } else {
            return Ok(ClientAction::Disconnect(disconnect));
        };
        Err(ProtocolViolation::protocol(detail))
    }

    /// An answer has no Reason String and no User Property if the client did not want them
    /// [MQTT-3.1.2-29].
    const fn check_problem_information(
        &self,
        properties: Properties<'_>,
    ) -> Result<(), ProtocolViolation> {
        if self.problem_information || properties.is_empty() {
            return Ok(());
        }
        let detail = "problem information that was not asked for";
        Err(ProtocolViolation::protocol(detail))
    }
}

#[cfg(test)]
mod tests;
