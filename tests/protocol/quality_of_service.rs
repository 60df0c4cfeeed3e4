//! The delivery protocols of QoS 0, 1 and 2 (§4.3) and the addition to sessions (§4.5).

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume};
use tests::message::Message;
use tests::wire::Version;

// Conforms: 5.0 [MQTT-4.3.1-1] [MQTT-4.5.0-1] [MQTT-3.8.4-8]; 3.1.1 [MQTT-4.3.1-1] [MQTT-4.5.0-1] [MQTT-3.8.4-6]
#[test]
fn every_subscriber_has_every_message_once_with_the_lesser_qos() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut subscribers = [0, 1, 2].map(|granted| {
            let client_id = format!("{version:?}{granted}");
            leave_session(&daemon, version, &format!("{client_id}away"), "t", granted);
            let mut client = join(&daemon, version, &client_id);
            client.subscribe("t", granted).unwrap();
            (granted, client)
        });
        let mut publisher = join(&daemon, version, "p");
        for qos in 0..=2 {
            publisher.deliver(&Message::new("t", qos.to_string()).qos(qos, 1));
            for (granted, client) in &mut subscribers {
                let message = client.take();
                assert_eq!(message.text(), qos.to_string());
                assert_eq!(message.qos, qos.min(*granted));
                assert!(!message.dup);
                client.expect_silence();
            }
        }
        for granted in 0..=2_u8 {
            let (mut client, _) = resume(&daemon, version, &format!("{version:?}{granted}away"));
            // QoS 0 is for those who are there.
            for qos in 1..=2_u8 {
                if granted > 0 {
                    let message = client.take();
                    assert_eq!(message.text(), qos.to_string());
                    assert_eq!((message.qos, message.dup), (qos.min(granted), false));
                }
            }
            client.expect_silence();
            client.subscribe("nothing", 0).unwrap();
            client.disconnect().unwrap();
        }
    }
}

// Conforms: 5.0 [MQTT-4.3.2-4] [MQTT-4.3.2-5]; 3.1.1 [MQTT-4.3.2-2]
#[test]
fn after_the_puback_an_identifier_means_a_new_message() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("t", 1).unwrap();
        let mut publisher = join(&daemon, version, "p");
        let first = Message::new("t", "first").qos(1, 3);
        for message in [first.clone(), first.clone().again(), first.again()] {
            publisher.say(&message);
            assert_eq!(publisher.answer(), (PUBACK, 3, 0));
            assert_eq!(subscriber.take().payload, message.payload);
        }
        subscriber.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]; 3.1.1 [MQTT-4.3.3-2]
#[test]
fn until_the_pubrel_an_identifier_means_the_same_message() {
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("t", 2).unwrap();
        let (mut publisher, _) = resume(&daemon, version, "p");
        let message = Message::new("t", "x").qos(2, 9);
        let other = Message::new("t", "y").qos(2, 10);
        let say = |publisher: &mut tests::wire::WireClient, message: &Message| {
            publisher.say(message);
            assert_eq!(publisher.answer(), (PUBREC, message.identifier, 0));
        };
        say(&mut publisher, &message);
        say(&mut publisher, &message.clone().again());
        // Whether DUP says so or not.
        say(&mut publisher, &message);
        assert_eq!(subscriber.take().text(), "x");
        subscriber.expect_silence();
        // Not even another connection or process begins anew.
        publisher.disconnect().unwrap();
        let (mut publisher, is_present) = resume(&daemon, version, "p");
        assert_eq!(is_present, version != Version::V31);
        say(&mut publisher, &message.clone().again());
        subscriber.expect_silence();
        daemon.kill();
        daemon.restart();
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("t", 2).unwrap();
        let (mut publisher, _) = resume(&daemon, version, "p");
        say(&mut publisher, &message.clone().again());
        subscriber.expect_silence();
        say(&mut publisher, &other);
        assert_eq!(subscriber.take().text(), "y");
        publisher.reply(PUBREL, 9);
        assert_eq!(publisher.answer(), (PUBCOMP, 9, 0));
        say(&mut publisher, &message.again());
        assert_eq!(subscriber.take().text(), "x");
        for identifier in [10, 9] {
            publisher.reply(PUBREL, identifier);
            assert_eq!(publisher.answer(), (PUBCOMP, identifier, 0));
        }
        publisher.disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-4.3.3-12]; 3.1.1 [MQTT-3.1.2-6] [MQTT-4.3.3-2]
