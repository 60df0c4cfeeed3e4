//! Delivery retry (§4.4): what is sent again, when, and how.

use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::wait::until_every;
use tests::wire::{Version, WireClient};

/// Publishes so many messages with QoS 1 and 2 by turns; their payloads are their numbers.
fn publish(daemon: &Daemon, count: u16) {
    let mut publisher = join(daemon, Version::V5, "p");
    for number in 1..=count {
        let qos = 2 - u8::from(number % 2 == 1);
        publisher.deliver(&Message::new("t", number.to_string()).qos(qos, number));
    }
}

fn hear_many(client: &mut WireClient, count: usize) -> Vec<Message> {
    (0..count).map(|_| client.hear()).collect()
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::text).collect()
}

fn numbers(range: std::ops::RangeInclusive<u16>) -> Vec<String> {
    range.map(|it| it.to_string()).collect()
}

// Conforms: 5.0 [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-2.2.1-4]
// Conforms: 3.1.1 [MQTT-3.3.1-1] [MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1]; 3.1 [MQTT31-13]
#[test]
fn what_was_sent_comes_again_with_dup_and_what_waited_comes_without() {
    let daemon = Daemon::start("mqtt { max_inflight_window = 4 }");
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let (mut client, _) = resume(&daemon, version, &client_id);
        client.subscribe("t", 2).unwrap();
        publish(&daemon, 7);
        let sent = hear_many(&mut client, 4);
        assert_eq!(texts(&sent), numbers(1..=4));
        assert!(sent.iter().all(|it| !it.dup), "{sent:?}");
        client.expect_silence();
        // The second is released, the third is done: there is room for the fifth.
        client.reply(PUBREC, sent[1].identifier);
        assert_eq!(client.answer(), (PUBREL, sent[1].identifier, 0));
        client.reply(PUBACK, sent[2].identifier);
        let fifth = client.hear();
        assert_eq!((fifth.text(), fifth.dup), ("5".to_owned(), false));
        for _ in 0..2 {
            drop(client);
            (client, _) = resume(&daemon, version, &client_id);
            assert_eq!(client.hear(), sent[0].clone().again());
            assert_eq!(client.answer(), (PUBREL, sent[1].identifier, 0));
            assert_eq!(client.hear(), sent[3].clone().again());
            assert_eq!(client.hear(), fifth.clone().again());
            client.expect_silence();
        }
        client.reply(PUBACK, sent[0].identifier);
        client.reply(PUBCOMP, sent[1].identifier);
        let rest = hear_many(&mut client, 2);
        assert_eq!(texts(&rest), numbers(6..=7));
        assert!(rest.iter().all(|it| !it.dup), "{rest:?}");
        client.expect_silence();
        join(&daemon, version, &client_id).disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-4.4.0-1] [MQTT-4.3.3-6]
#[test]
fn nothing_is_sent_again_while_the_connection_lasts() {
    let daemon = Daemon::start("");
    let mut clients = Version::ALL.map(|version| {
        let (mut client, _) = resume(&daemon, version, &format!("{version:?}"));
        client.subscribe("t", 2).unwrap();
        client
    });
    publish(&daemon, 3);
    for client in &mut clients {
        let sent = hear_many(client, 3);
        client.reply(PUBREC, sent[1].identifier);
        assert_eq!(client.answer(), (PUBREL, sent[1].identifier, 0));
    }
    let start = Instant::now();
    until_every(Duration::from_millis(100), "time passes", || {
        clients.iter_mut().for_each(WireClient::expect_silence);
        start.elapsed() > Duration::from_secs(3)
    });
    // Neither other messages nor their acknowledgements have it sent.
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&Message::new("t", "4").qos(1, 1));
    for client in &mut clients {
        assert_eq!(client.take().text(), "4");
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-3.1.4-3]; 3.1.1 [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-3.1.4-2]
#[test]
fn a_connection_that_takes_over_is_sent_what_the_other_did_not_acknowledge() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let (mut first, _) = resume(&daemon, version, &client_id);
        first.subscribe("t", 2).unwrap();
        publish(&daemon, 5);
        let sent = hear_many(&mut first, 5);
        first.reply(PUBACK, sent[0].identifier);
        first.expect_silence();
        let (mut second, _) = resume(&daemon, version, &client_id);
        first.expect_closed(0x8e);
        let again = second.take_many(4);
        let expected: Vec<_> = sent[1..].iter().cloned().map(Message::again).collect();
        assert_eq!(again, expected);
        second.expect_silence();
        second.disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-4.4.0-1] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-3.3.4-9]; 3.1.1 [MQTT-4.6.0-1]
