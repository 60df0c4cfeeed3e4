//! One lane of a session's queue, or one side of it.
//!
//! Its beginning is in memory. Where a store keeps the queue too, the lane goes on there when
//! memory is full, and comes back page by page.

use std::collections::VecDeque;

use super::queue::{Amount, Enqueue, PageRequest, StoredLane, TrimRequest, Trimmed};
use super::{Delivery, LANE_MAX, number_of, range_of, sequence};
use crate::Message;

/// Of the memory, one of so many parts is used while the client is away.
const AWAY_PART: usize = 8;

/// The part of the session's memory that one lane may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Share {
    /// What is enough to begin with when the client comes back.
    pub(super) const fn while_away(self) -> Self {
        Self {
            messages: self.messages / AWAY_PART,
            bytes: self.bytes / AWAY_PART,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// The lane with its side.
    pub(super) range: u8,
    entries: VecDeque<Delivery>,
    /// Bytes of the contents of those in memory.
    bytes: u64,
    spilled: Spilled,
    /// So many at the beginning may have been sent before a restart. Their Packet Identifiers
    /// are in use until they are acknowledged, so they are not dropped.
    unsettled: usize,
    pending: Option<Box<Pending>>,
}

/// The part of the lane that only the store has; it follows the part in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Spilled {
    amount: Amount,
    first: u64,
}

/// What the store was asked for and has not answered.
///
/// Either a page is loaded or entries are trimmed, never both: what a page may bring into memory
/// is not trimmed.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// The sequence behind what the last request is about.
    to: u64,
    /// What has spilled since then.
    since: Amount,
    is_loading: bool,
    /// What each of the trims is to remove at least.
    promises: VecDeque<Amount>,
    /// What was superseded since the first request that is not answered, and may be among the
    /// entries that the answers are about.
    superseded: Vec<Superseded>,
    /// Their sum.
    doubtful: Amount,
}

#[derive(Clone, Debug)]
struct Superseded {
    sequence: u64,
    amount: Amount,
    /// The trims that were under way then.
    trims: usize,
}

impl Lane {
    pub(super) fn new(range: u8) -> Self {
        Self {
            range,
            ..Self::default()
        }
    }

    pub(super) fn recovered(stored: &StoredLane) -> Self {
        Self {
            spilled: Spilled {
                amount: stored.waiting,
                first: stored.first,
            },
            unsettled: usize::try_from(stored.unsettled).unwrap_or(usize::MAX),
            ..Self::new(range_of(stored.first))
        }
    }

    /// The lane, whatever its side.
    pub(super) const fn lane(&self) -> u8 {
        self.range & LANE_MAX
    }

    /// The number of the first delivery that waits, or one before it.
    pub(super) fn first_number(&self) -> u64 {
        let front = self.front().map(|it| it.sequence);
        number_of(front.unwrap_or(self.spilled.first))
    }

    pub(super) fn in_memory(&self) -> Amount {
        Amount {
            messages: self.entries.len() as u64,
            bytes: self.bytes,
        }
    }

    /// What waits, without what is being trimmed. What was superseded meanwhile may be what goes, so
    /// this may be too much, but it is nothing only if nothing is left: no other lane makes way
    /// before it is.
    pub(super) fn waiting(&self) -> Amount {
        let spilled = self.spilled.amount;
        let Some(pending) = &self.pending else {
            return self.in_memory().plus(spilled);
        };
        let promised = pending.promises.iter();
        let promised = promised.fold(Amount::ZERO, |sum, it| sum.plus(*it));
        let promised = promised.minus(pending.doubtful);
        let left = spilled.minus(pending.since).minus(promised);
        // How many bytes go is known when they are gone; no messages have none.
        let left = if left.messages > 0 {
            left
        } else {
            Amount::ZERO
        };
        self.in_memory().plus(left).plus(pending.since)
    }

    /// What of it may be dropped. The bytes are too many if some of it may not.
    pub(super) fn droppable(&self) -> Amount {
        let waiting = self.waiting();
        let messages = waiting.messages.saturating_sub(self.unsettled as u64);
        if messages == 0 {
            return Amount::ZERO;
        }
        Amount {
            messages,
            ..waiting
        }
    }

