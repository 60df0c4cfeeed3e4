//! rumqttc's codec of 5.0.

use bytes::BytesMut;
use rumqttc::mqttbytes::v5::{
    AuthReasonCode, Connect, ConnectAuth, ConnectReturnCode, LastWill, Packet, SubscribeReasonCode,
};
use rumqttc::mqttbytes::{Error, check};

use super::v5_properties as properties;
use crate::outcome::Outcome;
use crate::value::{Field, Value};

pub(crate) fn decode(bytes: &[u8]) -> Outcome {
    match check(bytes.iter(), None) {
        Ok(_) => {}
        Err(Error::InsufficientBytes(_)) => return Outcome::Incomplete,
        Err(error) => return Outcome::Refused(format!("{error:?}")),
    }
    let mut stream = BytesMut::from(bytes);
    let packet = match Packet::read(&mut stream, None) {
        Ok(packet) => packet,
        Err(error) => return Outcome::Refused(format!("{error:?}")),
    };
    let mut encoded = BytesMut::new();
    let written = packet.write(&mut encoded, None);
    Outcome::Taken {
        value: value(&packet),
        encoded: written.map_or_else(|_| Vec::new(), |_| encoded.to_vec()),
        len: bytes.len() - stream.len(),
    }
}

fn text(text: &str) -> Field {
    Field::Text(text.to_owned())
}

fn value(packet: &Packet) -> Value {
    match packet {
        Packet::Connect(connect, will, auth) => value_of_connect(connect, will.as_ref(), auth),
        Packet::ConnAck(packet) => Value::new(
            2,
            [
                Field::Byte(packet.session_present.into()),
                Field::Byte(connack_code(packet.code)),
                properties::of_connack(packet.properties.as_ref()),
            ],
        ),
        Packet::Publish(packet) => {
            let qos = packet.qos as u8;
            let topic = text(str::from_utf8(&packet.topic).unwrap());
            let packet_id = (qos > 0).then_some(Field::Two(packet.pkid));
            let block = properties::of_publish(packet.properties.as_ref());
            let payload = Field::Rest(packet.payload.to_vec());
            let flags = u8::from(packet.dup) << 3 | qos << 1 | u8::from(packet.retain);
            let fields = [Some(topic), packet_id, Some(block), Some(payload)];
            Value {
                first: 3 << 4 | flags,
                fields: fields.into_iter().flatten().collect(),
            }
        }
        Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
            value_of_ack(packet)
        }
        Packet::Subscribe(packet) => {
            let filters = packet.filters.iter().flat_map(|it| {
                let rule = it.retain_forward_rule.clone() as u8;
                let local = u8::from(it.nolocal) << 2 | u8::from(it.preserve_retain) << 3;
                let options = it.qos as u8 | local | rule << 4;
                [text(&it.path), Field::Byte(options)]
            });
            let block = properties::of_subscribe(packet.properties.as_ref());
            let fields = [Field::Two(packet.pkid), block];
            Value::new(8, fields.into_iter().chain(filters))
        }
        Packet::Unsubscribe(packet) => {
            let block = properties::of_unsubscribe(packet.properties.as_ref());
            let fields = [Field::Two(packet.pkid), block];
            let filters = packet.filters.iter().map(|it| text(it));
            Value::new(10, fields.into_iter().chain(filters))
        }
        Packet::SubAck(packet) => {
            let block = properties::of_ack(properties::answer!(packet.properties));
            let codes = packet.return_codes.iter().copied().map(suback_code);
            let codes = Field::Rest(codes.collect());
            Value::new(9, [Field::Two(packet.pkid), block, codes])
        }
        Packet::UnsubAck(packet) => {
            let block = properties::of_ack(properties::answer!(packet.properties));
            let codes = Field::Rest(packet.reasons.iter().map(|it| *it as u8).collect());
            Value::new(11, [Field::Two(packet.pkid), block, codes])
        }
        Packet::PingReq => Value::new(12, []),
        Packet::PingResp => Value::new(13, []),
        Packet::Disconnect(packet) => {
            let block = properties::of_disconnect(packet.properties.as_ref());
            Value::new(14, [Field::Byte(packet.reason_code as u8), block])
        }
        Packet::Auth(packet) => {
            let code = match packet.code {
                AuthReasonCode::Success => 0x00,
                AuthReasonCode::Continue => 0x18,
                AuthReasonCode::ReAuthenticate => 0x19,
            };
            let block = properties::of_auth(packet.properties.as_ref());
            Value::new(15, [Field::Byte(code), block])
        }
    }
}

fn value_of_ack(packet: &Packet) -> Value {
    let (packet_type, packet_id, code, block) = match packet {
        Packet::PubAck(ack) => {
            let block = properties::answer!(ack.properties);
            (4, ack.pkid, ack.reason as u8, block)
        }
        Packet::PubRec(ack) => {
            let block = properties::answer!(ack.properties);
            (5, ack.pkid, ack.reason as u8, block)
        }
        Packet::PubRel(ack) => {
            let block = properties::answer!(ack.properties);
            (6, ack.pkid, ack.reason as u8, block)
        }
        Packet::PubComp(ack) => {
            let block = properties::answer!(ack.properties);
            (7, ack.pkid, ack.reason as u8, block)
        }
        other => panic!("no acknowledgement: {other:?}"),
    };
    let block = properties::of_ack(block);
    Value::new(
        packet_type,
        [Field::Two(packet_id), Field::Byte(code), block],
    )
}

fn value_of_connect(connect: &Connect, will: Option<&LastWill>, auth: &ConnectAuth) -> Value {
    let mut flags = u8::from(connect.clean_start) << 1;
    let mut fields = vec![
        text("MQTT"),
        Field::Byte(5),
        Field::Byte(0),
        Field::Two(connect.keep_alive),
        properties::of_connect(connect.properties.as_ref()),
        text(&connect.client_id),
    ];
    if let Some(will) = will {
        flags |= 1 << 2 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
        fields.push(properties::of_will(will.properties.as_ref()));
        fields.push(text(str::from_utf8(&will.topic).unwrap()));
        fields.push(Field::Binary(will.message.to_vec()));
    }
    let (user_name, password) = match auth {
        ConnectAuth::None => (None, None),
        ConnectAuth::Username { username } => (Some(username), None),
        ConnectAuth::Password { password } => (None, Some(password)),
        ConnectAuth::UsernamePassword { username, password } => (Some(username), Some(password)),
    };
    flags |= u8::from(user_name.is_some()) << 7 | u8::from(password.is_some()) << 6;
    fields.extend(user_name.map(|it| text(it)));
    fields.extend(password.map(|it| Field::Binary(it.to_vec())));
    fields[2] = Field::Byte(flags);
    Value::new(1, fields)
}

fn connack_code(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::UnspecifiedError => 0x80,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
        other => panic!("a code of 3.1.1: {other:?}"),
    }
}

fn suback_code(code: SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => qos as u8,
        SubscribeReasonCode::Unspecified | SubscribeReasonCode::Failure => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
    }
}
