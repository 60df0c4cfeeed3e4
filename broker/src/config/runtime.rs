//! `runtime`: the machine's resources.

use gateway::ByteSize;
use serde::Deserialize;

use super::problem::{Problem, check_range};

/// With less, large packets would come one by one.
const MEMORY_LIMIT_MIN: u64 = 1 << 20;

/// How much of the machine is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Runtime {
    /// Threads, 1 to 1024; default is one less than there are processors up to four, else one each.
    pub(crate) workers: Option<u16>,
    /// Bytes of messages under way in memory, over all clients, 1 MiB to 1 TiB: three quarters for
    /// what waits for clients, beyond which QoS 0 is dropped and the rest waits in the store; one
    /// for incomplete packets, beyond which clients that begin large ones are not read. Default is
    /// a quarter of the machine's memory, or of what its control group grants.
    pub(crate) memory_limit: Option<ByteSize>,
}

impl Runtime {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        if let Some(workers) = self.workers {
            check_range(&["runtime", "workers"], workers, 1, 1024)?;
        }
        if let Some(limit) = self.memory_limit {
            let path = &["runtime", "memory_limit"];
            check_range(path, limit.bytes(), MEMORY_LIMIT_MIN, 1 << 40)?;
        }
        Ok(())
    }
}
