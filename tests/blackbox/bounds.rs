//! The bounds of a session's queue: what is refused, what is dropped, who is told.

use std::collections::BTreeMap;

use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, PUBCOMP, PUBREC, PUBREL, join, leave_session, resume};
use tests::message::Message;
use tests::wire::{Version, WireClient};

const QUOTA_EXCEEDED: u8 = 0x97;

/// A daemon with these keys of `store`, few messages in memory, and counters that are announced
/// often.
fn start(store: &str) -> Daemon {
    Daemon::start(&format!(
        "mqtt.max_mqueue_len = 3, sys_topics.interval = 100ms, store {{ {store} }}"
    ))
}

/// Publishes with QoS 1; returns the reason in the PUBACK.
#[track_caller]
fn publish(client: &mut WireClient, topic: &str, payload: &str) -> u8 {
    client.say(&Message::new(topic, payload).qos(1, 1));
    let (head, identifier, reason) = client.answer();
    assert_eq!((head, identifier), (PUBACK, 1));
    reason
}

/// Publishes these numbers, none of which is refused.
#[track_caller]
fn publish_all(client: &mut WireClient, topic: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        assert_eq!(publish(client, topic, &number.to_string()), 0, "{number}");
    }
}

/// What waits for a session, which has it then.
#[track_caller]
fn take_all(daemon: &Daemon, client_id: &str, count: usize) -> Vec<String> {
    let (mut client, is_resumed) = resume(daemon, Version::V5, client_id);
    assert!(is_resumed);
    let messages = client.take_many(count);
    client.expect_silence();
    client.disconnect().unwrap();
    messages.iter().map(Message::text).collect()
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|it| it.to_string()).collect()
}

/// Waits until the counters of what was dropped say this; their sum has no cause.
#[track_caller]
fn wait_dropped(daemon: &Daemon, expected: &[(&str, u64)]) {
    const TOPIC: &str = "$SYS/broker/publish/messages/dropped";
    let mut watcher = join(daemon, Version::V5, "watcher");
    watcher.subscribe(&format!("{TOPIC}/#"), 0).unwrap();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let is_there = |found: &BTreeMap<String, u64>| {
        let mut expected = expected.iter();
        expected.all(|(cause, count)| found.get(*cause) == Some(count))
    };
    while !is_there(&found) {
        let message = watcher.hear();
        let cause = message.topic.strip_prefix(TOPIC).unwrap();
        let count = message.text().parse().unwrap();
        found.insert(cause.trim_start_matches('/').to_owned(), count);
    }
}

#[test]
fn a_full_queue_refuses_what_is_new_and_the_publisher_is_told() {
    let mut daemon = start("max_messages = 5");
    leave_session(&daemon, Version::V5, "reader", "t", 2);
    let mut publisher = join(&daemon, Version::V5, "p");
    publish_all(&mut publisher, "t", 1..=5);
    assert_eq!(publish(&mut publisher, "t", "6"), QUOTA_EXCEEDED);
    // The identifier of QoS 2 is free again.
    for _ in 0..2 {
        publisher.say(&Message::new("t", "7").qos(2, 9));
        assert_eq!(publisher.answer(), (PUBREC, 9, QUOTA_EXCEEDED));
    }
    // Nobody is told who cannot be.
    publisher.say(&Message::new("t", "8"));
    let mut old = join(&daemon, Version::V311, "old");
    assert_eq!(publish(&mut old, "t", "9"), 0);
    old.say(&Message::new("t", "10").qos(2, 4));
    assert_eq!(old.answer(), (PUBREC, 4, 0));
    old.reply(PUBREL, 4);
    assert_eq!(old.answer(), (PUBCOMP, 4, 0));
    wait_dropped(
        &daemon,
        &[("queue_full", 5), ("dropped_oldest", 0), ("", 5)],
    );

    daemon.kill();
    daemon.restart();
    let mut publisher = join(&daemon, Version::V5, "p");
    assert_eq!(publish(&mut publisher, "t", "11"), QUOTA_EXCEEDED);
    // One that takes it is enough, and so is being retained.
    let mut other = join(&daemon, Version::V5, "other");
    other.subscribe("t", 0).unwrap();
    assert_eq!(publish(&mut publisher, "t", "12"), 0);
    assert_eq!(other.take().text(), "12");
    other.disconnect().unwrap();
    publisher.say(&Message::new("t", "13").qos(1, 1).retained());
    assert_eq!(publisher.answer(), (PUBACK, 1, 0));
    wait_dropped(&daemon, &[("queue_full", 3), ("", 3)]);
    assert_eq!(take_all(&daemon, "reader", 5), numbers(1..=5));
    publish_all(&mut publisher, "t", 14..=14);
}

