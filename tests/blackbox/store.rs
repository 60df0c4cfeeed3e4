//! The files of the store come to harm.

use std::fs;

use tests::daemon::Daemon;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

/// A daemon with a session that waits for messages.
fn start() -> Daemon {
    let daemon = Daemon::start("");
    let (mut reader, _) =
        WireClient::connect(daemon.port(), Version::V5, "reader", Kept::Session).unwrap();
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
    daemon
}

fn client(daemon: &Daemon, client_id: &str) -> WireClient {
    let client = WireClient::connect(daemon.port(), Version::V5, client_id, Kept::Nothing);
    client.unwrap().0
}

fn publish(client: &mut WireClient, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let payload = number.to_string();
        client
            .publish_acknowledged("t/a", payload.as_bytes())
            .unwrap();
    }
}

/// The session has these messages.
#[track_caller]
fn assert_waiting(daemon: &Daemon, numbers: std::ops::RangeInclusive<u64>) {
    let (mut reader, is_resumed) =
        WireClient::connect(daemon.port(), Version::V5, "reader", Kept::Session).unwrap();
    assert!(is_resumed);
    for number in numbers {
        let publish = reader.receive_publish().unwrap();
        assert_eq!(publish.number(), Some(number));
        reader.acknowledge(publish.identifier).unwrap();
    }
}

#[test]
fn a_database_deleted_while_it_is_open_is_written_anew() {
    let mut daemon = start();
    let mut publisher = client(&daemon, "publisher");
    publish(&mut publisher, 1..=50);
    fs::remove_file(daemon.data().join("tidegate.db")).unwrap();
    publish(&mut publisher, 51..=100);
    fs::remove_dir_all(daemon.data()).unwrap();
    publish(&mut publisher, 101..=150);
    let log = daemon.process().log();
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    assert!(log.contains("written anew, nothing is lost"), "{log}");
    daemon.kill();
    daemon.restart();
    assert_waiting(&daemon, 1..=150);
}

#[test]
fn a_store_without_a_directory_acknowledges_nothing_and_goes_on() {
    let mut daemon = start();
    let mut publisher = client(&daemon, "publisher");
    publish(&mut publisher, 1..=10);
    fs::remove_dir_all(daemon.data()).unwrap();
    fs::write(daemon.data(), "in the way").unwrap();
    publisher.publish("t/a", b"11").unwrap();
    let mut old = WireClient::connect(daemon.port(), Version::V311, "old", Kept::Nothing)
        .unwrap()
        .0;
    old.publish("t/a", b"12").unwrap();
    let complaint = "nothing is acknowledged";
    until("the daemon complains", || {
        daemon.process().log().contains(complaint)
    });
    assert_eq!(publisher.expect(0x40).unwrap().reason(), 0x97);

    let mut live = client(&daemon, "live");
    live.subscribe("live", 0).unwrap();
    live.send(&packet(0x30, b"\0\x04live\0hello")).unwrap();
    assert_eq!(live.receive_publish().unwrap().payload, b"hello");
    // Neither are deliveries held up that cannot be noted as sent.
    let resumed = WireClient::connect(daemon.port(), Version::V5, "reader", Kept::Session);
    let (mut reader, _) = resumed.unwrap();
    assert_eq!(reader.receive_publish().unwrap().number(), Some(1));
    drop(reader);
    // PINGRESP comes, and before it no PUBACK.
    old.send(&[0xc0, 0]).unwrap();
    old.expect(0xd0).unwrap();

    fs::remove_file(daemon.data()).unwrap();
    old.expect(0x40).unwrap();
    publish(&mut publisher, 13..=20);
    let log = daemon.process().log();
    assert_eq!(log.matches(complaint).count(), 1, "{log}");
    daemon.kill();
    daemon.restart();
    assert_waiting(&daemon, 1..=20);
}

#[test]
fn a_damaged_database_is_kept_and_the_daemon_comes_up_empty() {
    let mut daemon = start();
    publish(&mut client(&daemon, "publisher"), 1..=10);
    daemon.kill();
    daemon.restart();
    assert_waiting(&daemon, 1..=10);
    let log = daemon.process().log();
    assert!(!log.contains("ERROR"), "a crash is no damage: {log}");

    // Closing leaves nothing in the log that would make good for it.
    assert!(daemon.stop().0.success());
    let file = daemon.data().join("tidegate.db");
    fs::write(&file, "damaged").unwrap();
    daemon.restart();
    let (mut reader, is_resumed) =
        WireClient::connect(daemon.port(), Version::V5, "reader", Kept::Session).unwrap();
    assert!(!is_resumed);
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
    let kept = daemon.data().join("tidegate.db.damaged-1");
    assert_eq!(fs::read(&kept).unwrap(), b"damaged");
    let log = daemon.process().log();
    let lines: Vec<_> = log.lines().filter(|it| it.contains("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let command = format!("tidegate store repair --from {}", kept.display());
    assert!(lines[0].contains(&command), "{log}");
    publish(&mut client(&daemon, "publisher"), 11..=20);
    daemon.kill();
    daemon.restart();
    assert_waiting(&daemon, 11..=20);
}

#[test]
fn a_store_that_cannot_be_written_at_the_end_is_no_success() {
    let mut daemon = start();
    let mut publisher = client(&daemon, "publisher");
    publish(&mut publisher, 1..=10);
    fs::remove_dir_all(daemon.data()).unwrap();
    fs::write(daemon.data(), "in the way").unwrap();
    publisher.publish("t/a", b"11").unwrap();
    until("the daemon complains", || {
        daemon.process().log().contains("nothing is acknowledged")
    });
    let (status, time) = daemon.stop();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(time < tests::process::STOP_MAX, "{time:?}");
    let log = daemon.process().log();
    let said: Vec<_> = log
        .lines()
        .filter(|it| it.contains("not written"))
        .collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0].starts_with("tidegate: "), "{log}");
}
