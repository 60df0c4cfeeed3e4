//! The disk fails while the daemon runs: nothing is acknowledged that is not stored, everything
//! else goes on, and all is well again when the disk is.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tests::daemon::{accepts, configuration, tidegate};
use tests::process::Process;
use tests::reservation;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

use crate::shim::{Control, EIO, ENOSPC, EROFS, Fault, Shim};

/// What happens, and to which calls, as `shim.c` numbers it.
const FAIL: u64 = 1;
const SLOW: u64 = 4;
const DROP: u64 = 5;
const SYNCS: u64 = 2;
const ALL: u64 = 127;
const COMPLAINT: &str = "nothing is acknowledged";

/// A daemon on a disk that can fail.
struct Ill {
    // Before the folder, so that it has ended when its files go.
    process: Process,
    port: u16,
    folder: TempDir,
    shim: Shim,
    control: Control,
}

impl Ill {
    /// A daemon on a disk that does not fail yet, with a session `reader` that waits for `t/#`.
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = reservation::port();
        let data = folder.path().join("data");
        let text = configuration(port, &data, more);
        fs::write(folder.path().join("tidegate.conf"), text).unwrap();
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let control = Control::new(folder.path(), data, Some(disk));
        let shim = Shim::compile();
        let process = launch(folder.path(), &shim, &control);
        let mut daemon = Self {
            process,
            port,
            folder,
            shim,
            control,
        };
        daemon.wait_ready();
        let mut reader = daemon.connect(Version::V311, "reader", Kept::Session);
        reader.subscribe("t/#", 1).unwrap();
        reader.disconnect().unwrap();
        daemon
    }

    fn wait_ready(&mut self) {
        until("the daemon listens", || {
            assert_eq!(self.process.status(), None, "{}", self.process.log());
            accepts(self.port)
        });
    }

    fn connect(&self, version: Version, client_id: &str, kept: Kept) -> WireClient {
        let client = WireClient::connect(self.port, version, client_id, kept);
        client.unwrap().0
    }

    fn fail(&self, kind: u64, value: u64, calls: u64) {
        self.control.set(Fault {
            kind,
            value,
            calls,
            first: 1,
            last: u64::MAX,
        });
    }

    /// Kills the daemon, starts it on a disk that does not fail, and takes what waits for
    /// `reader`, up to a message that is published last.
    fn waiting(&mut self) -> Vec<u64> {
        self.process.kill();
        self.control.heal();
        self.process = launch(self.folder.path(), &self.shim, &self.control);
        self.wait_ready();
        let mut reader = self.connect(Version::V311, "reader", Kept::Session);
        let mut publisher = self.connect(Version::V5, "last", Kept::Nothing);
        publisher.publish_acknowledged("t/a", b"0").unwrap();
        let mut numbers = Vec::new();
        loop {
            let publish = reader.receive_publish().unwrap();
            reader.acknowledge(publish.identifier).unwrap();
            match publish.number().unwrap() {
                0 => return numbers,
                number => numbers.push(number),
            }
        }
    }
}

fn launch(folder: &Path, shim: &Shim, control: &Control) -> Process {
    let conf = folder.join("tidegate.conf");
    let mut command = tidegate(["start".as_ref(), "--conf".as_ref(), conf.as_os_str()]);
    shim.preload(&mut command, control);
    Process::start(&mut command, folder, "tidegate")
}

fn publish(publisher: &mut WireClient, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let payload = number.to_string();
        publisher
            .publish_acknowledged("t/a", payload.as_bytes())
            .unwrap();
    }
}

/// From a moment on these calls fail, until the disk is well again.
fn fails_and_is_well_again(calls: u64, error: u64) {
    let mut daemon = Ill::start("store.durability = full");
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Nothing);
    publish(&mut publisher, 1..=10);
    daemon.fail(FAIL, error, calls);
    publisher.publish("t/a", b"11").unwrap();
    until("the daemon complains", || {
        daemon.process.log().contains(COMPLAINT)
    });
    // It is tried again, and again it fails.
    let (_, struck) = daemon.control.counts();
    until("it is tried again", || daemon.control.counts().1 > struck);
    let mut live = daemon.connect(Version::V5, "live", Kept::Nothing);
    live.subscribe("live", 0).unwrap();
    live.send(&packet(0x30, b"\0\x04live\0hello")).unwrap();
    assert_eq!(live.receive_publish().unwrap().payload, b"hello");
    // What has to be stored is refused where it can be.
    live.publish("t/a", b"1001").unwrap();
    assert_eq!(live.expect(0x40).unwrap().reason(), 0x97);
    // PINGRESP comes, and before it no PUBACK.
    publisher.send(&[0xc0, 0]).unwrap();
    publisher.expect(0xd0).unwrap();
    let log = daemon.process.log();
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");

    daemon.control.heal();
    publisher.expect(0x40).unwrap();
    publish(&mut publisher, 12..=20);
    let log = daemon.process.log();
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    assert_eq!(log.matches("can be written again").count(), 1, "{log}");
    assert_eq!(daemon.waiting(), (1..=20).collect::<Vec<_>>());
    let log = daemon.process.log();
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
}

