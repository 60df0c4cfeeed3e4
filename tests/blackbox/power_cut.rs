//! The power of the broker's disk is cut again and again: an ext4 image in a file, of which only
//! what was written back outlives the cut. That takes root and loop devices.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use tests::wait::until;

use crate::crashlab::{assert_kept, count, run, start};

/// Whether a laboratory says that the power cannot be cut here, which is then said here too.
fn is_unable(log: &str) -> bool {
    let is_unable = log.contains("no disk can be made here");
    if is_unable {
        // Past the capture of tests: who reads the outcome has to know.
        let mut err = io::stderr().lock();
        writeln!(err, "SKIPPED: the power is not cut: {log}").unwrap();
    }
    is_unable
}

/// Cuts the power, unless that cannot be done here; the report.
fn cut(durability: &str) -> Option<serde_json::Value> {
    let (status, report, log) = run(&[
        "--power-cut",
        "--durability",
        durability,
        "--kills",
        "5",
        "--seconds",
        "15",
    ]);
    if is_unable(&log) {
        return None;
    }
    assert_kept(status, &report, &log);
    assert!(count(&report, "power_cuts") >= 2, "{report:#}");
    Some(report)
}

#[test]
fn power_cuts_lose_nothing_with_full_durability() {
    if let Some(report) = cut("full") {
        assert_eq!(count(&report, "lost_unsynced"), 0, "{report:#}");
    }
}

#[test]
fn power_cuts_take_a_second_at_most_with_normal_durability() {
    cut("normal");
}

/// Whether a loop device has a file below `folder`.
fn has_device(folder: &Path) -> bool {
    // Where there is no such program there is no such device.
    let devices = Command::new("losetup").arg("--all").output();
    let devices = devices.map_or_else(|_| Vec::new(), |it| it.stdout);
    String::from_utf8_lossy(&devices).contains(folder.to_str().unwrap())
}

#[test]
fn a_killed_laboratory_leaves_no_disk_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &["--power-cut", "--kills", "1000"]);
    until("the disk is mounted", || {
        process.status().is_some() || has_device(folder.path())
    });
    if process.status().is_some() {
        assert!(is_unable(&process.log()), "{}", process.log());
        return;
    }
    process.kill();
    until("its device is free", || !has_device(folder.path()));
}
