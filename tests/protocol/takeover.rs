//! One Client Identifier, two connections (§3.1.4).

use std::fs;
use std::sync::Barrier;
use std::thread;

use tests::bytes::{hex, subscribe};
use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join};
use tests::message::Message;
use tests::wait;
use tests::wire::{Version, WireClient};

// Conforms: 5.0 [MQTT-3.1.4-3] [MQTT-3.14.2-2] [MQTT-3.14.4-2]; 3.1.1 [MQTT-3.1.4-2]; 3.1 [MQTT31-13]
#[test]
fn the_earlier_connection_is_told_and_closed() {
    let daemon = Daemon::start("");
    for from in Version::ALL {
        for to in Version::ALL {
            let (mut earlier, _) = Connect::new(from, "c").open(daemon.port());
            let (mut later, _) = Connect::new(to, "c").open(daemon.port());
            earlier.expect_closed(0x8e);
            later.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.4-2] [MQTT-3.1.4-3]; 3.1.1 [MQTT-3.1.4-2] [MQTT-3.1.4-5]
#[test]
fn a_connect_that_is_refused_takes_nothing_over() {
    let daemon = Daemon::start("mqtt { max_qos_allowed = 1 }");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        let plain = Connect::new(version, "c");
        plain
            .clone()
            .will(Will::new("#", b""))
            .refused(daemon.port());
        plain
            .will(Will::new("t", b"").qos(2))
            .refused(daemon.port());
        client.expect_silence();
    }
}

/// What two clients that fight for one identifier say, in one write: a CONNECT of any kind, then
/// what changes the session while it is lost again.
fn attack(round: usize) -> (Version, Vec<u8>) {
    let version = Version::ALL[round % 3];
    let connect = Connect::new(version, "fight");
    let connect = if round.is_multiple_of(2) {
        connect.resuming(60)
    } else {
        connect
    };
    let mut bytes = connect.bytes();
    for number in 1..=20 {
        bytes.extend(subscribe(version, number, &format!("fight/{number}"), 2));
        let message = Message::new("fight/1", "x");
        bytes.extend(message.qos(2, number).encode(version));
    }
    (version, bytes)
}

/// Attacks and is taken over so often; returns the last connection.
fn fight(port: u16, rounds: usize, start: usize) -> WireClient {
    let mut last = None;
    for round in 0..rounds {
        if let Some(client) = last.take() {
            await_takeover(client);
        }
        let (version, bytes) = attack(round + start);
        let mut client = WireClient::open(port, version).unwrap();
        client.send(&bytes).unwrap();
        assert_eq!(client.expect(0x20).unwrap().body[1], 0);
        last = Some(client);
    }
    last.unwrap()
}

/// Reads to the end, which is a DISCONNECT that says why in MQTT 5.
fn await_takeover(mut client: WireClient) {
    let mut last = None;
    // With bytes of ours unread a close becomes a reset.
    while let Ok(Some(packet)) = client.receive() {
        let (head, first) = (packet.head, packet.body.first().copied());
        assert!(
            last.is_none_or(|(head, _)| head != 0xe0),
            "nothing comes behind a DISCONNECT"
        );
        last = Some((head, first));
    }
    if client.version() == Version::V5 {
        assert_eq!(last, Some((0xe0, Some(0x8e))));
    }
}

/// The open files of the daemon.
fn files(daemon: &mut Daemon) -> usize {
    let folder = format!("/proc/{}/fd", daemon.process().id());
    fs::read_dir(folder).unwrap().count()
}

// Conforms: 5.0 [MQTT-3.1.4-3] [MQTT-3.14.4-1] [MQTT-4.1.0-2]; 3.1.1 [MQTT-3.1.4-2]
#[test]
fn two_clients_that_fight_leave_nothing_behind() {
    const ROUNDS: usize = 150;
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    let (mut watcher, _) = Connect::new(Version::V5, "watcher").open(port);
    let before = files(&mut daemon);
    let begin = Barrier::new(2);
    let fighters = thread::scope(|scope| {
        let fighters = [0, 1].map(|start| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                fight(port, ROUNDS, start)
            })
        });
        fighters.map(|it| it.join().unwrap())
    });
    let (last, _) = Connect::new(Version::V5, "fight").open(port);
    fighters.into_iter().for_each(await_takeover);
    last.disconnect().unwrap();
    // The probe of the harness may have been open before.
    wait::until("all sockets are closed", || files(&mut daemon) <= before);
    // No subscription of any of the sessions is left.
    for number in 1..=20 {
        watcher.say(&Message::new(&format!("fight/{number}"), "x").qos(1, number));
        assert_eq!(watcher.answer(), (PUBACK, number, 0x10));
    }
    // Nor is a session, now or in the store.
    for _ in 0..2 {
        let (client, connack) = Connect::new(Version::V5, "fight")
            .resuming(0)
            .open(daemon.port());
        assert!(!connack.is_present());
        client.disconnect().unwrap();
        daemon.stop();
        daemon.restart();
    }
    let mut watcher = join(&daemon, Version::V5, "watcher");
    watcher.say(&Message::new("fight/1", "x").qos(1, 1));
    assert_eq!(watcher.answer(), (PUBACK, 1, 0x10));
}

// Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-4.1.0-1]; 3.1.1 [MQTT-3.1.2-4]
#[test]
fn a_session_that_begins_while_another_is_lost_is_the_one_in_the_store() {
    const CLIENTS: usize = 60;
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        // A will that many get takes time in which the next session may begin.
        let watchers: Vec<_> = (0..100)
            .map(|number| {
                let mut watcher = join(&daemon, Version::V5, &format!("w{number}"));
                watcher.subscribe("will", 0).unwrap();
                watcher
            })
            .collect();
        let will = Will::new("will", b"x");
        let connect = |number: usize| {
            let connect = Connect::new(version, &format!("c{number}")).resuming(60);
            connect.will(will.clone())
        };
        let earlier: Vec<_> = (0..CLIENTS)
            .map(|number| connect(number).open(daemon.port()).0)
            .collect();
        // Each socket is closed at the moment in which its session is thrown away by the next
        // connection, which in MQTT 3 takes two.
        let later: Vec<_> = (0..CLIENTS).zip(earlier).collect();
        let port = daemon.port();
        thread::scope(|scope| {
            for (number, earlier) in later {
                scope.spawn(move || drop(earlier));
                scope.spawn(move || begin_anew(port, version, &connect(number)));
            }
        });
        drop(watchers);
        daemon.kill();
        daemon.restart();
        let mut publisher = join(&daemon, version, "p");
        for number in 0..CLIENTS {
            let (mut client, connack) = connect(number).open(daemon.port());
            assert_eq!(connack.is_present(), version != Version::V31, "{number}");
            publisher.say(&Message::new("new", "x"));
            assert_eq!(client.hear().topic, "new", "{version:?} {number}");
            Connect::new(version, &format!("c{number}")).open(daemon.port());
        }
    }
}

/// Throws the session away and begins one with a subscription.
fn begin_anew(port: u16, version: Version, connect: &Connect) {
    let mut clean = connect.clone();
    clean.is_clean = true;
    let (mut client, _) = clean.open(port);
    if version != Version::V5 {
        client = connect.open(port).0;
    }
    client.subscribe("new", 1).unwrap();
    client.send(&hex("e0 00")).unwrap();
    client.expect_end();
}
