//! UNSUBSCRIBE and UNSUBACK (§3.10, §3.11).

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::subscription::{subscribe, unsubscribe};
use tests::wire::{Version, packet};

/// A User Property `a` = `b`.
const USER_PROPERTY: &[u8] = b"\x26\0\x01a\0\x01b";

// Conforms: 5.0 [MQTT-2.1.3-1] [MQTT-3.10.1-1] [MQTT-4.13.1-1]
// Conforms: 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.10.1-1] [MQTT-4.8.0-1]
#[test]
fn other_flags_than_0010_close_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for flags in 0..=0b1111 {
            let is_right = flags == 0b0010 || version == Version::V31 && flags == 0b1010;
            let mut client = StrictClient::start(daemon.port(), version, "c");
            let mut bytes = unsubscribe(version, 1, &[], &["a"]);
            bytes[0] = 0xa0 | flags;
            client.send(&bytes);
            if is_right {
                assert_eq!(client.answer(0xb0).body[..2], [0, 1], "{flags:04b}");
            } else {
                client.expect_closed(0x81);
            }
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-3] [MQTT-3.10.3-2]; 3.1.1 [MQTT-2.3.1-1] [MQTT-3.10.3-2]
#[test]
fn no_filter_and_packet_identifier_zero_close_the_connection() {
    let daemon = Daemon::start("");
    let none: [&str; 0] = [];
    for version in Version::ALL {
        let cases = [
            (unsubscribe(version, 1, &[], &none), 0x82),
            (unsubscribe(version, 0, &[], &["a"]), 0x81),
        ];
        for (bytes, reason) in cases {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            client.send(&bytes);
            client.expect_closed(reason);
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-6] [MQTT-2.2.2-1] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1]
// Conforms: 5.0 [MQTT-3.11.3-2]
// Conforms: 3.1.1 [MQTT-2.3.1-7] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]
// Conforms: 3.1 [MQTT31-13]
#[test]
fn one_unsuback_answers_all_filters_in_their_order() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        client.subscribe_all(&[("a", 1), ("b/+", 1), ("c/#", 1)]);
        let filters = ["b/+", "x", "a", "a"];
        client.send(&unsubscribe(version, 0xfffe, &[], &filters));
        let unsuback: &[u8] = match version {
            Version::V5 => b"\xb0\x07\xff\xfe\0\0\x11\0\x11",
            Version::V31 | Version::V311 => b"\xb0\x02\xff\xfe",
        };
        client.expect_bytes(unsuback);
        for topic in ["a", "b/x", "c"] {
            client.publish(topic, "x", 1);
        }
        let topics: Vec<_> = client.drain().into_iter().map(|it| it.topic).collect();
        assert_eq!(topics, ["c"]);
        // Nothing is left to delete.
        client.send(&unsubscribe(version, 2, &[], &["a"]));
        let unsuback: &[u8] = match version {
            Version::V5 => b"\xb0\x04\0\x02\0\x11",
            Version::V31 | Version::V311 => b"\xb0\x02\0\x02",
        };
        client.expect_bytes(unsuback);
    }
}

