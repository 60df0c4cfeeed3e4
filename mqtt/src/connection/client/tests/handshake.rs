//! CONNECT and CONNACK.

use std::time::Duration;

use super::*;
use crate::connection::{Limits, WillMessage, encode_refusal};
use crate::packet::{Connect, ForwardedProperties};
use crate::{Message, TopicName};

fn connect(options: &ClientOptions) -> Result<Vec<u8>, ProtocolViolation> {
    let mut out = vec![0xFF];
    let sent = ClientHandshake::new(options, &mut out).map(drop);
    assert_eq!(sent.is_err(), out.len() == 1, "all or nothing");
    sent.map(|()| out.split_off(1))
}

fn will() -> WillMessage {
    let mut message = Message::new(TopicName::new("w").unwrap(), "gone");
    message.qos = QoS::AtLeastOnce;
    message.retain = true;
    message.properties = ForwardedProperties::from_properties([
        Property::ContentType("text"),
        Property::UserProperty("a", "b"),
    ]);
    WillMessage {
        message,
        expiry: Some(Duration::from_secs(7)),
        delay: Duration::from_secs(5),
    }
}

fn full(version: ProtocolVersion) -> ClientOptions {
    ClientOptions {
        is_bridge: true,
        user_name: Some("u".to_owned()),
        password: Some(b"p".to_vec()),
        keep_alive: 9,
        clean_start: false,
        session_expiry: Duration::MAX,
        receive_maximum: 20,
        packet_bytes_max: 2_000,
        topic_alias_max: 3,
        request_problem_information: false,
        request_response_information: true,
        user_properties: vec![("x".to_owned(), "y".to_owned())],
        will: Some(will()),
        ..ClientOptions::new(version, "c")
    }
}

#[test]
fn connect_says_what_its_version_has() {
    for (version, level) in [(V31, 0x83), (V311, 0x84), (V5, 5)] {
        let options = full(version);
        let bytes = connect(&options).unwrap();
        let at = bytes.windows(2).position(|it| it == [b'T', level]);
        assert!(at.is_some() || version == V31 && bytes.contains(&0x83));
        let Packet::Connect(connect) = packet(&bytes, version) else {
            panic!("{bytes:?}");
        };
        let sent = connect.will.unwrap();
        let expected = Connect {
            version,
            is_bridge: !version.is_v5(),
            clean_start: false,
            keep_alive: 9,
            properties: connect.properties,
            client_id: "c",
            will: Some(sent),
            user_name: Some("u"),
            password: Some(b"p"),
        };
        assert_eq!(connect, expected);
        assert_eq!((sent.topic, sent.payload), ("w", b"gone".as_slice()));
        assert_eq!((sent.qos, sent.retain), (QoS::AtLeastOnce, true));
        let properties: Vec<_> = connect.properties.iter().collect();
        let of_will: Vec<_> = sent.properties.iter().collect();
        if !version.is_v5() {
            assert_eq!((properties, of_will), (Vec::new(), Vec::new()));
            continue;
        }
        let stated = [
            Property::SessionExpiryInterval(u32::MAX),
            Property::ReceiveMaximum(20),
            Property::MaximumPacketSize(2_000),
            Property::TopicAliasMaximum(3),
            Property::RequestProblemInformation(false),
            Property::RequestResponseInformation(true),
            Property::UserProperty("x", "y"),
        ];
        assert_eq!(properties, stated);
        let stated = [
            Property::WillDelayInterval(5),
            Property::MessageExpiryInterval(7),
            Property::ContentType("text"),
            Property::UserProperty("a", "b"),
        ];
        assert_eq!(of_will, stated);
    }
}

// Conforms: 3.1.1 [MQTT-3.1.3-7]
#[test]
fn a_session_of_mqtt_3_that_is_kept_needs_a_client_identifier() {
    for (version, clean_start, is_sent) in [
        (V311, false, false),
        (V311, true, true),
        (V5, false, true),
        (V5, true, true),
    ] {
        let mut options = ClientOptions::new(version, "");
        options.clean_start = clean_start;
        assert_eq!(connect(&options).is_ok(), is_sent, "{version:?}");
    }
}

#[test]
fn what_a_server_would_not_understand_is_not_sent() {
    type Spoil = fn(&mut ClientOptions);
    let long = || "x".repeat(65_536);
    assert!(connect(&full(V5)).is_ok());
    let table: [(&str, Spoil); 11] = [
        ("null", |it| it.client_id = "\0".to_owned()),
        ("null in a pair", |it| {
            it.user_properties = vec![("\0".to_owned(), String::new())];
        }),
        ("receive maximum", |it| it.receive_maximum = 0),
        ("packet size", |it| it.packet_bytes_max = 0),
        ("client identifier", |it| it.client_id = "x".repeat(65_536)),
        ("user name", |it| it.user_name = Some("x".repeat(65_536))),
        ("password", |it| it.password = Some(vec![0; 65_536])),
        ("will", |it| {
            let message = &mut it.will.as_mut().unwrap().message;
            message.payload = vec![0; 65_536].into();
        }),
        ("pair", |it| {
            it.user_properties = vec![(String::new(), "x".repeat(65_536))];
        }),
        ("pairs", |it| {
            let pair = (String::new(), "x".repeat(65_535));
            it.user_properties = vec![pair; 17];
        }),
        ("password alone", |it| {
            (it.version, it.user_name) = (V311, None);
        }),
    ];
    for (name, spoil) in table {
        let mut options = full(V5);
        spoil(&mut options);
        assert!(connect(&options).is_err(), "{name}");
    }
    let mut options = full(V5);
    options.client_id = long();
    options.client_id.pop();
    assert!(connect(&options).is_ok());
}

