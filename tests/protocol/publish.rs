//! PUBLISH: its flags, its topic, and how it is answered (§3.3).

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume};
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Version, packet};

// Conforms: 5.0 [MQTT-2.2.1-2] [MQTT-2.2.1-4] [MQTT-2.2.2-1] [MQTT-3.3.2-1] [MQTT-3.3.2-3] [MQTT-4.2.0-1]
// Conforms: 3.1.1 [MQTT-2.3.1-5] [MQTT-3.3.2-1] [MQTT-3.3.2-3] [MQTT-7.1.1-1]; 3.1 [MQTT31-13]
#[test]
fn a_message_goes_to_subscribers_of_every_version_byte_by_byte() {
    let daemon = Daemon::start("");
    for from in Version::ALL {
        for to in Version::ALL {
            let mut subscriber = join(&daemon, to, "s");
            subscriber.subscribe("a/+", 2).unwrap();
            subscriber.subscribe("other", 2).unwrap();
            let mut publisher = join(&daemon, from, "p");
            for qos in 0..=2_u8 {
                let message = Message::new("a/b", "hi").qos(qos, 77);
                publisher.deliver(&message);
                // The subscriber's own Packet Identifiers begin with 1.
                let expected = message.qos(qos, qos.into()).encode(to);
                let packet = subscriber.receive().unwrap().unwrap();
                let bytes = tests::wire::packet(packet.head, &packet.body);
                assert_eq!(bytes, expected, "{from:?} to {to:?}, QoS {qos}");
            }
            publisher.disconnect().unwrap();
            subscriber.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.1-2] [MQTT-3.3.1-3] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
// Conforms: 3.1.1 [MQTT-3.3.1-2] [MQTT-3.3.1-3] [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
#[test]
fn the_publishers_dup_is_not_passed_on() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for granted in 0..=2 {
            let mut subscriber = join(&daemon, version, "s");
            subscriber.subscribe("t", granted).unwrap();
            let mut publisher = join(&daemon, version, "p");
            for qos in 1..=2 {
                publisher.deliver(&Message::new("t", "x").qos(qos, 5).again());
                let message = subscriber.take();
                assert_eq!((message.qos, message.dup), (qos.min(granted), false));
            }
        }
    }
}

