//! Retained messages (§3.3.1.3).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBREC, join, leave_session, resume, resume_with};
use tests::message::Message;
use tests::property::Property;
use tests::subscription::subscribe;
use tests::wait::until;
use tests::wire::{Version, WireClient};

const QUOTA_EXCEEDED: u8 = 0x97;
const NEVER: u8 = 0x83;

fn retained(topic: &str, payload: &str, qos: u8) -> Message {
    Message::new(topic, payload).qos(qos, 1).retained()
}

/// What a new subscription brings at once.
fn brought(daemon: &Daemon, version: Version, filter: &str) -> Vec<Message> {
    let mut client = join(daemon, version, "look");
    client.subscribe(filter, 0).unwrap();
    let mut brought = Vec::new();
    // The answer to a PINGREQ may come between two messages; none is left after two without.
    let mut silences = 0;
    while silences < 2 {
        client.send(&[0xc0, 0]).unwrap();
        silences += 1;
        loop {
            let packet = client.receive().unwrap().unwrap();
            let Some(message) = Message::decode(&packet, version) else {
                break;
            };
            brought.push(message);
            silences = 0;
        }
    }
    brought
}

/// The same, which is retained: topics and payloads.
fn found(daemon: &Daemon, version: Version, filter: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for message in brought(daemon, version, filter) {
        assert!(message.retain && !message.dup, "{message:?}");
        found.push((message.topic.clone(), message.text()));
    }
    found.sort();
    found
}

fn pair(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT-3.8.4-8]
// Conforms: 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8] [MQTT-3.8.4-6]; 3.1 [MQTT31-13]
#[test]
fn the_last_retained_message_of_a_topic_is_kept_with_its_qos() {
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = join(&daemon, version, "p");
        let mut last = String::new();
        for (number, qos) in (0..).zip([0, 1, 2, 0, 0, 2, 1, 0, 1, 1, 2, 2, 0]) {
            last = format!("{version:?}{number}");
            publisher.deliver(&retained("t", &last, qos));
            publisher.expect_silence();
            for granted in 0..=2 {
                let mut client = join(&daemon, version, "s");
                client.subscribe("t", granted).unwrap();
                let message = client.take();
                assert_eq!(message.text(), last);
                assert_eq!((message.qos, message.retain), (qos.min(granted), true));
                client.expect_silence();
            }
        }
        publisher.disconnect().unwrap();
        assert_eq!(found(&daemon, version, "#"), [pair("t", &last)]);
    }
    let mut publisher = join(&daemon, Version::V311, "p");
    publisher.deliver(&retained("u", "x", 2));
    let before = found(&daemon, Version::V5, "#");
    publisher.deliver(&retained("v", "x", 0));
    publisher.expect_silence();
    // The answer says that everything before it is stored too.
    leave_session(&daemon, Version::V5, "settle", "nothing", 0);
    daemon.kill();
    daemon.restart();
    assert_eq!(
        found(&daemon, Version::V5, "#"),
        [before, vec![pair("v", "x")]].concat()
    );
}

// Conforms: 5.0 [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-12]; 3.1.1 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
#[test]
fn an_empty_retained_message_is_delivered_and_nothing_is_kept() {
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        let mut live = join(&daemon, version, "live");
        live.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        for qos in 0..=2 {
            publisher.deliver(&retained("t", "x", qos));
            publisher.deliver(&retained("other", "y", qos));
            // Once to clear, once more when there is nothing to clear.
            for _ in 0..2 {
                publisher.deliver(&retained("t", "", qos));
                publisher.expect_silence();
            }
            for (message, expected) in live.take_many(3).iter().zip(["x", "", ""]) {
                assert_eq!((&*message.text(), message.qos), (expected, qos));
                assert!(!message.retain, "{message:?}");
            }
            live.expect_silence();
            assert_eq!(found(&daemon, version, "#"), [pair("other", "y")]);
        }
    }
    leave_session(&daemon, Version::V5, "settle", "nothing", 0);
    daemon.kill();
    daemon.restart();
    assert_eq!(found(&daemon, Version::V5, "#"), [pair("other", "y")]);
}

// Conforms: 5.0 [MQTT-3.3.1-8] [MQTT-3.3.1-12]; 3.1.1 [MQTT-3.3.1-12] [MQTT-3.3.1-9]
#[test]
fn what_is_not_retained_leaves_what_is() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut live = join(&daemon, version, "live");
        live.subscribe("#", 2).unwrap();
        live.skip();
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&retained("t", "kept", 1));
        for qos in 0..=2 {
            for text in ["other", ""] {
                publisher.deliver(&Message::new("t", text).qos(qos, 2));
                publisher.deliver(&Message::new("u", text).qos(qos, 2));
            }
        }
        let seen = live.take_many(13);
        assert!(seen.iter().all(|it| !it.retain));
        assert_eq!(found(&daemon, version, "#"), [pair("t", "kept")]);
    }
}

