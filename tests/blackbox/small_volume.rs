//! A store that has filled its file system, which has no more room for it: whatever was acknowledged
//! arrives when the hub comes, also after SIGKILL, and messages are taken again.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::daemon::{accepts, configuration, tidegate};
use tests::hub::Hub;
use tests::process::Process;
use tests::reservation;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

/// Messages that are sent before the first of them is answered.
const WINDOW: usize = 200;
/// The number of a message that is taken when there is room again.
const LAST: u64 = 1 << 40;
/// A file of others on the same file system.
const OTHERS: &str = "others";

/// A daemon on a file system of its own, which outlives it.
struct Edge {
    // Before what it needs, so that it has ended when that goes.
    process: Process,
    holder: Process,
    port: u16,
    folder: TempDir,
}

impl Edge {
    /// None if the system does not let the test have a file system.
    fn start(volume: &str, more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut holder = Command::new("unshare");
        let script =
            "mount -t tmpfs -o size=\"$2\" tmpfs \"$1\" && mkdir \"$1/db\" && exec sleep 1000";
        holder.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        holder.arg(&data).arg(volume);
        let mut holder = Process::start(&mut holder, folder.path(), "holder");
        let is_mounted = |holder: &Process| seen_by(holder, &data).join("db").exists();
        until("there is a file system or none is allowed", || {
            holder.status().is_some() || is_mounted(&holder)
        });
        if holder.status().is_some() {
            // Past the capture of tests: who reads the outcome has to know.
            let why = "the system lets nobody mount a file system of his own";
            writeln!(io::stderr().lock(), "SKIPPED: {why}").unwrap();
            return None;
        }
        let port = reservation::port();
        let conf = folder.path().join("tidegate.conf");
        fs::write(&conf, configuration(port, &data.join("db"), more)).unwrap();
        let process = launch(&holder, folder.path());
        let mut edge = Self {
            process,
            holder,
            port,
            folder,
        };
        edge.wait_ready();
        Some(edge)
    }

    fn wait_ready(&mut self) {
        until("the daemon listens", || {
            assert_eq!(self.process.status(), None, "{}", self.process.log());
            accepts(self.port)
        });
    }

    fn kill(&mut self) {
        self.process.kill();
        self.process = launch(&self.holder, self.folder.path());
        self.wait_ready();
    }

    /// Its file system, as it sees it.
    fn volume(&self) -> PathBuf {
        seen_by(&self.holder, &self.folder.path().join("data"))
    }

    fn connect_durable(&self, client_id: &str) -> WireClient {
        let client = WireClient::connect(self.port, Version::V5, client_id, Kept::Session);
        client.unwrap().0
    }

    fn connect(&self, client_id: &str) -> WireClient {
        let client = WireClient::connect(self.port, Version::V5, client_id, Kept::Nothing);
        client.unwrap().0
    }

    /// Somebody else takes all that its file system has left.
    fn exhaust(&self) {
        let mut file = fs::File::create(self.volume().join(OTHERS)).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Nobody else has anything there.
    fn give_back(&self) {
        let file = self.volume().join(OTHERS);
        if file.exists() {
            fs::remove_file(file).unwrap();
        }
    }

    /// It could always write.
    #[track_caller]
    fn assert_was_well(&self) {
        let log = self.process.log();
        assert!(!log.contains("ERROR"), "{log}");
        assert!(!log.contains("disk is full"), "{log}");
    }

    /// What it prints if it is run beside the daemon.
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = enter(&self.holder, &tidegate(arguments));
        command
            .arg("--conf")
            .arg(self.folder.path().join("tidegate.conf"));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }
}

/// A path as a process in a file system of its own sees it.
fn seen_by(process: &Process, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", process.id()));
    root.join(path.strip_prefix("/").unwrap())
}

/// The same command where another process has its file system.
fn enter(holder: &Process, command: &Command) -> Command {
    let mut enter = Command::new("nsenter");
    let id = holder.id().to_string();
    enter.args([
        "--user",
        "--mount",
        "--preserve-credentials",
        "--target",
        &id,
    ]);
    enter.arg(command.get_program()).args(command.get_args());
    enter
}

fn launch(holder: &Process, folder: &Path) -> Process {
    let conf = folder.join("tidegate.conf");
    let daemon = tidegate(["start".as_ref(), "--conf".as_ref(), conf.as_os_str()]);
    Process::start(&mut enter(holder, &daemon), folder, "tidegate")
}

/// A payload of this length with a number.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    format!("{{\"n\": {number}, \"x\": \"{}\"}}", "x".repeat(bytes)).into()
}

/// Publishes until nothing more is taken; returns the numbers that were acknowledged.
fn fill(publisher: &mut WireClient, bytes: usize) -> Vec<u64> {
    let (mut taken, mut waiting) = (Vec::new(), VecDeque::new());
    let mut refused = 0;
    for number in 0_u64.. {
        waiting.push_back(number);
        publisher.publish("t/a", &payload(number, bytes)).unwrap();
        while waiting.len() >= WINDOW || refused > 0 && !waiting.is_empty() {
            let answered = waiting.pop_front().unwrap();
            match publisher.expect(0x40).unwrap().reason() {
                0 => taken.push(answered),
                0x97 => refused += 1,
                reason => panic!("{reason:#x}"),
            }
        }
        // By then what it had in memory is written, and still there is no room.
        if refused > 2 * WINDOW {
            return taken;
        }
    }
    unreachable!("it would have to be endless")
}

