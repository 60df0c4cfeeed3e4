//! The server's side of one Network Connection after CONNACK: which packet may come now, and what
//! it means.

use super::alias::{IncomingAliases, OutgoingAliases};
use super::handshake::{Asked, check_user_properties, check_user_property_count, granted_expiry};
use super::limits::{Limits, TopicLimit};
use super::quota::ReceiveQuota;
use super::{AckAction, Action, Authentication, IncomingPublish, PendingAck, ReceivedAck};
use crate::packet::{AckKind, Connect, Disconnect, Packet, Property, Publish, PublishProperties};
use crate::session::{Acknowledged, DirectTerms, Session};
use crate::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode};

/// The state of one accepted connection.
#[derive(Debug)]
pub struct ServerConnection {
    pub(super) version: ProtocolVersion,
    pub(super) is_bridge: bool,
    /// Bytes of the largest packet that the client accepts.
    pub(super) client_packet_bytes_max: u32,
    /// Reason Strings may stand in any packet that allows them.
    pub(super) problem_information: bool,
    pub(super) quota: ReceiveQuota,
    /// The Session Expiry Interval at CONNECT was zero.
    expires_at_once: bool,
    keep_alive_millis: Option<u64>,
    incoming_aliases: IncomingAliases,
    pub(super) outgoing_aliases: OutgoingAliases,
    pub(super) authentication: Option<Box<Authentication>>,
}

