//! How the store works.

use std::time::Duration;

use crate::{CrashPoint, Durability, Quota};

/// How the store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is promised of everything that is submitted without a promise of its own.
    pub durability: Durability,
    /// The time between two commits under load; a commit after a pause does not wait.
    pub commit_interval: Duration,
    /// Operations that end the wait for a commit early; those that cancel out do not count.
    pub commit_operations: usize,
    /// Bytes that may wait for the writer before publishers are slowed down.
    pub pending_bytes_max: usize,
    /// Bounds of the store as a whole.
    pub quota: Quota,
    /// Where the process ends, for crash tests only.
    pub crash_point: Option<CrashPoint>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Normal,
            commit_interval: Duration::from_millis(5),
            commit_operations: 100,
            pending_bytes_max: 16 << 20,
            quota: Quota::default(),
            crash_point: None,
        }
    }
}
