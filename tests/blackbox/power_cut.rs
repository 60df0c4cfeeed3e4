//! The power of the broker's disk is cut again and again: an ext4 image in a file, of which only
//! what was written back outlives the cut. That takes root and loop devices.

use std::io::{self, Write};

use crate::crashlab::{assert_kept, count, run};

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
    if log.contains("no disk can be made here") {
        // Past the capture of tests: who reads the outcome has to know.
        let mut err = io::stderr().lock();
        writeln!(err, "SKIPPED: no power cut with {durability}: {log}").unwrap();
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
        assert_eq!(count(&report, "mistaken"), 0, "{report:#}");
    }
}

#[test]
fn power_cuts_take_a_second_at_most_with_normal_durability() {
    cut("normal");
}
