//! `tidegate sub` as a client.

use tests::daemon::{Daemon, tidegate};
use tests::process::Process;
use tests::wire::{Kept, Version, WireClient, packet};

/// Runs `tidegate sub` with a durable session until it has got this many messages.
#[track_caller]
fn subscribe(daemon: &Daemon, filter: &str, count: usize) -> Vec<String> {
    let port = daemon.port().to_string();
    let session = ["--id", "reader", "--session-expiry", "3600", "--qos", "1"];
    let count = count.to_string();
    let mut command = tidegate(["sub", "--port", &port, "--verbose", "--count", &count]);
    command.args(session).args(["--topic", filter]);
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&mut command, folder.path(), "sub");
    let status = process.wait();
    assert!(status.success(), "{status}");
    process.log().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_resumed_subscriber_can_subscribe_to_more() {
    let daemon = Daemon::start("");
    let (mut publisher, _) =
        WireClient::connect(daemon.port(), Version::V311, "publisher", Kept::Nothing).unwrap();
    // Retained, QoS 0.
    for publish in [b"\0\x03x/a1", b"\0\x03y/a2"] {
        publisher.send(&packet(0x31, publish)).unwrap();
    }
    publisher.publish_acknowledged("end", b"").unwrap();
    assert_eq!(subscribe(&daemon, "x/a", 1), ["x/a 1"]);
    publisher.publish_acknowledged("x/a", b"3").unwrap();
    let mut found = subscribe(&daemon, "y/a", 2);
    found.sort();
    assert_eq!(found, ["x/a 3", "y/a 2"]);
}