#[test]
fn bytes_are_counted_in_memory_and_on_disk_and_after_a_restart() {
    let mut daemon = start("max_bytes = 1KiB");
    leave_session(&daemon, Version::V5, "reader", "t", 1);
    let mut publisher = join(&daemon, Version::V5, "p");
    // With its topic each takes 200 bytes, and 24 are left.
    let large = "x".repeat(199);
    for _ in 0..5 {
        assert_eq!(publish(&mut publisher, "t", &large), 0);
    }
    assert_eq!(
        publish(&mut publisher, "t", &"y".repeat(24)),
        QUOTA_EXCEEDED
    );
    assert_eq!(publish(&mut publisher, "t", &"z".repeat(22)), 0);
    daemon.kill();
    daemon.restart();
    let mut publisher = join(&daemon, Version::V5, "p");
    assert_eq!(publish(&mut publisher, "t", "x"), QUOTA_EXCEEDED);
    assert_eq!(publish(&mut publisher, "t", ""), 0);
    assert_eq!(publish(&mut publisher, "t", ""), QUOTA_EXCEEDED);
    let sizes: Vec<_> = take_all(&daemon, "reader", 7);
    let sizes: Vec<_> = sizes.iter().map(String::len).collect();
    assert_eq!(sizes, [199, 199, 199, 199, 199, 22, 0]);
}

#[test]
fn the_oldest_make_way_before_and_after_a_restart() {
    let mut daemon = start("max_messages = 10, when_full = drop_oldest");
    leave_session(&daemon, Version::V5, "reader", "t", 1);
    let mut publisher = join(&daemon, Version::V5, "p");
    publish_all(&mut publisher, "t", 1..=25);
    wait_dropped(&daemon, &[("dropped_oldest", 15), ("", 15)]);
    let log = daemon.process().log();
    assert_eq!(log.matches("deliveries are dropped").count(), 1, "{log}");
    assert!(daemon.stop().0.success());
    daemon.restart();
    let mut publisher = join(&daemon, Version::V5, "p");
    publish_all(&mut publisher, "t", 26..=30);
    wait_dropped(
        &daemon,
        &[("dropped_oldest", 5), ("queue_full", 0), ("", 5)],
    );
    assert_eq!(take_all(&daemon, "reader", 10), numbers(21..=30));
    publish_all(&mut publisher, "t", 31..=32);
    assert_eq!(take_all(&daemon, "reader", 2), numbers(31..=32));
}

#[test]
fn bytes_make_way_for_a_message_that_needs_them() {
    let mut daemon = start("max_bytes = 1KiB, when_full = drop_oldest");
    leave_session(&daemon, Version::V5, "reader", "t", 1);
    let mut publisher = join(&daemon, Version::V5, "p");
    for number in 0..20 {
        let payload = format!("{number:099}");
        assert_eq!(publish(&mut publisher, "t", &payload), 0);
    }
    // Ten of 100 bytes have room.
    wait_dropped(&daemon, &[("dropped_oldest", 10)]);
    assert!(daemon.stop().0.success());
    daemon.restart();
    let mut publisher = join(&daemon, Version::V5, "p");
    let large = "x".repeat(499);
    assert_eq!(publish(&mut publisher, "t", &large), 0);
    // What has no room in an empty queue makes nothing go.
    assert_eq!(
        publish(&mut publisher, "t", &"y".repeat(1_024)),
        QUOTA_EXCEEDED
    );
    wait_dropped(&daemon, &[("dropped_oldest", 5), ("queue_full", 1)]);
    let found = take_all(&daemon, "reader", 6);
    let expected: Vec<_> = (15..20).map(|number| format!("{number:099}")).collect();
    assert_eq!((&found[..5], &found[5]), (&expected[..], &large));
}

#[test]
fn what_is_unacknowledged_does_not_make_way() {
    let mut daemon = start("max_messages = 4, when_full = drop_oldest");
    for (qos, version) in [(1, Version::V5), (2, Version::V311)] {
        let client_id = format!("reader-{qos}");
        let (mut reader, _) = resume(&daemon, version, &client_id);
        reader.subscribe("t", qos).unwrap();
        publish_all(&mut join(&daemon, Version::V5, "p"), "t", 0..=0);
        assert_eq!(reader.take().text(), "0");
        let deliver_all = |daemon: &Daemon, numbers: std::ops::RangeInclusive<u32>| {
            let mut publisher = join(daemon, Version::V5, "p");
            for number in numbers {
                publisher.deliver(&Message::new("t", number.to_string()).qos(2, 1));
            }
        };
        deliver_all(&daemon, 1..=2);
        let sent: Vec<_> = (0..2).map(|_| reader.hear()).collect();
        reader.disconnect().unwrap();
        deliver_all(&daemon, 3..=9);
        daemon.kill();
        daemon.restart();
        deliver_all(&daemon, 10..=19);
        let (mut reader, is_resumed) = resume(&daemon, version, &client_id);
        assert!(is_resumed);
        // Those that were sent come again as they were; they count among those that wait.
        for message in sent {
            assert_eq!(reader.hear(), message.again());
        }
        let rest: Vec<_> = (0..2).map(|_| reader.hear().text()).collect();
        assert_eq!(rest, numbers(18..=19));
        reader.expect_silence();
        // The session ends.
        join(&daemon, version, &client_id).disconnect().unwrap();
    }
}

const LANES: &str =
    "lanes = [{ filter = \"alarm/#\", lane = 2 }, { filter = \"bulk/#\", lane = 0 }]";