// Conforms: 5.0 [MQTT-3.3.1-12]; 3.1.1 [MQTT-3.3.1-9] [MQTT-3.1.2-7]
#[test]
fn a_session_that_is_away_is_an_established_subscriber() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let mut publisher = join(&daemon, version, "p");
        publisher.deliver(&retained("t", "", 1));
        leave_session(&daemon, version, &client_id, "t", 1);
        publisher.deliver(&retained("t", "one", 1));
        publisher.deliver(&retained("t", "two", 1));
        publisher.disconnect().unwrap();
        let (mut client, _) = resume(&daemon, version, &client_id);
        for expected in ["one", "two"] {
            let message = client.take();
            assert_eq!((&*message.text(), message.retain), (expected, false));
        }
        client.expect_silence();
        // The sessions are gone, the message stays.
        drop(client);
        join(&daemon, version, &client_id).disconnect().unwrap();
        assert_eq!(found(&daemon, version, "t"), [pair("t", "two")]);
    }
}

/// Publishes a message that cannot be retained; false if its publisher is told so, for this reason.
fn is_taken(publisher: &mut WireClient, message: &Message, reason: u8) -> bool {
    let (version, identifier) = (publisher.version(), message.identifier);
    if version != Version::V5 || message.qos == 0 {
        publisher.deliver(message);
        return true;
    }
    publisher.say(message);
    let head = if message.qos == 1 { PUBACK } else { PUBREC };
    // That ends it: its identifier is free [MQTT-4.3.3-9].
    let answer = publisher.receive().unwrap().unwrap();
    let [high, low] = identifier.to_be_bytes();
    assert_eq!((answer.head, &answer.body[..2]), (head, &[high, low][..]));
    assert_eq!(answer.reason(), reason);
    let said = String::from_utf8_lossy(&answer.body);
    assert_eq!(said.contains("retain.max_payload_size"), reason == NEVER);
    false
}

// Conforms: 5.0 [MQTT-3.3.1-5]; 3.1.1 [MQTT-3.3.1-7]
#[test]
fn what_is_too_large_to_be_retained_is_refused_or_is_delivered_and_replaces_what_is() {
    let mut daemon = Daemon::start("retain { max_payload_size = 100 }");
    let (fits, large) = ("x".repeat(100), "x".repeat(101));
    for version in Version::ALL {
        let mut live = join(&daemon, version, "live");
        live.subscribe("#", 0).unwrap();
        live.skip();
        let mut publisher = join(&daemon, version, "p");
        for qos in 0..=2 {
            publisher.deliver(&retained("t", &fits, qos));
            publisher.expect_silence();
            assert_eq!(found(&daemon, version, "t"), [pair("t", &fits)]);
            let is_taken = is_taken(&mut publisher, &retained("t", &large, qos), NEVER);
            assert_eq!(live.hear().text(), fits);
            if is_taken {
                assert_eq!(live.hear().text(), large);
                // What was kept is no longer the last one.
                assert_eq!(found(&daemon, version, "t"), []);
            } else {
                // What is not accepted is not published.
                live.expect_silence();
                assert_eq!(found(&daemon, version, "t"), [pair("t", &fits)]);
                publisher.deliver(&Message::new("t", large.as_str()).qos(qos, 1));
                assert_eq!(live.hear().text(), large);
            }
        }
    }
    join(&daemon, Version::V5, "p").deliver(&retained("t", &large, 0));
    leave_session(&daemon, Version::V5, "settle", "nothing", 0);
    daemon.kill();
    daemon.restart();
    assert_eq!(found(&daemon, Version::V5, "t"), []);
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-6]
#[test]
fn no_more_topics_than_configured_have_a_retained_message() {
    let daemon = Daemon::start("retain { max_messages = 2 }");
    until(
        "the daemon says something of itself, which takes no room",
        // At this moment perhaps.
        || brought(&daemon, Version::V5, "$SYS/#").len() > 2,
    );
    let mut live = join(&daemon, Version::V5, "live");
    live.subscribe("#", 0).unwrap();
    let mut publisher = join(&daemon, Version::V311, "p");
    let mut retain = |topic: &str, payload: &str| {
        publisher.deliver(&retained(topic, payload, 1));
        assert_eq!(live.hear().text(), payload);
    };
    retain("a", "1");
    retain("b", "2");
    retain("c", "3");
    retain("a", "4");
    let all = found(&daemon, Version::V5, "#");
    assert_eq!(all, [pair("a", "4"), pair("b", "2")]);
    retain("b", "");
    retain("c", "5");
    retain("b", "6");
    let all = found(&daemon, Version::V5, "#");
    assert_eq!(all, [pair("a", "4"), pair("c", "5")]);
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-6]
#[test]
fn who_can_be_told_that_there_is_no_room_keeps_the_message_and_nobody_gets_it() {
    let mut daemon = Daemon::start("retain { max_messages = 1 }");
    let mut live = join(&daemon, Version::V5, "live");
    live.subscribe("#", 2).unwrap();
    leave_session(&daemon, Version::V5, "away", "#", 2);
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&retained("a", "1", 1));
    for qos in 1..=2 {
        let message = retained("b", "2", qos);
        assert!(!is_taken(&mut publisher, &message, QUOTA_EXCEEDED));
        // It has room where one is already.
        publisher.deliver(&retained("a", &qos.to_string(), qos));
    }
    // A will was accepted with its CONNECT.
    let will = Will::new("b", b"will").qos(1).retained();
    let ends = Connect::new(Version::V5, "ends").will(will);
    drop(ends.open(daemon.port()));
    let expect_all = |client: &mut WireClient| {
        let heard: Vec<_> = client.take_many(4).iter().map(Message::text).collect();
        assert_eq!(heard, ["1", "1", "2", "will"]);
        client.expect_silence();
    };
    expect_all(&mut live);
    leave_session(&daemon, Version::V5, "settle", "nothing", 0);
    daemon.kill();
    daemon.restart();
    assert_eq!(found(&daemon, Version::V5, "#"), [pair("a", "2")]);
    let (mut away, _) = resume(&daemon, Version::V5, "away");
    expect_all(&mut away);
}

