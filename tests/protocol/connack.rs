//! CONNACK (§3.2): what it announces, and how it refuses.

use tests::block::Block;
use tests::bytes::{hex, property, subscribe};
use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Version, WireClient, packet};

/// The CONNACK of an MQTT 5 client that asks for these properties.
fn announced(daemon: &Daemon, asked: &str) -> Block {
    asking(asked).open(daemon.port()).1.properties
}

/// A CONNECT with a property, or none.
fn asking(asked: &str) -> Connect {
    let connect = Connect::new(Version::V5, "c");
    if asked.is_empty() {
        connect
    } else {
        connect.property(property(asked))
    }
}

/// Block that say how something is limited.
const LIMITS: [u8; 10] = [0x21, 0x22, 0x24, 0x25, 0x27, 0x28, 0x29, 0x2a, 0x11, 0x13];

// Conforms: 5.0 [MQTT-3.2.2-9] [MQTT-3.2.2-22]
#[test]
fn limits_are_announced() {
    // Receive Maximum, Topic Alias Maximum, Maximum Packet Size; the rest is not limited.
    let default = [(0x21, 1024), (0x22, 32), (0x27, 1 << 20)];
    for (configuration, changed) in [
        ("", vec![]),
        ("receive_maximum = 1", vec![(0x21, Some(1))]),
        ("receive_maximum = 65535", vec![(0x21, Some(65_535))]),
        ("max_topic_alias = 0", vec![(0x22, None)]),
        ("max_topic_alias = 65535", vec![(0x22, Some(65_535))]),
        ("max_packet_size = 1KiB", vec![(0x27, Some(1024))]),
        ("max_qos_allowed = 0", vec![(0x24, Some(0))]),
        ("max_qos_allowed = 1", vec![(0x24, Some(1))]),
        ("retain_available = false", vec![(0x25, Some(0))]),
        ("wildcard_subscription = false", vec![(0x28, Some(0))]),
        ("subscription_identifier = false", vec![(0x29, Some(0))]),
        ("shared_subscription = false", vec![(0x2a, Some(0))]),
        ("server_keepalive = 7", vec![(0x13, Some(7))]),
    ] {
        let daemon = Daemon::start(&format!("mqtt {{ {configuration} }}"));
        let found = announced(&daemon, "");
        for limit in LIMITS {
            let mut expected = default.iter().find(|it| it.0 == limit).map(|it| it.1);
            if let Some((_, value)) = changed.iter().find(|it| it.0 == limit) {
                expected = *value;
            }
            assert_eq!(found.number(limit), expected, "{configuration}: {limit:#x}");
        }
        // MQTT 3 has no room for any of it.
        for version in [Version::V31, Version::V311] {
            let mut client = WireClient::open(daemon.port(), version).unwrap();
            client.send(&Connect::new(version, "c").bytes()).unwrap();
            client.expect_bytes(&hex("20 02 00 00"));
        }
    }
}

#[test]
fn the_session_expiry_is_announced_where_it_differs() {
    let daemon = Daemon::start("mqtt { max_session_expiry_interval = 100s }");
    for (asked, granted) in [
        ("", None),
        ("11 00000000", None),
        ("11 00000001", None),
        ("11 00000064", None),
        ("11 00000065", Some(100)),
        ("11 ffffffff", Some(100)),
    ] {
        assert_eq!(announced(&daemon, asked).number(0x11), granted, "{asked}");
    }
    let daemon = Daemon::start("mqtt { max_session_expiry_interval = 0s }");
    assert_eq!(announced(&daemon, "11 00000001").number(0x11), Some(0));
}

// Conforms: 5.0 [MQTT-3.1.2-28]
#[test]
fn response_information_is_for_those_who_ask() {
    let daemon = Daemon::start("mqtt { response_information = \"reply/${clientid}/\" }");
    assert_eq!(announced(&daemon, "").find(0x1a), None);
    assert_eq!(announced(&daemon, "19 00").find(0x1a), None);
    let answer = announced(&daemon, "19 01");
    assert_eq!(answer.text(0x1a), Some("reply/c/"));
    // It is no duty to have any.
    let daemon = Daemon::start("");
    assert_eq!(announced(&daemon, "19 01").find(0x1a), None);
}

