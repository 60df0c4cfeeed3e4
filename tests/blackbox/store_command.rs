//! `tidegate store`: check, stats, export and repair.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tests::daemon::{Daemon, tidegate};
use tests::wire::{Kept, Version, WireClient, packet};

/// A daemon with a session that waits for three messages, one of them no text, and a retained
/// message.
fn start() -> Daemon {
    let daemon = Daemon::start("");
    let (mut reader, _) =
        WireClient::connect(daemon.port(), Version::V5, "reader", Kept::Session).unwrap();
    reader.subscribe("t/#", 1).unwrap();
    reader.disconnect().unwrap();
    let (mut publisher, _) =
        WireClient::connect(daemon.port(), Version::V5, "publisher", Kept::Nothing).unwrap();
    // Retained, QoS 0.
    publisher.send(&packet(0x31, b"\0\x01r\0kept")).unwrap();
    for payload in [&b"1"[..], b"\xff\0", "grün".as_bytes()] {
        publisher.publish_acknowledged("t/a", payload).unwrap();
    }
    daemon
}

fn store(directory: &Path, arguments: &[&str]) -> Command {
    let (name, rest) = arguments.split_first().unwrap();
    let mut command = tidegate(["store", name, "--path"]);
    command.arg(directory).args(rest);
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    store(directory, arguments).output().unwrap()
}