/// Publishes retained messages to `r/1`, `r/2`, and so on, to MQTT 3.
fn retain_many(publisher: &mut WireClient, count: u16, payload: &str) {
    let messages = (1..=count).map(|number| {
        let message = Message::new(&format!("r/{number}"), payload).qos(1, number);
        message.retained().encode(publisher.version())
    });
    let bytes = messages.collect::<Vec<_>>().concat();
    publisher.send(&bytes).unwrap();
    for number in 1..=count {
        assert_eq!(publisher.answer(), (PUBACK, number, 0));
    }
}

// Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-4.9.0-2] [MQTT-3.3.4-3]; 3.1.1 [MQTT-3.3.1-6]
#[test]
fn each_of_many_retained_messages_comes_once_for_each_subscription() {
    const COUNT: u16 = 200;
    let daemon = Daemon::start("mqtt { max_mqueue_len = 10 }");
    retain_many(&mut join(&daemon, Version::V311, "p"), COUNT, "x");
    for qos in 0..=2 {
        let one_at_a_time = Property::two_bytes(0x21, 1);
        let (mut client, _) = resume_with(&daemon, "s", &[one_at_a_time]);
        for (identifier, filter) in [(5, "r/#"), (6, "+/+")] {
            let number = tests::subscription::subscription_identifier(identifier);
            let bytes = subscribe(Version::V5, 1, &number, &[(filter, qos)]);
            client.send(&bytes).unwrap();
        }
        let mut seen = BTreeSet::new();
        let mut answers = 0;
        while seen.len() < 2 * usize::from(COUNT) || answers < 2 {
            let packet = client.receive().unwrap().unwrap();
            let Some(message) = Message::decode(&packet, Version::V5) else {
                assert_eq!(packet.head, 0x90, "{packet:?}");
                answers += 1;
                continue;
            };
            assert_eq!((message.retain, message.qos), (true, qos.min(1)));
            if message.qos > 0 {
                client.reply(PUBACK, message.identifier);
            }
            let identifier = message.number(0x0b);
            assert!(seen.insert((message.topic, identifier)), "twice");
        }
        client.expect_silence();
        client.disconnect().unwrap();
        join(&daemon, Version::V5, "s").disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-4.4.0-1]; 3.1.1 [MQTT-3.3.1-6] [MQTT-4.4.0-1]
#[test]
fn retained_messages_that_a_connection_did_not_take_come_on_the_next() {
    const COUNT: u16 = 300;
    let daemon = Daemon::start("mqtt { max_inflight_window = 10 }");
    retain_many(&mut join(&daemon, Version::V311, "p"), COUNT, "x");
    for version in Version::ALL {
        let client_id = format!("{version:?}");
        let (mut client, _) = resume(&daemon, version, &client_id);
        client.subscribe("none", 1).unwrap();
        client
            .send(&subscribe(version, 9, &[], &[("r/#", 1)]))
            .unwrap();
        let mut topics = BTreeSet::new();
        while topics.len() < 20 {
            let packet = client.receive().unwrap().unwrap();
            // The SUBACK is among them.
            if let Some(message) = Message::decode(&packet, version) {
                client.reply(PUBACK, message.identifier);
                topics.insert(message.topic);
            }
        }
        client.skip();
        drop(client);
        let (mut client, _) = resume(&daemon, version, &client_id);
        // Those that were on their way come again, so some may come twice.
        while topics.len() < COUNT.into() {
            let message = client.take();
            assert!(message.retain, "{message:?}");
            topics.insert(message.topic);
        }
        client.expect_silence();
        join(&daemon, version, &client_id).disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.3.2-5]
#[test]
fn expired_messages_make_room_for_others() {
    let mut daemon = Daemon::start("retain { max_messages = 1 }");
    let mut publisher = join(&daemon, Version::V5, "p");
    let expiry = Property::four_bytes(0x02, 1);
    publisher.deliver(&retained("old", "x", 1).with(expiry));
    until("there is room for another", || {
        publisher.deliver(&retained("new", "y", 1));
        !found(&daemon, Version::V5, "new").is_empty()
    });
    daemon.kill();
    daemon.restart();
    assert_eq!(found(&daemon, Version::V5, "#"), [pair("new", "y")]);
}

// Conforms: 5.0 [MQTT-3.3.1-5]; 3.1.1 [MQTT-3.3.1-5]
#[test]
fn a_restart_finds_the_messages_that_were_the_last_before() {
    const TOPICS: u16 = 3_000;
    let mut daemon = Daemon::start("");
    for round in 0..5 {
        thread::scope(|scope| {
            for client_id in ["1", "2", "3"] {
                let mut publisher = join(&daemon, Version::V311, client_id);
                scope.spawn(move || retain_many(&mut publisher, TOPICS, client_id));
            }
        });
        let before = found(&daemon, Version::V5, "r/#");
        assert_eq!(before.len(), usize::from(TOPICS), "round {round}");
        daemon.kill();
        daemon.restart();
        assert_eq!(found(&daemon, Version::V5, "r/#"), before, "round {round}");
    }
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-4.6.0-5]; 3.1.1 [MQTT-3.3.1-6] [MQTT-4.6.0-6]
#[test]
fn no_retained_message_comes_after_one_that_replaced_it() {
    let daemon = Daemon::start("");
    let is_over = AtomicBool::new(false);
    let mut publisher = join(&daemon, Version::V311, "p");
    let mut clients = ["1", "2"].map(|client_id| join(&daemon, Version::V311, client_id));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = 1_u64..;
            while !is_over.load(Ordering::SeqCst) {
                let some = numbers.by_ref().take(20);
                let some = some.map(|it| retained("t", &it.to_string(), 0));
                let bytes = some.flat_map(|it| it.encode(Version::V311));
                publisher.send(&bytes.collect::<Vec<_>>()).unwrap();
                publisher.expect_silence();
            }
        });
        let threads = clients
            .each_mut()
            .map(|it| scope.spawn(|| subscribe_often(it)));
        let outcomes = threads.map(thread::ScopedJoinHandle::join);
        is_over.store(true, Ordering::SeqCst);
        assert!(outcomes.iter().all(Result::is_ok));
    });
}