#[test]
fn secrets_are_not_in_the_log() {
    let mut options = full(V5);
    options.password = Some(b"hush".to_vec());
    let text = format!("{options:?}");
    let numbers = format!("{:?}", b"hush");
    assert!(!text.contains("hush") && !text.contains(&numbers), "{text}");
}

#[test]
fn the_terms_are_those_that_the_server_states() {
    let mut asked = options(V5);
    asked.session_expiry = Duration::from_secs(60);
    asked.keep_alive = 30;
    asked.request_response_information = true;
    let defaults = |is_new| ServerTerms {
        receive_maximum: u16::MAX,
        packet_bytes_max: 268_435_455,
        qos_max: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_subscription_available: true,
        shared_subscription_available: true,
        subscription_identifier_available: is_new,
        topic_alias_max: 0,
        keep_alive: 30,
        assigned_client_id: None,
        session_expiry: Duration::from_secs(60),
        response_information: None,
        server_reference: None,
        reason_string: None,
        user_properties: Vec::new(),
    };
    let none = accepted(&asked, &connack(&[]));
    assert_eq!(none.terms(), &defaults(true));
    let mut old = asked.clone();
    old.version = V311;
    let none = accepted(&old, &[0x20, 2, 0, 0]);
    assert_eq!(none.terms(), &defaults(false));
    let all = [
        Property::SessionExpiryInterval(50),
        Property::ReceiveMaximum(4),
        Property::MaximumQoS(true),
        Property::RetainAvailable(false),
        Property::MaximumPacketSize(100),
        Property::AssignedClientIdentifier("id"),
        Property::TopicAliasMaximum(6),
        Property::ReasonString("why"),
        Property::UserProperty("a", "b"),
        Property::WildcardSubscriptionAvailable(false),
        Property::SubscriptionIdentifierAvailable(false),
        Property::SharedSubscriptionAvailable(false),
        Property::ServerKeepAlive(20),
        Property::ResponseInformation("r"),
        Property::ServerReference("s"),
    ];
    let connection = accepted(&asked, &connack(&all));
    let text = |it: &str| Some(it.to_owned());
    let expected = ServerTerms {
        receive_maximum: 4,
        packet_bytes_max: 100,
        qos_max: QoS::AtLeastOnce,
        retain_available: false,
        wildcard_subscription_available: false,
        shared_subscription_available: false,
        subscription_identifier_available: false,
        topic_alias_max: 6,
        keep_alive: 20,
        assigned_client_id: text("id"),
        session_expiry: Duration::from_secs(50),
        response_information: text("r"),
        server_reference: text("s"),
        reason_string: text("why"),
        user_properties: vec![("a".to_owned(), "b".to_owned())],
    };
    assert_eq!(connection.terms(), &expected);
}

#[test]
fn packets_are_no_larger_than_either_side_wants() {
    for (own, of_server, expected) in [(99, 100, 99), (101, 100, 100)] {
        let mut asked = options(V5);
        asked.server_packet_bytes_max = own;
        let stated = connack(&[Property::MaximumPacketSize(of_server)]);
        let connection = accepted(&asked, &stated);
        assert_eq!(connection.terms().packet_bytes_max, expected);
        let connection = accepted(&asked, &connack(&[]));
        assert_eq!(connection.terms().packet_bytes_max, own);
    }
}

#[test]
fn a_server_cannot_fill_the_memory_with_user_properties() {
    let connection = connection_with(&[Property::UserProperty("", ""); 10_000]);
    assert_eq!(connection.terms().user_properties.len(), 32);
}

#[test]
fn a_session_is_present_only_where_one_may_be() {
    for (version, bytes) in [
        (V311, [0x20, 2, 1, 0].as_slice()),
        (V5, &[0x20, 3, 1, 0, 0]),
    ] {
        let mut options = options(version);
        let error = answer(&options, bytes).unwrap_err();
        assert_eq!(error.reason, ReasonCode::ProtocolError);
        options.clean_start = false;
        let Ok(ClientAnswer::Accepted {
            session_present, ..
        }) = answer(&options, bytes)
        else {
            panic!("{version:?}");
        };
        assert!(session_present);
    }
}

