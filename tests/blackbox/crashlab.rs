//! `tidegate crashlab`: brokers that are killed again and again, at random moments and at named
//! points of their store, and what has become of every message.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::ExitStatus;

use serde_json::Value;
use tests::daemon::tidegate;
use tests::process::Process;
use tests::wait::until;

/// Starts a laboratory below `folder`.
pub(super) fn start(folder: &Path, arguments: &[&str]) -> Process {
    let mut command = tidegate(["crashlab", "--json", "--path"]);
    command.arg(folder).args(arguments);
    Process::start_piped(&mut command, folder, "crashlab")
}

/// Runs a laboratory to its end: how it ended, its report on the one level, and its log.
pub(super) fn run(arguments: &[&str]) -> (ExitStatus, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), arguments);
    let mut output = process.take_output();
    let status = process.wait();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(folders(folder.path()), 0, "files are left");
    let mut reports: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    (status, reports.pop().unwrap_or_default(), process.log())
}

fn folders(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .filter(|it| it.file_type().unwrap().is_dir())
        .count()
}

/// A number of a report.
#[track_caller]
pub(super) fn count(report: &Value, name: &str) -> u64 {
    let value = report[name].as_u64();
    value.unwrap_or_else(|| panic!("no number {name}: {report}"))
}

/// Nothing is wrong but what is named here, and enough has happened to say so.
#[track_caller]
pub(super) fn assert_kept(status: ExitStatus, report: &Value, log: &str) {
    assert_eq!(status.code(), Some(0), "{report:#}\n{log}");
    for name in [
        "lost",
        "duplicated",
        "reordered",
        "retained_wrong",
        "phantom",
    ] {
        assert_eq!(count(report, name), 0, "{name}: {report:#}");
    }
    assert!(count(report, "acknowledged") > 1_000, "{report:#}");
    // Every message goes to four subscribers and a group; a power cut may take some.
    let delivered = count(report, "delivered");
    assert!(delivered > 2 * count(report, "acknowledged"), "{report:#}");
}

fn assert_kills_lose_nothing(durability: &str) {
    let (status, report, log) = run(&[
        "--durability",
        durability,
        "--kills",
        "60",
        "--seconds",
        "15",
    ]);
    assert_kept(status, &report, &log);
    assert_eq!(report["durability"], durability);
    assert_eq!(count(&report, "mistaken"), 0, "{report:#}");
    assert!(count(&report, "kills") >= 4, "{report:#}");
    assert!(count(&report, "kills_at_named_points") > 0, "{report:#}");
    assert!(count(&report, "restart_ms_max") > 0, "{report:#}");
}

#[test]
fn kills_lose_and_repeat_nothing_with_normal_durability() {
    assert_kills_lose_nothing("normal");
}

#[test]
fn kills_lose_and_repeat_nothing_with_full_durability() {
    assert_kills_lose_nothing("full");
}

#[test]
fn the_laboratory_sees_what_is_lost_from_memory() {
    let (status, report, log) = run(&["--durability", "memory", "--kills", "5", "--seconds", "10"]);
    assert_eq!(status.code(), Some(0), "nothing is promised: {log}");
    assert!(count(&report, "kills") > 0, "{report:#}");
    assert!(count(&report, "lost") > 0, "{report:#}");
    assert_eq!(count(&report, "phantom"), 0, "{report:#}");
    assert!(report["findings"][0].is_string(), "{report:#}");
}

#[test]
fn a_laboratory_that_is_stopped_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &["--kills", "1000"]);
    until("it works", || folders(folder.path()) == 1);
    process.terminate();
    assert_eq!(process.wait().code(), Some(1), "{}", process.log());
    assert!(process.log().contains("interrupted"), "{}", process.log());
    assert_eq!(folders(folder.path()), 0);
}
