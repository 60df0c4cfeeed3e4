//! The end of the time that a connect may take.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{ConnectError, Phase};

/// Longer times to connect count as this one: a moment has to be a number.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A moment that all steps of a connect share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration.min(TIMEOUT_MAX))
    }

    /// Part of what is left, if it is shared by so many.
    pub(super) fn share(self, count: usize) -> Self {
        let left = self.0.saturating_duration_since(Instant::now());
        let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        Self::after(left / count)
    }

    /// This one, or the moment after a duration if that comes first.
    pub(super) fn or_after(self, duration: Duration) -> Self {
        Self(self.0.min(Self::after(duration).0))
    }

    /// Runs a step as long as there is time.
    pub(super) async fn within<T>(
        self,
        phase: Phase,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout_at(self.0, step)
            .await
            .unwrap_or_else(|_| Err(ConnectError::new(phase, "there is no answer in time")))
    }
}
