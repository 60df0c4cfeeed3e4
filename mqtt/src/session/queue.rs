//! Deliveries of QoS 1 and 2 that wait for their turn.
//!
//! The beginning of the queue is in memory. A queue that a store keeps too goes on there when
//! memory is full, and comes back page by page; one that no store keeps drops what comes then.

use std::collections::VecDeque;

use super::{Delivery, StoredQueue};

/// Bounds of one session's queues in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// QoS 1 and 2 deliveries in memory.
    pub messages_max: usize,
    /// Bytes of QoS 1 and 2 deliveries in memory; one larger delivery is still kept.
    pub bytes_max: usize,
    /// Bytes of QoS 0 deliveries; one larger delivery is still kept.
    pub live_bytes_max: usize,
    /// QoS 1 and 2 deliveries altogether; beyond it new ones are dropped.
    pub stored_messages_max: u64,
}

/// The waiting line of one session.
#[derive(Clone, Debug)]
pub struct Queue {
    entries: VecDeque<Delivery>,
    bytes: usize,
    limits: QueueLimits,
    stored: bool,
    next_sequence: u64,
    spilled: Spilled,
}

/// The part of the queue that only the store has; it follows the part in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Spilled {
    count: u64,
    first: u64,
    /// The end of the page that is being loaded.
    loading: Option<u64>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueue {
    /// It waits in memory; the sequence is 0 for QoS 0.
    Kept {
        /// Its place in the queue.
        sequence: u64,
    },
    /// It waits in the store only.
    Spilled {
        /// Its place in the queue.
        sequence: u64,
    },
    /// There was no room.
    Dropped,
}

/// A page of the stored queue: sequences from `from` to below `to`, at most `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The first sequence that is wanted.
    pub from: u64,
    /// The sequence behind the last one that may be sent.
    pub to: u64,
    /// Entries at most.
    pub count: usize,
}

impl Queue {
    pub(super) const fn new(limits: QueueLimits, stored: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            limits,
            stored,
            next_sequence: 1,
            spilled: Spilled {
                count: 0,
                first: 0,
                loading: None,
            },
        }
    }

    pub(super) const fn recover(&mut self, stored: &StoredQueue) {
        self.next_sequence = stored.next;
        self.spilled = Spilled {
            count: stored.waiting,
            first: stored.first,
            loading: None,
        };
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64 + self.spilled.count
    }

    pub(super) fn has_room(&self) -> bool {
        (self.stored || !self.spills()) && self.len() < self.limits.stored_messages_max
    }

    /// True if what comes goes to the store only.
    pub(super) fn spills(&self) -> bool {
        self.spilled.count > 0 || self.is_full()
    }

    /// Takes in a delivery, for which there must be room.
    pub(super) fn push(&mut self, mut delivery: Delivery) -> Enqueue {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        if self.spills() {
            if self.spilled.count == 0 {
                self.spilled.first = sequence;
            }
            self.spilled.count += 1;
            return Enqueue::Spilled { sequence };
        }
        delivery.sequence = sequence;
        self.bytes += delivery.message.memory_bytes();
        self.entries.push_back(delivery);
        Enqueue::Kept { sequence }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.messages_max
            || (self.bytes >= self.limits.bytes_max && !self.entries.is_empty())
    }

    pub(super) fn front(&self) -> Option<&Delivery> {
        self.entries.front()
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.entries.pop_front()?;
        self.bytes -= delivery.message.memory_bytes();
        Some(delivery)
    }

    pub(super) fn page_wanted(&mut self) -> Option<PageRequest> {
        let low = self.entries.len() <= self.limits.messages_max / 2
            && self.bytes <= self.limits.bytes_max / 2;
        if self.spilled.count == 0 || self.spilled.loading.is_some() || !low {
            return None;
        }
        self.spilled.loading = Some(self.next_sequence);
        let count = (self.limits.messages_max - self.entries.len()).max(1);
        Some(PageRequest {
            from: self.spilled.first,
            to: self.next_sequence,
            count,
        })
    }

    pub(super) fn page_loaded(&mut self, page: Vec<Delivery>, complete: bool) {
        let to = self.spilled.loading.take().unwrap_or(self.next_sequence);
        let loaded = page.len() as u64;
        for delivery in page {
            self.spilled.first = delivery.sequence + 1;
            self.bytes += delivery.message.memory_bytes();
            self.entries.push_back(delivery);
        }
        if complete {
            // What came while the page was loaded has spilled behind it, without gaps.
            self.spilled.count = self.next_sequence - to;
            self.spilled.first = to;
        } else {
            self.spilled.count = self.spilled.count.saturating_sub(loaded).max(1);
        }
    }
}