#[test]
fn a_smaller_window_holds_for_what_is_sent_again() {
    let daemon = Daemon::start("");
    let (mut client, _) = resume_with(&daemon, "s", &[]);
    client.subscribe("t", 2).unwrap();
    publish(&daemon, 6);
    let sent = hear_many(&mut client, 6);
    client.reply(PUBREC, sent[3].identifier);
    assert_eq!(client.answer(), (PUBREL, sent[3].identifier, 0));
    drop(client);
    let (mut client, _) = resume_with(&daemon, "s", &[Property::two_bytes(0x21, 2)]);
    assert_eq!(client.hear(), sent[0].clone().again());
    assert_eq!(client.hear(), sent[1].clone().again());
    client.expect_silence();
    client.reply(PUBACK, sent[0].identifier);
    assert_eq!(client.hear(), sent[2].clone().again());
    client.expect_silence();
    client.reply(PUBREC, sent[1].identifier);
    assert_eq!(client.answer(), (PUBREL, sent[1].identifier, 0));
    client.expect_silence();
    client.reply(PUBCOMP, sent[1].identifier);
    assert_eq!(client.answer(), (PUBREL, sent[3].identifier, 0));
    client.reply(PUBACK, sent[2].identifier);
    assert_eq!(client.hear(), sent[4].clone().again());
    client.expect_silence();
    client.reply(PUBCOMP, sent[3].identifier);
    assert_eq!(client.hear(), sent[5].clone().again());
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-4.3.1-1] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.3.1-1] [MQTT-4.4.0-1]
#[test]
fn what_is_done_and_what_has_qos_0_does_not_come_again() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let (mut client, _) = resume(&daemon, version, &client_id);
        client.subscribe("t", 2).unwrap();
        publish(&daemon, 4);
        client.take_many(4);
        let mut publisher = join(&daemon, version, "q");
        publisher.say(&Message::new("t", "0"));
        assert_eq!(client.hear().text(), "0");
        // The daemon has seen the last acknowledgement.
        client.expect_silence();
        drop(client);
        let (mut client, _) = resume(&daemon, version, &client_id);
        client.expect_silence();
        client.disconnect().unwrap();
        join(&daemon, version, &client_id).disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-2.2.1-4] [MQTT-4.4.0-1]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.4.0-1] [MQTT-4.6.0-1]
#[test]
fn packet_identifiers_and_order_survive_the_process() {
    for version in Version::ALL {
        let mut daemon = Daemon::start("mqtt { max_inflight_window = 6, max_mqueue_len = 3 }");
        leave_session(&daemon, version, "s", "t", 2);
        publish(&daemon, 20);
        let (mut client, _) = resume(&daemon, version, "s");
        let sent = hear_many(&mut client, 6);
        client.reply(PUBACK, sent[0].identifier);
        client.hear();
        // A later connection of the publisher is answered when all this is in the store.
        publish(&daemon, 1);
        daemon.kill();
        daemon.restart();
        let (mut client, _) = resume(&daemon, version, "s");
        let found = client.take_many(20);
        let mut expected = numbers(2..=20);
        expected.push("1".to_owned());
        assert_eq!(texts(&found), expected, "{version:?}");
        for (again, first) in found.iter().zip(&sent[1..]) {
            assert_eq!(again.identifier, first.identifier);
        }
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.3.1-1] [MQTT-4.4.0-1]; 3.1.1 [MQTT-3.3.1-1] [MQTT-4.4.0-1]
#[test]
fn what_was_sent_before_a_restart_comes_again_with_dup() {
    for is_killed in [false, true] {
        for version in Version::ALL {
            let mut daemon = Daemon::start("mqtt { max_inflight_window = 4 }");
            let (mut client, _) = resume(&daemon, version, "s");
            client.subscribe("t", 2).unwrap();
            publish(&daemon, 7);
            assert_eq!(texts(&hear_many(&mut client, 4)), numbers(1..=4));
            if is_killed {
                daemon.kill();
            } else {
                daemon.stop();
            }
            daemon.restart();
            let (mut client, _) = resume(&daemon, version, "s");
            let found = client.take_many(7);
            assert_eq!(texts(&found), numbers(1..=7));
            assert!(found[..4].iter().all(|it| it.dup), "{found:?}");
            // Whoever is killed does not know how far it came.
            if !is_killed {
                assert!(found[4..].iter().all(|it| !it.dup), "{found:?}");
            }
            client.expect_silence();
            publish(&daemon, 1);
            assert!(!client.take().dup);
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-4] [MQTT-4.3.3-1]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.3-1]
#[test]
fn what_was_sent_does_not_lose_its_identifier_to_another_message_by_a_restart() {
    for version in Version::ALL {
        // The first message is stored at once, the others after the interval.
        let mut daemon = Daemon::start("store { commit_interval = 200ms }");
        let (mut client, _) = resume(&daemon, version, "s");
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        for number in 1..=3 {
            publisher.say(&Message::new("t", "before").qos(2, number));
        }
        let sent = hear_many(&mut client, 3);
        daemon.kill();
        daemon.restart();
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&Message::new("t", "after").qos(2, 1));
        let (mut client, _) = resume(&daemon, version, "s");
        let found = client.take_many(4);
        let expected: Vec<_> = sent.into_iter().map(Message::again).collect();
        assert_eq!(found[..3], expected);
        assert_eq!(found[3].text(), "after");
    }
}
