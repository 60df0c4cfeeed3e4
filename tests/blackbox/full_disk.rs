//! The disk is full: nothing is acknowledged that is not stored, everything else goes on, and all
//! is well again when there is room.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tests::daemon::{accepts, configuration, tidegate};
use tests::process::Process;
use tests::reservation;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

use crate::shim::{Control, ENOSPC, Fault, Shim};

/// Messages after which nothing more fits.
const FITTING: u64 = 50;
const COMPLAINT: &str = "nothing is acknowledged";

/// A daemon on a disk that can be full.
struct Limited {
    // Before the folder, so that it has ended when its files go.
    process: Process,
    port: u16,
    folder: TempDir,
    shim: Shim,
    control: Control,
}

impl Limited {
    /// A daemon on a disk that is not full yet, with a session `reader` that waits for `t/#`.
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = reservation::port();
        let text = configuration(port, &folder.path().join("data"), more);
        fs::write(folder.path().join("tidegate.conf"), text).unwrap();
        let control = Control::new(folder.path(), folder.path().join("data"), None);
        let shim = Shim::compile();
        let process = launch(folder.path(), port, &shim, &control);
        let daemon = Self {
            process,
            port,
            folder,
            shim,
            control,
        };
        let mut reader = daemon.connect(Version::V5, "reader", Kept::Session);
        reader.subscribe("t/#", 2).unwrap();
        reader.disconnect().unwrap();
        daemon
    }

    fn connect(&self, version: Version, client_id: &str, kept: Kept) -> WireClient {
        let client = WireClient::connect(self.port, version, client_id, kept);
        client.unwrap().0
    }

    fn is_full(&self) -> bool {
        self.process.log().contains(COMPLAINT)
    }

    /// Gives the disk room.
    fn extend(&self) {
        self.control.heal();
    }

    /// No room is left.
    fn exhaust(&self) {
        const FAIL: u64 = 1;
        const ALL: u64 = 127;
        self.control.set(Fault {
            kind: FAIL,
            value: ENOSPC,
            calls: ALL,
            first: 1,
            last: u64::MAX,
        });
    }

    /// Publishes until nothing more is acknowledged. Returns the number of the last message that
    /// was, and of the last that was sent.
    fn fill(&self, publisher: &mut WireClient) -> (u64, u64) {
        let (mut sent, mut acknowledged) = (0, 0);
        // The daemon never stops to write, unless it is full.
        while !self.is_full() {
            if sent == FITTING {
                self.exhaust();
            }
            sent += 1;
            assert!(sent < 1_000, "never full");
            publisher.publish("t/a", &large(sent)).unwrap();
            publisher.send(&[0xc0, 0]).unwrap();
            while let Some(answer) = publisher.receive().unwrap().filter(|it| it.head == 0x40) {
                acknowledged += u64::from(answer.reason() == 0);
            }
        }
        assert!(acknowledged < sent, "{acknowledged}");
        (acknowledged, sent)
    }

    /// Kills the daemon, starts it on a disk with room, and takes what waits for `reader`.
    fn waiting(&mut self) -> Vec<u64> {
        self.process.kill();
        self.control.heal();
        self.process = launch(self.folder.path(), self.port, &self.shim, &self.control);
        let (mut reader, is_resumed) =
            WireClient::connect(self.port, Version::V5, "reader", Kept::Session).unwrap();
        assert!(is_resumed);
        let mut publisher = self.connect(Version::V5, "last", Kept::Nothing);
        publisher.publish_acknowledged("t/a", b"0").unwrap();
        let mut numbers = Vec::new();
        loop {
            let received = reader.receive().unwrap().unwrap();
            let Some(publish) = received.publish(Version::V5) else {
                continue;
            };
            let answer = if received.head & 0b110 == 0b100 {
                0x50
            } else {
                0x40
            };
            let identifier = publish.identifier.to_be_bytes();
            reader.send(&packet(answer, &identifier)).unwrap();
            match publish.number() {
                Some(0) => return numbers,
                number => numbers.push(number.unwrap()),
            }
        }
    }
}

/// A message of 2 kB with a number.
fn large(number: u64) -> Vec<u8> {
    format!("{{\"n\": {number}, \"x\": \"{}\"}}", "x".repeat(2_000)).into()
}

fn launch(folder: &Path, port: u16, shim: &Shim, control: &Control) -> Process {
    let conf = folder.join("tidegate.conf");
    let mut command = tidegate(["start".as_ref(), "--conf".as_ref(), conf.as_os_str()]);
    shim.preload(&mut command, control);
    let mut process = Process::start(&mut command, folder, "tidegate");
    until("the daemon listens", || {
        assert_eq!(process.status(), None, "{}", process.log());
        accepts(port)
    });
    process
}