#[test]
fn a_disk_that_cannot_be_synced_acknowledges_nothing() {
    fails_and_is_well_again(SYNCS, EIO);
}

#[test]
fn a_disk_that_fails_at_everything_acknowledges_nothing() {
    fails_and_is_well_again(ALL, EIO);
}

#[test]
fn a_disk_without_any_room_acknowledges_nothing() {
    fails_and_is_well_again(ALL, ENOSPC);
}

#[test]
fn a_disk_that_becomes_read_only_acknowledges_nothing() {
    fails_and_is_well_again(ALL, EROFS);
}

#[test]
fn what_the_disk_has_lost_is_said_and_counted() {
    let mut daemon = Ill::start("");
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Nothing);
    // The second sync from here fails. What was acknowledged between the two is nowhere any more.
    daemon.control.set(Fault {
        kind: DROP,
        value: EIO,
        calls: SYNCS,
        first: 2,
        last: 2,
    });
    let mut last = 0;
    let said = "has lost commits of the store that were acknowledged";
    until("the daemon says what is lost", || {
        last += 1;
        publish(&mut publisher, last..=last);
        daemon.process.log().contains(said)
    });
    publish(&mut publisher, last + 1..=last + 5);
    let log = daemon.process.log();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    let (_, lost) = log.split_once(" lost=").expect("how many");
    let lost: u64 = lost.split_whitespace().next().unwrap().parse().unwrap();
    let waiting = daemon.waiting();
    // Each message was a commit.
    assert_eq!(last + 5 - waiting.len() as u64, lost, "{waiting:?}");
    assert!(lost > 0 && waiting.is_sorted(), "{waiting:?}");
    let ending: Vec<_> = (last..=last + 5).collect();
    assert!(waiting.ends_with(&ending), "{waiting:?}");
}

/// The daemon does not start, and says why in one line.
fn assert_refused(daemon: &mut Ill, control: &Control, why: &str) {
    let before = daemon.process.log().len();
    daemon.process = launch(daemon.folder.path(), &daemon.shim, control);
    let status = daemon.process.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    let log = daemon.process.log().split_off(before);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(why), "{log}");
}

#[test]
fn a_read_only_store_is_refused() {
    let mut daemon = Ill::start("");
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Nothing);
    publish(&mut publisher, 1..=10);
    daemon.process.kill();
    let read_only = Fault {
        kind: FAIL,
        value: EROFS,
        calls: ALL,
        first: 1,
        last: u64::MAX,
    };
    // The directory; and a file, which can be read.
    let data = daemon.folder.path().join("data");
    for (path, why) in [
        (data.clone(), "Read-only file system"),
        (data.join("tidegate.db"), "readonly database"),
        (data.join("tidegate.db-wal"), "readonly database"),
    ] {
        let control = Control::new(daemon.folder.path(), path, None);
        control.set(read_only);
        assert_refused(&mut daemon, &control, why);
    }
    daemon.control.heal();
    daemon.process = launch(daemon.folder.path(), &daemon.shim, &daemon.control);
    daemon.wait_ready();
    assert_eq!(daemon.waiting(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_slow_disk_slows_nobody_down_who_does_not_need_it() {
    const SYNC_MILLIS: u64 = 5_000;
    let daemon = Ill::start("store.durability = full");
    let mut publisher = daemon.connect(Version::V311, "publisher", Kept::Nothing);
    let mut live = daemon.connect(Version::V311, "live", Kept::Nothing);
    live.subscribe("live", 1).unwrap();
    daemon.fail(SLOW, SYNC_MILLIS, SYNCS);
    publisher.publish("t/a", b"1").unwrap();
    until("the disk is busy", || daemon.control.counts().1 > 0);
    for _ in 0..100 {
        live.send(&packet(0x30, b"\0\x04live0")).unwrap();
        assert_eq!(live.receive_publish().unwrap().payload, b"0");
        live.publish("live", b"1").unwrap();
        let mut heads = [0; 2];
        for head in &mut heads {
            let received = live.receive().unwrap().unwrap();
            if let Some(publish) = received.publish(Version::V311) {
                live.acknowledge(publish.identifier).unwrap();
            }
            *head = received.head;
        }
        heads.sort_unstable();
        assert_eq!(heads, [0x32, 0x40]);
    }
    // All of that took less time than the disk.
    publisher.send(&[0xc0, 0]).unwrap();
    publisher.expect(0xd0).unwrap();
    daemon.control.heal();
    publisher.expect(0x40).unwrap();
}
