//! The properties of PUBLISH (§3.3.2.3), apart from Message Expiry Interval and Topic Alias.

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join, leave_session, resume};
use tests::message::Message;
use tests::property::{Property, encode};
use tests::wire::{Version, packet};

/// A message with everything that a publisher may say of one, in an order of its own.
fn adorned(topic: &str) -> Message {
    Message::new(topic, "text")
        .with(Property::user("b", "first"))
        .with(Property::text(0x09, [0, 255, 1, 2]))
        .with(Property::byte(0x01, 1))
        .with(Property::user("a", "second"))
        .with(Property::text(0x08, "answer/to/this"))
        .with(Property::user("b", "third"))
        .with(Property::text(0x03, "text/plain; é"))
        .with(Property::user("", ""))
}

// Conforms: 5.0 [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn properties_reach_subscribers_unaltered_and_in_order() {
    let mut daemon = Daemon::start("");
    for qos in 0..=2 {
        leave_session(&daemon, Version::V5, &format!("away{qos}"), "t", qos);
    }
    let mut live = join(&daemon, Version::V5, "live");
    live.subscribe("t", 2).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    let message = adorned("t");
    for qos in 0..=2 {
        publisher.deliver(&message.clone().qos(qos, 1).retained());
        assert_eq!(live.take().properties, message.properties, "QoS {qos}");
    }
    let mut late = join(&daemon, Version::V5, "late");
    late.subscribe("t", 1).unwrap();
    assert_eq!(late.take().properties, message.properties, "retained");
    // From memory, then from the disk.
    let (mut client, _) = resume(&daemon, Version::V5, "away1");
    assert_eq!(client.take().properties, message.properties);
    daemon.kill();
    daemon.restart();
    let (mut client, _) = resume(&daemon, Version::V5, "away2");
    for _ in 1..=2 {
        assert_eq!(client.take().properties, message.properties);
    }
    let mut late = join(&daemon, Version::V5, "late");
    late.subscribe("t", 1).unwrap();
    assert_eq!(late.take().properties, message.properties);
}

// Conforms: 5.0 [MQTT-2.2.2-1]; 3.1.1 [MQTT-7.0.0-2]
#[test]
fn subscribers_of_older_versions_are_spared_properties() {
    let daemon = Daemon::start("");
    let mut publisher = join(&daemon, Version::V5, "p");
    for version in [Version::V31, Version::V311] {
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("t", 1).unwrap();
        publisher.deliver(&adorned("t").qos(1, 9));
        // There is no length of properties: this is all that follows the topic.
        assert_eq!(subscriber.take().payload, b"text");
    }
}

// Conforms: 5.0 [MQTT-3.3.2-13] [MQTT-3.3.2-14] [MQTT-3.3.2-19] [MQTT-3.3.4-6] [MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT-4.13.1-1]
#[test]
fn properties_that_must_not_be_sent_close_the_connection() {
    let daemon = Daemon::start("");
    let pair = |first: Property, second| vec![first, second];
    let mut table = vec![
        (vec![Property::byte(0x01, 2)], 0x82),
        (vec![Property::raw(0x0b, &[1])], 0x82),
        (vec![Property::text(0x03, [0xff])], 0x81),
        (vec![Property::text(0x08, [0xff])], 0x81),
        (vec![Property::text(0x08, "a/#")], 0x82),
        (vec![Property::text(0x08, "+/b")], 0x82),
        (vec![Property::text(0x08, "")], 0x82),
        (vec![Property::raw(0x26, b"\0\x01\xff\0\0")], 0x81),
        (vec![Property::raw(0x26, b"\0\0\0\x01\xff")], 0x81),
        // Those of other packets, one that does not exist, and one that is cut off.
        (vec![Property::four_bytes(0x11, 1)], 0x81),
        (vec![Property::text(0x1f, "why")], 0x81),
        (vec![Property::two_bytes(0x21, 1)], 0x81),
        (vec![Property::byte(0x7f, 1)], 0x81),
        (vec![Property::raw(0x02, &[0, 0, 1])], 0x81),
    ];
    for single in [
        Property::byte(0x01, 0),
        Property::four_bytes(0x02, 60),
        Property::text(0x03, "text"),
        Property::text(0x08, "a"),
        Property::text(0x09, "x"),
        Property::two_bytes(0x23, 1),
    ] {
        table.push((pair(single.clone(), single), 0x82));
    }
    let mut subscriber = join(&daemon, Version::V5, "s");
    subscriber.subscribe("t", 0).unwrap();
    for (properties, reason) in table {
        let mut client = join(&daemon, Version::V5, "c");
        println!("{properties:?}");
        let mut message = Message::new("t", "x").qos(1, 1);
        message.properties = properties;
        client.say(&message);
        client.expect_closed(reason);
    }
    subscriber.expect_silence();
}

// Conforms: 5.0 [MQTT-1.5.5-1] [MQTT-4.13.1-1]
#[test]
fn the_length_of_properties_has_to_be_right() {
    let daemon = Daemon::start("");
    // None at all, needless bytes, beyond the packet, and a property across its end.
    let table: [&[u8]; 5] = [b"", b"\x80\0", b"\x05\x01\x01", b"\x01\x01\x01", b"\xff"];
    for properties in table {
        let mut client = join(&daemon, Version::V5, "c");
        println!("{properties:?}");
        let body = [b"\0\x01t\0\x01", properties].concat();
        client.send(&packet(0x32, &body)).unwrap();
        client.expect_closed(0x81);
    }
}

// Conforms: 5.0 [MQTT-3.3.2-17]
#[test]
fn user_properties_have_a_limit() {
    let daemon = Daemon::start("mqtt { max_user_properties = 3 }");
    let mut message = Message::new("t", "x").qos(1, 1);
    message.properties = vec![Property::user("a", "b"); 3];
    let mut client = join(&daemon, Version::V5, "c");
    client.subscribe("t", 0).unwrap();
    client.say(&message);
    // The acknowledgement and the message come in any order.
    let mut heads: Vec<u8> = Vec::new();
    for _ in 0..2 {
        heads.push(client.receive().unwrap().unwrap().head);
    }
    heads.sort_unstable();
    assert_eq!(heads, [0x30, PUBACK]);
    message.properties.push(Property::user("a", "b"));
    client.say(&message);
    client.expect_closed(0x97);
}

// Conforms: 5.0 [MQTT-3.3.2-16] [MQTT-3.3.2-17]
#[test]
fn long_properties_are_passed_on_whole() {
    let daemon = Daemon::start("");
    let mut client = join(&daemon, Version::V5, "c");
    client.subscribe("t", 0).unwrap();
    // The length takes one, two and three bytes.
    for size in [100, 124, 125, 16_378, 16_379, 65_535] {
        let message = Message::new("t", "x").with(Property::text(0x09, vec![7; size]));
        assert!(encode(&message.properties).len() > size);
        client.say(&message);
        assert_eq!(client.hear(), message, "{size}");
    }
}