/// Subscribes again and again, and looks whether messages ever go back.
fn subscribe_often(client: &mut WireClient) {
    let start = Instant::now();
    let (mut last, mut count) = (0, 0);
    while start.elapsed() < Duration::from_secs(3) {
        client
            .send(&subscribe(Version::V311, 1, &[], &[("t", 0)]))
            .unwrap();
        count += 1;
        loop {
            let packet = client.receive().unwrap().unwrap();
            let Some(message) = Message::decode(&packet, Version::V311) else {
                break;
            };
            let number: u64 = message.text().parse().unwrap();
            assert!(number >= last, "{number} came after {last}");
            last = number;
        }
    }
    assert!(count > 10 && last > 10, "{count} times, {last} messages");
}

#[test]
fn what_is_larger_than_the_room_for_all_is_never_retained_and_what_others_leave_no_room_for_may_be()
{
    let daemon = Daemon::start("retain { max_size = 1KiB }");
    let mut publisher = join(&daemon, Version::V5, "p");
    publisher.deliver(&retained("a", &"x".repeat(600), 1));
    for qos in 1..=2 {
        for (bytes, reason) in [(600, QUOTA_EXCEEDED), (1_100, NEVER)] {
            let message = retained("b", &"x".repeat(bytes), qos);
            assert!(!is_taken(&mut publisher, &message, reason), "{bytes}");
        }
    }
    publisher.deliver(&retained("a", "", 1));
    publisher.deliver(&retained("b", &"x".repeat(600), 1));
}
