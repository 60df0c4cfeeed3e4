//! What a server may send after CONNACK.

use super::*;
use crate::packet::AckKind;

const QOS_1: [u8; 8] = [0x32, 6, 0, 1, b't', 0, 1, 0];

#[test]
fn each_qos_has_its_acknowledgement() {
    let ack = |kind| Some(PendingAck::new(kind, 7, ReasonCode::Success));
    for version in [V31, V311, V5] {
        let table = [
            (0x30, None),
            (0x31, None),
            (0x32, ack(AckKind::Puback)),
            (0x3C, ack(AckKind::Pubrec)),
        ];
        for (first, expected) in table {
            let mut body = vec![0, 1, b't'];
            if expected.is_some() {
                body.extend([0, 7]);
            }
            if version.is_v5() {
                body.push(0);
            }
            body.push(b'x');
            let length = u8::try_from(body.len()).unwrap();
            let bytes = [&[first, length], body.as_slice()].concat();
            let mut connection = connection(version);
            let Ok(ClientAction::Publish(incoming)) = connection.handle(frame(&bytes)) else {
                panic!("{bytes:?}");
            };
            assert_eq!(incoming.ack, expected);
            assert_eq!(incoming.topic.as_str(), "t");
            assert_eq!(incoming.publish.payload, b"x");
            assert_eq!(incoming.publish.header.retain, first == 0x31);
            assert_eq!(incoming.publish.header.dup, first == 0x3C);
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.2-10]
#[test]
fn topic_aliases_up_to_the_own_maximum_are_resolved() {
    let mut connection = connection(V5);
    let publish = |topic: &[u8], alias: u8| {
        let length = u8::try_from(6 + topic.len()).unwrap();
        let count = u8::try_from(topic.len()).unwrap();
        [&[0x30, length, 0, count], topic, &[3, 0x23, 0, alias]].concat()
    };
    let mut resolve = |topic: &[u8], alias| {
        let bytes = publish(topic, alias);
        match connection.handle(frame(&bytes)) {
            Ok(ClientAction::Publish(incoming)) => Ok(incoming.topic.as_str().to_owned()),
            Ok(other) => panic!("{other:?}"),
            Err(violation) => Err(violation.reason),
        }
    };
    assert_eq!(resolve(b"a", 1), Ok("a".to_owned()));
    assert_eq!(resolve(b"b", 2), Ok("b".to_owned()));
    assert_eq!(resolve(b"", 1), Ok("a".to_owned()));
    assert_eq!(resolve(b"", 2), Ok("b".to_owned()));
    assert_eq!(resolve(b"c", 1), Ok("c".to_owned()));
    assert_eq!(resolve(b"", 1), Ok("c".to_owned()));
    assert_eq!(resolve(b"a", 3), Err(ReasonCode::TopicAliasInvalid));
    assert_eq!(resolve(b"a", 0), Err(ReasonCode::TopicAliasInvalid));
}

#[test]
fn a_server_that_exceeds_the_receive_maximum_is_put_up_with() {
    let mut connection = connection(V5);
    for _ in 0..100 {
        assert!(connection.handle(frame(&QOS_1)).is_ok());
    }
}

#[test]
fn a_publish_that_must_not_come_is_a_violation() {
    let malformed = ReasonCode::MalformedPacket;
    let protocol = ReasonCode::ProtocolError;
    let invalid = ReasonCode::TopicNameInvalid;
    let table: [(ProtocolVersion, &[u8], ReasonCode); 12] = [
        (V311, &[0x32, 5, 0, 1, b't', 0, 0], malformed),
        (V311, &[0x36, 5, 0, 1, b't', 0, 1], malformed),
        (V311, &[0x38, 3, 0, 1, b't'], malformed),
        (V311, &[0x30, 3, 0, 1, b'#'], invalid),
        (V311, &[0x30, 3, 0, 1, b'+'], invalid),
        (V311, &[0x30, 2, 0, 0], invalid),
        (V5, &[0x32, 6, 0, 1, b't', 0, 0, 0], malformed),
        (V5, &[0x30, 4, 0, 1, b'#', 0], invalid),
        (V5, &[0x30, 3, 0, 0, 0], protocol),
        (V5, &[0x30, 6, 0, 1, b't', 2, 0x0B, 0], protocol),
        (V5, &[0x30, 8, 0, 1, b't', 4, 0x08, 0, 1, b'#'], protocol),
        (V5, &[0x30, 4, 0, 1, 0, 0], malformed),
    ];
    for (version, bytes, reason) in table {
        assert_eq!(
            refused(&mut connection(version), bytes),
            reason,
            "{bytes:?}"
        );
    }
    let mut options = options(V5);
    options.qos_max = QoS::AtMostOnce;
    let mut connection = accepted(&options, &connack(&[]));
    assert_eq!(refused(&mut connection, &QOS_1), protocol);
}

#[test]
fn what_a_server_must_not_send_is_a_violation() {
    let protocol = ReasonCode::ProtocolError;
    let malformed = ReasonCode::MalformedPacket;
    let connect = [
        0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'a',
    ];
    let both: [(&[u8], &[u8]); 4] = [
        (&[0x20, 2, 0, 0], &[0x20, 3, 0, 0, 0]),
        (&connect, &connect),
        (
            &[0x82, 6, 0, 1, 0, 1, b'a', 0],
            &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0],
        ),
        (
            &[0xA2, 5, 0, 1, 0, 1, b'a'],
            &[0xA2, 6, 0, 1, 0, 0, 1, b'a'],
        ),
    ];
    for (old, new) in both {
        assert_eq!(refused(&mut connection(V311), old), protocol, "{old:?}");
        assert_eq!(refused(&mut connection(V5), new), protocol, "{new:?}");
    }
    let table: [(ProtocolVersion, &[u8], ReasonCode); 9] = [
        (V311, &[0xC0, 0], protocol),
        (V5, &[0xC0, 0], protocol),
        (V311, &[0xE0, 0], protocol),
        (V311, &[0xF0, 0], malformed),
        (V5, &[0xF0, 0], protocol),
        (V5, &[0xE0, 2, 4, 0], protocol),
        (V5, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 1], protocol),
        (V5, &[0xE0, 1, 0x85], malformed),
        (V5, &[0xD0, 1, 0], malformed),
    ];
    for (version, bytes, reason) in table {
        assert_eq!(
            refused(&mut connection(version), bytes),
            reason,
            "{bytes:?}"
        );
    }
}

