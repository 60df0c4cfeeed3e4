//! A wall clock that a test sets, for one process and not for the machine: libfaketime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In the folder of the process; says what its wall clock shows.
const FILE: &str = "wall_clock";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Sets the wall clock of a process that has this folder, from now on: `@2031-02-03 04:05:06`.
///
/// # Panics
/// The file cannot be written.
pub fn set(folder: &Path, time: &str) {
    // Replaced as a whole: the process reads it whenever it looks at its clock.
    let next = folder.join("wall_clock.next");
    fs::write(&next, time).expect("a file");
    fs::rename(next, folder.join(FILE)).expect("a file");
}

/// Gives a process its wall clock, if one was set for its folder.
pub(crate) fn give(command: &mut Command, folder: &Path) {
    let file = folder.join(FILE);
    if !file.exists() {
        return;
    }
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .env("TZ", "UTC");
}

/// The library; its folder is called after the processor.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("/usr/lib");
    let mut libraries = folders.flatten().map(|it| it.path().join(LIBRARY));
    let found = libraries.find(|it| it.exists());
    found.expect("libfaketime; `sh etc/setup.sh test` installs it")
}
