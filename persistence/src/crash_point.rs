//! A place at which the process ends, so that a crash test can choose it.

use std::str::FromStr;

use rustix::process::{Signal, getpid, kill_process};

/// Ends the process with SIGKILL when the writer comes to a place for the n-th time. Written as
/// the name of the place and the number: `before_commit:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    place: CrashPlace,
    /// Times that the writer comes there, the last one included.
    passes: u32,
}

/// The places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashPlace {
    /// Nothing of the batch is written.
    BeforeCommit,
    /// The batch is to be committed and synced with all before it.
    BeforeSync,
    /// The batch is synced, and the files were not looked at since.
    AfterSync,
    /// The batch is committed, and nobody knows.
    AfterCommit,
    /// Those who wait for the batch know that it is durable; acknowledgements are on their way.
    AfterAdvance,
}

impl CrashPlace {
    const ALL: [(&str, Self); 5] = [
        ("before_commit", Self::BeforeCommit),
        ("before_sync", Self::BeforeSync),
        ("after_sync", Self::AfterSync),
        ("after_commit", Self::AfterCommit),
        ("after_advance", Self::AfterAdvance),
    ];
}

impl CrashPoint {
    /// The names of all places.
    pub fn places() -> impl Iterator<Item = &'static str> {
        CrashPlace::ALL.into_iter().map(|(name, _)| name)
    }

    /// The writer is at this place.
    pub(crate) fn pass(&mut self, place: CrashPlace) {
        if self.is_due(place) {
            // It cannot fail: the process is there, and it is our own.
            kill_process(getpid(), Signal::KILL).ok();
        }
    }

    fn is_due(&mut self, place: CrashPlace) -> bool {
        if place != self.place {
            return false;
        }
        self.passes = self.passes.saturating_sub(1);
        self.passes == 0
    }
}

impl FromStr for CrashPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, passes) = text.split_once(':').unwrap_or((text, "1"));
        let place = CrashPlace::ALL.into_iter().find(|(it, _)| *it == name);
        let passes = passes.parse().ok().filter(|&passes| passes > 0);
        match (place, passes) {
            (Some((_, place)), Some(passes)) => Ok(Self { place, passes }),
            _ => {
                let names: Vec<_> = Self::places().collect();
                let names = names.join(", ");
                Err(format!(
                    "expected a place and a number, such as before_commit:17; places are {names}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_due_at_the_last_of_its_passes() {
        let mut point: CrashPoint = "after_commit:3".parse().unwrap();
        let passes = [
            CrashPlace::AfterCommit,
            CrashPlace::BeforeCommit,
            CrashPlace::AfterCommit,
            CrashPlace::AfterCommit,
        ];
        assert_eq!(
            passes.map(|it| point.is_due(it)),
            [false, false, false, true]
        );
    }

    #[test]
    fn every_place_has_its_name_and_nothing_else_is_one() {
        for (name, place) in CrashPlace::ALL {
            let point = CrashPoint { place, passes: 1 };
            assert_eq!(name.parse(), Ok(point));
        }
        for text in [
            "",
            "after",
            "after_commit:",
            "after_commit:0",
            "after_commit:x",
            ":1",
        ] {
            assert!(text.parse::<CrashPoint>().is_err(), "{text}");
        }
    }
}
