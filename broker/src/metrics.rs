//! Counts since the start, over all sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mqtt::session::Encoded;

/// The counts; each only grows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that were published, by clients, gateways and wills.
    pub(crate) published: AtomicU64,
    /// Messages that went to the store for the queue of a session, or of several.
    pub(crate) stored: AtomicU64,
    /// Deliveries that were dropped.
    pub(crate) dropped: Arc<Drops>,
    /// Messages that were not taken because the store could not take them.
    pub(crate) refused: AtomicU64,
    /// Messages that bridges brought and that had come before.
    pub(crate) repeated: AtomicU64,
    /// Messages that were to be retained and were not.
    pub(crate) retained_refused: AtomicU64,
    /// Sessions that expired while their client was away.
    pub(crate) sessions_expired: AtomicU64,
    /// Connections of clients that were accepted.
    pub(crate) connections: AtomicU64,
    /// Sockets that were opened, by clients or not.
    pub(crate) sockets: AtomicU64,
    /// Of those, the ones that sent no CONNECT and made way for others.
    pub(crate) half_open_dropped: AtomicU64,
    pub(crate) received: TrafficCounters,
    pub(crate) sent: TrafficCounters,
}

/// Why a delivery was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropCause {
    /// The session's queue had no room for it.
    QueueFull,
    /// It was the oldest in its queue, and something else needed its room.
    DroppedOldest,
    /// A later message of its topic took its place.
    Superseded,
    /// Its Message Expiry Interval passed while it waited.
    Expired,
    /// It was of QoS 0, and its client does not keep up.
    LiveFull,
    /// It was of QoS 0, and the gateway or bridge that it is for is not connected.
    LinkDown,
    /// There was no more memory for what waits, over all clients.
    MemoryFull,
    /// Its client does not take packets of its size.
    TooLarge,
    /// Its session ended.
    SessionEnded,
}

impl DropCause {
    pub(crate) const ALL: [Self; 9] = [
        Self::QueueFull,
        Self::DroppedOldest,
        Self::Superseded,
        Self::Expired,
        Self::LiveFull,
        Self::LinkDown,
        Self::MemoryFull,
        Self::TooLarge,
        Self::SessionEnded,
    ];

    /// The last level of its topic below `$SYS`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DroppedOldest => "dropped_oldest",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::LiveFull => "live_full",
            Self::LinkDown => "link_down",
            Self::MemoryFull => "memory_full",
            Self::TooLarge => "too_large",
            Self::SessionEnded => "session_ended",
        }
    }

    /// The cause for an operator.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::QueueFull => "the queue is full",
            Self::DroppedOldest => "the queue is full, and the oldest make way",
            Self::Superseded => "later messages of the topic take their place",
            Self::Expired => "they have expired",
            Self::LiveFull => "QoS 0 comes faster than it is taken",
            Self::LinkDown => "it is not connected, and QoS 0 waits in memory only, which is full",
            Self::MemoryFull => "`runtime.memory_limit` is reached",
            Self::TooLarge => "packets of that size are not taken",
            Self::SessionEnded => "the session has ended",
        }
    }
}

/// Deliveries that were dropped, by cause.
#[derive(Debug, Default)]
pub(crate) struct Drops([AtomicU64; DropCause::ALL.len()]);

impl Drops {
    pub(crate) fn add(&self, cause: DropCause, count: u64) {
        self.0[cause as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, cause: DropCause) -> u64 {
        read(&self.0[cause as usize])
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(read).sum()
    }
}

/// What went over the connections of clients in one direction. Each worker has a part of its own,
/// so that they do not wait for each other to count.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounters([TrafficPart; TRAFFIC_PARTS]);

/// More workers than these share parts.
const TRAFFIC_PARTS: usize = 8;

/// A part that is alone in its lines of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
struct TrafficPart {
    bytes: AtomicU64,
    packets: AtomicU64,
    publishes: AtomicU64,
    payload_bytes: AtomicU64,
}

thread_local! {
    static PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % TRAFFIC_PARTS
    };
}

impl TrafficCounters {
    /// What it comes to.
    pub(crate) fn sum(&self) -> Traffic {
        self.0.iter().fold(Traffic::default(), |sum, part| Traffic {
            bytes: sum.bytes + read(&part.bytes),
            packets: sum.packets + read(&part.packets),
            publishes: sum.publishes + read(&part.publishes),
            payload_bytes: sum.payload_bytes + read(&part.payload_bytes),
        })
    }
}

/// Packets of one connection until they are added up, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) publishes: u64,
    /// Bytes of payloads.
    pub(crate) payload_bytes: u64,
}

impl Traffic {
    /// Counts one PUBLISH.
    pub(crate) fn publish(&mut self, payload: &[u8]) {
        self.publishes += 1;
        self.payload_bytes += payload.len() as u64;
    }

    /// Counts what was encoded in advance.
    pub(crate) const fn encoded(&mut self, encoded: Encoded) {
        self.packets += encoded.packets;
        self.publishes += encoded.packets;
        self.payload_bytes += encoded.payload_bytes;
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
        let part = &counters.0[PART.with(|it| *it)];
        part.bytes.fetch_add(bytes, Ordering::Relaxed);
        part.packets.fetch_add(packets, Ordering::Relaxed);
        part.publishes.fetch_add(publishes, Ordering::Relaxed);
        part.payload_bytes
            .fetch_add(payload_bytes, Ordering::Relaxed);
    }
}

/// The value of a count.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Counts so many more.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    if more > 0 {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