impl ServerConnection {
    pub(super) fn new(
        connect: &Connect<'_>,
        asked: &Asked,
        keep_alive: u16,
        limits: &Limits,
    ) -> Self {
        let factor = f64::from(limits.keep_alive_factor.max(1.0));
        let millis = f64::from(keep_alive) * 1000.0 * factor;
        let alias_max = asked.topic_alias_max.min(limits.client_topic_alias_max);
        Self {
            version: connect.version,
            is_bridge: connect.is_bridge,
            client_packet_bytes_max: asked.packet_bytes_max,
            problem_information: asked.problem_information,
            quota: ReceiveQuota::default(),
            expires_at_once: asked.session_expiry.unwrap_or(0) == 0,
            incoming_aliases: IncomingAliases::default(),
            outgoing_aliases: OutgoingAliases::new(alias_max),
            authentication: None,
            // At most 65,535 s times the factor: the cast cannot cut.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "see above"
            )]
            keep_alive_millis: (keep_alive > 0).then_some(millis as u64),
        }
    }

    /// The version of this connection's packets.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// How packets are encoded in advance for this client; none if they cannot be, because Topic
    /// Aliases depend on what was sent before.
    #[must_use]
    pub fn direct_terms(&self, is_transient: bool) -> Option<DirectTerms> {
        self.outgoing_aliases.are_off().then_some(DirectTerms {
            version: self.version,
            packet_bytes_max: self.client_packet_bytes_max,
            is_transient,
        })
    }

    /// Milliseconds without a packet after which the client counts as dead [MQTT-3.1.2-22].
    #[must_use]
    pub const fn keep_alive_millis(&self) -> Option<u64> {
        self.keep_alive_millis
    }

    /// Handles one packet: answers what can be answered at once into `out`, and returns what has
    /// to be done.
    ///
    /// # Errors
    /// The packet must not be sent, or not now; the connection is closed with the reason.
    pub fn handle<'p>(
        &mut self,
        packet: Packet<'p>,
        session: &mut Session,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Action<'p>, ProtocolViolation> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish, session, limits),
            Packet::Ack(ack) => Ok(Action::Ack(self.handle_ack((&ack).into(), session))),
            Packet::Subscribe(subscribe) => {
                check_user_properties(subscribe.properties, limits)?;
                self.check_answer(subscribe.filters().count())?;
                Ok(Action::Subscribe(subscribe))
            }
            Packet::Unsubscribe(unsubscribe) => {
                check_user_properties(unsubscribe.properties, limits)?;
                self.check_answer(unsubscribe.filters().count())?;
                Ok(Action::Unsubscribe(unsubscribe))
            }
            Packet::Pingreq => {
                Packet::Pingresp.encode(self.version, out);
                Ok(Action::None)
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(disconnect, limits),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => Err(ProtocolViolation::protocol("a second CONNECT")),
            Packet::Auth(auth) => match &mut self.authentication {
                Some(authentication) => {
                    authentication.on_reauthentication(&auth, out)?;
                    Ok(Action::None)
                }
                // [MQTT-4.12.0-6]
                None => Err(ProtocolViolation::protocol(
                    "AUTH without a method agreed on",
                )),
            },
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => Err(
                ProtocolViolation::protocol("a packet that only a server sends"),
            ),
        }
    }

    fn on_publish<'p>(
        &mut self,
        publish: Publish<'p>,
        session: &mut Session,
        limits: &Limits,
    ) -> Result<Action<'p>, ProtocolViolation> {
        let incoming = self.begin_publish(publish, limits)?;
        if publish.header.qos == QoS::ExactlyOnce
            && let Some(ack) = self.receive(publish.header.packet_id, session, limits)?
        {
            return Ok(Action::Answer(ack));
        }
        Ok(Action::Publish(incoming))
    }

    /// Takes in a PUBLISH, which for QoS 0 and 1 is all that [`ServerConnection::handle`] does
    /// with it. One of QoS 2 goes on to [`ServerConnection::receive`].
    ///
    /// # Errors
    /// The packet must not be sent, or not now.
    pub fn begin_publish<'p>(
        &mut self,
        publish: Publish<'p>,
        limits: &Limits,
    ) -> Result<IncomingPublish<'p>, ProtocolViolation> {
        let header = publish.header;
        let properties = PublishProperties::of(publish.properties);
        check_publish(&publish, &properties, limits)?;
        let topic = self.incoming_aliases.resolve(
            header.topic,
            properties.topic_alias,
            limits.topic_alias_max,
        )?;
        let ack = self.begin_successor(header.qos, header.packet_id, limits)?;
        Ok(IncomingPublish {
            topic,
            publish,
            properties,
            ack,
        })
    }

    /// The same for what came in a [`crate::packet::Successor`].
    ///
    /// # Errors
    /// The packet must not be sent now.
    pub fn begin_successor(
        &mut self,
        qos: QoS,
        packet_id: u16,
        limits: &Limits,
    ) -> Result<Option<PendingAck>, ProtocolViolation> {
        Ok(match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => {
                self.begin_message(limits)?;
                Some(PendingAck::puback(packet_id))
            }
            QoS::ExactlyOnce => Some(PendingAck::pubrec(packet_id)),
        })
    }

    /// Notes the Packet Identifier of a QoS 2 message that has come. Returns the answer if the
    /// message is not to be routed: it was already, or there is no room for its identifier.
    ///
    /// # Errors
    /// The packet must not be sent now.
    pub fn receive(
        &mut self,
        packet_id: u16,
        session: &mut Session,
        limits: &Limits,
    ) -> Result<Option<PendingAck>, ProtocolViolation> {
        let pubrec = PendingAck::pubrec(packet_id);
        let is_full = session.inbound.len() >= usize::from(limits.receive_maximum);
        if session.inbound.contains(packet_id) {
            return Ok(Some(pubrec));
        }
        self.begin_message(limits)?;
        // Identifiers may be left over from earlier connections.
        if is_full && self.version.is_v5() {
            return Ok(Some(pubrec.with_reason(ReasonCode::QuotaExceeded)));
        } else if is_full {
            let detail = "more QoS 2 messages than the receive maximum are not released";
            let reason = ReasonCode::ReceiveMaximumExceeded;
            return Err(ProtocolViolation::new(reason, detail));
        }
        session.inbound.receive(packet_id);
        Ok(None)
    }

    /// Counts a message against the Receive Maximum [MQTT-3.3.4-9], which MQTT 3 does not know.
    fn begin_message(&mut self, limits: &Limits) -> Result<(), ProtocolViolation> {
        if !self.version.is_v5() {
            return Ok(());
        }
        self.quota.begin(limits.receive_maximum)
    }

    /// Handles an acknowledgement; [`ServerConnection::handle`] does the same with it.
    pub fn handle_ack(&mut self, ack: ReceivedAck, session: &mut Session) -> AckAction {
        let ReceivedAck {
            kind,
            packet_id,
            is_refusal,
        } = ack;
        let inflight = session.inflight_mut();
        let outcome = match kind {
            AckKind::Puback => inflight.puback(packet_id),
            AckKind::Pubrec => inflight.pubrec(packet_id, is_refusal),
            AckKind::Pubcomp => inflight.pubcomp(packet_id),
            AckKind::Pubrel => {
                let reason = if session.inbound.release(packet_id) {
                    ReasonCode::Success
                } else {
                    ReasonCode::PacketIdentifierNotFound
                };
                return AckAction::Released(PendingAck::pubcomp(packet_id, reason));
            }
        };
        match outcome {
            Acknowledged::Done(sequence) => AckAction::Delivered(sequence),
            Acknowledged::Release(sequence) => {
                AckAction::Received(sequence, PendingAck::pubrel(packet_id))
            }
            // The receiver must get rid of its identifier all the same (§4.3.3).
            Acknowledged::Unknown if kind == AckKind::Pubrec && !is_refusal => {
                let reason = ReasonCode::PacketIdentifierNotFound;
                AckAction::Answer(PendingAck::pubrel(packet_id).with_reason(reason))
            }
            // An acknowledgement of nothing harms nobody (§4.3.2).
            Acknowledged::Unknown => AckAction::None,
        }
    }

    fn on_disconnect<'p>(
        &self,
        disconnect: Disconnect<'p>,
        limits: &Limits,
    ) -> Result<Action<'p>, ProtocolViolation> {
        let asked = disconnect.properties.iter().find_map(|property| {
            if let Property::SessionExpiryInterval(value) = property {
                Some(value)
            } else {
                None
            }
        });
        // [MQTT-3.14.2-2]
        if self.expires_at_once && asked.is_some_and(|seconds| seconds > 0) {
            let detail = "the session expiry interval was zero and cannot be raised";
            return Err(ProtocolViolation::protocol(detail));
        }
        let session_expiry = asked.map(|seconds| granted_expiry(seconds, limits));
        // [MQTT-3.1.2-10]
        let with_will = disconnect.reason != ReasonCode::Success;
        Ok(Action::Disconnect {
            with_will,
            session_expiry,
        })
    }
}

