//! Subscription Options: QoS, No Local, Retain As Published, Retain Handling (§3.8.3.1).

use tests::daemon::Daemon;
use tests::strict::{Message, StrictClient};
use tests::subscription::subscribe;
use tests::wire::Version;

const NO_LOCAL: u8 = 0b100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;
const RETAIN_IF_NEW: u8 = 1 << 4;
const NO_RETAINED: u8 = 2 << 4;

fn payloads(messages: Vec<Message>) -> Vec<String> {
    messages.into_iter().map(|it| it.payload).collect()
}

// Conforms: 5.0 [MQTT-3.8.4-8]; 3.1.1 [MQTT-3.8.4-6]; 3.1 [MQTT31-13]
#[test]
fn the_lesser_qos_is_delivered() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let mut client = StrictClient::start(daemon.port(), version, "c");
        for granted in 0..=2 {
            client.subscribe("t", granted);
            for published in 0..=2 {
                publisher.publish("t", "x", published);
                assert_eq!(client.message().qos, granted.min(published));
            }
            // Retained messages too.
            publisher.retain("t", "r", 2);
            client.message();
            client.subscribe("t", granted);
            let retained = client.message();
            assert_eq!((retained.qos, retained.is_retained), (granted, true));
            publisher.retain("t", "", 1);
            client.message();
        }
    }
}

// Conforms: 5.0 [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.8.4-7]; 3.1.1 [MQTT-3.8.4-5]; 3.1 [MQTT31-12]
#[test]
fn the_granted_qos_is_the_highest_that_the_configuration_allows() {
    for max in 0..=1 {
        let daemon = Daemon::start(&format!("mqtt {{ max_qos_allowed = {max} }}"));
        for version in Version::ALL {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            let codes = client.subscribe_all(&[("a", 0), ("b", 1), ("c", 2)]);
            assert_eq!(codes, [0, max, max]);
            for topic in ["a", "b", "c"] {
                client.publish(topic, "x", max);
                let expected = if topic == "a" { 0 } else { max };
                assert_eq!(client.message().qos, expected);
            }
        }
        let mut client = StrictClient::open(daemon.port(), Version::V5);
        client.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c");
        let connack = client.answer(0x20).body;
        let maximum_qos = [0x24, max];
        assert!(
            connack.windows(2).any(|it| it == maximum_qos),
            "{connack:02x?}"
        );
    }
}

// Conforms: 5.0 [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let daemon = Daemon::start("");
    let mut other = StrictClient::start(daemon.port(), Version::V5, "other");
    let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, "c");
    for qos in 0..=2 {
        client.subscribe("t/+", qos | NO_LOCAL);
        client.publish("t/x", "own", qos);
        other.publish("t/x", "foreign", qos);
        assert_eq!(payloads(client.drain()), ["foreign"]);
    }
    // The Client Identifier counts and not the connection.
    client.disconnect();
    let (mut client, is_resumed) = StrictClient::resume(daemon.port(), Version::V5, "c");
    assert!(is_resumed);
    client.publish("t/x", "own", 1);
    client.expect_silence();
    // A second subscription without the option gets them.
    client.subscribe("t/#", 1);
    client.publish("t/x", "own", 1);
    assert_eq!(payloads(client.drain()), ["own"]);
    client.unsubscribe(&["t/#"]);
    client.publish("t/x", "own", 1);
    client.expect_silence();
    // So does the same one when it is replaced.
    client.subscribe("t/+", 1);
    client.publish("t/x", "own", 1);
    assert_eq!(payloads(client.drain()), ["own"]);
}

#[test]
fn no_local_does_not_keep_a_clients_own_retained_messages_from_it() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    client.retain("t", "own", 1);
    // Once it is retained, a message is the broker's.
    client.subscribe("t", 1 | NO_LOCAL);
    assert_eq!(payloads(client.drain()), ["own"]);
    client.retain("t", "again", 1);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[test]
fn retain_as_published_keeps_the_flag() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    for keeps in [false, true] {
        let options = 1 | NO_RETAINED | u8::from(keeps) << 3;
        client.subscribe("t", options);
        publisher.retain("t", "retained", 1);
        assert_eq!(client.message().is_retained, keeps);
        publisher.retain("t", "", 1);
        assert_eq!(client.message().is_retained, keeps, "the removal");
        publisher.publish("t", "not retained", 1);
        assert!(!client.message().is_retained);
    }
}

