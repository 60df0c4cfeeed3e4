//! Clients that fall silent, and the wills they leave.

use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient, packet};

/// A CONNECT with a Keep Alive of one second and, for MQTT 5, a Will Delay of the given seconds.
fn connect_with_will(version: Version, client_id: &str, delay: u8) -> Vec<u8> {
    let mut body = version.name_and_level().to_vec();
    // Clean Start, Will Flag, Will QoS 1.
    let flags = 0b0000_1110;
    body.extend([flags, 0, 1]);
    if version == Version::V5 {
        // A session that outlives the delay.
        body.extend([5, 0x11, 0, 0, 0, 60]);
    }
    let text = |text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        [&[0, length], text.as_bytes()].concat()
    };
    body.extend(text(client_id));
    if version == Version::V5 {
        body.extend([5, 0x18, 0, 0, 0, delay]);
    }
    body.extend(text(&format!("will/{client_id}")));
    body.extend(text("gone"));
    packet(0x10, &body)
}

fn silent_client(port: u16, version: Version, client_id: &str, delay: u8) -> WireClient {
    let mut client = WireClient::open(port, version).unwrap();
    client
        .send(&connect_with_will(version, client_id, delay))
        .unwrap();
    client.expect(0x20).unwrap();
    client
}

// Conforms: 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-22] [MQTT-3.2.2-22]
// Conforms: 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-24]
#[test]
fn a_silent_client_is_disconnected_and_its_will_published() {
    let daemon = Daemon::start("");
    let port = daemon.port();
    for version in Version::ALL {
        let (mut watcher, _) =
            WireClient::connect(port, version, "watcher", Kept::Nothing).unwrap();
        watcher.subscribe("will/#", 1).unwrap();
        let start = Instant::now();
        let mut client = silent_client(port, version, "silent", 0);
        match version {
            Version::V31 | Version::V311 => assert_eq!(client.receive().unwrap(), None),
            // Keep Alive timeout.
            Version::V5 => assert_eq!(client.expect(0xe0).unwrap().body.first(), Some(&0x8d)),
        }
        // One and a half times the Keep Alive, and not much later.
        let silence = start.elapsed();
        assert!(silence >= Duration::from_millis(1_500), "{silence:?}");
        assert!(silence < Duration::from_secs(10), "{silence:?}");
        let will = watcher.receive_publish().unwrap();
        assert_eq!(
            (will.topic.as_str(), will.payload.as_slice()),
            ("will/silent", &b"gone"[..])
        );
        watcher.acknowledge(will.identifier).unwrap();
        watcher.disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.12.4-1]
#[test]
fn a_client_that_pings_stays_connected() {
    let daemon = Daemon::start("");
    let mut client = silent_client(daemon.port(), Version::V5, "pings", 0);
    // Longer than it could stay without; five pings a second are a pace, not a synchronisation.
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        client.send(&[0xc0, 0]).unwrap();
        assert_eq!(client.receive().unwrap().map(|it| it.head), Some(0xd0));
        std::thread::sleep(Duration::from_millis(200));
    }
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn a_delayed_will_is_dropped_if_the_client_comes_back_in_time() {
    let daemon = Daemon::start("");
    let port = daemon.port();
    let (mut watcher, _) =
        WireClient::connect(port, Version::V5, "watcher", Kept::Nothing).unwrap();
    watcher.subscribe("will/#", 1).unwrap();
    // One is lost for good, the other comes back within its delay.
    drop(silent_client(port, Version::V5, "back", 2));
    let back = WireClient::connect(port, Version::V5, "back", Kept::Session).unwrap();
    assert!(back.1, "the session waited");
    let lost = Instant::now();
    drop(silent_client(port, Version::V5, "lost", 2));
    let will = watcher.receive_publish().unwrap();
    assert_eq!(will.topic, "will/lost", "only the client that stayed away");
    assert!(
        lost.elapsed() >= Duration::from_secs(2),
        "{:?}",
        lost.elapsed()
    );
}