// Conforms: 5.0 [MQTT-2.1.3-1] [MQTT-2.2.1-3] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-4.13.1-1]
// Conforms: 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-2.3.1-1] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-4.8.0-1]
#[test]
fn wrong_flags_and_identifiers_close_the_connection() {
    let daemon = Daemon::start("");
    let message = Message::new("t", "x");
    let table = [
        ("QoS 3", message.clone().qos(3, 1), true),
        ("QoS 3 with DUP", message.clone().qos(3, 1).again(), true),
        ("QoS 3 retained", message.clone().qos(3, 1).retained(), true),
        ("QoS 1 without identifier", message.clone().qos(1, 0), true),
        ("QoS 2 without identifier", message.clone().qos(2, 0), true),
        // MQTT 3.1 says that DUP counts above QoS 0 only.
        ("QoS 0 with DUP", message.again(), false),
    ];
    for version in Version::ALL {
        for (what, message, in_all) in &table {
            let mut client = join(&daemon, version, "c");
            client.subscribe("t", 0).unwrap();
            client.say(message);
            println!("{version:?}: {what}");
            if *in_all || version != Version::V31 {
                client.expect_closed(0x81);
            } else {
                assert!(!client.hear().dup);
            }
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
// Conforms: 3.1.1 [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-1.5.3-1] [MQTT-1.5.3-2]
#[test]
fn a_topic_that_is_no_topic_name_closes_the_connection() {
    let daemon = Daemon::start("");
    let table: [(&[u8], u8); 11] = [
        (b"\0\x01#", 0x90),
        (b"\0\x01+", 0x90),
        (b"\0\x03a/#", 0x90),
        (b"\0\x05a/+/b", 0x90),
        (b"\0\x02a+", 0x90),
        (b"\0\x02a#", 0x90),
        (b"\0\x03a\0b", 0x81),
        (b"\0\x02a\xff", 0x81),
        // The surrogate U+D800.
        (b"\0\x03\xed\xa0\x80", 0x81),
        // Longer than the packet.
        (b"\0\x09a", 0x81),
        // Without a length.
        (b"\0", 0x81),
    ];
    for version in Version::ALL {
        for (topic, reason) in table {
            let mut client = join(&daemon, version, "c");
            println!("{version:?}: {topic:?}");
            let body = [topic, version.no_properties()].concat();
            client.send(&packet(0x30, &body)).unwrap();
            client.expect_closed(reason);
        }
        let mut client = join(&daemon, version, "c");
        client.say(&Message::new("", "x"));
        // A Topic Alias could stand for it, but there is none.
        client.expect_closed(0x82);
    }
}

// Conforms: 5.0 [MQTT-3.3.4-1] [MQTT-2.2.1-5]; 3.1.1 [MQTT-3.3.4-1] [MQTT-2.3.1-6]; 3.1 [MQTT31-13]
#[test]
fn each_qos_has_its_answer_with_the_packet_identifier() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = join(&daemon, version, "p");
        let none = if version == Version::V5 { 0x10 } else { 0 };
        for identifier in [1, 2, 255, 256, 32_768, 65_535] {
            client.say(&Message::new("t", "0").qos(0, identifier));
            client.expect_silence();
            client.say(&Message::new("t", "1").qos(1, identifier));
            assert_eq!(client.answer(), (PUBACK, identifier, none));
            client.say(&Message::new("t", "2").qos(2, identifier));
            assert_eq!(client.answer(), (PUBREC, identifier, none));
            client.reply(PUBREL, identifier);
            assert_eq!(client.answer(), (PUBCOMP, identifier, 0));
        }
    }
}

// Conforms: 5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1]
#[test]
fn the_publisher_is_told_whether_anybody_subscribes() {
    let daemon = Daemon::start("");
    let mut publisher = join(&daemon, Version::V5, "p");
    let mut tell = |expected| {
        publisher.say(&Message::new("t/1", "x").qos(1, 3));
        assert_eq!(publisher.answer(), (PUBACK, 3, expected));
        publisher.say(&Message::new("t/1", "x").qos(2, 4));
        assert_eq!(publisher.answer(), (PUBREC, 4, expected));
        publisher.reply(PUBREL, 4);
        assert_eq!(publisher.answer(), (PUBCOMP, 4, 0));
    };
    tell(0x10);
    // One who is away is a subscriber too.
    leave_session(&daemon, Version::V311, "s", "t/+", 1);
    tell(0);
    let mut subscriber = resume(&daemon, Version::V311, "s").0;
    subscriber.take();
    subscriber.take();
    subscriber.send(&packet(0xa2, b"\0\x05\0\x03t/+")).unwrap();
    subscriber.expect(0xb0).unwrap();
    tell(0x10);
}

// Conforms: 5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-4.3.3-9]; 3.1.1 [MQTT-3.3.5-2]
#[test]
fn publishing_below_sys_is_refused() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("$SYS/of/ours/#", 2).unwrap();
        subscriber.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        let message = Message::new("$SYS/of/ours/x", "x");
        let v5 = version == Version::V5;
        let refused = if v5 { 0x87 } else { 0 };
        publisher.say(&message);
        publisher.say(&message.clone().retained());
        publisher.expect_silence();
        publisher.say(&message.clone().qos(1, 8));
        let answer = publisher.expect(PUBACK).unwrap();
        assert_eq!(&answer.body[..2], [0, 8]);
        assert_eq!(answer.body.get(2).copied().unwrap_or_default(), refused);
        if v5 {
            let (properties, _) = tests::property::decode(&answer.body[3..]).unwrap();
            assert_eq!(properties.len(), 1);
            assert_eq!(properties[0].identifier, 0x1f, "a Reason String");
        }
        publisher.say(&message.qos(2, 9));
        assert_eq!(publisher.answer(), (PUBREC, 9, refused));
        if !v5 {
            publisher.reply(PUBREL, 9);
            assert_eq!(publisher.answer(), (PUBCOMP, 9, 0));
        }
        // The identifier is free again: this is another message.
        publisher.deliver(&Message::new("t", "next").qos(2, 9));
        assert_eq!(subscriber.take().topic, "t");
        subscriber.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn topics_have_limits() {
    let daemon = Daemon::start("mqtt { max_topic_len = 10, max_topic_levels = 3 }");
    for version in Version::ALL {
        for topic in ["1234567890", "a/b/c", "//", "/a/"] {
            let mut client = join(&daemon, version, "c");
            client.deliver(&Message::new(topic, "x").qos(1, 1));
        }
        for topic in ["12345678901", "a/b/c/d", "///", "/a/b/"] {
            let mut client = join(&daemon, version, "c");
            client.say(&Message::new(topic, "x").qos(1, 1));
            client.expect_closed(0x90);
        }
    }
    let mut client = join(&daemon, Version::V5, "c");
    client.say(&Message::new("a/b/c/d", "x").with(Property::two_bytes(0x23, 1)));
    client.expect_closed(0x90);
}

// Conforms: 5.0 [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]; 3.1.1 [MQTT-3.3.5-1]
#[test]
fn overlapping_subscriptions_have_the_greatest_qos_and_all_identifiers() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut subscriber = join(&daemon, version, "s");
        for (identifier, filter, qos) in [(1, "t/#", 0), (2, "t/a", 2), (200, "+/a", 1)] {
            let mut body = vec![0, identifier];
            if version == Version::V5 {
                let number: &[u8] = if identifier > 127 {
                    &[200, 1]
                } else {
                    &[identifier]
                };
                body.extend(tests::property::encode(&[Property::raw(0x0b, number)]));
            }
            body.extend([0, 3]);
            body.extend(filter.as_bytes());
            body.push(qos);
            subscriber.send(&packet(0x82, &body)).unwrap();
            subscriber.expect(0x90).unwrap();
        }
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&Message::new("t/a", "x").qos(2, 1));
        let message = subscriber.take();
        assert_eq!(message.qos, 2);
        if version == Version::V5 {
            let mut identifiers: Vec<_> = message.properties;
            identifiers.sort_by_key(|it| it.value.clone());
            let expected = [&[1][..], &[2], &[200, 1]].map(|it| Property::raw(0x0b, it));
            assert_eq!(identifiers, expected);
        }
        // Each subscription is content with one copy.
        subscriber.expect_silence();
    }
}