// Conforms: 5.0 [MQTT-3.2.2-10] [MQTT-3.2.2-9]
#[test]
fn without_higher_qos_subscriptions_are_granted_less() {
    for max in [0, 1] {
        let daemon = Daemon::start(&format!("mqtt {{ max_qos_allowed = {max} }}"));
        for version in Version::ALL {
            for asked in 0..3 {
                let (mut client, _) = Connect::new(version, "c").open(daemon.port());
                client.send(&subscribe(version, 1, "t", asked)).unwrap();
                let granted = client.expect(0x90).unwrap();
                assert_eq!(granted.body.last(), Some(&asked.min(max)), "{version:?}");
                let message = Message::new("t", b"x").encode(version);
                client.send(&message).unwrap();
                client.expect_bytes(&message);
            }
        }
    }
}

/// What refuses a client, and how it is told: in MQTT 5 and in MQTT 3, where 0 is not at all.
type Refusal = (&'static str, fn(Connect) -> Connect, u8, u8);

const REFUSALS: [Refusal; 10] = [
    ("max_qos_allowed = 0", |it| it.will(will().qos(1)), 0x9b, 0),
    ("max_qos_allowed = 1", |it| it.will(will().qos(2)), 0x9b, 0),
    (
        "retain_available = false",
        |it| it.will(will().retained()),
        0x9a,
        0,
    ),
    ("allow_anonymous = false", |it| it, 0x87, 5),
    ("allow_anonymous = false", with_user, 0x87, 5),
    (
        "max_topic_len = 8",
        |it| it.will(Will::new("too/long/", b"")),
        0x90,
        0,
    ),
    (
        "max_topic_levels = 2",
        |it| it.will(Will::new("1/2/3", b"")),
        0x90,
        0,
    ),
    ("", |it| it.will(Will::new("a/+", b"")), 0x90, 0),
    ("", |it| it.will(Will::new("", b"")), 0x90, 0),
    ("", |it| it.will(Will::new("$SYS/x", b"")), 0x87, 5),
];

fn will() -> Will {
    Will::new("t", b"x")
}

fn with_user(mut connect: Connect) -> Connect {
    connect.user_name = Some("user".to_owned());
    connect.password = Some(b"password".to_vec());
    connect
}

/// Asserts that a client is refused with this code of its version.
#[track_caller]
fn expect_refused(port: u16, connect: &Connect, code_v5: u8, code_v3: u8) -> Block {
    let refusal = connect.refused(port);
    let code = refusal.as_ref().map_or(0, |it| it.code);
    if connect.version != Version::V5 {
        assert_eq!(code, code_v3, "{connect:?}");
        return Block::default();
    }
    assert_eq!(code, code_v5, "{connect:?}: {code:#x}");
    let properties = refusal.map(|it| it.properties).unwrap_or_default();
    let reason = properties.text(0x1f);
    assert!(
        reason.is_some_and(|it| !it.is_empty()),
        "no Reason String: {connect:?}"
    );
    properties
}

// Conforms: 5.0 [MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-3.2.2-12] [MQTT-3.2.2-13] [MQTT-4.13.2-1]
// Conforms: 3.1.1 [MQTT-3.2.2-4] [MQTT-3.2.2-5] [MQTT-3.2.2-6]; 3.1 [MQTT31-10]
#[test]
fn clients_are_refused_with_a_reason() {
    for (configuration, change, code_v5, code_v3) in REFUSALS {
        let daemon = Daemon::start(&format!("mqtt {{ {configuration} }}"));
        for version in Version::ALL {
            let connect = change(Connect::new(version, "c"));
            expect_refused(daemon.port(), &connect, code_v5, code_v3);
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.4-2] [MQTT-3.2.2-7]; 3.1.1 [MQTT-3.2.2-5]
#[test]
fn a_full_server_refuses_or_refers() {
    let limits = [
        "mqtt { max_sessions = 1",
        "listeners.tcp.default { max_connections = 1 }, mqtt { max_sessions = 9",
    ];
    for limit in limits {
        for (reference, code) in [("", 0x97), ("server_reference = \"other:1883\"", 0x9c)] {
            let daemon = Daemon::start(&format!("{limit}\n {reference} }}"));
            for version in Version::ALL {
                let mut first = enter(daemon.port(), &Connect::new(version, "c"));
                let second = Connect::new(version, "d");
                let said = expect_refused(daemon.port(), &second, code, 3);
                let expected = (code == 0x9c && version == Version::V5).then_some("other:1883");
                assert_eq!(said.text(0x1c), expected);
                first.expect_silence();
                first.disconnect().unwrap();
            }
        }
    }
}

/// Connects as soon as those who were there before have gone.
fn enter(port: u16, connect: &Connect) -> WireClient {
    let mut entered = None;
    tests::wait::until("there is room", || {
        let mut client = WireClient::open(port, connect.version).unwrap();
        client.send(&connect.bytes()).unwrap();
        let is_accepted = client.expect(0x20).unwrap().body[1] == 0;
        entered = is_accepted.then_some(client);
        is_accepted
    });
    entered.unwrap()
}

// Conforms: 5.0 [MQTT-3.2.2-8]
#[test]
fn a_known_client_comes_in_although_the_server_is_full() {
    let daemon = Daemon::start("mqtt { max_sessions = 1 }");
    let connect = Connect::new(Version::V5, "c").resuming(60);
    drop(connect.open(daemon.port()));
    let other = Connect::new(Version::V5, "d");
    expect_refused(daemon.port(), &other, 0x97, 3);
    let (_client, connack) = connect.open(daemon.port());
    assert!(connack.is_present());
    // Also one that takes it over and begins anew.
    let (mut client, connack) = Connect::new(Version::V5, "c").open(daemon.port());
    assert!(!connack.is_present());
    client.expect_silence();
}

/// A CONNECT whose client accepts packets of up to so many bytes.
fn limited(bytes: u32) -> Connect {
    Connect::new(Version::V5, "c").property(Property::four_bytes(0x27, bytes))
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.2.2-19]
#[test]
fn no_connack_is_larger_than_the_client_accepts() {
    let daemon = Daemon::start("mqtt { max_qos_allowed = 0 }");
    let (_, connack) = limited(1 << 20).open(daemon.port());
    assert_eq!(connack.code, 0);
    for bytes in 1..100 {
        for connect in [limited(bytes), limited(bytes).will(will().qos(1))] {
            let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
            client.send(&connect.bytes()).unwrap();
            let Some(answer) = client.receive().unwrap() else {
                // There must have been no room for even the least.
                let least = if connect.will.is_some() { 5 } else { 22 };
                assert!(bytes < least, "{bytes}: no answer");
                continue;
            };
            let length = u32::try_from(packet(answer.head, &answer.body).len()).unwrap();
            assert!(length <= bytes, "{bytes}: {answer:?}");
            let expected = if connect.will.is_some() { 0x9b } else { 0 };
            assert_eq!(answer.body[1], expected);
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-29]
#[test]
fn without_problem_information_few_packets_say_why() {
    let daemon = Daemon::start("");
    for (asked, is_told) in [("", true), ("17 01", true), ("17 00", false)] {
        let connect = asking(asked);
        let (mut client, _) = connect.open(daemon.port());
        // Refused: a SUBACK, an UNSUBACK and a PUBACK.
        client
            .send(&subscribe(Version::V5, 1, &"a/".repeat(100), 0))
            .unwrap();
        let suback = client.expect(0x90).unwrap();
        assert_eq!(suback.body.last(), Some(&0x8f));
        let found = Block::read(&suback.body[2..suback.body.len() - 1])
            .text(0x1f)
            .is_some();
        assert_eq!(found, is_told, "{asked}");
        client.publish("$SYS/x", b"").unwrap();
        let puback = client.expect(0x40).unwrap();
        assert_eq!(puback.body[2], 0x87);
        let found = Block::of(&puback).text(0x1f).is_some();
        assert_eq!(found, is_told, "{asked}");
        // DISCONNECT may always say it.
        client.send(&hex("00 00")).unwrap();
        client.expect_closed(0x81);
        // And so may CONNACK.
        let mut refused = asking(asked);
        refused.client_id = "$c".to_owned();
        expect_refused(daemon.port(), &refused, 0x85, 0);
        // The User Block of messages are not touched.
        let (mut client, _) = connect.open(daemon.port());
        client.subscribe("t", 0).unwrap();
        let message = Message::new("t", b"").with(Property::user("n", "v"));
        let message = message.encode(Version::V5);
        client.send(&message).unwrap();
        client.expect_bytes(&message);
    }
}
