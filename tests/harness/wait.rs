//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// How long anything may take before its test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
///
/// # Panics
/// It does not hold within [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_every(Duration::from_millis(5), what, condition);
}

/// Waits until the condition holds, which is looked at in this interval.
///
/// # Panics
/// It does not hold within [`DEADLINE`].
#[track_caller]
pub fn until_every(interval: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(interval);
    }
}

/// Waits until so many seconds have passed since then; for the daemon too, which counts whole
/// milliseconds and is never early.
///
/// # Panics
/// They are more than [`DEADLINE`].
#[track_caller]
pub fn until_passed(since: Instant, seconds: u64) {
    const STEPS: Duration = Duration::from_millis(3);
    let time = Duration::from_secs(seconds) + STEPS;
    until("the time passes", || since.elapsed() > time);
}
