//! PUBLISH packets inside the payload of another one, as a bridge may pack them, and the answer to
//! all of them.

use super::outgoing::fits;
use super::server::check_publish;
use super::{IncomingPublish, IncomingTopic, Limits, PendingAck, ServerConnection};
use crate::packet::PublishProperties;
use crate::packet::{Ack, Frame, Packet, PacketType, Properties, Property, Publish};
use crate::{ProtocolVersion, ProtocolViolation, QoS};

impl<'p> IncomingPublish<'p> {
    /// The message in a packet that came inside another one. It has to keep to the same limits as
    /// if it had come by itself. It states its topic, its QoS is 0 or 1, and it has no answer of
    /// its own.
    ///
    /// # Errors
    /// It must not come, or not like this; the connection is closed with the reason.
    pub fn packed(frame: Frame<'p>, limits: &Limits) -> Result<Self, ProtocolViolation> {
        if frame.packet_type() != PacketType::Publish {
            let detail = "a batch holds a packet that is no PUBLISH";
            return Err(ProtocolViolation::malformed(detail));
        }
        let publish = Publish::decode(frame, ProtocolVersion::V5)?;
        let properties = PublishProperties::of(publish.properties);
        check_publish(&publish, &properties, limits)?;
        let detail = if publish.header.qos == QoS::ExactlyOnce {
            "a batch holds a message of QoS 2"
        } else if publish.header.topic.is_empty() || properties.topic_alias.is_some() {
            "a batch holds a message with a topic alias"
        } else {
            return Ok(Self {
                topic: IncomingTopic::Stated(publish.header.topic),
                publish,
                properties,
                ack: None,
            });
        };
        Err(ProtocolViolation::protocol(detail))
    }
}

impl ServerConnection {
    /// Appends an acknowledgement with a Reason String or User Property, which is left out if the
    /// client does not want to know [MQTT-3.1.2-29] or accepts no packet of that size.
    pub fn encode_ack_saying(&mut self, ack: PendingAck, said: Property<'_>, out: &mut Vec<u8>) {
        let mut raw = Vec::new();
        said.encode(&mut raw);
        let packet = Ack {
            reason: ack.reason,
            properties: Properties::trusted(&raw),
            ..Ack::new(ack.kind, ack.packet_id, ack.reason)
        };
        let start = out.len();
        if self.problem_information && self.version.is_v5() {
            Packet::Ack(packet).encode(self.version, out);
            if fits(out, start, self.client_packet_bytes_max) {
                return self.quota.end(ack);
            }
        }
        self.encode_ack(ack, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Handshake;
    use super::*;
    use crate::ReasonCode;
    use crate::packet::Connect;

    fn packed<'p>(bytes: &'p [u8], limits: &Limits) -> Result<IncomingPublish<'p>, ReasonCode> {
        let (frame, _) = Frame::split(bytes, 1 << 20).unwrap().unwrap();
        IncomingPublish::packed(frame, limits).map_err(|it| it.reason)
    }

    #[test]
    fn a_packed_message_keeps_to_the_limits_and_has_no_answer() {
        let limits = Limits {
            topic_bytes_max: 3,
            topic_levels_max: 2,
            user_properties_max: 1,
            retain_available: false,
            ..Limits::default()
        };
        for bytes in [
            &[0x30, 5, 0, 1, b't', 0, b'x'][..],
            &[0x32, 7, 0, 1, b't', 0, 1, 0, b'x'],
        ] {
            let incoming = packed(bytes, &limits).unwrap();
            let header = incoming.publish.header;
            assert_eq!(
                (incoming.topic.as_str(), incoming.publish.payload),
                ("t", &b"x"[..])
            );
            assert_eq!((header.qos as u8, incoming.ack), (bytes[0] >> 1 & 3, None));
        }
        let table: [(&[u8], ReasonCode); 9] = [
            (&[0xC0, 0], ReasonCode::MalformedPacket),
            (&[0x34, 6, 0, 1, b't', 0, 1, 0], ReasonCode::ProtocolError),
            (&[0x30, 6, 0, 0, 3, 0x23, 0, 1], ReasonCode::ProtocolError),
            (&[0x30, 3, 0, 0, 0], ReasonCode::ProtocolError),
            (
                &[0x30, 7, 0, 1, b't', 3, 0x23, 0, 1],
                ReasonCode::ProtocolError,
            ),
            (&[0x31, 4, 0, 1, b't', 0], ReasonCode::RetainNotSupported),
            (
                &[0x30, 7, 0, 4, 1, 1, 1, 1, 0],
                ReasonCode::TopicNameInvalid,
            ),
            (
                &[0x30, 6, 0, 3, b'/', b'/', b'/', 0],
                ReasonCode::TopicNameInvalid,
            ),
            (
                &[0x30, 14, 0, 1, b't', 10, 0x26, 0, 0, 0, 0, 0x26, 0, 0, 0, 0],
                ReasonCode::QuotaExceeded,
            ),
        ];
        for (bytes, expected) in table {
            assert_eq!(packed(bytes, &limits), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn what_an_answer_says_is_left_out_where_it_is_not_wanted() {
        let said = |property: &[u8]| {
            let raw = Properties::trusted(property);
            let connect = Connect {
                version: ProtocolVersion::V5,
                is_bridge: false,
                clean_start: true,
                keep_alive: 0,
                properties: raw,
                client_id: "c",
                will: None,
                user_name: None,
                password: None,
            };
            let handshake = Handshake::new(&connect, &Limits::default(), String::new);
            let mut out = Vec::new();
            handshake.unwrap().connection.encode_ack_saying(
                PendingAck::puback(7).with_reason(ReasonCode::NotAuthorized),
                Property::UserProperty("name", "value"),
                &mut out,
            );
            out
        };
        let with = b"\x40\x12\x00\x07\x87\x0e\x26\x00\x04name\x00\x05value";
        assert_eq!(said(&[]), with);
        assert_eq!(said(&[0x27, 0, 0, 0, 20]), with);
        // Maximum Packet Size, and Request Problem Information.
        for property in [&[0x27, 0, 0, 0, 19][..], &[0x17, 0]] {
            assert_eq!(said(property), [0x40, 3, 0, 7, 0x87], "{property:?}");
        }
    }
}
