//! `tidegate pub` and `tidegate sub`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tests::daemon::{Daemon, tidegate};
use tests::process::Process;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient, packet};

/// A command for the broker of this daemon.
fn command(daemon: &Daemon, name: &str, arguments: &[&str]) -> Command {
    let mut command = tidegate([name, "-p", &daemon.port().to_string()]);
    command.args(arguments);
    command
}

fn run(daemon: &Daemon, name: &str, arguments: &[&str]) -> Output {
    command(daemon, name, arguments).output().unwrap()
}

/// Runs a command that fails, and returns what it says.
#[track_caller]
fn complaint(daemon: &Daemon, name: &str, arguments: &[&str]) -> String {
    let output = run(daemon, name, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Waits until the daemon says how this client's connection ended.
#[track_caller]
fn assert_disconnected(daemon: &mut Daemon, client_id: &str) {
    let ended = format!("client disconnected client_id={client_id} reason=");
    until(&ended, || daemon.process().log().contains(&ended));
    let log = daemon.process().log();
    assert!(
        log.contains(&format!("{ended}\"disconnected\"")),
        "{client_id}: {log}"
    );
}

#[test]
fn pub_and_sub_end_with_disconnect() {
    let mut daemon = Daemon::start("");
    for qos in ["0", "1", "2"] {
        let client_id = format!("pub{qos}");
        let output = run(
            &daemon,
            "pub",
            &["-t", "a", "-m", "x", "-q", qos, "-r", "-i", &client_id],
        );
        assert!(output.status.success(), "{output:?}");
        assert_disconnected(&mut daemon, &client_id);
    }
    let output = run(&daemon, "sub", &["-t", "a", "-C", "1", "-i", "counted"]);
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(0), &b"x\n"[..])
    );
    assert_disconnected(&mut daemon, "counted");

    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&daemon, "sub", &["-t", "a", "-i", "terminated"]);
    let mut process = Process::start(&mut command, folder.path(), "sub");
    until("the retained message comes", || process.log() == "x\n");
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    assert_disconnected(&mut daemon, "terminated");
}