// Conforms: 3.1.1 [MQTT-3.3.1-8] [MQTT-3.3.1-9]; 3.1 [MQTT31-13]
#[test]
fn mqtt_3_clients_see_the_flag_on_what_was_retained_before_they_subscribed() {
    let daemon = Daemon::start("");
    for version in [Version::V31, Version::V311] {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let mut client = StrictClient::start(daemon.port(), version, "c");
        publisher.retain("t", "before", 1);
        client.subscribe("t", 1);
        assert!(client.message().is_retained);
        publisher.retain("t", "after", 1);
        assert!(!client.message().is_retained);
        // Every SUBSCRIBE brings them again.
        client.subscribe("t", 1);
        let again = client.message();
        assert_eq!((again.payload.as_str(), again.is_retained), ("after", true));
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
#[test]
fn retain_handling_says_when_retained_messages_come() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    for topic in ["t/a", "t/b", "u/a", "u/b", "t"] {
        publisher.retain(topic, topic, 1);
    }
    // Whether they come with a new subscription, and with one that is there.
    for (handling, with_new, with_known) in [
        (0, true, true),
        (RETAIN_IF_NEW, true, false),
        (NO_RETAINED, false, false),
    ] {
        // Retain As Published has no say in it.
        for options in [1 | handling, 1 | handling | RETAIN_AS_PUBLISHED] {
            let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
            let check = |client: &mut StrictClient, comes| {
                client.subscribe("t/+", options);
                let messages = client.drain();
                assert!(messages.iter().all(|it| it.is_retained && it.qos == 1));
                let expected: &[&str] = if comes { &["t/a", "t/b"] } else { &[] };
                assert_eq!(payloads(messages), expected, "{options:06b}");
            };
            check(&mut client, with_new);
            check(&mut client, with_known);
            client.unsubscribe(&["t/+"]);
            check(&mut client, with_new);
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
#[test]
fn a_subscription_of_a_resumed_session_is_not_new() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.retain("t", "r", 1);
    for (handling, with_known) in [(0, 1), (RETAIN_IF_NEW, 0), (NO_RETAINED, 0)] {
        let client_id = format!("c{handling}");
        let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, &client_id);
        client.subscribe("t", 1 | handling);
        client.drain();
        client.disconnect();
        let (mut client, is_resumed) = StrictClient::resume(daemon.port(), Version::V5, &client_id);
        assert!(is_resumed);
        client.expect_silence();
        client.subscribe("t", 1 | handling);
        assert_eq!(client.drain().len(), with_known);
    }
}

// Conforms: bridge [BRIDGE-2] [BRIDGE-3]
#[test]
fn a_bridge_sees_the_retain_flag_and_nothing_of_its_own() {
    let daemon = Daemon::start("");
    let connects: [(Version, &[u8]); 2] = [
        (Version::V31, b"\x10\x0f\0\x06MQIsdp\x83\x02\0\x3c\0\x01b"),
        (Version::V311, b"\x10\x0d\0\x04MQTT\x84\x02\0\x3c\0\x01b"),
    ];
    for (version, bytes) in connects {
        let mut other = StrictClient::start(daemon.port(), version, "other");
        let mut bridge = StrictClient::open(daemon.port(), version);
        bridge.send(bytes);
        assert_eq!(bridge.answer(0x20).body, [0, 0]);
        bridge.subscribe_all(&[("t/#", 1), ("$share/g/s", 1)]);
        other.retain("t/x", "retained", 1);
        assert!(bridge.message().is_retained);
        other.publish("t/x", "not retained", 1);
        assert!(!bridge.message().is_retained);
        bridge.publish("t/x", "own", 1);
        bridge.retain("t/x", "", 1);
        bridge.expect_silence();
        // There is no No Local for a group (5.0 [MQTT-3.8.3-4]).
        bridge.publish("s", "own", 1);
        assert_eq!(payloads(bridge.drain()), ["own"]);
    }
}

// Conforms: 5.0 [MQTT-3.8.3-3]
#[test]
fn no_local_is_for_the_will_of_an_earlier_connection_too() {
    let daemon = Daemon::start("");
    let port = daemon.port();
    let mut client = StrictClient::start(port, Version::V5, "other");
    // With Clean Start and the will `x` for `w`; SUBSCRIBE with No Local comes with it.
    let mut bytes = b"\x10\x15\0\x04MQTT\x05\x06\0\0\0\0\x01c\0\0\x01w\0\x01x".to_vec();
    bytes.extend(subscribe(Version::V5, 1, &[], &[("w", 1 | NO_LOCAL)]));
    for _ in 0..100 {
        let mut next = StrictClient::open(port, Version::V5);
        next.send(&bytes);
        next.answer(0x90);
        next.answer(0x20);
        // The connection before it has been closed, and its will published.
        client.vanish();
        next.expect_silence();
        client = next;
    }
}