#[test]
fn identifiers_end_with_their_session() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut subscriber = join(&daemon, version, "s");
        subscriber.subscribe("t", 2).unwrap();
        for _ in 0..3 {
            let mut publisher = join(&daemon, version, "p");
            publisher.say(&Message::new("t", "x").qos(2, 5).again());
            assert_eq!(publisher.answer(), (PUBREC, 5, 0));
            subscriber.take();
        }
    }
}

// Conforms: 5.0 [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6]
// Conforms: 3.1.1 [MQTT-4.3.3-1] [MQTT-2.3.1-4]
#[test]
fn qos_2_goes_to_a_subscriber_in_four_steps() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = resume(&daemon, version, "s");
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&Message::new("t", "x").qos(2, 1));
        let message = client.hear();
        assert_eq!((message.qos, message.dup), (2, false));
        // Without a PUBREC there is no PUBREL.
        client.expect_silence();
        drop(client);
        let (mut client, _) = resume(&daemon, version, "s");
        assert_eq!(client.hear(), message.clone().again());
        client.reply(PUBREC, message.identifier);
        assert_eq!(client.answer(), (PUBREL, message.identifier, 0));
        client.expect_silence();
        for _ in 0..2 {
            drop(client);
            (client, _) = resume(&daemon, version, "s");
            assert_eq!(client.answer(), (PUBREL, message.identifier, 0));
            client.expect_silence();
        }
        client.reply(PUBCOMP, message.identifier);
        client.expect_silence();
        drop(client);
        let (mut client, _) = resume(&daemon, version, "s");
        client.expect_silence();
        client.disconnect().unwrap();
        join(&daemon, version, "s").disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-2.2.1-4]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
#[test]
fn no_packet_identifier_is_used_twice_at_a_time() {
    let daemon = Daemon::start("mqtt { max_inflight_window = 500 }");
    for version in Version::ALL {
        let mut client = join(&daemon, version, "s");
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        for number in 1..=400_u16 {
            let qos = 1 + u8::from(number.is_multiple_of(2));
            publisher.deliver(&Message::new("t", "x").qos(qos, number));
        }
        let mut identifiers: Vec<_> = (0..400).map(|_| client.hear().identifier).collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        assert_eq!(identifiers.len(), 400);
        assert!(identifiers[0] > 0);
    }
}

// Conforms: 5.0 [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.5.0-1]; 3.1.1 [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-4.5.0-1]
#[test]
fn what_is_acknowledged_survives_the_process() {
    for version in Version::ALL {
        let mut daemon = Daemon::start("");
        leave_session(&daemon, version, "s", "t", 2);
        let mut publisher = join(&daemon, version, "p");
        for number in 1..=20 {
            let qos = 1 + u8::from(number % 2 == 0);
            publisher.say(&Message::new("t", number.to_string()).qos(qos, number));
            let head = if qos == 1 { PUBACK } else { PUBREC };
            assert_eq!(publisher.answer(), (head, number, 0));
        }
        daemon.kill();
        daemon.restart();
        let (mut client, _) = resume(&daemon, version, "s");
        let found: Vec<_> = client.take_many(20).iter().map(Message::text).collect();
        let expected: Vec<_> = (1..=20).map(|it| it.to_string()).collect();
        assert_eq!(found, expected, "{version:?}");
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.3.3-5] [MQTT-4.3.3-6]; 3.1.1 [MQTT-4.3.3-1]
#[test]
fn what_the_subscriber_has_is_not_published_to_it_again_after_sigkill() {
    for version in Version::ALL {
        let mut daemon = Daemon::start("");
        leave_session(&daemon, version, "s", "t", 2);
        let (mut client, _) = resume(&daemon, version, "s");
        join(&daemon, version, "p").deliver(&Message::new("t", "x").qos(2, 1));
        let message = client.hear();
        client.reply(PUBREC, message.identifier);
        assert_eq!(client.answer(), (PUBREL, message.identifier, 0));
        daemon.kill();
        daemon.restart();
        // A client that had its PUBREL would take the PUBLISH for a new message.
        let (mut client, _) = resume(&daemon, version, "s");
        assert_eq!(client.answer(), (PUBREL, message.identifier, 0));
        client.reply(PUBCOMP, message.identifier);
        client.expect_silence();
    }
}
