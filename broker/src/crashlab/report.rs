//! What a run has shown, for people and for programs.

use std::time::Duration;

use persistence::Durability;
use serde_json::{Map, Value, json};

use super::history::Verdict;
use super::run::Tally;

/// The outcome of a run.
pub(super) struct Report {
    pub(super) durability: Durability,
    pub(super) seed: u64,
    pub(super) time: Duration,
    pub(super) tally: Tally,
    pub(super) verdict: Verdict,
    /// What the broker did that it must never do, and the errors in its log.
    pub(super) faults: Vec<String>,
}

impl Report {
    /// Whether the broker has done what its level promises. `memory` promises nothing over a
    /// crash but that no messages are made up.
    pub(super) fn is_kept(&self) -> bool {
        let it = &self.verdict;
        let broken = it.lost + it.duplicated + it.reordered + it.retained_wrong + it.mistaken;
        let is_durable = self.durability != Durability::Memory;
        it.phantom == 0 && self.faults.is_empty() && (broken == 0 || !is_durable)
    }

    /// The figures by their names, in the order in which they are shown.
    fn figures(&self) -> [(&'static str, u64); 18] {
        let Self { tally, verdict, .. } = self;
        let restarts = &tally.restarts;
        let count = u32::try_from(restarts.len()).unwrap_or(u32::MAX).max(1);
        let average = restarts.iter().sum::<Duration>() / count;
        let max = restarts.iter().max().copied().unwrap_or_default();
        [
            ("seed", self.seed),
            ("seconds", self.time.as_secs()),
            ("kills", u64::from(tally.random_kills + tally.point_kills)),
            ("kills_at_named_points", tally.point_kills.into()),
            ("power_cuts", tally.power_cuts.into()),
            ("restart_ms_max", millis(max)),
            ("restart_ms_average", millis(average)),
            ("sent", verdict.sent),
            ("acknowledged", verdict.acknowledged),
            ("delivered", verdict.delivered),
            ("lost", verdict.lost),
            ("lost_unsynced", verdict.lost_unsynced),
            ("lost_unsynced_ms_max", millis(verdict.unsynced_age_max)),
            ("duplicated", verdict.duplicated),
            ("reordered", verdict.reordered),
            ("retained_wrong", verdict.retained_wrong),
            ("mistaken", verdict.mistaken),
            ("phantom", verdict.phantom),
        ]
    }

    pub(super) fn to_json(&self) -> Value {
        let figures = self.figures().into_iter();
        let figures = figures.map(|(name, value)| (name.to_owned(), value.into()));
        let mut report = Map::new();
        report.insert("durability".to_owned(), self.durability.to_string().into());
        report.insert("kept".to_owned(), self.is_kept().into());
        report.extend(figures);
        report.insert("findings".to_owned(), json!(self.verdict.findings));
        report.insert("faults".to_owned(), json!(self.faults));
        Value::Object(report)
    }

    pub(super) fn to_lines(&self) -> impl Iterator<Item = String> {
        let outcome = match (self.is_kept(), self.durability) {
            (true, Durability::Memory) => "nothing is promised over a crash",
            (true, Durability::Normal | Durability::Full) => "every promise is kept",
            (false, _) => "A PROMISE IS BROKEN",
        };
        let figures = self.figures().into_iter();
        let figures =
            figures.map(|(name, value)| format!("  {:<24}{value}", name.replace('_', " ")));
        let details = self.verdict.findings.iter().chain(&self.faults);
        let details = details.map(|it| format!("  - {it}"));
        let head = format!("Durability {}: {outcome}", self.durability);
        [head].into_iter().chain(figures).chain(details)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