    /// The sequence of what waits longest, or one before it.
    pub(super) fn first(&self) -> Option<u64> {
        let spilled = (self.spilled.amount.messages > 0).then_some(self.spilled.first);
        self.entries.front().map(|it| it.sequence).or(spilled)
    }

    /// True if nothing waits in memory.
    pub(super) fn is_drained(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.spilled.amount.messages == 0
    }

    /// True if nothing waits, and the store owes no answer.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_empty() && self.pending.is_none()
    }

    pub(super) fn is_loading(&self) -> bool {
        self.pending.as_ref().is_some_and(|it| it.is_loading)
    }

    pub(super) fn is_trimming(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|it| !it.promises.is_empty())
    }

    /// Takes in a delivery, for which there must be room.
    pub(super) fn push(&mut self, delivery: Delivery, share: Share) -> Enqueue {
        let sequence = delivery.sequence;
        let amount = Amount::of(&delivery);
        // It follows a page that is being loaded even if nothing of that is left.
        let spills = self.spilled.amount.messages > 0 || self.pending.is_some();
        if !spills && !self.is_full(share) {
            self.bytes += amount.bytes;
            self.entries.push_back(delivery);
            return Enqueue::Kept { sequence };
        }
        if self.spilled.amount.messages == 0 {
            self.spilled.first = sequence;
        }
        self.spilled.amount = self.spilled.amount.plus(amount);
        if let Some(pending) = &mut self.pending {
            pending.since = pending.since.plus(amount);
        }
        Enqueue::Spilled { sequence }
    }

    fn is_full(&self, share: Share) -> bool {
        self.entries.len() >= share.messages
            || (self.in_memory().memory_bytes() >= share.bytes as u64 && !self.entries.is_empty())
    }

    pub(super) fn front(&self) -> Option<&Delivery> {
        self.entries.front()
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        self.unsettled = self.unsettled.saturating_sub(1);
        self.take(0)
    }

    fn take(&mut self, index: usize) -> Option<Delivery> {
        let delivery = self.entries.remove(index)?;
        self.bytes -= delivery.message.byte_count() as u64;
        Some(delivery)
    }

    /// Takes out an entry that the store removes at this moment, and that is unsettled if it may
    /// have been sent before a restart; false if it does not wait.
    pub(super) fn give_up(&mut self, sequence: u64, bytes: u64, is_unsettled: bool) -> bool {
        let is_given_up = self.give_up_any(sequence, bytes);
        if is_given_up && is_unsettled {
            self.unsettled = self.unsettled.saturating_sub(1);
        }
        is_given_up
    }

    fn give_up_any(&mut self, sequence: u64, bytes: u64) -> bool {
        if self.spilled.amount.messages == 0 || sequence < self.spilled.first {
            let place = self
                .entries
                .binary_search_by_key(&sequence, |it| it.sequence);
            return place.is_ok_and(|it| self.take(it).is_some());
        }
        let removed = Amount { messages: 1, bytes };
        self.spilled.amount = self.spilled.amount.minus(removed);
        if let Some(pending) = self.pending.as_mut().filter(|it| sequence >= it.to) {
            pending.since = pending.since.minus(removed);
        }
        true
    }

    /// Drops the oldest delivery that may be dropped; none if it is not in memory.
    pub(super) fn drop_oldest(&mut self) -> Option<Delivery> {
        self.take(self.unsettled)
    }

    /// Takes out an entry, which the store is to forget. False if it is not there.
    pub(super) fn remove(&mut self, sequence: u64, amount: Amount) -> bool {
        let found = self
            .entries
            .binary_search_by_key(&sequence, |it| it.sequence);
        if let Ok(index) = found {
            return self.take(index).is_some();
        }
        let spilled = &mut self.spilled;
        if spilled.amount.messages == 0 || sequence < spilled.first {
            return false;
        }
        spilled.amount = spilled.amount.minus(amount);
        let Some(pending) = &mut self.pending else {
            return true;
        };
        if sequence >= pending.to {
            pending.since = pending.since.minus(amount);
            return true;
        }
        pending.doubtful = pending.doubtful.plus(amount);
        pending.superseded.push(Superseded {
            sequence,
            amount,
            trims: pending.promises.len(),
        });
        true
    }

    /// Has the oldest entries removed that only the store has: so many messages, one of them at
    /// least, and so many bytes, as far as they are there.
    pub(super) fn trim(&mut self, excess: Amount, next_number: u64) -> TrimRequest {
        let wanted = Amount {
            messages: excess.messages.max(1),
            ..excess
        };
        let wanted = wanted.min(self.droppable());
        let to = sequence(self.range, next_number);
        let pending = self.pending.get_or_insert_default();
        pending.to = to;
        pending.since = Amount::ZERO;
        pending.promises.push_back(wanted);
        TrimRequest {
            from: self.spilled.first,
            to,
            skip: self.unsettled.saturating_sub(self.entries.len()) as u64,
            wanted,
        }
    }

    /// Notes what was trimmed; returns how many of them had not been superseded.
    pub(super) fn trimmed(&mut self, request: &TrimRequest, done: Trimmed) -> u64 {
        let Some(mut pending) = self.pending.take() else {
            return 0;
        };
        pending.promises.pop_front();
        let mut removed = done.removed;
        pending.superseded.retain_mut(|it| {
            let is_removed = (request.from..done.next).contains(&it.sequence);
            if is_removed {
                removed = removed.minus(it.amount);
            }
            it.trims -= 1;
            let is_doubtful = !is_removed && it.trims > 0;
            if !is_doubtful {
                pending.doubtful = pending.doubtful.minus(it.amount);
            }
            is_doubtful
        });
        self.spilled.amount = self.spilled.amount.minus(removed);
        if request.skip == 0 {
            self.spilled.first = self.spilled.first.max(done.next);
            if done.complete && pending.promises.is_empty() {
                self.spilled.amount = pending.since;
                self.spilled.first = pending.to;
            }
        }
        // One that removed more than it was to leaves less for the next.
        let mut left = self.spilled.amount.minus(pending.since);
        left = left.plus(pending.doubtful);
        for promise in &mut pending.promises {
            *promise = promise.min(left);
            left = left.minus(*promise);
        }
        self.pending = Some(pending).filter(|it| !it.promises.is_empty());
        removed.messages
    }

    pub(super) fn page_wanted(&mut self, share: Share, next_number: u64) -> Option<PageRequest> {
        let low = self.entries.len() <= share.messages / 2
            && self.in_memory().memory_bytes() <= share.bytes as u64 / 2;
        if self.spilled.amount.messages == 0 || self.pending.is_some() || !low {
            return None;
        }
        let to = sequence(self.range, next_number);
        self.pending = Some(Box::new(Pending {
            to,
            is_loading: true,
            ..Pending::default()
        }));
        Some(PageRequest {
            from: self.spilled.first,
            to,
            count: share.messages.saturating_sub(self.entries.len()).max(1),
        })
    }

    pub(super) fn page_loaded(&mut self, page: Vec<Delivery>, complete: bool) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let mut loaded = Amount::ZERO;
        for delivery in page {
            self.spilled.first = delivery.sequence + 1;
            let mut superseded = pending.superseded.iter();
            if superseded.any(|it| it.sequence == delivery.sequence) {
                continue;
            }
            loaded = loaded.plus(Amount::of(&delivery));
            self.entries.push_back(delivery);
        }
        self.bytes += loaded.bytes;
        if complete {
            self.spilled.amount = pending.since;
            self.spilled.first = pending.to;
        } else {
            let left = self.spilled.amount.minus(loaded);
            self.spilled.amount = Amount {
                messages: left.messages.max(1),
                ..left
            };
        }
    }
}

impl Amount {
    pub(super) const ZERO: Self = Self {
        messages: 0,
        bytes: 0,
    };

    pub(super) fn of(delivery: &Delivery) -> Self {
        Self {
            messages: 1,
            bytes: delivery.message.byte_count() as u64,
        }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
        }
    }

    /// The rest without another amount, which may be more.
    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            messages: self.messages.min(other.messages),
            bytes: self.bytes.min(other.bytes),
        }
    }

    /// What it takes in memory, see [`Message::memory_bytes`].
    pub(super) const fn memory_bytes(self) -> u64 {
        self.messages * Message::STRUCTURE_BYTES as u64 + self.bytes
    }
}
