//! `runtime`: the machine's resources.

use serde::Deserialize;

use super::problem::{Problem, check_range};

/// How much of the machine is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Runtime {
    /// Threads, 1 to 1024; default is one less than there are processors up to four, else one each.
    pub(crate) workers: Option<u16>,
}

impl Runtime {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        match self.workers {
            Some(workers) => check_range(&["runtime", "workers"], workers, 1, 1024),
            None => Ok(()),
        }
    }
}