#[test]
fn an_mqtt_3_publisher_gets_no_acknowledgement_and_then_all() {
    let mut daemon = Limited::start("");
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Nothing);
    let (mut acknowledged, sent) = daemon.fill(&mut publisher);
    daemon.extend();
    while acknowledged < sent {
        publisher.expect(0x40).unwrap();
        acknowledged += 1;
    }
    assert_eq!(daemon.waiting(), (1..=sent).collect::<Vec<_>>());
}

#[test]
fn an_mqtt_5_publisher_is_refused_and_may_repeat() {
    let mut daemon = Limited::start("");
    let mut publisher = daemon.connect(Version::V5, "publisher", Kept::Nothing);
    let (acknowledged, sent) = daemon.fill(&mut publisher);
    let mut other = daemon.connect(Version::V5, "other", Kept::Nothing);
    let identifier = other.publish("t/a", b"1001").unwrap();
    let answer = other.expect(0x40).unwrap();
    assert_eq!(answer.body[..2], identifier.to_be_bytes());
    assert_eq!(answer.reason(), 0x97);
    // QoS 2, twice with the same identifier: it is free again.
    for _ in 0..2 {
        other
            .send(&packet(0x34, b"\0\x03t/a\0\x09\x001002"))
            .unwrap();
        let answer = other.expect(0x50).unwrap();
        assert!(answer.body.starts_with(&[0, 9, 0x97]), "{answer:?}");
    }
    // Neither is a subscription granted that a restart would forget.
    let mut durable = daemon.connect(Version::V5, "durable", Kept::Session);
    durable.send(&packet(0x82, b"\0\x01\0\0\x01x\x01")).unwrap();
    let answer = durable.expect(0x90).unwrap();
    assert!(answer.body.ends_with(&[0x97]), "{answer:?}");
    // What nobody has to store goes on.
    other.subscribe("live", 1).unwrap();
    other.publish("live", b"1").unwrap();
    let received = [
        other.receive().unwrap().unwrap(),
        other.receive().unwrap().unwrap(),
    ];
    assert!(received.iter().any(|it| it.publish(Version::V5).is_some()));
    assert!(
        received
            .iter()
            .any(|it| it.head == 0x40 && it.reason() == 0)
    );

    daemon.extend();
    until("the daemon is well again", || {
        daemon.process.log().contains("can be written again")
    });
    other
        .send(&packet(0x34, b"\0\x03t/a\0\x09\x001002"))
        .unwrap();
    assert_eq!(other.expect(0x50).unwrap().reason(), 0);
    let waiting = daemon.waiting();
    // All that was acknowledged, in order; then perhaps what was refused only later; no message
    // that was refused at once.
    let expected: Vec<u64> = (1..=acknowledged).collect();
    assert!(waiting.starts_with(&expected), "{waiting:?}");
    assert!(
        waiting
            .iter()
            .all(|it| (1..=sent).contains(it) || *it == 1002),
        "{waiting:?}"
    );
    assert!(waiting.ends_with(&[1002]), "{waiting:?}");
}

#[test]
fn an_mqtt_3_publisher_beyond_all_room_keeps_its_messages_and_has_to_connect_again() {
    let mut daemon = Limited::start("store.max_pending_bytes = 4KiB");
    let mut filler = daemon.connect(Version::V5, "filler", Kept::Nothing);
    let (acknowledged, _) = daemon.fill(&mut filler);
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Session);
    for number in 2_001..=2_010 {
        publisher.publish("t/a", &large(number)).unwrap();
    }
    // It is read on: a message that needs no store comes back.
    publisher.send(&packet(0x30, b"\0\x04live0")).unwrap();
    publisher.send(&[0xc0, 0]).unwrap();
    publisher.expect(0xd0).unwrap();
    // The connection ends with no acknowledgement.
    assert_eq!(publisher.receive().unwrap(), None);

    daemon.extend();
    until("the daemon is well again", || {
        daemon.process.log().contains("can be written again")
    });
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Session);
    for number in 2_001..=2_010 {
        publisher
            .publish_acknowledged("t/a", &large(number))
            .unwrap();
    }
    let waiting = daemon.waiting();
    let expected: Vec<u64> = (1..=acknowledged).collect();
    assert!(waiting.starts_with(&expected), "{waiting:?}");
    let last: Vec<u64> = (2_001..=2_010).collect();
    assert!(waiting.ends_with(&last), "{waiting:?}");
}
