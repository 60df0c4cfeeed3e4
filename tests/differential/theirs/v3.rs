//! rumqttc's codec of 3.1.1.

use bytes::BytesMut;
use rumqttc_v4::mqttbytes::v4::{Connect, ConnectAuth, Packet, SubscribeReasonCode};
use rumqttc_v4::mqttbytes::{Error, check};

use crate::outcome::Outcome;
use crate::value::{Field, Value};

pub(super) const SIZE_MAX: usize = 1 << 28;

pub(crate) fn decode(bytes: &[u8]) -> Outcome {
    match check(bytes.iter(), SIZE_MAX) {
        Ok(_) => {}
        Err(Error::InsufficientBytes(_)) => return Outcome::Incomplete,
        Err(error) => return Outcome::Refused(format!("{error:?}")),
    }
    let mut stream = BytesMut::from(bytes);
    let packet = match Packet::read(&mut stream, SIZE_MAX) {
        Ok(packet) => packet,
        Err(error) => return Outcome::Refused(format!("{error:?}")),
    };
    let mut encoded = BytesMut::new();
    let written = packet.write(&mut encoded, SIZE_MAX);
    Outcome::Taken {
        value: value(&packet),
        encoded: written.map_or_else(|_| Vec::new(), |_| encoded.to_vec()),
        len: bytes.len() - stream.len(),
    }
}

fn value(packet: &Packet) -> Value {
    let text = |text: &str| Field::Text(text.to_owned());
    match packet {
        Packet::Connect(connect) => value_of_connect(connect),
        Packet::ConnAck(connack) => {
            let codes = [u8::from(connack.session_present), connack.code as u8];
            Value::new(2, codes.map(Field::Byte))
        }
        Packet::Publish(publish) => {
            let qos = publish.qos as u8;
            let topic = text(str::from_utf8(&publish.topic).unwrap());
            let packet_id = (qos > 0).then_some(Field::Two(publish.pkid));
            let payload = Field::Rest(publish.payload.to_vec());
            let flags = u8::from(publish.dup) << 3 | qos << 1 | u8::from(publish.retain);
            let fields = [Some(topic), packet_id, Some(payload)];
            Value {
                first: 3 << 4 | flags,
                fields: fields.into_iter().flatten().collect(),
            }
        }
        Packet::PubAck(ack) => Value::new(4, [Field::Two(ack.pkid)]),
        Packet::PubRec(ack) => Value::new(5, [Field::Two(ack.pkid)]),
        Packet::PubRel(ack) => Value::new(6, [Field::Two(ack.pkid)]),
        Packet::PubComp(ack) => Value::new(7, [Field::Two(ack.pkid)]),
        Packet::Subscribe(packet) => {
            let filters = packet.filters.iter();
            let filters = filters.flat_map(|it| [text(&it.path), Field::Byte(it.qos as u8)]);
            Value::new(8, [Field::Two(packet.pkid)].into_iter().chain(filters))
        }
        Packet::SubAck(packet) => {
            let codes = packet.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => *qos as u8,
                SubscribeReasonCode::Failure => 0x80,
            });
            let codes = Field::Rest(codes.collect());
            Value::new(9, [Field::Two(packet.pkid), codes])
        }
        Packet::Unsubscribe(packet) => {
            let filters = packet.topics.iter().map(|it| text(it));
            Value::new(10, [Field::Two(packet.pkid)].into_iter().chain(filters))
        }
        Packet::UnsubAck(packet) => Value::new(11, [Field::Two(packet.pkid)]),
        Packet::PingReq => Value::new(12, []),
        Packet::PingResp => Value::new(13, []),
        Packet::Disconnect => Value::new(14, []),
    }
}

fn value_of_connect(connect: &Connect) -> Value {
    let mut flags = u8::from(connect.clean_session) << 1;
    let mut fields = vec![
        Field::Text("MQTT".to_owned()),
        Field::Byte(4),
        Field::Byte(0),
        Field::Two(connect.keep_alive),
        Field::Text(connect.client_id.clone()),
    ];
    if let Some(will) = &connect.last_will {
        flags |= 1 << 2 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
        fields.push(Field::Text(will.topic.clone()));
        fields.push(Field::Binary(will.message.to_vec()));
    }
    match &connect.auth {
        ConnectAuth::None => {}
        ConnectAuth::Username { username } => {
            flags |= 1 << 7;
            fields.push(Field::Text(username.clone()));
        }
        ConnectAuth::UsernamePassword { username, password } => {
            flags |= 0b11 << 6;
            fields.push(Field::Text(username.clone()));
            fields.push(Field::Binary(password.to_vec()));
        }
    }
    fields[2] = Field::Byte(flags);
    Value::new(1, fields)
}
