//! The queue as a store sees it: what is asked of it, and what it gives back after a restart.

use std::cmp::Reverse;

use super::{Amount, Queue};
use crate::TopicName;
use crate::session::Delivery;
use crate::session::lane::Lane;
use crate::session::latest::{Last, Tie};
use crate::session::{number_of, side_of};

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

/// Entries of the stored queue that are to be removed: the first ones of the sequences from `from`
/// to below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimRequest {
    /// The first sequence.
    pub from: u64,
    /// The sequence behind the last one.
    pub to: u64,
    /// So many entries stay in front of those that are removed.
    pub skip: u64,
    /// Entries are removed until they are so many messages and so many bytes.
    pub wanted: Amount,
}

/// The answer to a [`TrimRequest`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// What was removed; it may be less than was wanted.
    pub removed: Amount,
    /// The sequence behind the last one removed; 0 if there was none.
    pub next: u64,
    /// True if nothing was left to be removed.
    pub complete: bool,
}

/// A lane of a session's queue as a store kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLane {
    /// The sequence of the first entry.
    pub first: u64,
    /// What waits.
    pub waiting: Amount,
    /// So many at its beginning may be sent and not acknowledged.
    pub unsettled: u64,
}

/// A session's queue as a store kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredQueue {
    /// The lanes that are not empty, in any order.
    pub lanes: Vec<StoredLane>,
    /// The deliveries whose places later ones of their topics take.
    pub latest: Vec<StoredLast>,
    /// The number of the next new entry.
    pub next: u64,
    /// The side of the last entry, which the next one joins too.
    pub side: u8,
    /// Entries up to this number may have been sent before.
    pub sent: u64,
    /// The sequences of QoS 2 deliveries that reached the client and are not released to the
    /// end, in their order.
    pub released: Vec<u64>,
    /// The deliveries among those whose contents are kept until PUBCOMP, with what was sent before
    /// them and is not acknowledged, in their order. They are not in `lanes`.
    pub in_flight: Vec<Delivery>,
}

/// A delivery of which only the last of its topic is kept, as a store kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLast {
    /// Its topic.
    pub topic: TopicName,
    /// Its sequence.
    pub sequence: u64,
    /// Bytes of its content.
    pub bytes: u64,
}

impl Queue {
    pub(in crate::session) fn recover(&mut self, stored: &StoredQueue) {
        self.next_number = stored.next;
        self.lanes = stored.lanes.iter().map(Lane::recovered).collect();
        self.sides.live = stored.side;
        let sides = self.sides;
        self.lanes.sort_by_key(|it| Reverse(sides.rank(it.range)));
        let mut latest: Vec<_> = stored.latest.iter().collect();
        latest.sort_unstable_by_key(|it| number_of(it.sequence));
        for it in latest {
            self.recover_last(it, number_of(it.sequence) <= stored.sent);
        }
    }

    /// Notes a delivery of which only the last of its topic is kept. Earlier ones of the topic, which
    /// have been noted, were sent and not acknowledged, or a crash came before they were removed.
    /// The last one still comes last: neither it nor what takes its place overtakes them.
    fn recover_last(&mut self, stored: &StoredLast, is_sent: bool) {
        let latest = self.latest.get_or_insert_default();
        let side = side_of(stored.sequence);
        let earlier = latest.get(&stored.topic);
        let is_behind = earlier.is_some_and(|it| side_of(it.sequence) == side);
        if let Some(earlier) = earlier.filter(|_| !is_behind) {
            let number = number_of(earlier.sequence);
            latest.ordered_to = latest.ordered_to.max(number);
        }
        let last = Last {
            sequence: stored.sequence,
            bytes: stored.bytes,
            tie: match (is_sent, is_behind) {
                (true, _) => Tie::Sent,
                (false, true) => Tie::Behind,
                (false, false) => Tie::Free,
            },
        };
        latest.put(&stored.topic, last);
    }
}
