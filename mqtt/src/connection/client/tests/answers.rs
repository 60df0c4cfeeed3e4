//! Requests, acknowledgements, and what answers them.

use super::*;
use crate::packet::{AckKind, RetainHandling, SubscriptionOptions};
use crate::{QoS, TopicFilter};

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

const ALL: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::ExactlyOnce,
    no_local: true,
    retain_as_published: true,
    retain_handling: RetainHandling::DoNotSend,
};

fn subscribe(connection: &mut ClientConnection, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<_> = filters.iter().map(|it| (filter(it), ALL)).collect();
    let pairs = [("a".to_owned(), "b".to_owned())];
    let mut out = Vec::new();
    connection
        .encode_subscribe(packet_id, &filters, Some(300), &pairs, &mut out)
        .unwrap();
    out
}

fn unsubscribe(connection: &mut ClientConnection, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<_> = filters.iter().map(|it| filter(it)).collect();
    let pairs = [("a".to_owned(), "b".to_owned())];
    let mut out = Vec::new();
    connection
        .encode_unsubscribe(packet_id, &filters, &pairs, &mut out)
        .unwrap();
    out
}

#[test]
fn requests_have_what_their_version_knows() {
    for version in [V31, V311, V5] {
        let is_new = version.is_v5();
        let mut connection = connection(version);
        let bytes = subscribe(&mut connection, 7, &["a/+", "$share/g/b"]);
        let Packet::Subscribe(subscribe) = packet(&bytes, version) else {
            panic!("{bytes:?}");
        };
        assert_eq!(subscribe.packet_id, 7);
        assert_eq!(subscribe.identifier(), is_new.then_some(300));
        let mut options = [ALL; 2];
        options[1].no_local = false;
        if !is_new {
            let qos = QoS::ExactlyOnce;
            options = [SubscriptionOptions {
                qos,
                ..SubscriptionOptions::default()
            }; 2];
        }
        let expected = ["a/+", "$share/g/b"].into_iter().zip(options);
        assert!(subscribe.filters().eq(expected), "{bytes:?}");
        let pair = Property::UserProperty("a", "b");
        assert_eq!(subscribe.properties.iter().any(|it| it == pair), is_new);

        let bytes = unsubscribe(&mut connection, 8, &["a/+", "c"]);
        let Packet::Unsubscribe(unsubscribe) = packet(&bytes, version) else {
            panic!("{bytes:?}");
        };
        assert_eq!(unsubscribe.packet_id, 8);
        assert!(unsubscribe.filters().eq(["a/+", "c"]));
        assert_eq!(unsubscribe.properties.iter().any(|it| it == pair), is_new);
    }
}