#[test]
fn higher_lanes_are_sent_first_and_each_keeps_its_order() {
    let mut daemon = start(LANES);
    for restarts in [false, true] {
        leave_session(&daemon, Version::V5, "reader", "#", 1);
        let mut publisher = join(&daemon, Version::V5, "p");
        for number in 1..=10 {
            for topic in ["bulk/a", "state", "alarm/a"] {
                publish_all(&mut publisher, topic, number..=number);
            }
        }
        if restarts {
            daemon.kill();
            daemon.restart();
        }
        let (mut reader, _) = resume(&daemon, Version::V5, "reader");
        let found: Vec<_> = (0..30).map(|_| reader.take()).collect();
        let topics = ["alarm/a", "state", "bulk/a"].into_iter();
        let expected: Vec<_> = topics
            .flat_map(|topic| numbers(1..=10).into_iter().map(move |it| (topic, it)))
            .collect();
        let found: Vec<_> = found.iter().map(|it| (&*it.topic, it.text())).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_lowest_lane_loses_what_waits_longest() {
    for when_full in ["reject_new", "drop_oldest"] {
        let mut daemon = start(&format!(
            "max_messages = 9, when_full = {when_full}, {LANES}"
        ));
        leave_session(&daemon, Version::V5, "reader", "#", 1);
        let mut publisher = join(&daemon, Version::V5, "p");
        publish_all(&mut publisher, "bulk/a", 1..=3);
        publish_all(&mut publisher, "state", 11..=13);
        publish_all(&mut publisher, "alarm/a", 21..=23);
        // Two need the room of the oldest in the lowest lane, before and after a restart.
        publish_all(&mut publisher, "state", 14..=14);
        assert!(daemon.stop().0.success());
        daemon.restart();
        let mut publisher = join(&daemon, Version::V5, "p");
        publish_all(&mut publisher, "alarm/a", 24..=24);
        let is_refused = |reason| {
            let refused = when_full == "reject_new";
            assert_eq!(reason, if refused { QUOTA_EXCEEDED } else { 0 });
        };
        is_refused(publish(&mut publisher, "bulk/a", "4"));
        // The second finds the lowest lane empty.
        publish_all(&mut publisher, "alarm/a", 25..=26);
        let expected = [21, 22, 23, 24, 25, 26, 12, 13, 14];
        let found = take_all(&daemon, "reader", 9);
        assert_eq!(found, expected.map(|it| it.to_string()));
        let mut publisher = join(&daemon, Version::V5, "p");
        publish_all(&mut publisher, "alarm/a", 27..=35);
        // Nothing below is left.
        let reason = publish(&mut publisher, "state", "15");
        assert_eq!(reason, QUOTA_EXCEEDED);
        is_refused(publish(&mut publisher, "alarm/a", "36"));
    }
}

#[test]
fn of_some_topics_only_the_last_message_waits() {
    let mut daemon = start("latest_only = [\"state/#\"], max_messages = 40");
    leave_session(&daemon, Version::V5, "reader", "#", 1);
    let (mut online, _) = resume(&daemon, Version::V5, "online");
    online.subscribe("#", 1).unwrap();
    let mut publisher = join(&daemon, Version::V5, "p");
    for number in 1..=10 {
        for topic in ["state/a", "state/b", "event"] {
            publish_all(&mut publisher, topic, number..=number);
        }
    }
    // What is in flight is not touched: this client has it all.
    let found: Vec<_> = (0..30).map(|_| online.hear()).collect();
    assert_eq!(found[27].text(), "10");
    online.disconnect().unwrap();
    wait_dropped(&daemon, &[("superseded", 18), ("queue_full", 0), ("", 18)]);
    let log = daemon.process().log();
    assert!(!log.contains("dropped"), "that is what is wanted: {log}");
    assert!(daemon.stop().0.success());
    daemon.restart();
    let mut publisher = join(&daemon, Version::V5, "p");
    publish_all(&mut publisher, "state/a", 11..=13);
    publish_all(&mut publisher, "event", 11..=11);
    // The first of each session was there before; what was in flight still is.
    wait_dropped(&daemon, &[("superseded", 5), ("", 5)]);
    let (mut reader, _) = resume(&daemon, Version::V5, "reader");
    let found = reader.take_many(13);
    let found: Vec<_> = found.iter().map(|it| (&*it.topic, it.text())).collect();
    let events = |range| numbers(range).into_iter().map(|it| ("event", it));
    let mut expected: Vec<_> = events(1..=9).collect();
    expected.push(("state/b", "10".to_owned()));
    expected.extend(events(10..=10));
    expected.push(("state/a", "13".to_owned()));
    expected.extend(events(11..=11));
    assert_eq!(found, expected);
    reader.expect_silence();
    let (mut online, _) = resume(&daemon, Version::V5, "online");
    let found: Vec<_> = (0..32).map(|_| online.hear()).collect();
    assert!(found[..30].iter().all(|it| it.dup), "{found:?}");
    assert_eq!(
        (found[30].text(), found[31].text()),
        ("13".to_owned(), "11".to_owned())
    );
}
