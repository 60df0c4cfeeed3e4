//! What a run has shown, for people and for programs.

use std::time::Duration;

use persistence::Durability;
use serde_json::{Value, json};

use super::history::Verdict;
use super::run::Tally;

/// The outcome of a run.
pub(super) struct Report {
    pub(super) durability: Durability,
    pub(super) seed: u64,
    pub(super) seconds: Duration,
    pub(super) tally: Tally,
    pub(super) verdict: Verdict,
    /// What the broker did that it must never do, and the errors in its log.
    pub(super) faults: Vec<String>,
}

impl Report {
    /// Whether the broker has done what its level promises. `memory` promises nothing over a
    /// crash but that no messages are made up.
    pub(super) fn is_kept(&self) -> bool {
        let Verdict {
            lost,
            duplicated,
            reordered,
            retained_wrong,
            mistaken,
            phantom,
            ..
        } = &self.verdict;
        // What a power cut takes from the last second takes Packet Identifiers with it.
        let is_rolled_back = self.durability == Durability::Normal && self.tally.power_cuts > 0;
        let mistaken = if is_rolled_back { 0 } else { *mistaken };
        let broken = lost + duplicated + reordered + retained_wrong + mistaken;
        let is_durable = self.durability != Durability::Memory;
        *phantom == 0 && self.faults.is_empty() && (broken == 0 || !is_durable)
    }

    /// The longest restart and the average, in milliseconds.
    fn restarts(&self) -> (u64, u64) {
        let restarts = &self.tally.restarts;
        let max = restarts.iter().max().copied().unwrap_or_default();
        let count = u32::try_from(restarts.len()).unwrap_or(u32::MAX).max(1);
        let average = restarts.iter().sum::<Duration>() / count;
        (millis(max), millis(average))
    }

    pub(super) fn to_json(&self) -> Value {
        let (verdict, tally) = (&self.verdict, &self.tally);
        let (restart_max, restart_average) = self.restarts();
        json!({
            "durability": self.durability.to_string(),
            "kept": self.is_kept(),
            "seed": self.seed,
            "seconds": self.seconds.as_secs(),
            "kills": tally.random_kills + tally.point_kills,
            "kills_at_named_points": tally.point_kills,
            "power_cuts": tally.power_cuts,
            "restart_ms_max": restart_max,
            "restart_ms_average": restart_average,
            "sent": verdict.sent,
            "acknowledged": verdict.acknowledged,
            "delivered": verdict.delivered,
            "lost": verdict.lost,
            "lost_unsynced": verdict.lost_unsynced,
            "duplicated": verdict.duplicated,
            "reordered": verdict.reordered,
            "retained_wrong": verdict.retained_wrong,
            "mistaken": verdict.mistaken,
            "phantom": verdict.phantom,
            "findings": verdict.findings,
            "faults": self.faults,
        })
    }

    pub(super) fn to_lines(&self) -> Vec<String> {
        let (verdict, tally) = (&self.verdict, &self.tally);
        let (restart_max, restart_average) = self.restarts();
        let mut lines = vec![format!(
            "Durability {}, {} s, seed {}",
            self.durability,
            self.seconds.as_secs(),
            self.seed
        )];
        let kills = format!(
            "{} ({} of them at named points of the store)",
            tally.random_kills + tally.point_kills,
            tally.point_kills
        );
        let restart = format!("{restart_average} ms on average, {restart_max} ms at most");
        let rows = [
            ("kills", kills),
            ("power cuts", tally.power_cuts.to_string()),
            ("restart", restart),
            ("messages sent", verdict.sent.to_string()),
            ("acknowledged", verdict.acknowledged.to_string()),
            ("deliveries", verdict.delivered.to_string()),
            ("lost", verdict.lost.to_string()),
            ("lost, unsynced", verdict.lost_unsynced.to_string()),
            ("duplicated", verdict.duplicated.to_string()),
            ("reordered", verdict.reordered.to_string()),
            ("retained wrong", verdict.retained_wrong.to_string()),
            ("mistaken", verdict.mistaken.to_string()),
            ("phantom", verdict.phantom.to_string()),
        ];
        let rows = rows
            .iter()
            .map(|(name, value)| format!("  {name:<16}{value}"));
        lines.extend(rows);
        let details = self.verdict.findings.iter().chain(&self.faults);
        lines.extend(details.map(|it| format!("  - {it}")));
        let outcome = match (self.is_kept(), self.durability) {
            (true, Durability::Memory) => "nothing is promised over a crash",
            (true, _) => "every promise is kept",
            (false, _) => "A PROMISE IS BROKEN",
        };
        lines.push(format!("  {outcome}"));
        lines
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