#[test]
fn what_the_server_does_not_have_is_not_asked_for() {
    let mut connection = connection_with(&[
        Property::WildcardSubscriptionAvailable(false),
        Property::SharedSubscriptionAvailable(false),
        Property::SubscriptionIdentifierAvailable(false),
    ]);
    let bytes = subscribe(&mut connection, 1, &["a"]);
    let Packet::Subscribe(sent) = packet(&bytes, V5) else {
        panic!("{bytes:?}");
    };
    assert_eq!(sent.identifier(), None);
    for (text, reason) in [
        ("#", ReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/a", ReasonCode::SharedSubscriptionsNotSupported),
    ] {
        let filters = [(filter("a"), ALL), (filter(text), ALL)];
        let mut out = Vec::new();
        let sent = connection.encode_subscribe(2, &filters, None, &[], &mut out);
        assert_eq!(sent, Err(RequestError::Unavailable(reason)));
        assert!(out.is_empty());
    }
}

#[test]
fn a_request_that_cannot_be_sent_appends_nothing() {
    let mut connection = connection_with(&[Property::MaximumPacketSize(40)]);
    let pair = |name: &str| vec![(name.to_owned(), String::new())];
    let long = "x".repeat(65_536);
    let topic = "x".repeat(40);
    let table = [
        (0, "a", Some(1), Vec::new(), RequestError::Malformed),
        (1, "", Some(1), Vec::new(), RequestError::Malformed),
        (1, "a", Some(0), Vec::new(), RequestError::InvalidProperty),
        (
            1,
            "a",
            Some(1 << 28),
            Vec::new(),
            RequestError::InvalidProperty,
        ),
        (1, "a", Some(1), pair("\0"), RequestError::InvalidProperty),
        (1, "a", Some(1), pair(&long), RequestError::InvalidProperty),
        (1, &topic, Some(1), Vec::new(), RequestError::TooLarge),
    ];
    for (packet_id, text, identifier, pairs, error) in table {
        let filters = (!text.is_empty()).then(|| (filter(text), ALL));
        let filters: Vec<_> = filters.into_iter().collect();
        let mut out = Vec::new();
        let sent = connection.encode_subscribe(packet_id, &filters, identifier, &pairs, &mut out);
        assert_eq!((sent, out), (Err(error), Vec::new()));
    }
    subscribe(&mut connection, 1, &["a"]);
    // An identifier is in use until its answer has come.
    let twice = connection.encode_unsubscribe(1, &[filter("a")], &[], &mut Vec::new());
    assert_eq!(twice, Err(RequestError::Malformed));
    connection.handle(frame(&[0x90, 4, 0, 1, 0, 0])).unwrap();
    unsubscribe(&mut connection, 1, &["a"]);
    for packet_id in 2..=1_024 {
        unsubscribe(&mut connection, packet_id, &["a"]);
    }
    let more = connection.encode_unsubscribe(2_000, &[filter("a")], &[], &mut Vec::new());
    assert_eq!(more, Err(RequestError::TooMany));
}

#[test]
fn answers_have_a_code_for_each_filter() {
    type Row = (ProtocolVersion, &'static [u8], &'static [u8], &'static [u8]);
    let tables: [Row; 2] = [
        (
            V311,
            &[0x90, 4, 0, 7, 1, 0x80],
            &[1, 0x80],
            &[0xB0, 2, 0, 8],
        ),
        (
            V5,
            &[0x90, 5, 0, 7, 0, 1, 0x87],
            &[1, 0x87],
            &[0xB0, 5, 0, 8, 0, 0, 0x11],
        ),
    ];
    for (version, suback, codes, unsuback) in tables {
        let mut connection = connection(version);
        subscribe(&mut connection, 7, &["a", "b"]);
        unsubscribe(&mut connection, 8, &["a", "b"]);
        let Ok(ClientAction::Suback(found)) = connection.handle(frame(suback)) else {
            panic!("{suback:?}");
        };
        assert_eq!((found.packet_id, found.codes), (7, codes));
        let Ok(ClientAction::Unsuback(found)) = connection.handle(frame(unsuback)) else {
            panic!("{unsuback:?}");
        };
        assert_eq!(found.packet_id, 8);
        let expected: &[u8] = if version.is_v5() { &[0, 0x11] } else { &[] };
        assert_eq!(found.codes, expected);
        // They have been answered.
        let protocol = ReasonCode::ProtocolError;
        assert_eq!(refused(&mut connection, suback), protocol);
        assert_eq!(refused(&mut connection, unsuback), protocol);
    }
}

#[test]
fn answers_that_do_not_fit_their_request_are_violations() {
    let protocol = ReasonCode::ProtocolError;
    let malformed = ReasonCode::MalformedPacket;
    let table: [(ProtocolVersion, &[u8], ReasonCode); 12] = [
        (V311, &[0x90, 3, 0, 7, 1], protocol),
        (V311, &[0x90, 5, 0, 7, 1, 1, 1], protocol),
        (V311, &[0x90, 4, 0, 8, 1, 1], protocol),
        (V311, &[0x90, 4, 0, 7, 1, 3], malformed),
        (V311, &[0x90, 4, 0, 0, 1, 1], malformed),
        (V311, &[0xB0, 2, 0, 7], protocol),
        (V311, &[0xB0, 3, 0, 8, 0], malformed),
        (V5, &[0x90, 4, 0, 7, 0, 1], protocol),
        (V5, &[0x90, 3, 0, 7, 0], malformed),
        (V5, &[0xB0, 4, 0, 8, 0, 0], protocol),
        (V5, &[0xB0, 5, 0, 7, 0, 0, 0], protocol),
        (V5, &[0xB0, 5, 0, 8, 0, 0, 1], malformed),
    ];
    for (version, bytes, reason) in table {
        let mut connection = connection(version);
        subscribe(&mut connection, 7, &["a", "b"]);
        unsubscribe(&mut connection, 8, &["a", "b"]);
        assert_eq!(refused(&mut connection, bytes), reason, "{bytes:?}");
    }
}

#[test]
fn acknowledgements_are_read_and_written() {
    let kinds = [
        (0x40, AckKind::Puback, ReasonCode::QuotaExceeded),
        (0x50, AckKind::Pubrec, ReasonCode::NotAuthorized),
        (0x62, AckKind::Pubrel, ReasonCode::PacketIdentifierNotFound),
        (0x70, AckKind::Pubcomp, ReasonCode::PacketIdentifierNotFound),
    ];
    for (first, kind, reason) in kinds {
        for version in [V31, V311, V5] {
            let mut connection = connection(version);
            let mut out = Vec::new();
            connection.encode_ack(PendingAck::new(kind, 9, ReasonCode::Success), &mut out);
            assert_eq!(out, [first, 2, 0, 9]);
            assert_eq!(
                connection.handle(frame(&out)),
                Ok(ClientAction::Ack(Ack::new(kind, 9, ReasonCode::Success)))
            );
            out.clear();
            connection.encode_ack(PendingAck::new(kind, 9, reason), &mut out);
            let expected: &[u8] = if version.is_v5() {
                &[first, 3, 0, 9, reason as u8]
            } else {
                &[first, 2, 0, 9]
            };
            assert_eq!(out, expected);
        }
        let code = reason as u8;
        let bytes = [first, 8, 0, 9, code, 4, 0x1F, 0, 1, b'x'];
        let mut connection = connection(V5);
        let Ok(ClientAction::Ack(ack)) = connection.handle(frame(&bytes)) else {
            panic!("{bytes:?}");
        };
        assert_eq!((ack.kind, ack.packet_id, ack.reason), (kind, 9, reason));
        assert_eq!(ack.properties.reason_string(), Some("x"));
    }
}

#[test]
fn problem_information_comes_only_where_it_is_wanted() {
    let mut options = options(V5);
    options.request_problem_information = false;
    let reason = [4, 0x1F, 0, 1, b'x'];
    let table: [&[u8]; 6] = [
        &[0x40, 8, 0, 9, 0x87],
        &[0x50, 8, 0, 9, 0x87],
        &[0x62, 8, 0, 9, 0x92],
        &[0x70, 8, 0, 9, 0x92],
        &[0x90, 8, 0, 7],
        &[0xB0, 8, 0, 8],
    ];
    for head in table {
        let mut bytes = [head, &reason].concat();
        if head.len() == 4 {
            bytes.push(0);
        }
        let mut connection = accepted(&options, &connack(&[]));
        subscribe(&mut connection, 7, &["a"]);
        unsubscribe(&mut connection, 8, &["a"]);
        assert_eq!(refused(&mut connection, &bytes), ReasonCode::ProtocolError);
    }
    // These two may have it all the same.
    let mut connection = accepted(&options, &connack(&[Property::ReasonString("x")]));
    let bytes = [[0xE0, 6, 0x8B].as_slice(), &reason].concat();
    assert!(connection.handle(frame(&bytes)).is_ok());
}
