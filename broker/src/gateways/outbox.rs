//! The outbox of a bridge, which is the queue of its session, and the alarm when it is nearly full.

use std::sync::{MutexGuard, PoisonError};

use gateway::{Outbox, StatusReport};
use mqtt::session::{Amount, QueueLimits};

use super::age::Ages;
use super::{Hosted, client_id};
use crate::exchange::Exchange;

/// Percent of its bounds in messages or bytes from which on an outbox is nearly full.
const ALARM_PERCENT: u64 = 80;
/// Percent of both below which it is not any more: lower, so that one that stays about there is not
/// told again and again.
const CALM_PERCENT: u64 = 75;

impl Hosted {
    /// Everything that is known of it at this moment.
    pub(crate) fn report(&self, exchange: &Exchange) -> StatusReport {
        let outbox = self.look(exchange).map(|content| Outbox {
            messages: content.outstanding.messages,
            bytes: content.outstanding.bytes,
            oldest: self.ages().of(content.oldest, exchange.now()),
            is_alarming: self.status.is_alarming(),
        });
        self.status.report(outbox)
    }

    fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how far the outbox has come. Says so when the outbox is nearly full, and when it is not any more.
    pub(crate) fn watch_outbox(&self, exchange: &Exchange) {
        let Some(content) = self.look(exchange) else {
            return;
        };
        let Content {
            waiting,
            oldest,
            next,
            ..
        } = content;
        self.ages().note(oldest, next, exchange.now());
        let full = percent_full(waiting, &exchange.bounds.queue, exchange.store.is_enabled());
        let is_alarming =
            full >= ALARM_PERCENT || full >= CALM_PERCENT && self.status.is_alarming();
        if !self.status.set_alarm(is_alarming) {
            return;
        }
        let (gateway, messages, bytes) = (&*self.name, waiting.messages, waiting.bytes);
        if is_alarming {
            tracing::warn!(
                gateway,
                messages,
                bytes,
                percent = full,
                "the outbox is nearly full"
            );
        } else {
            tracing::info!(
                gateway,
                messages,
                bytes,
                percent = full,
                "the outbox has room again"
            );
        }
    }

    /// None if nothing is kept.
    fn look(&self, exchange: &Exchange) -> Option<Content> {
        let link = exchange.registry.link(&client_id(&self.name))?;
        let state = link.lock();
        if state.expiry.is_zero() {
            return None;
        }
        let (oldest, next) = state.session.numbers();
        Some(Content {
            outstanding: state.session.outstanding(),
            waiting: state.session.waiting(),
            oldest,
            next,
        })
    }
}

/// What is in an outbox.
struct Content {
    /// What is not acknowledged.
    outstanding: Amount,
    /// What of that counts against the bounds of the queue.
    waiting: Amount,
    /// The number of the oldest message; that of the next one if there is none.
    oldest: u64,
    /// The number of the next message.
    next: u64,
}

/// How full a queue is, by messages or by bytes, whichever is more.
fn percent_full(waiting: Amount, limits: &QueueLimits, is_stored: bool) -> u64 {
    let (messages_max, bytes_max) = if is_stored {
        (limits.stored_messages_max, limits.stored_bytes_max)
    } else {
        (limits.messages_max as u64, limits.bytes_max as u64)
    };
    let percent = |part: u64, whole: u64| part.saturating_mul(100) / whole.max(1);
    percent(waiting.messages, messages_max).max(percent(waiting.bytes, bytes_max))
}

#[cfg(test)]
mod tests {
    use mqtt::session::WhenFull;

    use super::*;

    #[test]
    fn the_bound_that_is_nearer_counts() {
        let limits = QueueLimits {
            messages_max: 10,
            bytes_max: 100,
            live_bytes_max: 0,
            stored_messages_max: 1_000,
            stored_bytes_max: 10_000,
            when_full: WhenFull::RejectNew,
            holds_encoded: false,
        };
        let full = |messages, bytes, is_stored| {
            percent_full(Amount { messages, bytes }, &limits, is_stored)
        };
        assert_eq!(full(0, 0, true), 0);
        assert_eq!(full(799, 5_000, true), 79);
        assert_eq!(full(800, 5_000, true), 80);
        assert_eq!(full(1, 9_000, true), 90);
        assert_eq!(full(8, 50, false), 80);
        assert_eq!(full(8, 90, false), 90);
    }
}
