//! What the store takes of the disk is bounded, and operators see what it does.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::daemon::{Daemon, accepts, configuration, tidegate};
use tests::process::Process;
use tests::reservation;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

const SYS: &str = "sys_topics.interval = 1s\n";

/// QUOTA_EXCEEDED.
const REFUSED: u8 = 0x97;

fn connect_to(port: u16, client_id: &str, kept: Kept) -> WireClient {
    let client = WireClient::connect(port, Version::V5, client_id, kept);
    client.unwrap().0
}

fn connect(daemon: &Daemon, client_id: &str, kept: Kept) -> WireClient {
    connect_to(daemon.port(), client_id, kept)
}

/// Leaves a session `reader` behind that waits for `t/#`.
fn leave_reader(port: u16) {
    let mut reader = connect_to(port, "reader", Kept::Session);
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
}

/// A payload of this length at least, with a number.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    format!("{{\"n\": {number}, \"x\": \"{}\"}}", "x".repeat(bytes)).into()
}

/// Publishes and returns the reason of the PUBACK.
fn publish(publisher: &mut WireClient, number: u64, bytes: usize) -> u8 {
    publisher.publish("t/a", &payload(number, bytes)).unwrap();
    publisher.expect(0x40).unwrap().reason()
}

/// Publishes messages from 1 on until one is refused, and returns its number.
fn fill(publisher: &mut WireClient, bytes: usize) -> u64 {
    for number in 1..10_000 {
        match publish(publisher, number, bytes) {
            0 => {}
            reason => {
                assert_eq!(reason, REFUSED);
                return number;
            }
        }
    }
    panic!("never full");
}

/// Publishes the same message until it is taken.
fn publish_again(publisher: &mut WireClient, number: u64) {
    until("there is room", || publish(publisher, number, 10) == 0);
}

/// Takes so many messages; returns their numbers.
fn take(reader: &mut WireClient, count: usize) -> Vec<u64> {
    let numbers = (0..count).map(|_| {
        let publish = reader.receive_publish().unwrap();
        reader.acknowledge(publish.identifier).unwrap();
        publish.number().unwrap()
    });
    numbers.collect()
}

/// What is announced of the store.
struct Announced {
    client: WireClient,
    values: HashMap<String, String>,
}

impl Announced {
    fn watch(daemon: &Daemon) -> Self {
        let mut client = connect(daemon, "operator", Kept::Nothing);
        client.subscribe("$SYS/broker/store/#", 0).unwrap();
        let values = HashMap::new();
        Self { client, values }
    }

    /// Waits until what is announced is like that.
    fn until(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        while !condition(self) {
            let publish = self.client.receive_publish();
            let publish = publish.unwrap_or_else(|error| panic!("{error}: {:?}", self.values));
            let name = publish.topic.strip_prefix("$SYS/broker/store/").unwrap();
            let value = String::from_utf8(publish.payload).unwrap();
            self.values.insert(name.to_owned(), value);
        }
    }

    /// A number; 0 if it is not announced yet.
    fn number(&self, name: &str) -> u64 {
        self.values.get(name).map_or(0, |it| it.parse().unwrap())
    }

    fn state(&self) -> &str {
        self.values.get("state").map_or("", String::as_str)
    }
}

#[test]
fn a_consumer_that_keeps_up_costs_few_bytes() {
    const COUNT: u64 = 5_000;
    const WINDOW: u64 = 500;
    let daemon = Daemon::start(SYS);
    let mut reader = connect(&daemon, "reader", Kept::Session);
    reader.subscribe("t/#", 1).unwrap();
    let reading = std::thread::spawn(move || {
        for _ in 0..COUNT {
            let publish = reader.receive_publish().unwrap();
            reader.acknowledge(publish.identifier).unwrap();
        }
        reader.disconnect().unwrap();
    });
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    for number in 0..COUNT + WINDOW {
        if number < COUNT {
            publisher.publish("t/a", &[b'x'; 100]).unwrap();
        }
        if number >= WINDOW {
            publisher.expect(0x40).unwrap();
        }
    }
    reading.join().unwrap();
    let mut store = Announced::watch(&daemon);
    store.until(|it| {
        let per_message = it.number("bytes_per_message");
        it.number("messages/elided") + it.number("messages/written") == COUNT
            && per_message > 0
            && per_message == it.number("bytes/written") / COUNT
            && it.number("commits") > 0
            && it.values.contains_key("commit/max_ms")
    });
    store.until(|it| it.state() == "ok");
    assert!(store.number("messages/elided") > 0, "{:?}", store.values);
    assert!(store.number("bytes/used") > 0, "{:?}", store.values);
    assert!(store.number("commits") < COUNT, "{:?}", store.values);
    // A message that is written alone takes several pages of 4 KiB.
    let bytes = store.number("bytes_per_message");
    assert!(bytes < 4096, "{:?}", store.values);
}

