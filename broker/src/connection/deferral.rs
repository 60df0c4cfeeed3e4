//! Whether what is to be written to a client waits for more.

use std::time::{Duration, Instant};

/// Between two writes to a client that gets messages all the time.
const BUSY: Duration = Duration::from_micros(60);
/// Writes that do not wait after waiting has brought nothing again and again.
const UNDEFERRED_MAX: u8 = 64;

/// Whether writing waits for more.
#[derive(Debug, Default)]
pub(super) struct Deferral {
    /// When something was written last, as far as that was noted.
    written_at: Option<Instant>,
    /// Bytes that wait for more to come.
    waiting: Option<usize>,
    /// Writes that come before one may wait again.
    skips: u8,
    /// So many are skipped when waiting brings nothing.
    skips_next: u8,
}

impl Deferral {
    /// Whether so many bytes wait for more. Waiting costs another turn, so it becomes rare where
    /// it brings nothing.
    pub(super) fn defers(&mut self, bytes: usize, clock: impl Fn() -> Instant) -> bool {
        if let Some(before) = self.waiting.take() {
            self.skips_next = if bytes > before {
                0
            } else {
                (self.skips_next * 2).clamp(1, UNDEFERRED_MAX)
            };
            self.skips = self.skips_next;
            self.written_at = Some(clock());
            return false;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return false;
        }
        let now = clock();
        let is_busy = self.written_at.is_some_and(|at| now - at < BUSY);
        if is_busy {
            self.waiting = Some(bytes);
        } else {
            self.written_at = Some(now);
        }
        is_busy
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Writes of one byte each, at this distance; how many of them waited when `more` came
    /// meanwhile.
    fn waited(writes: usize, distance: Duration, more: usize) -> usize {
        let (mut deferral, now) = (Deferral::default(), Cell::new(Instant::now()));
        let waits = (0..writes).filter(|_| {
            now.set(now.get() + distance);
            let waits = deferral.defers(1, || now.get());
            waits && !deferral.defers(1 + more, || now.get())
        });
        waits.count()
    }

    #[test]
    fn who_gets_a_message_now_and_then_gets_it_at_once() {
        assert_eq!(waited(1_000, BUSY, 1), 0);
    }

    #[test]
    fn writing_to_a_busy_client_waits_once_for_more() {
        assert_eq!(waited(1_000, BUSY / 2, 1), 999);
    }

    #[test]
    fn waiting_that_brings_nothing_becomes_rare() {
        let waited = waited(10_000, BUSY / 2, 0);
        assert!((10..200).contains(&waited), "{waited}");
    }
}