/// What happens to a store that is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    Kill,
    /// Now and while it is drained.
    Kills,
    /// Others take what is left, and then it is killed.
    NoRoomAndKill,
}

/// Fills the store over a bridge whose hub is away, and drains it when the hub is there.
fn check(volume: &str, bytes: usize, durability: &str, event: Event) {
    let mut hub = Hub::start();
    let bridge = format!(
        "store.durability = {durability}
         bridges.mqtt.up {{
           server = \"mqtt-tcp://127.0.0.1:{}\"
           backoff_max = 200ms
           forwards = [{{ local_topic = \"t/#\" }}]
         }}",
        hub.port()
    );
    let Some(mut edge) = Edge::start(volume, &bridge) else {
        return;
    };
    let connect = |port| WireClient::connect(port, Version::V5, "reader", Kept::Session);
    let (mut reader, _) = connect(hub.port()).unwrap();
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
    hub.stop();
    let taken = fill(&mut edge.connect("filler"), bytes);
    assert!(taken.len() * bytes > 10 << 20, "{}", taken.len());
    if event == Event::NoRoomAndKill {
        edge.exhaust();
    }
    if event != Event::Nothing {
        edge.kill();
    }
    hub.resume();
    let (mut reader, _) = connect(hub.port()).unwrap();
    let mut missing: BTreeSet<u64> = taken.iter().copied().collect();
    let mut kill_at = (event == Event::Kills).then_some(taken.len() / 2);
    while !missing.is_empty() {
        let publish = reader.receive_publish().unwrap();
        reader.acknowledge(publish.identifier).unwrap();
        missing.remove(&publish.number().unwrap());
        if kill_at.is_some_and(|it| missing.len() <= it) {
            kill_at = None;
            edge.kill();
        }
    }
    edge.give_back();
    publish_again(&mut edge.connect("publisher"), bytes);
    while reader.receive_publish().unwrap().number() != Some(LAST) {}
    edge.assert_was_well();
}

/// Publishes a last message until it is taken.
fn publish_again(publisher: &mut WireClient, bytes: usize) {
    until("messages are taken again", || {
        publisher.publish("t/a", &payload(LAST, bytes)).unwrap();
        publisher.expect(0x40).unwrap().reason() == 0
    });
}

#[test]
fn large_messages_fill_40_mib_and_a_killed_daemon_drains_them() {
    check("40m", 100_000, "normal", Event::Kills);
}

#[test]
fn large_messages_fill_64_mib_and_are_drained() {
    check("64m", 100_000, "normal", Event::Nothing);
}

#[test]
fn large_messages_that_are_synced_fill_64_mib_and_are_drained() {
    check("64m", 100_000, "full", Event::Kills);
}

#[test]
fn large_messages_fill_200_mib_and_a_killed_daemon_drains_them() {
    check("200m", 100_000, "normal", Event::Kill);
}

#[test]
fn small_messages_fill_40_mib_and_a_killed_daemon_drains_them() {
    check("40m", 100, "normal", Event::Kills);
}

#[test]
fn small_messages_that_are_synced_fill_40_mib_and_are_drained() {
    check("40m", 100, "full", Event::Kill);
}

#[test]
fn large_messages_are_drained_where_others_have_taken_what_was_left() {
    check("64m", 100_000, "normal", Event::NoRoomAndKill);
}

#[test]
fn small_messages_are_drained_where_others_have_taken_what_was_left() {
    check("40m", 100, "full", Event::NoRoomAndKill);
}

#[test]
fn a_session_with_many_small_messages_ends_where_little_is_left() {
    const BYTES: usize = 100;
    let Some(edge) = Edge::start("40m", "") else {
        return;
    };
    let mut reader = edge.connect_durable("reader");
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
    let mut publisher = edge.connect("publisher");
    fill(&mut publisher, BYTES);
    edge.exhaust();
    // It begins anew: what waited goes.
    let mut reader = edge.connect("reader");
    edge.give_back();
    reader.subscribe("t/#", 1).unwrap();
    publish_again(&mut publisher, BYTES);
    assert_eq!(reader.receive_publish().unwrap().number(), Some(LAST));
    edge.assert_was_well();
}

#[test]
fn what_a_session_had_spilled_that_a_kill_ended_goes_where_little_is_left() {
    const BYTES: usize = 100;
    let Some(mut edge) = Edge::start("40m", "mqtt.max_mqueue_len = 100") else {
        return;
    };
    // It takes nothing.
    let mut reader = edge.connect("reader");
    reader.subscribe("t/#", 1).unwrap();
    fill(&mut edge.connect("filler"), BYTES);
    edge.kill();
    let mut reader = edge.connect("reader");
    reader.subscribe("t/#", 1).unwrap();
    publish_again(&mut edge.connect("publisher"), BYTES);
    assert_eq!(reader.receive_publish().unwrap().number(), Some(LAST));
    edge.assert_was_well();
}

#[test]
fn a_file_system_that_is_too_small_is_said_and_takes_nothing() {
    let Some(edge) = Edge::start("8m", "") else {
        return;
    };
    let mut session = edge.connect_durable("reader");
    session.subscribe("t/#", 1).unwrap();
    session.disconnect().unwrap();
    let mut publisher = edge.connect("publisher");
    publisher.publish("t/a", b"1").unwrap();
    assert_eq!(publisher.expect(0x40).unwrap().reason(), 0x97);
    let log = edge.process.log();
    let said = "has room for few messages";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    for arguments in [&["check"][..], &["store", "check"]] {
        let text = edge.run(arguments);
        assert!(text.contains("has room for 0 bytes of messages"), "{text}");
    }
}