#[test]
fn an_acknowledgement_with_a_code_that_it_may_not_have_is_understood() {
    let codes = [
        (0x00, ReasonCode::Success),
        (0x04, ReasonCode::Success),
        (0x10, ReasonCode::NoMatchingSubscribers),
        (0x7F, ReasonCode::Success),
        (0x87, ReasonCode::NotAuthorized),
        (0x92, ReasonCode::PacketIdentifierNotFound),
        (0x95, ReasonCode::PacketTooLarge),
        (0xFF, ReasonCode::UnspecifiedError),
    ];
    let mut connection = connection(V5);
    for first in [0x40, 0x50] {
        for (code, reason) in codes {
            let bytes = [first, 3, 0, 1, code];
            let Ok(ClientAction::Ack(ack)) = connection.handle(frame(&bytes)) else {
                panic!("{bytes:?}");
            };
            assert_eq!(ack.reason, reason, "{bytes:?}");
        }
    }
}

#[test]
fn a_farewell_says_why() {
    let raw = [0x1F, 0, 1, b'x', 0x1C, 0, 1, b's'];
    let bytes = [[0xE0, 10, 0x9C, 8].as_slice(), &raw].concat();
    let mut connection = connection(V5);
    let Ok(ClientAction::Disconnect(disconnect)) = connection.handle(frame(&bytes)) else {
        panic!("{bytes:?}");
    };
    assert_eq!(disconnect.reason, ReasonCode::UseAnotherServer);
    assert_eq!(disconnect.properties.reason_string(), Some("x"));
    assert_eq!(disconnect.properties.server_reference(), Some("s"));
    assert!(connection.handle(frame(&[0xE0, 0])).is_ok());
}
