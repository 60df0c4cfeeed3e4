//! Counts since the start, over all sessions.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts; each only grows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that were published, by clients, gateways and wills.
    pub(crate) published: AtomicU64,
    /// Messages that went to the store for the queue of a session, or of several.
    pub(crate) stored: AtomicU64,
    /// Deliveries that a session had no room for.
    pub(crate) dropped: AtomicU64,
    /// Messages that were not taken because the store could not take them.
    pub(crate) refused: AtomicU64,
    /// Messages that were to be retained and were not.
    pub(crate) retained_refused: AtomicU64,
    /// Sessions that expired while their client was away.
    pub(crate) sessions_expired: AtomicU64,
    /// Connections of clients that were accepted.
    pub(crate) connections: AtomicU64,
    /// Sockets that were opened, by clients or not.
    pub(crate) sockets: AtomicU64,
    pub(crate) received: TrafficCounters,
    pub(crate) sent: TrafficCounters,
}

/// What went over the connections of clients in one direction.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounters {
    pub(crate) bytes: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) publishes: AtomicU64,
    /// Bytes of payloads.
    pub(crate) payload_bytes: AtomicU64,
}

/// The same for one connection, until it is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) publishes: u64,
    pub(crate) payload_bytes: u64,
}

impl Traffic {
    /// Counts one PUBLISH.
    pub(crate) fn publish(&mut self, payload: &[u8]) {
        self.publishes += 1;
        self.payload_bytes += payload.len() as u64;
    }

    /// Adds this up, once for many packets, and begins anew.
    pub(crate) fn flush(&mut self, counters: &TrafficCounters) {
        if *self == Self::default() {
            return;
        }
        let Self {
            bytes,
            packets,
            publishes,
            payload_bytes,
        } = std::mem::take(self);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        counters.packets.fetch_add(packets, Ordering::Relaxed);
        counters.publishes.fetch_add(publishes, Ordering::Relaxed);
        counters
            .payload_bytes
            .fetch_add(payload_bytes, Ordering::Relaxed);
    }
}

/// The value of a count.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