#[test]
fn nothing_is_announced_of_a_store_that_there_is_not() {
    let daemon = Daemon::start(&format!("{SYS}store.enable = false"));
    let mut client = connect(&daemon, "operator", Kept::Nothing);
    client.subscribe("$SYS/broker/#", 0).unwrap();
    // Between two of these everything is announced once.
    let mut uptimes = 0;
    while uptimes < 2 {
        let topic = client.receive_publish().unwrap().topic;
        uptimes += u8::from(topic == "$SYS/broker/uptime");
        assert_ne!(topic, "$SYS/broker/store/state");
    }
}

#[test]
fn a_full_store_refuses_until_somebody_drains_it() {
    for bound in ["max_total_messages = 100", "max_total_size = 1MiB"] {
        let daemon = Daemon::start(&format!("{SYS}store {{ {bound} }}"));
        leave_reader(daemon.port());
        let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
        let refused = fill(&mut publisher, 10_000);
        let mut store = Announced::watch(&daemon);
        store.until(|it| it.state() == "full");
        // QoS 2, twice with the same identifier: it is free again.
        for _ in 0..2 {
            let body = b"\0\x03t/a\0\x09\0x";
            publisher.send(&packet(0x34, body)).unwrap();
            assert_eq!(publisher.expect(0x50).unwrap().reason(), REFUSED);
        }
        // A retained message would have to be stored too.
        let body = b"\0\x03r/a\0\x09\0x";
        publisher.send(&packet(0x33, body)).unwrap();
        assert_eq!(publisher.expect(0x40).unwrap().reason(), REFUSED);
        // What nobody has to store goes on.
        let mut live = connect(&daemon, "live", Kept::Nothing);
        live.subscribe("live/#", 1).unwrap();
        publisher.publish_acknowledged("live/1", b"1").unwrap();
        assert_eq!(live.receive_publish().unwrap().payload, b"1");
        // As does a session that survives and takes only QoS 0.
        let mut durable = connect(&daemon, "durable", Kept::Session);
        durable.subscribe("live/#", 0).unwrap();
        publisher.publish_acknowledged("live/2", b"2").unwrap();
        assert_eq!(durable.receive_publish().unwrap().payload, b"2");

        let mut reader = connect(&daemon, "reader", Kept::Session);
        let waiting = usize::try_from(refused - 1).unwrap();
        let expected: Vec<u64> = (1..refused).collect();
        assert_eq!(take(&mut reader, waiting), expected);
        publish_again(&mut publisher, 5_000);
        assert_eq!(take(&mut reader, 1), [5_000]);
        store.until(|it| it.state() == "ok");
    }
}

#[test]
fn a_full_store_sends_mqtt_3_publishers_away_unanswered() {
    let daemon = Daemon::start("store.max_total_messages = 20");
    leave_reader(daemon.port());
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    fill(&mut publisher, 10);
    let old = WireClient::connect(daemon.port(), Version::V311, "old", Kept::Session);
    let (mut old, _) = old.unwrap();
    old.publish("t/a", b"0").unwrap();
    old.send(&[0xc0, 0]).unwrap();
    old.expect(0xd0).unwrap();
    assert_eq!(old.receive().unwrap(), None, "it keeps its message");
    let mut reader = connect(&daemon, "reader", Kept::Session);
    take(&mut reader, 20);
    publish_again(&mut publisher, 21);
    let old = WireClient::connect(daemon.port(), Version::V311, "old", Kept::Session);
    old.unwrap().0.publish_acknowledged("t/a", b"0").unwrap();
    assert_eq!(take(&mut reader, 2), [21, 0]);
}

#[test]
fn a_store_that_is_full_after_a_restart_can_be_drained_and_stopped() {
    let bound = "store.max_total_messages = 20";
    let mut daemon = Daemon::start(bound);
    leave_reader(daemon.port());
    let refused = fill(&mut connect(&daemon, "publisher", Kept::Nothing), 10);
    assert!(daemon.stop().0.success());
    daemon.restart();
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    assert_eq!(publish(&mut publisher, refused, 10), REFUSED);
    let mut reader = connect(&daemon, "reader", Kept::Session);
    take(&mut reader, 10);
    publish_again(&mut publisher, refused);
    assert!(daemon.stop().0.success());
    let log = daemon.process().log();
    assert_eq!(log.matches("the store is full").count(), 2, "{log}");
    assert_eq!(log.matches("the store has room").count(), 1, "{log}");
}

