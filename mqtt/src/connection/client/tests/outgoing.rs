//! What a client sends.

use super::*;
use crate::TopicName;
use crate::packet::ForwardedProperties;

fn send(connection: &mut ClientConnection, payload: &[u8]) -> Option<Vec<u8>> {
    let topic = TopicName::new("topic").unwrap();
    let properties = ForwardedProperties::from_properties([Property::ContentType("c")]);
    let message = OutgoingPublish {
        topic: &topic,
        payload,
        qos: QoS::ExactlyOnce,
        retain: true,
        dup: true,
        packet_id: 5,
        properties: &properties,
        expiry_interval: Some(9),
    };
    let mut out = vec![0xFF];
    let is_sent = connection.encode_publish(&message, &mut out);
    assert_eq!(is_sent, out.len() > 1, "all or nothing");
    is_sent.then(|| out.split_off(1))
}

fn sent(connection: &mut ClientConnection) -> Vec<u8> {
    send(connection, b"x").unwrap()
}

#[test]
fn a_message_is_sent_as_its_version_allows() {
    for version in [V31, V311] {
        let bytes = sent(&mut connection(version));
        assert_eq!(
            bytes,
            [b"\x3D\x0A\0\x05topic\0\x05".as_slice(), b"x"].concat()
        );
    }
    let bytes = sent(&mut connection(V5));
    let expected = b"\x3D\x14\0\x05topic\0\x05\x09\x02\0\0\0\x09\x03\0\x01cx";
    assert_eq!(bytes, expected);
}

// Conforms: 5.0 [MQTT-3.2.2-11] [MQTT-3.2.2-14]
#[test]
fn a_message_is_sent_as_the_server_allows() {
    let none = Property::UserProperty("", "");
    let retain = Property::RetainAvailable(false);
    let (qos_0, qos_1) = (Property::MaximumQoS(false), Property::MaximumQoS(true));
    let table = [
        ([none, none], QoS::ExactlyOnce, 0x3D),
        ([none, qos_1], QoS::AtLeastOnce, 0x3B),
        ([none, qos_0], QoS::AtMostOnce, 0x31),
        ([retain, none], QoS::ExactlyOnce, 0x3C),
        ([retain, qos_0], QoS::AtMostOnce, 0x30),
    ];
    for (stated, qos, first) in table {
        let mut connection = connection_with(&stated);
        assert_eq!(connection.qos_of(QoS::ExactlyOnce), qos);
        assert_eq!(connection.qos_of(QoS::AtMostOnce), QoS::AtMostOnce);
        let bytes = sent(&mut connection);
        assert_eq!(bytes[0], first, "{stated:?}");
        let Packet::Publish(publish) = packet(&bytes, V5) else {
            panic!("{bytes:?}");
        };
        let packet_id = if qos.is_acknowledged() { 5 } else { 0 };
        assert_eq!(publish.header.packet_id, packet_id);
    }
}

#[test]
fn what_is_larger_than_the_server_accepts_is_not_sent() {
    let whole = u32::try_from(sent(&mut connection(V5)).len()).unwrap();
    for (size, is_sent) in [(whole, true), (whole - 1, false), (1, false)] {
        let mut connection = connection_with(&[Property::MaximumPacketSize(size)]);
        assert_eq!(send(&mut connection, b"x").is_some(), is_sent, "{size}");
    }
}

#[test]
fn a_length_that_cannot_be_expressed_is_not_sent() {
    let payload = vec![0; 268_435_455];
    let mut connection = connection(V311);
    let outcome = send(&mut connection, &payload);
    assert_eq!(outcome, None);
}

#[test]
fn topic_aliases_are_used_if_both_sides_want_them() {
    for (allowed, wished, is_used) in [(0, 9, false), (9, 0, false), (1, 9, true), (9, 1, true)] {
        let mut options = options(V5);
        options.server_topic_alias_max = wished;
        let mut connection = accepted(&options, &connack(&[Property::TopicAliasMaximum(allowed)]));
        let (first, second) = (sent(&mut connection), sent(&mut connection));
        let is_named = |bytes: &[u8]| bytes.windows(5).any(|it| it == b"topic");
        assert!(is_named(&first));
        assert_eq!(!is_named(&second), is_used, "{allowed} {wished}");
        assert_eq!(
            PublishProperties::of(properties(&second))
                .topic_alias
                .is_some(),
            is_used
        );
    }
    assert_eq!(ClientOptions::new(V5, "").server_topic_alias_max, 0, "off");
}

fn properties(bytes: &[u8]) -> Properties<'_> {
    let Packet::Publish(publish) = packet(bytes, V5) else {
        panic!("{bytes:?}");
    };
    publish.properties
}

#[test]
fn an_alias_without_room_is_not_used() {
    let whole = u32::try_from(sent(&mut connection(V5)).len()).unwrap();
    let mut options = options(V5);
    options.server_topic_alias_max = 9;
    let stated = [
        Property::TopicAliasMaximum(9),
        Property::MaximumPacketSize(whole),
    ];
    let mut connection = accepted(&options, &connack(&stated));
    for _ in 0..2 {
        let bytes = sent(&mut connection);
        assert_eq!(PublishProperties::of(properties(&bytes)).topic_alias, None);
    }
}

#[test]
fn the_end_says_why_as_far_as_there_is_room() {
    let bytes = |connection: &ClientConnection, reason, text| {
        let mut out = Vec::new();
        connection.encode_disconnect(reason, text, &mut out);
        out
    };
    let success = ReasonCode::Success;
    let too_large = ReasonCode::PacketTooLarge;
    let old = connection(V311);
    assert_eq!(bytes(&old, success, Some("x")), [0xE0, 0]);
    assert_eq!(bytes(&old, too_large, Some("x")), [0; 0]);
    let new = connection(V5);
    assert_eq!(bytes(&new, success, None), [0xE0, 0]);
    let with_will = ReasonCode::DisconnectWithWill;
    assert_eq!(bytes(&new, with_will, None), [0xE0, 2, 4, 0]);
    let unsupported = ReasonCode::UnsupportedProtocolVersion;
    assert_eq!(bytes(&new, unsupported, None), [0xE0, 2, 0x82, 0]);
    let expected = [0xE0, 6, 0x95, 4, 0x1F, 0, 1, b'x'];
    assert_eq!(bytes(&new, too_large, Some("x")), expected);
    let long = "x".repeat(65_536);
    assert_eq!(bytes(&new, too_large, Some(&long)), [0xE0, 2, 0x95, 0]);
    for (size, expected) in [(8, 8), (7, 4), (3, 0)] {
        let small = connection_with(&[Property::MaximumPacketSize(size)]);
        assert_eq!(bytes(&small, too_large, Some("x")).len(), expected);
    }
}

#[test]
fn a_ping_is_answered() {
    for version in [V31, V311, V5] {
        let mut connection = connection(version);
        let mut out = Vec::new();
        connection.encode_pingreq(&mut out);
        assert_eq!(out, [0xC0, 0]);
        let action = connection.handle(frame(&[0xD0, 0]));
        assert_eq!(action, Ok(ClientAction::Pingresp));
    }
}
