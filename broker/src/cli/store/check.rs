//! `tidegate store check`

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use persistence::{
    Findings, FlushLatency, KeptFile, OpenStoreError, Quota, RESERVE_BYTES, Volume, kept_files,
};
use serde_json::{Value, json};

use super::{Look, print_json, size};
use crate::terminal::Terminal;

/// The store cannot be looked at.
const EXIT_UNCHECKED: u8 = 2;

/// Everything that there is to say.
struct Report {
    findings: Findings,
    kept: Vec<KeptFile>,
    /// Or why it could not be measured.
    flush: Result<FlushLatency, String>,
    /// None if it cannot be looked at.
    volume: Option<Volume>,
}

pub(super) fn run(look: &Look) -> ExitCode {
    let directory = match look.place.directory() {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    let report = match Report::of(&directory, &look.place.quota()) {
        Ok(report) => report,
        Err(error) => {
            Terminal.error(error);
            return ExitCode::from(EXIT_UNCHECKED);
        }
    };
    if look.json {
        print_json(&report.json());
    } else {
        report.print();
    }
    match report.findings.problems[..] {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

impl Report {
    fn of(directory: &Path, quota: &Quota) -> Result<Self, OpenStoreError> {
        Ok(Self {
            findings: Findings::of(directory)?,
            kept: kept_files(directory)?,
            flush: FlushLatency::measure(directory).map_err(|error| error.to_string()),
            volume: Volume::of(directory, quota).ok(),
        })
    }

    fn json(&self) -> Value {
        let findings = &self.findings;
        let problems = findings
            .problems
            .iter()
            .map(|it| json!({ "what": it.what, "count": it.count, "first": it.first }));
        let kept = self
            .kept
            .iter()
            .map(|it| json!({ "file": it.file, "bytes": it.bytes, "salvaged": it.is_salvaged }));
        json!({
            "file": findings.file,
            "whole": findings.problems.is_empty(),
            "schema_version": findings.version,
            "current_schema_version": findings.current_version,
            "synced_commits": findings.epoch,
            "noted_commits": findings.noted_epoch,
            "rows": findings.rows,
            "problems": problems.collect::<Vec<_>>(),
            "remarks": findings.remarks,
            "kept": kept.collect::<Vec<_>>(),
            "volume": self.volume.map(|it| json!({
                "left_bytes": it.left_bytes,
                "min_free_space_bytes": it.left_bytes_min,
                "reserve_bytes": RESERVE_BYTES,
                "room_bytes": it.room_bytes,
                "warning": it.warning(),
            })),
            "flush": self.flush.as_ref().map_or_else(
                |error| json!({ "error": error }),
                |it| json!({
                    "file_system": it.file_system,
                    "writes": it.writes,
                    "p50_us": microseconds(it.p50),
                    "p99_us": microseconds(it.p99),
                    "max_us": microseconds(it.max),
                    "warning": warning(it),
                }),
            ),
        })
    }

    fn print(&self) {
        let findings = &self.findings;
        Terminal.line(findings.file.display());
        let version = match findings.version {
            None => "unknown".to_owned(),
            Some(found) if found < findings.current_version => {
                format!(
                    "{found}, the next start makes it {}",
                    findings.current_version
                )
            }
            Some(found) => found.to_string(),
        };
        Terminal.line(format_args!("  schema version: {version}"));
        let (rows, epoch) = (findings.rows, findings.epoch);
        Terminal.line(format_args!("  read: {rows} rows, {epoch} synced commits"));
        match &self.flush {
            Ok(it) => print_flush(it),
            Err(error) => {
                Terminal.line(format_args!("  disk: cannot be measured: {error}"));
            }
        }
        if let Some(volume) = &self.volume {
            let room = size(volume.room_bytes);
            Terminal.line(format_args!(
                "  file system: room for {room} of messages in all"
            ));
        }
        if let Some(warning) = self.volume.and_then(|it| it.warning()) {
            Terminal.line(format_args!("  warning: {warning}"));
        }
        for remark in &findings.remarks {
            Terminal.line(format_args!("  note: {remark}"));
        }
        for kept in &self.kept {
            let salvaged = if kept.is_salvaged { ", salvaged" } else { "" };
            let (file, bytes) = (kept.file.display(), size(kept.bytes));
            Terminal.line(format_args!("  kept: {file}, {bytes}{salvaged}"));
        }
        for problem in &findings.problems {
            let (what, count, first) = (problem.what, problem.count, &problem.first);
            Terminal.line(format_args!(
                "  damage: {what}: {count}, the first: {first}"
            ));
        }
        Terminal.line(match findings.problems[..] {
            [] => "the store is whole",
            _ => "the store is damaged; `tidegate store repair` saves what can be read",
        });
    }
}

fn print_flush(flush: &FlushLatency) {
    let [p50, p99, max] = [flush.p50, flush.p99, flush.max].map(microseconds);
    let kind = flush.file_system.as_deref().unwrap_or("unknown");
    let writes = flush.writes;
    Terminal.line(format_args!(
        "  disk: p50 {p50} us, p99 {p99} us, max {max} us of {writes} synced writes ({kind})"
    ));
    if let Some(warning) = warning(flush) {
        Terminal.line(format_args!("  warning: {warning}"));
    }
}

/// What is wrong with a disk that is too fast.
fn warning(flush: &FlushLatency) -> Option<String> {
    // What they have is in memory, or with a layer that may keep it there.
    const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "overlay"];
    if flush.is_plausible() {
        return None;
    }
    let kind = flush.file_system.as_deref();
    let kind = kind.filter(|it| VOLATILE.contains(it));
    let kind = kind.map_or_else(String::new, |it| format!(" ({it})"));
    Some(format!(
        "this disk{kind} answers before it can have written: \
         a power cut may lose what `full` promises"
    ))
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
