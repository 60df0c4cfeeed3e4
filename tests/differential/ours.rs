//! What the package `mqtt` makes of bytes.

use mqtt::ProtocolVersion;
use mqtt::packet::{AckKind, Connect, Frame, Packet, Properties as Block, Property, Publish};

use crate::outcome::Outcome;
use crate::value::{Field, Item, Properties, Value};

pub(crate) fn decode(version: ProtocolVersion, bytes: &[u8]) -> Outcome {
    let (frame, len) = match Frame::split(bytes, usize::MAX) {
        Ok(Some(found)) => found,
        Ok(None) => return Outcome::Incomplete,
        Err(violation) => return Outcome::Refused(violation.detail.to_owned()),
    };
    match Packet::decode(frame, version) {
        // A connection has one version only.
        Ok(Packet::Connect(connect)) if connect.version != version => {
            Outcome::Refused("a CONNECT of another version".to_owned())
        }
        Ok(packet) => {
            let mut encoded = Vec::new();
            packet.encode(version, &mut encoded);
            Outcome::Taken {
                value: value(&packet, version),
                encoded,
                len,
            }
        }
        Err(violation) => Outcome::Refused(violation.detail.to_owned()),
    }
}

fn value(packet: &Packet<'_>, version: ProtocolVersion) -> Value {
    let block = |block| {
        let field = Field::Properties(properties(block));
        version.is_v5().then_some(field)
    };
    let code = |code| version.is_v5().then_some(Field::Byte(code));
    let two = |value| Some(Field::Two(value));
    match packet {
        Packet::Connect(connect) => value_of_connect(connect),
        Packet::Connack(connack) => {
            let code = if version.is_v5() {
                connack.reason as u8
            } else {
                connack.reason.connect_return_code()
            };
            let codes = [u8::from(connack.session_present), code].map(Field::Byte);
            let fields = codes.into_iter().chain(block(connack.properties));
            Value::new(2, fields)
        }
        Packet::Publish(publish) => value_of_publish(publish, block(publish.properties)),
        Packet::Ack(ack) => {
            let packet_type = match ack.kind {
                AckKind::Puback => 4,
                AckKind::Pubrec => 5,
                AckKind::Pubrel => 6,
                AckKind::Pubcomp => 7,
            };
            let code = code(ack.reason as u8);
            let fields = [two(ack.packet_id), code, block(ack.properties)];
            Value::new(packet_type, fields.into_iter().flatten())
        }
        Packet::Subscribe(packet) => {
            let filters = packet.filters().flat_map(|(filter, options)| {
                let options = Field::Byte(options.to_u8());
                [Field::Text(filter.to_owned()), options]
            });
            let fields = [two(packet.packet_id), block(packet.properties)];
            Value::new(8, fields.into_iter().flatten().chain(filters))
        }
        Packet::Suback(packet) => {
            let codes = Some(Field::Rest(packet.codes.to_vec()));
            let fields = [two(packet.packet_id), block(packet.properties), codes];
            Value::new(9, fields.into_iter().flatten())
        }
        Packet::Unsubscribe(packet) => {
            let filters = packet.filters().map(|it| Field::Text(it.to_owned()));
            let fields = [two(packet.packet_id), block(packet.properties)];
            Value::new(10, fields.into_iter().flatten().chain(filters))
        }
        Packet::Unsuback(packet) => {
            let codes = Field::Rest(packet.codes.to_vec());
            let codes = version.is_v5().then_some(codes);
            let fields = [two(packet.packet_id), block(packet.properties), codes];
            Value::new(11, fields.into_iter().flatten())
        }
        Packet::Pingreq => Value::new(12, []),
        Packet::Pingresp => Value::new(13, []),
        Packet::Disconnect(packet) => {
            let fields = [code(packet.reason as u8), block(packet.properties)];
            Value::new(14, fields.into_iter().flatten())
        }
        Packet::Auth(packet) => {
            let fields = [code(packet.reason as u8), block(packet.properties)];
            Value::new(15, fields.into_iter().flatten())
        }
    }
}

