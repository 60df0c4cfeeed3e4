//! The server's side of one Network Connection after CONNACK: which packet may come now, what it
//! means, and how deliveries are put on the wire.

use super::handshake::granted_expiry;
use super::{Action, IncomingPublish, Limits, PendingAck};
use crate::packet::{
    Ack, AckKind, Connect, Disconnect, Packet, Properties, Property, Publish, PublishHeader,
    encode_publish,
};
use crate::session::{Acknowledged, Outgoing, Receive, Session};
use crate::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode, Timestamp};

/// The state of one accepted connection.
#[derive(Clone, Debug)]
pub struct ServerConnection {
    version: ProtocolVersion,
    /// Bytes of the largest packet that the client accepts.
    client_packet_bytes_max: u32,
    receive_maximum: u16,
    /// QoS 1 and 2 messages of the client that are not acknowledged to the end.
    unacknowledged: u16,
    /// The Session Expiry Interval at CONNECT was zero.
    expires_at_once: bool,
    keep_alive_millis: Option<u64>,
}

impl ServerConnection {
    pub(super) fn new(connect: &Connect<'_>, limits: &Limits, packet_bytes_max: u32) -> Self {
        let expires_at_once = !connect.properties.iter().any(
            |property| matches!(property, Property::SessionExpiryInterval(seconds) if seconds > 0),
        );
        let factor = f64::from(limits.keep_alive_factor.max(1.0));
        let millis = f64::from(connect.keep_alive) * 1000.0 * factor;
        Self {
            version: connect.version,
            client_packet_bytes_max: packet_bytes_max,
            receive_maximum: limits.receive_maximum,
            unacknowledged: 0,
            expires_at_once,
            // At most 65,535 s times the factor: the cast cannot cut.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "see above"
            )]
            keep_alive_millis: (connect.keep_alive > 0).then_some(millis as u64),
        }
    }

    /// The version of this connection's packets.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Milliseconds without a packet after which the client counts as dead [MQTT-3.1.2-22].
    #[must_use]
    pub const fn keep_alive_millis(&self) -> Option<u64> {
        self.keep_alive_millis
    }

    /// True while the client has as many unacknowledged messages as it may have. A 3.1.1 client
    /// does not know this limit, so its connection is not read until some are acknowledged.
    #[must_use]
    pub const fn is_saturated(&self) -> bool {
        self.unacknowledged >= self.receive_maximum
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
            Packet::Ack(ack) => Ok(self.on_ack(ack, session, out)),
            Packet::Subscribe(subscribe) => Ok(Action::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(Action::Unsubscribe(unsubscribe)),
            Packet::Pingreq => {
                Packet::Pingresp.encode(self.version, out);
                Ok(Action::None)
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(disconnect, limits),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => Err(ProtocolViolation::protocol("a second CONNECT")),
            Packet::Auth(_) => Err(ProtocolViolation::protocol(
                "AUTH without a method agreed on",
            )),
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
        let header = publish.header;
        check_publish(&publish, limits)?;
        let ack = match header.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => {
                self.begin_message()?;
                Some(PendingAck::puback(header.packet_id))
            }
            QoS::ExactlyOnce => {
                if session.inbound.receive(header.packet_id) == Receive::Repeated {
                    return Ok(Action::Repeated(PendingAck::pubrec(header.packet_id)));
                }
                self.begin_message()?;
                Some(PendingAck::pubrec(header.packet_id))
            }
        };
        Ok(Action::Publish(IncomingPublish { publish, ack }))
    }

    /// Counts a message against the Receive Maximum [MQTT-3.3.4-7].
    fn begin_message(&mut self) -> Result<(), ProtocolViolation> {
        if self.is_saturated() {
            let detail = "more messages than the receive maximum are unacknowledged";
            return Err(ProtocolViolation::new(
                ReasonCode::ReceiveMaximumExceeded,
                detail,
            ));
        }
        self.unacknowledged += 1;
        Ok(())
    }

    fn on_ack<'p>(&mut self, ack: Ack<'p>, session: &mut Session, out: &mut Vec<u8>) -> Action<'p> {
        let packet_id = ack.packet_id;
        let outcome = match ack.kind {
            AckKind::Puback => session.inflight_mut().puback(packet_id),
            AckKind::Pubrec => session
                .inflight_mut()
                .pubrec(packet_id, ack.reason.is_error()),
            AckKind::Pubcomp => session.inflight_mut().pubcomp(packet_id),
            AckKind::Pubrel => return self.on_pubrel(packet_id, session),
        };
        match (outcome, ack.kind) {
            (Acknowledged::Done(sequence), _) => return Action::Delivered(sequence),
            (Acknowledged::Release, _) => self.encode_pubrel(packet_id, ReasonCode::Success, out),
            (Acknowledged::Unknown, AckKind::Pubrec) if !ack.reason.is_error() => {
                // The receiver must get rid of its identifier all the same (§4.3.3).
                self.encode_pubrel(packet_id, ReasonCode::PacketIdentifierNotFound, out);
            }
            // An acknowledgement of nothing harms nobody (§4.3.2).
            (Acknowledged::Unknown, _) => {}
        }
        Action::None
    }

    fn encode_pubrel(&self, packet_id: u16, reason: ReasonCode, out: &mut Vec<u8>) {
        Packet::Ack(Ack::new(AckKind::Pubrel, packet_id, reason)).encode(self.version, out);
    }

    fn on_pubrel<'p>(&mut self, packet_id: u16, session: &mut Session) -> Action<'p> {
        let known = session.inbound.release(packet_id);
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        Action::Released(PendingAck::pubcomp(packet_id, reason))
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
        let with_will = disconnect.reason == ReasonCode::DisconnectWithWill;
        Ok(Action::Disconnect {
            with_will,
            session_expiry,
        })
    }

    /// Appends an acknowledgement whose message is as safe as it has to be.
    pub fn encode_ack(&mut self, ack: PendingAck, out: &mut Vec<u8>) {
        if matches!(ack.kind, AckKind::Puback | AckKind::Pubcomp) || ack.reason.is_error() {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        let reason = if self.version.is_v5() {
            ack.reason
        } else {
            ReasonCode::Success
        };
        Packet::Ack(Ack::new(ack.kind, ack.packet_id, reason)).encode(self.version, out);
    }

    /// Appends what the session has to send. False if the client would not accept a packet of
    /// that size: then it must not be sent and counts as delivered [MQTT-3.1.2-25].
    #[must_use]
    pub fn encode_outgoing(&self, outgoing: &Outgoing, now: Timestamp, out: &mut Vec<u8>) -> bool {
        let (delivery, packet_id, dup) = match outgoing {
            Outgoing::Publish {
                delivery,
                packet_id,
                dup,
            } => (delivery, *packet_id, *dup),
            Outgoing::Release(packet_id) => {
                self.encode_pubrel(*packet_id, ReasonCode::Success, out);
                return true;
            }
        };
        let message = &*delivery.message;
        let start = out.len();
        let header = PublishHeader {
            dup,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: message.topic.as_str(),
            packet_id,
        };
        let mut own = Vec::new();
        if self.version.is_v5() {
            if let Some(seconds) = message.expiry_interval(now) {
                Property::MessageExpiryInterval(seconds).encode(&mut own);
            }
            for &identifier in &delivery.subscription_ids {
                Property::SubscriptionIdentifier(identifier).encode(&mut own);
            }
        }
        let properties = [own.as_slice(), message.properties.as_bytes()];
        encode_publish(out, self.version, &header, &properties, &message.payload);
        let fits = out.len() - start <= self.client_packet_bytes_max as usize;
        if !fits {
            out.truncate(start);
        }
        fits
    }

    /// Appends the DISCONNECT that tells an MQTT 5 client why it is closed; 3.1.1 has none.
    pub fn encode_disconnect(&self, violation: &ProtocolViolation, out: &mut Vec<u8>) {
        if !self.version.is_v5() {
            return;
        }
        let mut raw = Vec::new();
        Property::ReasonString(violation.detail).encode(&mut raw);
        let properties = Properties::trusted(&raw);
        let packet = Disconnect {
            reason: violation.reason,
            properties,
        };
        Packet::Disconnect(packet).encode(self.version, out);
    }
}

/// What a client may not put into a PUBLISH, apart from what decoding checks.
fn check_publish(publish: &Publish<'_>, limits: &Limits) -> Result<(), ProtocolViolation> {
    for property in publish.properties.iter() {
        // [MQTT-3.3.4-6]
        if matches!(property, Property::SubscriptionIdentifier(_)) {
            let detail = "a client must not send a subscription identifier in PUBLISH";
            return Err(ProtocolViolation::protocol(detail));
        }
        // The server announces no Topic Alias Maximum, which means zero [MQTT-3.3.2-9].
        if matches!(property, Property::TopicAlias(_)) {
            let detail = "a topic alias above the topic alias maximum";
            return Err(ProtocolViolation::new(
                ReasonCode::TopicAliasInvalid,
                detail,
            ));
        }
    }
    let topic = publish.header.topic;
    if topic.is_empty() {
        return Err(ProtocolViolation::protocol(
            "a PUBLISH without topic or topic alias",
        ));
    }
    if topic.bytes().filter(|&byte| byte == b'/').count() >= limits.topic_levels_max {
        let detail = "the topic has too many levels";
        return Err(ProtocolViolation::new(ReasonCode::TopicNameInvalid, detail));
    }
    Ok(())
}