#[test]
fn the_oldest_make_way_and_the_newest_stay_in_order() {
    const MAX: u64 = 50;
    const COUNT: u64 = 2_000;
    let bounds = format!("{SYS}store {{ max_total_messages = {MAX}, when_full = drop_oldest }}");
    let mut daemon = Daemon::start(&bounds);
    leave_reader(daemon.port());
    let mut other = connect(&daemon, "other", Kept::Session);
    other.subscribe("t/b", 1).unwrap();
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    // The oldest of all, and sent: it stays.
    publisher.publish_acknowledged("t/b", b"0").unwrap();
    let sent = other.receive_publish().unwrap();
    for number in 1..=COUNT {
        assert_eq!(publish(&mut publisher, number, 10), 0);
    }
    let mut store = Announced::watch(&daemon);
    store.until(|it| it.number("messages/count") == MAX);
    store.until(|it| it.state() == "ok");
    other.acknowledge(sent.identifier).unwrap();
    store.until(|it| it.number("messages/count") == MAX - 1);
    daemon.kill();
    daemon.restart();
    let mut reader = connect(&daemon, "reader", Kept::Session);
    let expected: Vec<u64> = (COUNT - MAX + 2..=COUNT).collect();
    assert_eq!(take(&mut reader, expected.len()), expected);
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    assert_eq!(publish(&mut publisher, COUNT + 1, 10), 0);
    assert_eq!(take(&mut reader, 1), [COUNT + 1]);
}

#[test]
fn what_made_way_is_gone_for_a_client_that_comes_before_a_restart_too() {
    const MAX: u64 = 2_000;
    const COUNT: u64 = 6_000;
    let bounds = format!("{SYS}store {{ max_total_messages = {MAX}, when_full = drop_oldest }}");
    // What waits is in memory in part, and otherwise in the store only.
    for memory in ["", "mqtt.max_mqueue_len = 100"] {
        let daemon = Daemon::start(&format!("{bounds}\n{memory}"));
        leave_reader(daemon.port());
        let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
        for number in 1..=COUNT + 500 {
            if number <= COUNT {
                publisher.publish("t/a", &payload(number, 10)).unwrap();
            }
            if number > 500 {
                assert_eq!(publisher.expect(0x40).unwrap().reason(), 0);
            }
        }
        let mut store = Announced::watch(&daemon);
        store.until(|it| it.number("messages/count") == MAX);
        let mut reader = connect(&daemon, "reader", Kept::Session);
        let expected: Vec<u64> = (COUNT - MAX + 1..=COUNT).collect();
        assert_eq!(take(&mut reader, expected.len()), expected);
        assert_eq!(publish(&mut publisher, COUNT + 1, 10), 0);
        assert_eq!(take(&mut reader, 1), [COUNT + 1]);
        store.until(|it| it.number("messages/count") == 0);
    }
}

/// A daemon on a file system of its own, which ends with it.
struct Alone {
    // Before the folder, so that it has ended when its files go.
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Alone {
    /// None if the system does not let the test have a file system.
    fn start(bytes: &str, more: &str) -> Option<Self> {
        let mount = |and_then: &str| {
            let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"$1\" && {and_then}");
            let mut unshare = Command::new("unshare");
            unshare.args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                &script,
                "sh",
            ]);
            unshare
        };
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let tried = mount("true").arg(&data).output();
        if !tried.is_ok_and(|it| it.status.success()) {
            return None;
        }
        let port = reservation::port();
        let conf = folder.path().join("tidegate.conf");
        fs::write(&conf, configuration(port, &data, more)).unwrap();
        let daemon = tidegate(["start".as_ref(), "--conf".as_ref(), conf.as_os_str()]);
        let mut command = mount("shift && exec \"$@\"");
        command.arg(&data).arg(daemon.get_program());
        command.args(daemon.get_args());
        let mut process = Process::start(&mut command, folder.path(), "tidegate");
        until("the daemon listens", || {
            assert_eq!(process.status(), None, "{}", process.log());
            accepts(port)
        });
        Some(Self {
            process,
            port,
            folder,
        })
    }

    /// The directory with its store, as it sees it.
    fn data(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.process.id());
        let data = self.folder.path().join("data");
        Path::new(&root).join(data.strip_prefix("/").unwrap())
    }
}