fn value_of_publish(publish: &Publish<'_>, block: Option<Field>) -> Value {
    let header = publish.header;
    let qos = header.qos as u8;
    let topic = Field::Text(header.topic.to_owned());
    let packet_id = (qos > 0).then_some(Field::Two(header.packet_id));
    let payload = Field::Rest(publish.payload.to_vec());
    let fields = [Some(topic), packet_id, block, Some(payload)];
    let flags = u8::from(header.dup) << 3 | qos << 1 | u8::from(header.retain);
    Value {
        first: 3 << 4 | flags,
        fields: fields.into_iter().flatten().collect(),
    }
}

fn value_of_connect(connect: &Connect<'_>) -> Value {
    let is_v5 = connect.version.is_v5();
    let block = |block| is_v5.then(|| Field::Properties(properties(block)));
    let mut flags = u8::from(connect.clean_start) << 1
        | u8::from(connect.user_name.is_some()) << 7
        | u8::from(connect.password.is_some()) << 6;
    let mut fields = vec![
        Field::Text("MQTT".to_owned()),
        Field::Byte(connect.version as u8),
        Field::Byte(0),
        Field::Two(connect.keep_alive),
    ];
    fields.extend(block(connect.properties));
    fields.push(Field::Text(connect.client_id.to_owned()));
    if let Some(will) = &connect.will {
        flags |= 1 << 2 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
        fields.extend(block(will.properties));
        fields.push(Field::Text(will.topic.to_owned()));
        fields.push(Field::Binary(will.payload.to_vec()));
    }
    fields.extend(connect.user_name.map(|it| Field::Text(it.to_owned())));
    fields.extend(connect.password.map(|it| Field::Binary(it.to_vec())));
    fields[2] = Field::Byte(flags);
    Value::new(1, fields)
}

fn properties(block: Block<'_>) -> Properties {
    let list = block.iter().map(|property| match property {
        Property::PayloadFormatIndicator(it) => (0x01, Item::Byte(it.into())),
        Property::MessageExpiryInterval(it) => (0x02, Item::Four(it)),
        Property::ContentType(it) => (0x03, Item::Text(it.to_owned())),
        Property::ResponseTopic(it) => (0x08, Item::Text(it.to_owned())),
        Property::CorrelationData(it) => (0x09, Item::Binary(it.to_vec())),
        Property::SubscriptionIdentifier(it) => (0x0B, Item::Number(it)),
        Property::SessionExpiryInterval(it) => (0x11, Item::Four(it)),
        Property::AssignedClientIdentifier(it) => (0x12, Item::Text(it.to_owned())),
        Property::ServerKeepAlive(it) => (0x13, Item::Two(it)),
        Property::AuthenticationMethod(it) => (0x15, Item::Text(it.to_owned())),
        Property::AuthenticationData(it) => (0x16, Item::Binary(it.to_vec())),
        Property::RequestProblemInformation(it) => (0x17, Item::Byte(it.into())),
        Property::WillDelayInterval(it) => (0x18, Item::Four(it)),
        Property::RequestResponseInformation(it) => (0x19, Item::Byte(it.into())),
        Property::ResponseInformation(it) => (0x1A, Item::Text(it.to_owned())),
        Property::ServerReference(it) => (0x1C, Item::Text(it.to_owned())),
        Property::ReasonString(it) => (0x1F, Item::Text(it.to_owned())),
        Property::ReceiveMaximum(it) => (0x21, Item::Two(it)),
        Property::TopicAliasMaximum(it) => (0x22, Item::Two(it)),
        Property::TopicAlias(it) => (0x23, Item::Two(it)),
        Property::MaximumQoS(it) => (0x24, Item::Byte(it.into())),
        Property::RetainAvailable(it) => (0x25, Item::Byte(it.into())),
        Property::UserProperty(name, value) => {
            (0x26, Item::Pair(name.to_owned(), value.to_owned()))
        }
        Property::MaximumPacketSize(it) => (0x27, Item::Four(it)),
        Property::WildcardSubscriptionAvailable(it) => (0x28, Item::Byte(it.into())),
        Property::SubscriptionIdentifierAvailable(it) => (0x29, Item::Byte(it.into())),
        Property::SharedSubscriptionAvailable(it) => (0x2A, Item::Byte(it.into())),
    });
    Properties(list.collect())
}
