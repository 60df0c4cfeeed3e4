//! Receive Maximum in both directions (§4.9) and the bounds of QoS 2 (§4.3.3).

use std::ops::RangeInclusive;

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Kept, Version, WireClient, connect, packet};

fn receive_maximum(number: u16) -> Property {
    Property::two_bytes(0x21, number)
}

// Conforms: 5.0 [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn the_clients_receive_maximum_is_kept_to_exactly() {
    let daemon = Daemon::start("");
    for maximum in [1, 2] {
        for qos in [1, 2] {
            let (mut client, _) = resume_with(&daemon, "s", &[receive_maximum(maximum)]);
            client.subscribe("t", 2).unwrap();
            let mut publisher = join(&daemon, Version::V5, "p");
            for number in 1..=6 {
                publisher.deliver(&Message::new("t", number.to_string()).qos(qos, number));
            }
            let mut unacknowledged: Vec<_> = (0..maximum).map(|_| client.hear()).collect();
            client.expect_silence();
            for number in maximum + 1..=6 {
                let first = unacknowledged.remove(0);
                if qos == 1 {
                    client.reply(PUBACK, first.identifier);
                } else {
                    client.reply(PUBREC, first.identifier);
                    assert_eq!(client.answer(), (PUBREL, first.identifier, 0));
                    // A PUBREC makes no room yet.
                    client.expect_silence();
                    client.reply(PUBCOMP, first.identifier);
                }
                let next = client.hear();
                assert_eq!(next.text(), number.to_string());
                unacknowledged.push(next);
                client.expect_silence();
            }
            client.disconnect().unwrap();
            join(&daemon, Version::V5, "s").disconnect().unwrap();
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-2.2.1-4] [MQTT-4.3.2-1]; 3.1.1 [MQTT-2.3.1-4]
#[test]
fn as_many_as_there_are_identifiers_may_be_unacknowledged() {
    const ALL: u16 = u16::MAX;
    let daemon = Daemon::start(
        "mqtt { max_inflight_window = 65535, max_mqueue_len = 100000, max_queue_bytes = 100MiB }",
    );
    let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
    let connect = connect(Version::V5, "s", Kept::Nothing);
    client.send(&connect).unwrap();
    client.expect(0x20).unwrap();
    client.subscribe("t", 1).unwrap();
    let mut publisher = join(&daemon, Version::V311, "p");
    let mut seen = vec![false; usize::from(ALL) + 1];
    for number in 1..=ALL {
        publisher.say(&Message::new("t", number.to_be_bytes()).qos(1, number));
        let message = client.hear();
        assert_eq!(message.payload, number.to_be_bytes());
        let is_seen = &mut seen[usize::from(message.identifier)];
        assert!(!*is_seen && message.identifier > 0);
        *is_seen = true;
        assert_eq!(publisher.answer(), (PUBACK, number, 0));
    }
    // Not one more.
    publisher.deliver(&Message::new("t", "last").qos(1, 1));
    client.expect_silence();
    client.reply(PUBACK, 40_000);
    client.expect_silence();
    client.reply(PUBACK, 1);
    assert_eq!(client.take().text(), "last");
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.3.4-10] [MQTT-4.9.0-3]
#[test]
fn a_full_window_holds_up_nothing_else() {
    let daemon = Daemon::start("");
    let (mut client, _) = resume_with(&daemon, "s", &[receive_maximum(1)]);
    client.subscribe("t", 2).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    for number in 1..=2 {
        publisher.deliver(&Message::new("t", number.to_string()).qos(2, number));
    }
    let first = client.hear();
    client.expect_silence();
    publisher.deliver(&Message::new("t", "at once"));
    assert_eq!(client.hear().text(), "at once");
    client.subscribe("u", 1).unwrap();
    client.send(&packet(0xa2, b"\0\x09\0\0\x01u")).unwrap();
    client.expect(0xb0).unwrap();
    client.deliver(&Message::new("v", "x").qos(1, 1));
    client.deliver(&Message::new("v", "x").qos(2, 2));
    client.reply(PUBREC, 500);
    assert_eq!(client.answer(), (PUBREL, 500, 0x92));
    client.reply(PUBREC, first.identifier);
    assert_eq!(client.answer(), (PUBREL, first.identifier, 0));
    publisher.deliver(&Message::new("t", "again at once"));
    assert_eq!(client.hear().text(), "again at once");
    client.reply(PUBCOMP, first.identifier);
    assert_eq!(client.take().text(), "2");
}

// Conforms: 5.0 [MQTT-3.3.4-7] [MQTT-4.13.1-1]
#[test]
fn a_client_of_mqtt_5_that_exceeds_our_receive_maximum_is_closed() {
    for qos in [1, 2] {
        exceed(qos);
    }
}

fn exceed(qos: u8) {
    let daemon = Daemon::start("mqtt { receive_maximum = 3 }");
    let mut client = join(&daemon, Version::V5, "c");
    for round in 1..=3 {
        for number in 1..=3 {
            client.say(&Message::new("t", "x").qos(2, number * round));
            assert_eq!(client.answer(), (PUBREC, number * round, 0x10));
            // The same once more is no other.
            client.say(&Message::new("t", "x").qos(2, number * round).again());
            assert_eq!(client.answer(), (PUBREC, number * round, 0));
        }
        client.say(&Message::new("t", "x"));
        client.expect_silence();
        for number in 1..=3 {
            client.reply(PUBREL, number * round);
            assert_eq!(client.answer(), (PUBCOMP, number * round, 0));
        }
    }
    for number in 1..=3 {
        client.say(&Message::new("t", "x").qos(2, number));
        assert_eq!(client.answer(), (PUBREC, number, 0x10));
    }
    client.say(&Message::new("t", "x").qos(qos, 4));
    client.expect_closed(0x93);
}

// Conforms: 5.0 [MQTT-4.9.0-3]; 3.1.1 [MQTT-7.0.0-2]; 3.1 [MQTT31-13]
#[test]
fn clients_of_mqtt_3_know_no_receive_maximum() {
    const COUNT: u16 = 3_000;
    let daemon = Daemon::start("mqtt { receive_maximum = 3 }");
    for version in [Version::V31, Version::V311] {
        leave_session(&daemon, version, "s", "t", 1);
        let mut client = join(&daemon, version, "c");
        let messages = (1..=COUNT).map(|it| Message::new("t", "x").qos(1, it).encode(version));
        client
            .send(&messages.flatten().collect::<Vec<u8>>())
            .unwrap();
        for number in 1..=COUNT {
            assert_eq!(client.answer(), (PUBACK, number, 0));
        }
        let (mut subscriber, _) = resume(&daemon, version, "s");
        assert_eq!(subscriber.take_many(3_000).len(), 3_000);
        subscriber.expect_silence();
        subscriber.disconnect().unwrap();
    }
}

// Conforms: 3.1.1 [MQTT-4.3.3-2] [MQTT-4.8.0-1]
#[test]
fn a_client_of_mqtt_3_that_releases_nothing_is_bounded() {
    /// The default of `mqtt.receive_maximum`.
    const BOUND: u16 = 1_024;
    let daemon = Daemon::start("");
    for version in [Version::V31, Version::V311] {
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("t", 1).unwrap();
        let client_id = format!("{version:?}");
        let (mut client, _) = resume(&daemon, version, &client_id);
        let publish = |client: &mut WireClient, numbers: RangeInclusive<u16>| {
            let messages = numbers.clone().map(|it| Message::new("t", "x").qos(2, it));
            let bytes = messages.flat_map(|it| it.encode(version));
            client.send(&bytes.collect::<Vec<_>>()).unwrap();
            for number in numbers {
                assert_eq!(client.answer(), (PUBREC, number, 0));
            }
        };
        publish(&mut client, 1..=BOUND);
        client.say(&Message::new("t", "x").qos(2, BOUND + 1));
        client.expect_closed(0x93);
        assert_eq!(subscriber.take_many(BOUND.into()).len(), 1_024);
        // It can go on: what it sent is known, and what it releases makes room.
        let (mut client, _) = resume(&daemon, version, &client_id);
        publish(&mut client, 1..=BOUND);
        subscriber.expect_silence();
        for number in 1..=BOUND {
            client.reply(PUBREL, number);
        }
        for number in 1..=BOUND {
            assert_eq!(client.answer(), (PUBCOMP, number, 0));
        }
        publish(&mut client, BOUND + 1..=2 * BOUND);
        assert_eq!(subscriber.take_many(BOUND.into()).len(), 1_024);
        subscriber.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.3.3-9] [MQTT-4.3.3-10] [MQTT-3.5.2-1]
#[test]
fn identifiers_that_earlier_connections_left_are_bounded() {
    let daemon = Daemon::start("mqtt { receive_maximum = 3 }");
    let mut subscriber = join(&daemon, Version::V5, "s");
    subscriber.subscribe("t", 0).unwrap();
    let (mut client, _) = resume(&daemon, Version::V5, "c");
    for number in 1..=3 {
        client.say(&Message::new("t", "x").qos(2, number));
        assert_eq!(client.answer(), (PUBREC, number, 0));
        subscriber.hear();
    }
    drop(client);
    let (mut client, _) = resume(&daemon, Version::V5, "c");
    for number in [4, 5, 6, 4] {
        client.say(&Message::new("t", "y").qos(2, number));
        assert_eq!(client.answer(), (PUBREC, number, 0x97));
    }
    client.say(&Message::new("t", "x").qos(2, 2).again());
    assert_eq!(client.answer(), (PUBREC, 2, 0));
    subscriber.expect_silence();
    client.reply(PUBREL, 2);
    assert_eq!(client.answer(), (PUBCOMP, 2, 0));
    client.deliver(&Message::new("t", "z").qos(2, 4));
    assert_eq!(subscriber.hear().text(), "z");
    subscriber.expect_silence();
}
