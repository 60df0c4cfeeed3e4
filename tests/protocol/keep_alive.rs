//! Keep Alive (§3.1.2.10), Server Keep Alive (§3.2.2.3.14) and PINGREQ (§3.12).

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::bytes::{hex, subscribe};
use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::message::Message;
use tests::wait;
use tests::wire::{Version, WireClient};

/// What a client with a Keep Alive of a second may take at least.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often something is sent; a pace, not a synchronisation.
const PACE: Duration = Duration::from_millis(200);

/// Connects with this Keep Alive; the time is that before the CONNECT.
fn connect(daemon: &Daemon, version: Version, seconds: u16) -> (WireClient, Instant) {
    let before = Instant::now();
    let connect = Connect::new(version, &format!("{version:?} {seconds}")).keep_alive(seconds);
    (connect.open(daemon.port()).0, before)
}

// Conforms: 5.0 [MQTT-3.12.4-1]; 3.1.1 [MQTT-3.12.4-1]; 3.1 [MQTT31-13]
#[test]
fn every_pingreq_is_answered() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = join(&daemon, version, "c");
        client.send(&hex("c000").repeat(1_000)).unwrap();
        client.expect_bytes(&hex("d000").repeat(1_000));
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-22] [MQTT-3.2.2-22]; 3.1.1 [MQTT-3.1.2-24]; 3.1 [MQTT31-13]
#[test]
fn only_who_promised_to_speak_is_closed_for_silence() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        // 0 is no promise, and a minute is not over.
        let mut silent = [0, 60].map(|seconds| connect(&daemon, version, seconds).0);
        let (mut client, before) = connect(&daemon, version, 1);
        client.expect_closed(0x8d);
        assert!(before.elapsed() >= PATIENCE, "too early");
        silent.iter_mut().for_each(WireClient::expect_silence);
    }
}

// Conforms: 5.0 [MQTT-3.1.2-22]; 3.1.1 [MQTT-3.1.2-24]
#[test]
fn a_trickle_of_bytes_is_no_sign_of_life() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, before) = connect(&daemon, version, 1);
        let mut stream = client.handle().unwrap();
        let trickle = thread::spawn(move || {
            // A PUBLISH of 1,000 bytes that never comes to its end.
            let mut bytes = [0x30, 0xe8, 0x07]
                .into_iter()
                .chain(std::iter::repeat(b'x'));
            let mut is_open = move || stream.write_all(&[bytes.next().unwrap()]).is_ok();
            wait::until_every(PACE, "the trickle is closed", || !is_open());
        });
        client.expect_closed(0x8d);
        assert!(before.elapsed() >= PATIENCE, "too early");
        drop(client);
        trickle.join().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-22]; 3.1.1 [MQTT-3.1.2-24]
#[test]
fn what_the_client_receives_is_no_sign_of_its_life() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = join(&daemon, version, "p");
        let (mut client, _) = connect(&daemon, version, 1);
        client.subscribe("t", 0).unwrap();
        let is_closed = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                wait::until_every(PACE, "the client is closed", || {
                    publisher.deliver(&Message::new("t", "x").qos(1, 1));
                    is_closed.load(Ordering::Relaxed)
                });
            });
            let mut heads = Vec::new();
            while let Some(packet) = client.receive().unwrap() {
                heads.push(packet.head);
                let reason = packet.body[0];
                assert!(packet.head != 0xe0 || reason == 0x8d, "{reason:#x}");
            }
            is_closed.store(true, Ordering::Relaxed);
            assert!(heads.contains(&0x30), "it was sent messages");
            assert_eq!(heads.contains(&0xe0), version == Version::V5);
        });
    }
}

// Conforms: 5.0 [MQTT-3.1.2-22]; 3.1.1 [MQTT-3.1.2-24]
#[test]
fn every_packet_is_a_sign_of_life() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let packets = [
            hex("c0 00"),
            Message::new("t", "").encode(version),
            hex("40 02 0001"),
            hex("62 02 0001"),
        ];
        let connect = |number| Connect::new(version, &format!("c{number}")).keep_alive(2);
        let open = |number| connect(number).open(daemon.port()).0;
        let mut clients: Vec<_> = (0..packets.len()).map(open).collect();
        let begin = Instant::now();
        wait::until_every(PACE, "time passes", || {
            for (client, packet) in clients.iter_mut().zip(&packets) {
                client.send(packet).unwrap();
            }
            begin.elapsed() > PATIENCE * 3
        });
        // Each is still there, behind the answers to what it sent.
        for client in &mut clients {
            client.send(&subscribe(version, 9, "t", 0)).unwrap();
            while client.receive().unwrap().unwrap().head != 0x90 {}
        }
    }
}

// Conforms: 5.0 [MQTT-3.2.2-22]
#[test]
fn the_server_keep_alive_counts_for_mqtt_5_only() {
    let daemon = Daemon::start("mqtt { server_keepalive = 1 }");
    for asked in [0, 60] {
        let mut others = [Version::V31, Version::V311]
            .map(|version| Connect::new(version, &format!("{version:?}")).keep_alive(asked))
            .map(|connect| connect.open(daemon.port()).0);
        let (mut client, before) = connect(&daemon, Version::V5, asked);
        client.expect_closed(0x8d);
        assert!(before.elapsed() >= PATIENCE, "too early");
        others.iter_mut().for_each(WireClient::expect_silence);
    }
    // It may also be longer than what the client asked for.
    let daemon = Daemon::start("mqtt { server_keepalive = 60 }");
    let (mut patient, _) = connect(&daemon, Version::V5, 1);
    let (mut client, _) = connect(&daemon, Version::V311, 1);
    client.expect_closed(0x8d);
    patient.expect_silence();
}

// Conforms: 5.0 [MQTT-3.1.2-22]; 3.1.1 [MQTT-3.1.2-24]
#[test]
fn the_multiplier_is_configured() {
    let daemon = Daemon::start("mqtt { keepalive_multiplier = 3.5 }");
    let (mut client, before) = connect(&daemon, Version::V5, 1);
    client.expect_closed(0x8d);
    assert!(
        before.elapsed() >= Duration::from_millis(3_500),
        "too early"
    );
}