// Conforms: 5.0 [MQTT-3.10.4-1] [MQTT-3.10.4-2]; 3.1.1 [MQTT-3.10.4-1] [MQTT-3.10.4-2]
#[test]
fn only_the_very_same_filter_ends_a_subscription() {
    let daemon = Daemon::start("");
    // A filter, others that overlap or resemble it, and a topic that it matches.
    let table: [(&str, &[&str], &str); 5] = [
        ("a/b", &["a/+", "#", "a/B", "a/b/", "/a/b", "a/b/#"], "a/b"),
        ("a/+", &["a/b", "a/#", "+/+", "+"], "a/b"),
        ("a/#", &["a", "a/b", "a/+", "#"], "a/b"),
        ("$share/g/a", &["a", "$share/h/a", "$share/G/a"], "a"),
        ("a", &["$share/g/a", "A", " a"], "a"),
    ];
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        for (filter, others, topic) in table {
            client.subscribe(filter, 1);
            client.unsubscribe(others);
            client.publish(topic, "x", 1);
            assert_eq!(client.drain().len(), 1, "{filter}");
            client.unsubscribe(&[filter]);
            client.publish(topic, "x", 1);
            client.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-3.10.4-3]; 3.1.1 [MQTT-3.10.4-3]
#[test]
fn deliveries_that_have_begun_are_completed() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        client.subscribe("t", 2);
        publisher.publish("t", "one", 1);
        publisher.publish("t", "two", 2);
        let one = client.unacknowledged();
        let two = client.unacknowledged();
        assert_eq!((one.qos, two.qos), (1, 2));
        client.unsubscribe(&["t"]);
        publisher.publish("t", "three", 2);
        client.expect_silence();
        // They belong to the session and not to the subscription.
        client.vanish();
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        for first in [one, two] {
            let again = client.unacknowledged();
            assert!(again.is_duplicate, "{again:?}");
            let same = (&again.payload, again.identifier);
            assert_eq!(same, (&first.payload, first.identifier));
            client.acknowledge(&again);
        }
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.10.3-1] [MQTT-4.13.1-1]; 3.1.1 [MQTT-3.10.3-1] [MQTT-4.8.0-1]
#[test]
fn malformed_filters_close_the_connection_and_end_nothing() {
    let daemon = Daemon::start("");
    let table: [(&[u8], u8); 7] = [
        (b"", 0x8f),
        (b"a#", 0x8f),
        (b"a/+b", 0x8f),
        (b"$share/g", 0x8f),
        (b"$share/+/a", 0x8f),
        (b"\xc3", 0x81),
        (b"a\0", 0x81),
    ];
    for version in Version::ALL {
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        client.subscribe("good", 1);
        client.disconnect();
        for (filter, reason) in table {
            let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
            client.send(&unsubscribe(version, 1, &[], &[b"good", filter]));
            client.expect_closed(reason);
        }
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        client.publish("good", "x", 1);
        assert_eq!(client.drain().len(), 1);
        client.unsubscribe(&["good"]);
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn a_truncated_packet_ends_nothing() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        client.subscribe_all(&[("good", 1), ("also/+", 1)]);
        client.disconnect();
        let whole = unsubscribe(version, 1, &[], &["good", "also/+"]);
        let (head, body) = whole.split_at(2);
        let after_the_first = body.len() - 8;
        for end in (0..body.len()).filter(|end| *end != after_the_first) {
            let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
            client.send(&packet(head[0], &body[..end]));
            let no_filter = 2 + version.no_properties().len();
            client.expect_closed(if end == no_filter { 0x82 } else { 0x81 });
        }
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        client.publish("good", "x", 1);
        client.publish("also/x", "x", 1);
        assert_eq!(client.drain().len(), 2);
        client.unsubscribe(&["good", "also/+"]);
    }
}

// Conforms: 5.0 [MQTT-3.1.2-29] [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.11.3-2]
#[test]
fn a_reason_string_comes_if_it_is_wanted_and_fits() {
    let daemon = Daemon::start("");
    // Deeper than any filter that is accepted.
    let deep = [vec!["d"; 129].join("/")];
    let bytes = unsubscribe(Version::V5, 1, USER_PROPERTY, &deep);
    let mut client = StrictClient::start_with(daemon.port(), "wants", b"\x17\x01");
    client.send(&bytes);
    let unsuback = client.answer(0xb0);
    assert_eq!(unsuback.body[3], 0x1f, "a Reason String: {unsuback:02x?}");
    assert_eq!(unsuback.body.len(), 4 + usize::from(unsuback.body[2]));
    assert_eq!(unsuback.body.last(), Some(&0x8f));
    // Request Problem Information 0; a Maximum Packet Size of 20 bytes.
    for properties in [b"\x17\0".as_slice(), b"\x27\0\0\0\x14"] {
        let mut client = StrictClient::start_with(daemon.port(), "wants not", properties);
        client.send(&bytes);
        client.expect_bytes(b"\xb0\x04\0\x01\0\x8f");
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]
#[test]
fn properties_are_checked() {
    let daemon = Daemon::start("");
    // A User Property; a Subscription Identifier, which is for SUBSCRIBE.
    let cases: [(&[u8], u8); 2] = [(USER_PROPERTY, 0), (b"\x0b\x01", 0x81)];
    for (properties, reason) in cases {
        let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
        client.send(&unsubscribe(Version::V5, 1, properties, &["a"]));
        if reason == 0 {
            client.expect_bytes(b"\xb0\x04\0\x01\0\x11");
        } else {
            client.expect_closed(reason);
        }
    }
}

// Conforms: 5.0 [MQTT-3.10.4-2] [MQTT-3.10.4-4]; 3.1.1 [MQTT-3.10.4-2] [MQTT-3.10.4-4]
#[test]
fn what_is_acknowledged_survives_sigkill() {
    let mut daemon = Daemon::start("");
    let clients = Version::ALL.map(|version| {
        let client_id = format!("{version:?}");
        let (mut client, _) = StrictClient::resume(daemon.port(), version, &client_id);
        client.subscribe("t", 1);
        client
    });
    // Until the last UNSUBACK has come the others are acknowledged for certain.
    for mut client in clients {
        let version = client.version();
        client.send(&subscribe(version, 9, &[], &[("u", 1)]));
        client.answer(0x90);
        client.unsubscribe(&["t"]);
        if version == Version::V5 {
            daemon.kill();
        }
    }
    daemon.restart();
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.publish("t", "gone", 1);
    publisher.publish("u", "there", 1);
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let (mut client, _) = StrictClient::resume(daemon.port(), version, &client_id);
        assert_eq!(client.payloads(1), ["there"]);
        client.expect_silence();
    }
}