#[test]
fn a_refusal_says_why_and_what_to_try() {
    let unsupported = ReasonCode::UnsupportedProtocolVersion;
    let busy = ReasonCode::ServerUnavailable;
    let table: [(ProtocolVersion, bool, &[u8], ReasonCode, bool); 9] = [
        (V311, false, &[0x20, 2, 0, 1], unsupported, false),
        (V311, true, &[0x20, 2, 0, 1], unsupported, true),
        (V311, true, &[0x20, 2, 0, 3], busy, false),
        // A server of MQTT 5 only.
        (V311, true, &[0x20, 3, 0, 0x84, 0], unsupported, true),
        (V5, false, &[0x20, 3, 0, 0x84, 0], unsupported, true),
        (V5, false, &[0x20, 3, 0, 0x88, 0], busy, false),
        // Servers that do not know MQTT 5.
        (V5, false, &[0x20, 2, 0, 1], unsupported, true),
        (V5, false, &[0x20, 2, 0, 0x84], unsupported, true),
        (V5, false, &[0x20, 2, 0, 3], busy, false),
    ];
    for (version, is_bridge, bytes, reason, is_worth_falling_back) in table {
        let mut options = options(version);
        options.is_bridge = is_bridge;
        let Ok(ClientAnswer::Refused(refusal)) = answer(&options, bytes) else {
            panic!("{bytes:?}");
        };
        let expected = ClientRefusal {
            reason,
            reason_string: None,
            server_reference: None,
            is_worth_falling_back,
        };
        assert_eq!(refusal, expected, "{bytes:?}");
        options.fall_back();
        assert_eq!((options.version, options.is_bridge), (V311, false));
        assert!(!options.can_fall_back());
    }
    let raw = [0x1F, 0, 1, b'x', 0x1C, 0, 1, b's'];
    let bytes = [[0x20, 11, 0, 0x9D, 8].as_slice(), &raw].concat();
    let Ok(ClientAnswer::Refused(refusal)) = answer(&options(V5), &bytes) else {
        panic!("{bytes:?}");
    };
    assert_eq!(refusal.reason, ReasonCode::ServerMoved);
    assert_eq!(refusal.reason_string.as_deref(), Some("x"));
    assert_eq!(refusal.server_reference.as_deref(), Some("s"));
}

#[test]
fn nothing_but_a_connack_answers_a_connect() {
    let malformed = ReasonCode::MalformedPacket;
    let protocol = ReasonCode::ProtocolError;
    let table: [(ProtocolVersion, &[u8], ReasonCode); 14] = [
        (V311, &[0x20, 3, 0, 0, 0], malformed),
        (V311, &[0x20, 2, 0, 6], malformed),
        (V311, &[0x20, 2, 2, 0], malformed),
        (V311, &[0x20, 2, 1, 5], malformed),
        (V311, &[0xF0, 0], malformed),
        (V311, &[0xE0, 0], protocol),
        (V311, &[0x30, 3, 0, 1, b't'], protocol),
        (V5, &[0x20, 2, 0, 0], malformed),
        (V5, &[0x20, 3, 0, 1, 0], malformed),
        (V5, &[0x20, 3, 1, 0x87, 0], malformed),
        (V5, &[0xF0, 0], protocol),
        (V5, &[0xD0, 0], protocol),
        (V5, &[0xE0, 0], protocol),
        (V5, &[0x10, 0], malformed),
    ];
    for (version, bytes, reason) in table {
        let error = answer(&options(version), bytes).unwrap_err();
        assert_eq!(error.reason, reason, "{bytes:?}");
    }
    let unasked = [
        Property::ResponseInformation("r"),
        Property::AuthenticationMethod("m"),
        Property::AuthenticationData(b"d"),
    ];
    for property in unasked {
        let error = answer(&options(V5), &connack(&[property])).unwrap_err();
        assert_eq!(error.reason, protocol, "{property:?}");
    }
}

#[test]
fn every_refusal_of_our_server_is_understood() {
    let limits = Limits {
        server_reference: Some("s".into()),
        ..Limits::default()
    };
    let mut count = 0;
    for code in 0x80..=u8::MAX {
        let Some(reason) = ReasonCode::from_u8(code) else {
            continue;
        };
        let violation = ProtocolViolation::new(reason, "why");
        let mut out = Vec::new();
        encode_refusal(Some(V5), u32::MAX, &violation, &limits, &mut out);
        // Some codes are for other packets only.
        if let Ok(ClientAnswer::Refused(refusal)) = answer(&options(V5), &out) {
            count += 1;
            assert_eq!(refusal.reason, reason);
            assert_eq!(refusal.reason_string.as_deref(), Some("why"));
            let elsewhere = matches!(code, 0x9C | 0x9D).then_some("s");
            assert_eq!(refusal.server_reference.as_deref(), elsewhere);
        }
        let mut out = Vec::new();
        encode_refusal(Some(V311), u32::MAX, &violation, &limits, &mut out);
        if out.is_empty() {
            continue;
        }
        let Ok(ClientAnswer::Refused(refusal)) = answer(&options(V311), &out) else {
            panic!("{out:?}");
        };
        let return_code = reason.connect_return_code();
        assert_eq!(refusal.reason.connect_return_code(), return_code);
    }
    assert_eq!(count, 21, "table 3-1");
}