/// What a client may not put into a PUBLISH, apart from what decoding checks.
pub(super) fn check_publish(
    publish: &Publish<'_>,
    properties: &PublishProperties<'_>,
    limits: &Limits,
) -> Result<(), ProtocolViolation> {
    check_user_property_count(properties.user_properties, limits)?;
    // [MQTT-3.3.4-6]
    if properties.has_subscription_identifier {
        let detail = "a client must not send a subscription identifier in PUBLISH";
        return Err(ProtocolViolation::protocol(detail));
    }
    let header = &publish.header;
    // [MQTT-3.2.2-11]
    if header.qos > limits.qos_max {
        let detail = "the QoS is above the maximum QoS";
        return Err(ProtocolViolation::new(ReasonCode::QoSNotSupported, detail));
    }
    // [MQTT-3.2.2-14]
    if header.retain && !limits.retain_available {
        let detail = "retained messages are switched off";
        return Err(ProtocolViolation::new(
            ReasonCode::RetainNotSupported,
            detail,
        ));
    }
    check_topic(header.topic, limits)
}

/// The limits of Topic Names.
pub(super) fn check_topic(topic: &str, limits: &Limits) -> Result<(), ProtocolViolation> {
    let detail = match limits.exceeded_by(topic) {
        None => return Ok(()),
        Some(TopicLimit::Length) => "the topic is too long",
        Some(TopicLimit::Levels) => "the topic has too many levels",
    };
    Err(ProtocolViolation::new(ReasonCode::TopicNameInvalid, detail))
}