#[test]
fn lines_are_published_as_they_come() {
    let daemon = Daemon::start("");
    let (mut reader, _) =
        WireClient::connect(daemon.port(), Version::V311, "reader", Kept::Nothing).unwrap();
    reader.subscribe("a", 1).unwrap();
    let mut command = command(&daemon, "pub", &["-t", "a", "-l", "-q", "1"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in ["one", "two"] {
        write!(input, "{line}\n\n").unwrap();
        let publish = reader.receive_publish().unwrap();
        assert_eq!(publish.payload, line.as_bytes());
        reader.acknowledge(publish.identifier).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_done_is_said_in_a_short_sentence() {
    let daemon = Daemon::start("mqtt.max_packet_size = 2KB");
    let long = "x".repeat(3_000);
    let table: [(&str, &[&str], &str); 9] = [
        (
            "pub",
            &["-t", "a", "-m", &long, "-q", "1"],
            "the message is too large: its packet has 3009 bytes, the broker takes 2048",
        ),
        ("pub", &["-t", "a", "-m", &long], "the message is too large"),
        (
            "pub",
            &["-t", &format!("{long}/+/{long}"), "-m", "x"],
            "x…x",
        ),
        ("sub", &["-t", &format!("{long}#")], "x…x"),
        ("pub", &["-t", "a", "-m", "x", "-P", "secret"], "--username"),
        (
            "sub",
            &["-t", "a", "-C", "0"],
            "COUNT is a number from 1 on",
        ),
        (
            "pub",
            &["-t", "$SYS/a", "-m", "x", "-q", "1"],
            "the broker refused a message: not authorized",
        ),
        (
            "pub",
            &["-t", "a", "-m", "x", "-i", &"x".repeat(300)],
            "the broker refuses the connection: client identifier not valid",
        ),
        (
            "pub",
            &["-t", "a", "-m", "x", "-h", "127.0.0.2"],
            ": Connection refused",
        ),
    ];
    for (name, arguments, expected) in table {
        let complaint = complaint(&daemon, name, arguments);
        assert!(complaint.contains(expected), "{complaint}");
        assert!(complaint.len() < 500, "{complaint}");
    }
}

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

#[test]
fn arguments_of_other_brokers_are_answered_with_a_tip() {
    let table: [(&[&str], &str); 10] = [
        (&["-c", "mosquitto.conf"], "`tidegate start --conf FILE`"),
        (&["start", "-p", "1884"], "`listeners.tcp.default.bind`"),
        (&["start", "-d"], "it stays in the foreground"),
        (&["check", "t.conf"], "`--conf t.conf`"),
        (&["restart"], "end the process with SIGTERM"),
        (&["sub", "-t", "a", "-V", "5"], "always speak MQTT 5"),
        (
            &["pub", "-t", "a", "-f", "x"],
            "`tidegate pub --stdin < FILE`",
        ),
        (
            &["sub", "-t", "a", "-W", "1"],
            "`timeout SECONDS tidegate sub ...`",
        ),
        (
            &["bench", "sub", "-t", "a", "--payload-hdrs", "ts"],
            "payloads of 16 bytes and more",
        ),
        (&["bench", "conn", "-S"], "there is no TLS"),
    ];
    for (arguments, expected) in table {
        let output = tidegate(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let complaint = String::from_utf8(output.stderr).unwrap();
        let tips = complaint.lines().filter(|line| line.contains("  tip: "));
        let tips: Vec<&str> = tips.collect();
        assert!(tips.len() == 1 && tips[0].contains(expected), "{complaint}");
    }
    let output = tidegate(["sub", "-t", "a", "-y"]).output().unwrap();
    assert!(!String::from_utf8(output.stderr).unwrap().contains("tip: "));
}

#[test]
fn a_wrong_command_line_is_answered_with_what_the_argument_may_be() {
    let table: [(&[&str], &[&str]); 15] = [
        (&["bench", "pub", "-t", "a/+"], &["--topic 'a/+'"]),
        (&["bench", "pub", "-t", ""], &["--topic ''", "empty"]),
        (&["bench", "pub", "-t", "a/%z"], &["--topic 'a/%z'"]),
        (&["bench", "sub", "-t", "a/#/b"], &["--topic 'a/#/b'"]),
        (&["bench", "sub", "-t", ""], &["--topic ''", "empty"]),
        (&["bench", "rtt", "-s", "3"], &["--size", "16"]),
        (&["bench", "rtt", "-t", "a/#"], &["--topic 'a/#'"]),
        (&["bench", "conn", "-c", "-1"], &["--count", "1..=1000000"]),
        (&["bench", "conn", "-R", "-5"], &["--connrate", "-5", "0.."]),
        (&["bench", "conn", "-d", "-1"], &["--duration", "above 0"]),
        (&["bench", "conn", "-d", "0"], &["--duration", "above 0"]),
        (&["bench", "conn", "-p", "0"], &["--port", "1.."]),
        (&["bench", "pub", "--rate", "-1"], &["--rate", "1.."]),
        (&["bench", "sub", "-L", "-5"], &["--limit", "from 0"]),
        (&["crashlab", "--kills", "-1"], &["--kills", "1..=100000"]),
    ];
    for (arguments, expected) in table {
        let output = tidegate(arguments).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(
            expected.iter().all(|it| complaint.contains(it)),
            "{complaint}"
        );
    }
}

#[test]
fn a_message_may_begin_with_a_hyphen() {
    let daemon = Daemon::start("");
    let output = run(&daemon, "pub", &["-t", "a", "-r", "-q", "1", "-m", "-5"]);
    assert!(output.status.success(), "{output:?}");
    let output = run(&daemon, "sub", &["-t", "a", "-C", "1"]);
    assert_eq!(output.stdout, b"-5\n");
}
