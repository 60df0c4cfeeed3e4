//! Clients that say and get nothing for longer than their actors live.

use std::thread;
use std::time::Duration;

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient};

/// An actor is given up after five seconds, which the daemon looks at once a second.
const SILENCE: Duration = Duration::from_secs(7);

#[test]
fn silent_clients_are_served_taken_over_and_told_to_go_as_others_are() {
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    let join =
        |client_id: &str| WireClient::connect(port, Version::V5, client_id, Kept::Nothing).unwrap();
    let names = ["subscriber", "publisher", "earlier", "idle"];
    let [mut subscriber, mut publisher, mut earlier, mut idle] = names.map(|it| join(it).0);
    subscriber.subscribe("t", 1).unwrap();
    // Each has had an actor.
    for _ in 0..3 {
        publisher.publish_acknowledged("t", b"0").unwrap();
        let publish = subscriber.receive_publish().unwrap();
        subscriber.acknowledge(publish.identifier).unwrap();
        for client in [&mut earlier, &mut idle] {
            client.send(&[0xc0, 0]).unwrap();
            client.expect(0xd0).unwrap();
        }
    }
    thread::sleep(SILENCE);
    let (mut later, _) = join("earlier");
    // Session taken over.
    assert_eq!(earlier.expect(0xe0).unwrap().body.first(), Some(&0x8e));
    publisher.publish_acknowledged("t", b"1").unwrap();
    let publish = subscriber.receive_publish().unwrap();
    assert_eq!(publish.number(), Some(1));
    subscriber.acknowledge(publish.identifier).unwrap();
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    for client in [&mut subscriber, &mut publisher, &mut later, &mut idle] {
        // Server shutting down.
        assert_eq!(client.expect(0xe0).unwrap().body.first(), Some(&0x8b));
    }
}
