//! What a server sends on one Network Connection: how deliveries and answers are put on the wire.

use super::handshake::encode_server_reference;
use super::{Limits, PendingAck, ServerConnection};
use crate::packet::{
    Ack, AckKind, Disconnect, Packet, Properties, Property, PublishHeader, encode_publish,
};
use crate::session::{Delivery, Outgoing};
use crate::{ProtocolViolation, ReasonCode, Timestamp};

impl ServerConnection {
    /// Appends an acknowledgement whose message is as safe as it has to be.
    pub fn encode_ack(&mut self, ack: PendingAck, out: &mut Vec<u8>) {
        self.quota.end(ack);
        let mut packet = Ack::new(ack.kind, ack.packet_id, ReasonCode::Success);
        let mut raw = Vec::new();
        if self.version.is_v5() {
            packet.reason = ack.reason;
            if ack.kind != AckKind::Pubrel {
                self.encode_reason_string(&[ack.reason as u8], &mut raw);
            }
        }
        packet.properties = Properties::trusted(&raw);
        Packet::Ack(packet).encode(self.version, out);
    }

    /// Appends a Reason String for the first failure among `codes`, if the client wants to know
    /// [MQTT-3.1.2-29] and a packet with so many codes has room for it.
    pub(super) fn encode_reason_string(&self, codes: &[u8], raw: &mut Vec<u8>) {
        /// Fixed header, Packet Identifier, property length and Reason Code at their longest.
        const AROUND: usize = 16;
        let failure = codes
            .iter()
            .find_map(|&code| ReasonCode::from_u8(code).filter(|reason| reason.is_error()));
        let Some(reason) = failure.filter(|_| self.problem_information) else {
            return;
        };
        let text = reason.describe();
        let length = AROUND + codes.len() + text.len();
        if length <= self.client_packet_bytes_max as usize {
            Property::ReasonString(text).encode(raw);
        }
    }

    /// Appends what the session has to send. False if the client would not accept a packet of
    /// that size: then it must not be sent and counts as delivered [MQTT-3.1.2-25].
    #[must_use]
    pub fn encode_outgoing(
        &mut self,
        outgoing: &Outgoing,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> bool {
        let (delivery, packet_id, dup) = match outgoing {
            Outgoing::Publish {
                delivery,
                packet_id,
                dup,
            } => (delivery, *packet_id, *dup),
            Outgoing::Release(packet_id) => {
                self.encode_pubrel(*packet_id, out);
                return true;
            }
        };
        let message = &*delivery.message;
        let header = PublishHeader {
            dup,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: message.topic.as_str(),
            packet_id,
        };
        let Some((alias, is_known)) = self.outgoing_aliases.find(&message.topic) else {
            return self.encode_delivery(delivery, &header, None, now, out);
        };
        if is_known {
            let topic = "";
            let header = PublishHeader { topic, ..header };
            return self.encode_delivery(delivery, &header, Some(alias), now, out);
        }
        if !self.encode_delivery(delivery, &header, Some(alias), now, out) {
            // The alias may be what there is no room for.
            return self.encode_delivery(delivery, &header, None, now, out);
        }
        self.outgoing_aliases.set(alias, &message.topic);
        true
    }

    /// Appends a PUBLISH if the client accepts one of that size.
    fn encode_delivery(
        &self,
        delivery: &Delivery,
        header: &PublishHeader<'_>,
        alias: Option<u16>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> bool {
        let message = &*delivery.message;
        let start = out.len();
        let mut own = Vec::new();
        if let Some(alias) = alias {
            Property::TopicAlias(alias).encode(&mut own);
        }
        if self.version.is_v5() {
            if let Some(seconds) = message.expiry_interval(now) {
                Property::MessageExpiryInterval(seconds).encode(&mut own);
            }
            for &identifier in &delivery.subscription_ids {
                Property::SubscriptionIdentifier(identifier).encode(&mut own);
            }
        }
        let properties = [own.as_slice(), message.properties.as_bytes()];
        encode_publish(out, self.version, header, &properties, &message.payload);
        fits(out, start, self.client_packet_bytes_max)
    }

    /// Appends the DISCONNECT that tells an MQTT 5 client why it is closed; MQTT 3 has none.
    pub fn encode_disconnect(
        &self,
        violation: &ProtocolViolation,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) {
        if !self.version.is_v5() {
            return;
        }
        let reason = Disconnect::reason(violation.reason);
        let mut raw = Vec::new();
        Property::ReasonString(violation.detail).encode(&mut raw);
        encode_server_reference(reason, limits, &mut raw);
        let packet = |raw| {
            Packet::Disconnect(Disconnect {
                reason,
                properties: Properties::trusted(raw),
            })
        };
        let start = out.len();
        packet(&raw).encode(self.version, out);
        // [MQTT-3.14.2-3]
        if out.len() - start > self.client_packet_bytes_max as usize {
            out.truncate(start);
            packet(&[]).encode(self.version, out);
        }
    }

    fn encode_pubrel(&self, packet_id: u16, out: &mut Vec<u8>) {
        let pubrel = Ack::new(AckKind::Pubrel, packet_id, ReasonCode::Success);
        Packet::Ack(pubrel).encode(self.version, out);
    }
}

/// Takes back the packet from `start` on if it is larger than the receiver accepts.
pub(super) fn fits(out: &mut Vec<u8>, start: usize, packet_bytes_max: u32) -> bool {
    let fits = out.len() - start <= packet_bytes_max as usize;
    if !fits {
        out.truncate(start);
    }
    fits
}
