//! What was acknowledged survives SIGKILL, and long queues come from the disk in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tests::daemon::Daemon;
use tests::sequence::{NO_REPEATS, Repeats, assert_complete, assert_ordered};
use tests::wait::until;
use tests::wire::{Kept, Publish, Version, WireClient};

/// Unacknowledged messages of the publisher.
const WINDOW: u64 = 200;
/// The topics that the messages go round.
const TOPICS: u64 = 3;

fn topic(number: u64) -> String {
    format!("t/{}", number % TOPICS)
}

/// Makes a session that waits for messages.
fn leave_session(port: u16, version: Version, client_id: &str) {
    let (mut client, is_resumed) =
        WireClient::connect(port, version, client_id, Kept::Session).unwrap();
    assert!(!is_resumed);
    client.subscribe("t/+", 1).unwrap();
    client.disconnect().unwrap();
}

fn resume(port: u16, version: Version, client_id: &str) -> WireClient {
    let (client, is_resumed) =
        WireClient::connect(port, version, client_id, Kept::Session).unwrap();
    assert!(is_resumed, "the session of {client_id} is gone");
    client
}

/// Publishes these numbers with a window of unacknowledged ones; `acknowledged` follows.
fn publish(
    client: &mut WireClient,
    numbers: std::ops::RangeInclusive<u64>,
    acknowledged: &AtomicU64,
) -> io::Result<()> {
    let end = *numbers.end();
    for number in numbers {
        client.publish(&topic(number), number.to_string().as_bytes())?;
        if number > acknowledged.load(Ordering::SeqCst) + WINDOW {
            client.expect(0x40)?;
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
    while acknowledged.load(Ordering::SeqCst) < end {
        client.expect(0x40)?;
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

fn publish_all(port: u16, last: u64) {
    let (mut client, _) =
        WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
    publish(&mut client, 1..=last, &AtomicU64::new(0)).unwrap();
}

/// Receives and acknowledges until this number has come.
fn receive_until(client: &mut WireClient, last: u64) -> Vec<(String, u64)> {
    let mut messages = Vec::new();
    loop {
        let publish = client.receive_publish().unwrap();
        client.acknowledge(publish.identifier).unwrap();
        let number = publish.number().unwrap();
        messages.push((publish.topic, number));
        if number == last {
            return messages;
        }
    }
}

// Conforms: 5.0 [MQTT-4.3.2-4] [MQTT-4.5.0-1] [MQTT-4.6.0-5] [MQTT-4.6.0-6]
// Conforms: 3.1.1 [MQTT-4.5.0-1] [MQTT-4.6.0-5]
#[test]
fn acknowledged_messages_survive_sigkill_in_order() {
    const END: u64 = 1_000_000;
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    leave_session(port, Version::V311, "first");
    leave_session(port, Version::V5, "second");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    let publisher = thread::spawn(move || {
        let (mut client, _) =
            WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
        publish(&mut client, 1..=END - 1, &counter)
    });
    until("3,000 are acknowledged", || {
        acknowledged.load(Ordering::SeqCst) >= 3_000
    });
    daemon.kill();
    assert!(publisher.join().unwrap().is_err(), "it was cut off");
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    daemon.restart();

    let (mut client, _) =
        WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
    client
        .publish_acknowledged("t/end", END.to_string().as_bytes())
        .unwrap();
    for (version, client_id) in [(Version::V311, "first"), (Version::V5, "second")] {
        let mut messages = receive_until(&mut resume(port, version, client_id), END);
        assert_eq!(messages.pop(), Some(("t/end".to_owned(), END)));
        assert_ordered(client_id, &messages, NO_REPEATS);
        // Those behind the acknowledged ones may have been stored, without a hole.
        let last = messages.iter().map(|(_, number)| *number).max().unwrap();
        assert!((acknowledged..END).contains(&last), "{acknowledged} {last}");
        assert_complete(client_id, &messages, 1..=last, NO_REPEATS);
    }
}

// Conforms: 5.0 [MQTT-4.6.0-5] [MQTT-4.6.0-6]; 3.1.1 [MQTT-4.6.0-5]
#[test]
fn six_thousand_queued_messages_come_from_the_disk_in_order() {
    const COUNT: u64 = 6_000;
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    leave_session(port, Version::V311, "now");
    leave_session(port, Version::V5, "later");
    publish_all(port, COUNT);
    let messages = receive_until(&mut resume(port, Version::V311, "now"), COUNT);
    assert_complete("while running", &messages, 1..=COUNT, NO_REPEATS);
    daemon.kill();
    daemon.restart();
    let messages = receive_until(&mut resume(port, Version::V5, "later"), COUNT);
    assert_complete("after a restart", &messages, 1..=COUNT, NO_REPEATS);
}

#[test]
fn a_subscriber_amid_its_queue_goes_on_after_sigkill() {
    const COUNT: u64 = 6_000;
    const READ: usize = 2_500;
    /// In flight, and what was acknowledged in the last few milliseconds.
    const REPEATS: Repeats = Repeats {
        steps_max: 1,
        messages_max: 2_000,
    };
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    leave_session(port, Version::V5, "reader");
    publish_all(port, COUNT);
    let mut client = resume(port, Version::V5, "reader");
    let mut messages = Vec::new();
    for _ in 0..READ {
        let publish = client.receive_publish().unwrap();
        client.acknowledge(publish.identifier).unwrap();
        messages.push((publish.topic.clone(), publish.number().unwrap()));
    }
    daemon.kill();
    daemon.restart();
    messages.extend(receive_until(
        &mut resume(port, Version::V5, "reader"),
        COUNT,
    ));
    assert_complete("reader", &messages, 1..=COUNT, REPEATS);
}

// Conforms: 3.1.1 [MQTT-2.3.1-4] [MQTT-3.3.1-1] [MQTT-4.3.2-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1]
#[test]
fn unacknowledged_messages_come_again_with_dup_and_their_identifiers() {
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    leave_session(port, Version::V311, "reader");
    publish_all(port, 10);
    let first = receive_ten(&mut resume(port, Version::V311, "reader"));
    assert!(first.iter().all(|it| !it.is_duplicate), "{first:?}");
    // The connection ended without one PUBACK.
    let again = receive_ten(&mut resume(port, Version::V311, "reader"));
    assert!(again.iter().all(|it| it.is_duplicate), "{again:?}");
    let same = |one: &Publish, other: &Publish| {
        (one.identifier, &one.topic, &one.payload)
            == (other.identifier, &other.topic, &other.payload)
    };
    assert!(
        first
            .iter()
            .zip(&again)
            .all(|(one, other)| same(one, other))
    );
    daemon.kill();
    daemon.restart();
    let last = receive_ten(&mut resume(port, Version::V311, "reader"));
    assert!(first.iter().zip(&last).all(|(one, other)| same(one, other)));
}

fn receive_ten(client: &mut WireClient) -> Vec<Publish> {
    (0..10).map(|_| client.receive_publish().unwrap()).collect()
}

#[test]
fn sigterm_amid_publishing_loses_nothing_acknowledged() {
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    leave_session(port, Version::V5, "reader");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    let publisher = thread::spawn(move || {
        let (mut client, _) =
            WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
        publish(&mut client, 1..=1_000_000, &counter)
    });
    until("2,000 are acknowledged", || {
        acknowledged.load(Ordering::SeqCst) >= 2_000
    });
    let (status, time) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(time < tests::process::STOP_MAX, "{time:?}");
    assert!(publisher.join().unwrap().is_err(), "it was cut off");
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    daemon.restart();
    let (mut client, _) =
        WireClient::connect(port, Version::V5, "publisher", Kept::Nothing).unwrap();
    client.publish_acknowledged("t/end", b"9000000").unwrap();
    let mut messages = receive_until(&mut resume(port, Version::V5, "reader"), 9_000_000);
    messages.pop();
    let last = messages.iter().map(|(_, number)| *number).max().unwrap();
    assert!(last >= acknowledged, "{acknowledged} {last}");
    assert_complete("reader", &messages, 1..=last, NO_REPEATS);
}
