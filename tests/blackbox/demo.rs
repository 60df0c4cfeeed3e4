//! `tidegate demo`, and what it leaves behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tests::daemon::tidegate;
use tests::process::Process;
use tests::wait::until;

/// Starts a demonstration whose temporary folder is below `folder`, up to its first act.
fn start(folder: &Path, name: &str) -> Process {
    let mut command = tidegate(["demo", "--rate", "10", "--act-seconds", "60"]);
    command.env("TMPDIR", folder);
    let mut process = Process::start(&mut command, folder, name);
    until("the first act begins", || {
        assert_eq!(process.status(), None, "{}", process.log());
        process.log().contains("1  The uplink is up")
    });
    process
}

/// What demonstrations have left below `folder`.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    folders.map(|entry| entry.path()).collect()
}

/// How many processes have a path below `folder` in their command line.
fn processes(folder: &Path) -> usize {
    let folder = folder.as_os_str().as_bytes();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let arguments = lines.filter(|line| {
        line.split(|&byte| byte == 0)
            .any(|it| it.starts_with(folder))
    });
    arguments.count()
}

#[test]
fn a_killed_demonstration_leaves_no_process_and_the_next_one_removes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = start(folder.path(), "first");
    assert_eq!(processes(folder.path()), 2, "edge and hub");
    first.kill();
    until("its children end", || processes(folder.path()) == 0);
    let left = folders(folder.path());
    assert_eq!(left.len(), 1, "{left:?}");

    let mut second = start(folder.path(), "second");
    let own = folders(folder.path());
    assert!(own.len() == 1 && own != left, "{own:?}");
    second.terminate();
    assert_eq!(second.wait().code(), Some(1), "{}", second.log());
    assert_eq!(folders(folder.path()), [] as [PathBuf; 0]);
    assert_eq!(processes(folder.path()), 0);
}

/// How many messages wait in the edge's outbox, of each line of an act that says it.
fn depths(log: &str, act: &str) -> Vec<u64> {
    let lines = log.lines().skip_while(|line| !line.starts_with(act));
    let lines = lines.skip(1).take_while(|line| !line.is_empty());
    let said = lines.filter_map(|line| line.split_once("outbox")?.1.split_once(" messages"));
    said.map(|(number, _)| number.trim().replace(',', "").parse().unwrap())
        .collect()
}

/// What stands behind this in its line.
fn after<'a>(log: &'a str, text: &str) -> &'a str {
    let rest = log.split_once(text).unwrap_or_else(|| panic!("{log}")).1;
    rest.lines().next().unwrap_or_default().trim()
}

#[test]
fn the_demonstration_loses_nothing_and_shows_how_the_outbox_fills_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tidegate(["demo", "--rate", "200", "--act-seconds", "3"]);
    command.env("TMPDIR", folder.path());
    let mut process = Process::start(&mut command, folder.path(), "demo");
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
    let log = process.log();
    assert!(log.contains("Nothing was lost"), "{log}");
    assert!(!log.contains('\x1b'), "it is not a terminal: {log}");

    let cut = depths(&log, "2  ");
    assert!(cut.is_sorted() && cut.len() > 2, "{cut:?}: {log}");
    let waited = cut[cut.len() - 1];
    assert!(waited > cut[0], "{cut:?}: {log}");
    let killed = depths(&log, "3  ");
    assert!(log.contains("the edge is dead"), "{log}");
    assert_eq!(killed.last(), Some(&waited), "{log}");
    assert_eq!(depths(&log, "4  ").last(), Some(&0), "{log}");

    let amount = after(&log, "around the SIGKILL ");
    let plain = amount.replace(',', "");
    assert_eq!(plain, format!("{waited} messages before {waited} after"));
    assert!(after(&log, "drained  ").ends_with("/s"), "{log}");
    let row: Vec<_> = after(&log, "command    ").split_whitespace().collect();
    assert_eq!(row, ["1", "1", "0", "0", "0"], "{log}");
    assert_eq!(folders(folder.path()), [] as [PathBuf; 0]);
}
