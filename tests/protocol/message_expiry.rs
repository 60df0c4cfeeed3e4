//! The Message Expiry Interval (§3.3.2.3.3).

use std::time::Duration;

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::wait::until_every;
use tests::wire::{Version, WireClient};

/// The identifier of the property.
const EXPIRY: u8 = 0x02;
/// What the interval of the message that serves as a clock begins with, in seconds.
const CLOCK: u32 = 1_000;

fn expiring(topic: &str, payload: &str, seconds: u32) -> Message {
    Message::new(topic, payload).with(Property::four_bytes(EXPIRY, seconds))
}

/// Starts a clock, which is a retained message that expires.
fn start_clock(daemon: &Daemon) {
    let mut client = join(daemon, Version::V5, "clock");
    client.deliver(&expiring("clock", "x", CLOCK).qos(1, 1).retained());
}

/// Waits until the clock has run for this long; what was to expire by then has expired.
#[track_caller]
fn wait_seconds(daemon: &Daemon, seconds: u32) {
    let mut client = join(daemon, Version::V5, "clock");
    let mut last = CLOCK;
    until_every(Duration::from_millis(50), "the clock runs", || {
        client.subscribe("clock", 0).unwrap();
        let left = client.hear().number(EXPIRY).unwrap();
        assert!(left <= last, "the clock went from {last} to {left}");
        last = left;
        left <= CLOCK - seconds
    });
}

fn take_all(client: &mut WireClient, count: usize) -> Vec<String> {
    client.take_many(count).iter().map(Message::text).collect()
}

// Conforms: 5.0 [MQTT-3.3.2-6]
#[test]
fn the_interval_is_counted_down_while_a_message_waits() {
    let mut daemon = Daemon::start("");
    leave_session(&daemon, Version::V5, "away", "t/#", 1);
    let mut live = join(&daemon, Version::V5, "live");
    live.subscribe("t/#", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    for (number, seconds) in [(1, 100), (2, u32::MAX), (3, 0)] {
        let mut message = expiring(&format!("t/{number}"), "x", seconds).qos(1, number);
        if seconds == 0 {
            message.properties.clear();
        }
        publisher.deliver(&message.retained());
        let found = live.take().number(EXPIRY);
        match seconds {
            0 => assert_eq!(found, None, "it does not expire"),
            _ => assert!(
                (seconds - 20..=seconds).contains(&found.unwrap()),
                "{found:?}"
            ),
        }
    }
    start_clock(&daemon);
    wait_seconds(&daemon, 2);
    let check = |found: Vec<Option<u32>>| {
        assert!((50..=98).contains(&found[0].unwrap()), "{found:?}");
        let range = u32::MAX - 50..=u32::MAX - 2;
        assert!(range.contains(&found[1].unwrap()), "{found:?}");
        assert_eq!(found[2], None);
    };
    let mut late = join(&daemon, Version::V5, "late");
    late.subscribe("t/#", 0).unwrap();
    check((0..3).map(|_| late.hear().number(EXPIRY)).collect());
    // A restart does not begin it anew.
    daemon.kill();
    daemon.restart();
    let (mut away, _) = resume(&daemon, Version::V5, "away");
    check((0..3).map(|_| away.take().number(EXPIRY)).collect());
}

// Conforms: 5.0 [MQTT-3.3.2-5]
#[test]
fn what_expires_in_a_queue_is_not_delivered() {
    let mut daemon = Daemon::start("mqtt { max_mqueue_len = 4 }");
    start_clock(&daemon);
    let sessions = Version::ALL.map(|version| (version, format!("{version:?}")));
    for (version, client_id) in &sessions {
        leave_session(&daemon, *version, client_id, "t", 2);
        leave_session(&daemon, *version, &format!("{client_id}later"), "t", 1);
    }
    let mut publisher = join(&daemon, Version::V5, "p");
    let mut kept = Vec::new();
    for number in 1..=20 {
        let text = number.to_string();
        let message = if number % 3 == 0 {
            expiring("t", &text, 60)
        } else if number % 3 == 1 {
            expiring("t", &text, 1)
        } else {
            Message::new("t", &text)
        };
        if number % 3 != 1 {
            kept.push(text);
        }
        publisher.deliver(&message.qos(1 + u8::from(number % 2 == 0), number));
    }
    wait_seconds(&daemon, 2);
    for (version, client_id) in &sessions {
        let (mut client, _) = resume(&daemon, *version, client_id);
        assert_eq!(take_all(&mut client, kept.len()), kept, "{version:?}");
        client.expect_silence();
    }
    daemon.kill();
    daemon.restart();
    for (version, client_id) in &sessions {
        let (mut client, _) = resume(&daemon, *version, &format!("{client_id}later"));
        assert_eq!(take_all(&mut client, kept.len()), kept, "{version:?}");
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.3.2-5]
#[test]
fn what_expires_behind_the_window_is_not_delivered() {
    let daemon = Daemon::start("");
    start_clock(&daemon);
    let (mut client, _) = resume_with(&daemon, "s", &[Property::two_bytes(0x21, 1)]);
    client.subscribe("t", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&expiring("t", "sent", 1).qos(1, 1));
    publisher.deliver(&expiring("t", "too late", 1).qos(1, 2));
    publisher.deliver(&expiring("t", "in time", 60).qos(1, 3));
    let first = client.hear();
    assert_eq!(first.text(), "sent");
    wait_seconds(&daemon, 2);
    client.reply(PUBACK, first.identifier);
    assert_eq!(client.take().text(), "in time");
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-4.3.3-7] [MQTT-4.3.3-13] [MQTT-4.4.0-1]
#[test]
fn what_was_sent_is_completed_although_it_has_expired() {
    let daemon = Daemon::start("");
    start_clock(&daemon);
    let (mut client, _) = resume(&daemon, Version::V5, "s");
    client.subscribe("t", 2).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&expiring("t", "one", 1).qos(2, 1));
    publisher.say(&expiring("t", "two", 1).qos(2, 2));
    assert_eq!(publisher.answer(), (PUBREC, 2, 0));
    let (one, two) = (client.hear(), client.hear());
    client.reply(PUBREC, one.identifier);
    assert_eq!(client.answer(), (PUBREL, one.identifier, 0));
    wait_seconds(&daemon, 2);
    publisher.reply(PUBREL, 2);
    assert_eq!(publisher.answer(), (PUBCOMP, 2, 0));
    client.expect_silence();
    drop(client);
    let (mut client, _) = resume(&daemon, Version::V5, "s");
    assert_eq!(client.answer(), (PUBREL, one.identifier, 0));
    client.reply(PUBCOMP, one.identifier);
    let again = client.take();
    assert_eq!((again.text(), again.dup), ("two".to_owned(), true));
    assert_eq!(again.identifier, two.identifier);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.3.2-5]
#[test]
fn a_retained_message_expires() {
    let mut daemon = Daemon::start("");
    start_clock(&daemon);
    let mut publisher = join(&daemon, Version::V5, "p");
    for qos in 0..=2 {
        let message = expiring(&format!("t/{qos}"), "x", 1);
        publisher.deliver(&message.qos(qos, 1).retained());
    }
    publisher.deliver(&expiring("t/3", "x", 60).qos(1, 1).retained());
    wait_seconds(&daemon, 2);
    for is_restarted in [false, true] {
        for version in Version::ALL {
            let mut client = join(&daemon, version, "s");
            client.subscribe("t/+", 2).unwrap();
            assert_eq!(client.take().topic, "t/3", "{version:?}");
            client.expect_silence();
        }
        if !is_restarted {
            daemon.kill();
            daemon.restart();
        }
    }
}
