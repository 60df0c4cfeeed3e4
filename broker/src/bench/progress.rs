//! How far a run is, once a second.

use std::time::Instant;

use super::course::{Course, Stage};
use super::plan::Load;
use super::tally::Counts;
use crate::terminal::{Terminal, grouped};

/// What was shown last.
pub(super) struct Progress {
    begun: Instant,
    shown: Instant,
    counts: Counts,
    connected: u32,
    /// Lines on standard output; otherwise one on standard error for a person.
    has_lines: bool,
}

impl Progress {
    pub(super) fn new(has_lines: bool) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            shown: now,
            counts: Counts::default(),
            connected: 0,
            has_lines,
        }
    }

    /// Shows how far it is; false if nothing has moved.
    pub(super) fn show(&mut self, course: &Course) -> bool {
        let (counts, attendance) = (course.counts(), course.attendance());
        let now = Instant::now();
        let seconds = now.duration_since(self.shown).as_secs_f64();
        let mut parts = vec![format!(
            "{} of {} connected",
            grouped(attendance.present().into()),
            grouped(course.plan.total().into())
        )];
        let mut part = |name: &str, before: u64, count: u64| {
            let rate = count.saturating_sub(before) as f64 / seconds;
            parts.push(format!(
                "{name} {} ({}/s)",
                grouped(count),
                grouped(rate as u64)
            ));
        };
        let last = self.counts;
        match &course.plan.load {
            Load::Connections => {}
            Load::Publish(publishing) => {
                part("published", last.published, counts.published);
                if publishing.qos.is_acknowledged() {
                    part("acknowledged", last.acknowledged, counts.acknowledged);
                }
            }
            Load::Subscribe(_) => part("received", last.received, counts.received),
            Load::RoundTrips { .. } => {
                part("published", last.published, counts.published);
                part("received", last.received, counts.received);
            }
        }
        for (name, count) in [("failed", attendance.failed), ("lost", attendance.lost)] {
            if count > 0 {
                parts.push(format!("{} {name}", grouped(count.into())));
            }
        }
        let line = format!(
            "{:>4} s  {}",
            now.duration_since(self.begun).as_secs(),
            parts.join(", ")
        );
        if !self.has_lines {
            Terminal.progress(line);
        } else if !Terminal.line(line) {
            course.enter(Stage::Finish);
        }
        let is_moving = counts != self.counts || attendance.connected != self.connected;
        self.connected = attendance.connected;
        self.counts = counts;
        self.shown = now;
        is_moving
    }
}
