//! What a client sends on an accepted connection, apart from its requests.

use super::super::PendingAck;
use super::super::outgoing::fits;
use super::ClientConnection;
use crate::packet::{
    Ack, Disconnect, ForwardedProperties, Packet, Properties, Property, PublishHeader,
    VARIABLE_BYTE_INTEGER_MAX, encode_publish,
};
use crate::{QoS, ReasonCode, TopicName};

/// Bytes of a PUBLISH beside topic, payload and forwarded properties, at most: fixed header,
/// lengths, Packet Identifier and the two properties of this side.
const OVERHEAD_BYTES_MAX: usize = 32;

/// A message on its way to the server.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingPublish<'a> {
    /// Where to.
    pub topic: &'a TopicName,
    /// The Application Message.
    pub payload: &'a [u8],
    /// As wished; see [`ClientConnection::qos_of`].
    pub qos: QoS,
    /// As wished; it is not set if the server has no retained messages.
    pub retain: bool,
    /// It may have been sent before.
    pub dup: bool,
    /// Not zero, unless the QoS is 0, which has none.
    pub packet_id: u16,
    /// What travels with the message; left out in MQTT 3.
    pub properties: &'a ForwardedProperties,
    /// Seconds of its Message Expiry Interval that are left; left out in MQTT 3.
    pub expiry_interval: Option<u32>,
}

impl ClientConnection {
    /// The QoS that a message is sent with: the wished one, unless the server's maximum is lower
    /// [MQTT-3.2.2-11].
    #[must_use]
    pub fn qos_of(&self, wished: QoS) -> QoS {
        wished.min(self.terms.qos_max)
    }

    /// Appends a PUBLISH. False, and nothing is appended, if the server would not accept a packet
    /// of that size.
    #[must_use]
    pub fn encode_publish(&mut self, message: &OutgoingPublish<'_>, out: &mut Vec<u8>) -> bool {
        let properties = message.properties.as_bytes();
        let content = message.payload.len() + message.topic.as_str().len() + properties.len();
        let (version, packet_bytes_max) = (self.version, self.terms.packet_bytes_max);
        // A length that could not be expressed is not tried; nor is what is far too large.
        if message.payload.len() > packet_bytes_max as usize
            || content + OVERHEAD_BYTES_MAX > VARIABLE_BYTE_INTEGER_MAX as usize
        {
            return false;
        }
        let qos = self.qos_of(message.qos);
        // [MQTT-3.2.2-14]
        let retain = message.retain && self.terms.retain_available;
        self.outgoing_aliases.send(message.topic, |topic, alias| {
            let header = PublishHeader {
                dup: message.dup && qos.is_acknowledged(),
                qos,
                retain,
                topic,
                packet_id: message.packet_id,
            };
            let mut own = Vec::new();
            if let Some(alias) = alias {
                Property::TopicAlias(alias).encode(&mut own);
            }
            if let Some(seconds) = message.expiry_interval {
                Property::MessageExpiryInterval(seconds).encode(&mut own);
            }
            let start = out.len();
            let properties = [own.as_slice(), properties];
            encode_publish(out, version, &header, &properties, message.payload);
            fits(out, start, packet_bytes_max)
        })
    }

    /// Appends an acknowledgement; the reason is left out in MQTT 3.
    pub fn encode_ack(&mut self, ack: PendingAck, out: &mut Vec<u8>) {
        let reason = if self.version.is_v5() {
            ack.reason
        } else {
            ReasonCode::Success
        };
        Packet::Ack(Ack::new(ack.kind, ack.packet_id, reason)).encode(self.version, out);
    }

    /// Appends a PINGREQ.
    pub fn encode_pingreq(&self, out: &mut Vec<u8>) {
        Packet::Pingreq.encode(self.version, out);
    }

    /// Appends the DISCONNECT, with a Reason String if there is one and room for it. MQTT 3 has it
    /// for success only, which is the end without the will; for any other reason the connection
    /// is closed without.
    pub fn encode_disconnect(&self, reason: ReasonCode, text: Option<&str>, out: &mut Vec<u8>) {
        if !self.version.is_v5() && reason != ReasonCode::Success {
            return;
        }
        let mut raw = Vec::new();
        let text = text.filter(|it| it.len() <= usize::from(u16::MAX));
        if let Some(text) = text.filter(|_| self.version.is_v5()) {
            Property::ReasonString(text).encode(&mut raw);
        }
        let reason = Disconnect::reason(reason);
        let start = out.len();
        for raw in [raw.as_slice(), &[]] {
            let properties = Properties::trusted(raw);
            Packet::Disconnect(Disconnect { reason, properties }).encode(self.version, out);
            // [MQTT-3.14.2-3]
            if fits(out, start, self.terms.packet_bytes_max) {
                return;
            }
        }
    }
}
