//! `tidegate demo`, and what it leaves behind.

use std::ffi::OsStr;
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

#[test]
fn the_demonstration_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tidegate([OsStr::new("demo"), OsStr::new("--act-seconds=1")]);
    command.env("TMPDIR", folder.path());
    let mut process = Process::start(&mut command, folder.path(), "demo");
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
    assert!(
        process.log().contains("Nothing was lost"),
        "{}",
        process.log()
    );
    assert_eq!(folders(folder.path()), [] as [PathBuf; 0]);
}