/// What it prints; it ends with this code.
#[track_caller]
fn output(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(directory, arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    assert!(output.stderr.is_empty() || code != 0, "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn object(directory: &Path, arguments: &[&str], code: i32) -> Value {
    serde_json::from_str(&output(directory, arguments, code)).unwrap()
}

/// Runs a command that fails, and returns the one line that it says.
#[track_caller]
fn complaint(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(directory, arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("tidegate: "), "{said}");
    said
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

#[track_caller]
fn assert_whole(directory: &Path) {
    let report = object(directory, &["check", "--json"], 0);
    assert_eq!(report["whole"], true, "{report}");
    assert_eq!(report["problems"], json!([]));
    assert_eq!(report["schema_version"], report["current_schema_version"]);
    assert!(report["synced_commits"].as_u64() > Some(0), "{report}");
    assert!(report["flush"]["writes"].as_u64() > Some(0), "{report}");
    let text = output(directory, &["check"], 0);
    assert!(text.ends_with("the store is whole\n"), "{text}");
    assert!(text.contains("  disk: p50 "), "{text}");
}

#[test]
fn a_store_is_looked_at_beside_its_daemon_and_without() {
    let mut daemon = start();
    let names = |directory: &Path| {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for is_running in [true, false] {
        if !is_running {
            daemon.stop();
        }
        let directory = daemon.data();
        let before = names(&directory);
        assert_whole(&directory);
        let stats = object(&directory, &["stats", "--json"], 0);
        assert_eq!(stats["sessions"], 1);
        assert_eq!(
            stats["queued"],
            json!({ "messages": 3, "bytes": 9 + 1 + 2 + 5 })
        );
        assert_eq!(stats["retained"], json!({ "messages": 1, "bytes": 5 }));
        assert_eq!(stats["deepest"][0]["client_id"], "reader");
        assert_eq!(stats["deepest"][0]["messages"], 3);
        let text = output(&directory, &["stats"], 0);
        assert!(text.contains("  reader: 3 messages, 17 bytes"), "{text}");

        let exported = lines(&output(&directory, &["export"], 0));
        let types: Vec<_> = exported
            .iter()
            .map(|it| it["type"].as_str().unwrap())
            .collect();
        let expected = [
            "session",
            "subscription",
            "queued",
            "queued",
            "queued",
            "retained",
        ];
        assert_eq!(types, expected);
        assert_eq!(exported[1]["filter"], "t/#");
        let payloads: Vec<_> = exported[2..].iter().map(|it| &it["payload"]).collect();
        assert_eq!(
            payloads,
            [&json!("1"), &Value::Null, &json!("grün"), &json!("kept")]
        );
        assert_eq!(exported[3]["payload_base64"], "/wA=");
        assert_eq!(exported[5]["topic"], "r");
        assert_eq!(names(&directory), before, "no file is left, none is gone");
    }
    daemon.restart();
    let log = daemon.process().log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_part_of_a_store_is_exported() {
    let daemon = start();
    let export = |arguments: &[&str]| {
        let arguments = [&["export"], arguments].concat();
        lines(&output(&daemon.data(), &arguments, 0)).len()
    };
    assert_eq!(export(&["--what", "retained"]), 1);
    assert_eq!(export(&["--what", "sessions,retained"]), 3);
    assert_eq!(export(&["--what", "queues", "--client-id", "reader"]), 3);
    assert_eq!(export(&["--client-id", "reader"]), 5);
    assert_eq!(export(&["--client-id", "nobody"]), 0);
}

#[test]
fn an_export_that_nobody_reads_ends_quietly() {
    let daemon = start();
    let (mut publisher, _) =
        WireClient::connect(daemon.port(), Version::V5, "publisher", Kept::Nothing).unwrap();
    // More than a pipe holds.
    let payload = "x".repeat(100_000);
    for _ in 0..5 {
        publisher
            .publish_acknowledged("t/a", payload.as_bytes())
            .unwrap();
    }
    let mut command = store(&daemon.data(), &["export", "--what", "queues"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(lines(&first)[0]["sequence"], 1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// A directory with a file in the database's place.
fn directory_with(content: Option<&[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.db");
    if let Some(content) = content {
        fs::write(&file, content).unwrap();
    }
    (folder, file)
}

#[test]
fn what_is_no_store_is_said_in_one_line() {
    let (empty, _) = directory_with(None);
    for (name, code) in [("check", 2), ("stats", 1), ("export", 1)] {
        let said = complaint(empty.path(), &[name], code);
        assert!(said.contains("there is no store "), "{said}");
        let said = complaint(&empty.path().join("none"), &[name], code);
        assert!(said.contains("there is no store "), "{said}");
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);

    let (garbage, _) = directory_with(Some(b"garbage"));
    let report = object(garbage.path(), &["check", "--json"], 1);
    assert_eq!(report["whole"], false);
    assert_eq!(report["problems"][0]["what"], "no readable database");
    for name in ["stats", "export"] {
        let said = complaint(garbage.path(), &[name], 1);
        assert!(said.contains("not a database"), "{said}");
        assert!(said.contains("`tidegate store check`"), "{said}");
    }
}

#[test]
fn a_newer_store_is_left_alone() {
    let mut daemon = start();
    daemon.stop();
    let file = daemon.data().join("tidegate.db");
    let mut bytes = fs::read(&file).unwrap();
    // The user version in the header of the database.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&file, &bytes).unwrap();
    for (name, code) in [("check", 2), ("stats", 1), ("export", 1), ("repair", 1)] {
        let said = complaint(&daemon.data(), &[name], code);
        assert!(said.contains("schema version 99"), "{said}");
    }
    assert!(fs::read(&file).unwrap() == bytes);
}

#[test]
fn a_store_that_may_not_be_read_is_said() {
    let mut daemon = start();
    daemon.stop();
    let file = daemon.data().join("tidegate.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&file).is_ok() {
        // Nothing is forbidden to this user.
        return;
    }
    let said = complaint(&daemon.data(), &["stats"], 1);
    assert!(said.contains("Permission denied"), "{said}");
}

#[test]
fn damage_is_shown_with_what_is_kept() {
    let mut daemon = start();
    daemon.stop();
    let directory = daemon.data();
    let file = directory.join("tidegate.db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    fs::write(directory.join("tidegate.db.damaged-1"), [0; 1_536]).unwrap();
    let report = object(&directory, &["check", "--json"], 1);
    assert_eq!(report["whole"], false);
    assert_eq!(report["kept"][0]["bytes"], 1_536);
    let text = output(&directory, &["check"], 1);
    assert!(text.contains("  damage: "), "{text}");
    assert!(text.contains("tidegate.db.damaged-1, 1.5 KiB\n"), "{text}");
    assert!(text.contains("`tidegate store repair`"), "{text}");
}

#[test]
fn a_damaged_store_is_repaired_once_its_daemon_has_stopped() {
    let mut daemon = start();
    let directory = daemon.data();
    let said = complaint(&directory, &["repair"], 1);
    assert!(said.contains("another process uses"), "{said}");
    daemon.stop();
    assert_eq!(
        output(&directory, &["repair"], 0),
        "the store is whole, nothing is changed\n"
    );
    let file = directory.join("tidegate.db");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len() - 4096;
    bytes[end..].fill(0x5a);
    fs::write(&file, &bytes).unwrap();
    output(&directory, &["check"], 1);
    let text = output(&directory, &["repair"], 0);
    let kept = directory.join("tidegate.db.damaged-1");
    let last = format!("{} is kept", kept.display());
    assert!(text.trim_end().ends_with(&last), "{text}");
    assert!(text.contains(" rows saved"), "{text}");
    assert!(fs::read(&kept).unwrap() == bytes);
    output(&directory, &["check"], 0);
    daemon.restart();
    let log = daemon.process().log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn what_a_daemon_has_set_aside_is_added_to_its_store() {
    let mut daemon = start();
    daemon.stop();
    let directory = daemon.data();
    let file = directory.join("tidegate.db");
    let mut bytes = fs::read(&file).unwrap();
    // The page of the messages is of a kind that does not exist.
    let message = bytes.windows(3).position(|it| it == b"t/a").unwrap();
    bytes[message / 4096 * 4096] = 0;
    fs::write(&file, &bytes).unwrap();
    daemon.restart();
    let (reader, is_resumed) =
        WireClient::connect(daemon.port(), Version::V5, "reader", Kept::Session).unwrap();
    assert!(!is_resumed);
    reader.disconnect().unwrap();
    let kept = directory.join("tidegate.db.damaged-1");
    let from = kept.to_str().unwrap();
    assert!(daemon.process().log().contains(from));
    let said = complaint(&directory, &["repair", "--from", from], 1);
    assert!(said.contains("stop the daemon first"), "{said}");
    daemon.stop();
    let text = output(&directory, &["repair", "--from", from], 0);
    assert!(
        text.contains("session: 0 rows saved, 1 superseded\n"),
        "{text}"
    );
    assert!(fs::read(&kept).unwrap() == bytes);
    output(&directory, &["check"], 0);
    let said = complaint(&directory, &["repair", "--from", from], 1);
    assert!(said.contains("was salvaged before"), "{said}");
}

#[test]
fn what_cannot_be_repaired_is_said_in_one_line() {
    let (empty, _) = directory_with(None);
    let said = complaint(empty.path(), &["repair"], 1);
    assert!(said.contains("there is no store "), "{said}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    let (garbage, file) = directory_with(Some(b"garbage"));
    let said = complaint(garbage.path(), &["repair"], 1);
    assert!(said.contains("it is left as it is"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"garbage");
    let absent = garbage.path().join("absent");
    let said = complaint(
        garbage.path(),
        &["repair", "--from", absent.to_str().unwrap()],
        1,
    );
    assert!(said.contains("there is no store "), "{said}");
}

#[test]
fn the_store_is_where_the_configuration_says() {
    let daemon = start();
    let conf = daemon.data().with_file_name("tidegate.conf");
    let stats = tidegate(["store", "stats", "--json", "--conf"])
        .arg(&conf)
        .output()
        .unwrap();
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["sessions"], 1);

    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.conf");
    for (text, expected) in [
        ("store.enable = off", "`store.enable` is off"),
        ("{", "other.conf"),
    ] {
        fs::write(&other, text).unwrap();
        let mut check = tidegate(["store", "check", "--conf"]);
        let output = check.arg(&other).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
    }
}