#[test]
fn a_file_system_with_little_left_makes_the_store_full_before_the_disk_is() {
    let more = format!("{SYS}store.min_free_space = 8MiB");
    let Some(daemon) = Alone::start("32m", &more) else {
        eprintln!("SKIPPED: the system lets nobody mount a file system of his own");
        return;
    };
    leave_reader(daemon.port);
    let mut publisher = connect_to(daemon.port, "publisher", Kept::Nothing);
    assert_eq!(publish(&mut publisher, 0, 10), 0);
    // It is somebody else who needs the space.
    let ballast = daemon.data().join("ballast");
    fs::write(&ballast, vec![0; 25 << 20]).unwrap();
    let refused = fill(&mut publisher, 10);
    let mut reader = connect_to(daemon.port, "reader", Kept::Session);
    let expected: Vec<u64> = (0..refused).collect();
    assert_eq!(take(&mut reader, expected.len()), expected);
    assert_eq!(publish(&mut publisher, refused, 10), REFUSED);
    fs::remove_file(ballast).unwrap();
    publish_again(&mut publisher, refused);
    assert_eq!(take(&mut reader, 1), [refused]);
    let log = daemon.process.log();
    assert_eq!(log.matches("little space left").count(), 1, "{log}");
    assert_eq!(log.matches("has space again").count(), 1, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn what_makes_room_finds_room_for_its_log() {
    let more = "store.min_free_space = 8MiB";
    let Some(daemon) = Alone::start("32m", more) else {
        eprintln!("SKIPPED: the system lets nobody mount a file system of his own");
        return;
    };
    leave_reader(daemon.port);
    let mut publisher = connect_to(daemon.port, "publisher", Kept::Nothing);
    assert_eq!(publish(&mut publisher, 0, 10), 0);
    fs::write(daemon.data().join("ballast"), vec![0; 29 << 20]).unwrap();
    fill(&mut publisher, 10);
    let mut reader = connect_to(daemon.port, "reader", Kept::Session);
    assert_eq!(reader.receive_publish().unwrap().number(), Some(0));
    drop(reader);
    // Each is a commit of several pages: together more than the file system has.
    let (mut other, _) =
        WireClient::connect(daemon.port, Version::V5, "other", Kept::Session).unwrap();
    for number in 0..900 {
        other.subscribe(&format!("x/{number}"), 1).unwrap();
    }
    let log = daemon.process.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn messages_fill_the_file_system_up_to_what_is_to_be_left() {
    let more = format!("{SYS}store.min_free_space = 12MiB");
    let Some(daemon) = Alone::start("32m", &more) else {
        eprintln!("SKIPPED: the system lets nobody mount a file system of his own");
        return;
    };
    leave_reader(daemon.port);
    let mut publisher = connect_to(daemon.port, "publisher", Kept::Nothing);
    let mut refused = 0;
    let start = std::time::Instant::now();
    while refused == 0 {
        assert!(start.elapsed() < tests::wait::DEADLINE, "never full");
        refused = fill(&mut publisher, 1_000);
    }
    // It is refused before the writer says why.
    until("it is said", || {
        daemon.process.log().contains("little space left")
    });
    let log = daemon.process.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn retained_messages_are_bounded_by_their_bytes() {
    let daemon = Daemon::start("retain.max_size = 1KiB\nsys_topics.interval = 1s");
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    let mut answer = |topic: u8, bytes: usize| {
        let body = [b"\0\x03r/", &[topic][..], b"\0\x09\0", &vec![b'x'; bytes]].concat();
        publisher.send(&packet(0x33, &body)).unwrap();
        publisher.expect(0x40).unwrap().reason()
    };
    assert!(answer(b'1', 600) < 0x80);
    assert_eq!(answer(b'2', 500), REFUSED);
    // What it replaces makes room.
    assert!(answer(b'1', 1_000) < 0x80);
    assert_eq!(answer(b'3', 500), REFUSED);
    let mut reader = connect(&daemon, "reader", Kept::Nothing);
    reader.subscribe("r/#", 0).unwrap();
    let kept = reader.receive_publish().unwrap();
    assert_eq!((&*kept.topic, kept.payload.len()), ("r/1", 1_000));
    reader.send(&[0xc0, 0]).unwrap();
    reader.expect(0xd0).unwrap();
    reader
        .subscribe("$SYS/broker/retained messages/refused", 0)
        .unwrap();
    while reader.receive_publish().unwrap().payload != b"2" {}
}

#[test]
fn a_database_gets_shorter_when_it_is_drained() {
    const COUNT: u64 = 5_500;
    const WINDOW: u64 = 100;
    const MIB: u64 = 1 << 20;
    let daemon = Daemon::start(SYS);
    leave_reader(daemon.port());
    let mut publisher = connect(&daemon, "publisher", Kept::Nothing);
    for number in 1..=COUNT + WINDOW {
        if number <= COUNT {
            publisher.publish("t/a", &payload(number, 10_000)).unwrap();
        }
        if number > WINDOW {
            publisher.expect(0x40).unwrap();
        }
    }
    let file = daemon.data().join("tidegate.db");
    let bytes = || fs::metadata(&file).unwrap().len();
    // The rest is in the log.
    until("the database has most of it", || bytes() > 30 * MIB);
    let mut reader = connect(&daemon, "reader", Kept::Session);
    let numbers = take(&mut reader, usize::try_from(COUNT).unwrap());
    assert!(numbers.into_iter().eq(1..=COUNT));
    until("the file gets shorter", || bytes() < 5 * MIB);
    let mut store = Announced::watch(&daemon);
    store.until(|it| (1..MIB).contains(&it.number("bytes/used")));
}
