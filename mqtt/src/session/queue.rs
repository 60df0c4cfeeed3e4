//! Deliveries of QoS 1 and 2 that wait for their turn.
//!
//! They wait in lanes, of which the highest that is not empty is served. Each lane keeps its
//! order, and so does each topic, because it has one lane. A session has as many lanes as its
//! deliveries ask for, which is one as a rule.

mod sides;
mod stored;

pub use stored::{PageRequest, StoredLane, StoredLast, StoredQueue, TrimRequest, Trimmed};

use std::sync::Arc;

use super::lane::{Lane, Share};
use super::latest::{Last, Latest, Tie};
use super::{DEFAULT_LANE, Delivery, number_of, range_of, sequence, side_of};
use sides::Sides;

/// While the store removes something, a quota may be exceeded by one of so many parts: so it is not
/// asked for each delivery.
const OVERDRAFT_PARTS: u64 = 100;

/// Bounds of one session's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// QoS 1 and 2 deliveries in memory.
    pub messages_max: usize,
    /// Bytes of QoS 1 and 2 deliveries in memory; one larger delivery is still kept.
    pub bytes_max: usize,
    /// Bytes of QoS 0 deliveries; one larger delivery is still kept.
    pub live_bytes_max: usize,
    /// QoS 1 and 2 deliveries that wait, in memory and in the store together.
    pub stored_messages_max: u64,
    /// Bytes of their topics, payloads and properties.
    pub stored_bytes_max: u64,
    /// What makes way when one of these two is reached.
    pub when_full: WhenFull,
    /// Deliveries that wait for the window may be encoded: they wait in one lane, no longer than
    /// their messages say, and nothing takes their place.
    pub holds_encoded: bool,
}

/// What makes way where a queue is full. What waits in a lower lane than a new delivery makes way
/// for it in any case, the lowest lane first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The new delivery is not queued.
    #[default]
    RejectNew,
    /// The oldest deliveries that wait go, also in the lane of the new one.
    DropOldest,
}

/// How a delivery waits, which follows from its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClass {
    /// Its lane, 0 to [`super::LANE_MAX`]; higher ones are sent first.
    pub lane: u8,
    /// True if it takes the place of what waits of its topic.
    pub latest_only: bool,
}

impl Default for QueueClass {
    fn default() -> Self {
        Self {
            lane: DEFAULT_LANE,
            latest_only: false,
        }
    }
}

/// So many deliveries with so many bytes of content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Deliveries.
    pub messages: u64,
    /// Bytes of topics, payloads and properties.
    pub bytes: u64,
}

/// The waiting line of one session.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// From the highest to the lowest; each is made for its first delivery. Where a lane has both
    /// sides, the live one comes first.
    pub(super) lanes: Vec<Lane>,
    sides: Sides,
    limits: Arc<QueueLimits>,
    /// Bytes of memory for each of QoS 0, QoS 1 and 2, and what is in flight, if that is less than
    /// the limits.
    pub(super) memory_max: usize,
    /// What waits encoded, in front of all lanes.
    pub(super) held: Amount,
    stored: bool,
    /// Most of what comes waits in the store only.
    is_left_to_store: bool,
    /// The quota is exceeded until a page is loaded, see [`Queue::make_room`].
    is_overdrawn: bool,
    next_number: u64,
    evicted: Vec<Evicted>,
    /// Made for the first delivery of which only the last of its topic is kept.
    latest: Option<Box<Latest>>,
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

/// What made way for another delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The delivery with this sequence is dropped.
    Dropped(u64),
    /// A later delivery of its topic took the place of the one with this sequence.
    Superseded(u64),
    /// The store is to drop deliveries that only it has, and to answer with
    /// [`super::Session::trimmed`].
    Trim(TrimRequest),
}

impl Queue {
    pub(super) const fn new(limits: Arc<QueueLimits>, stored: bool) -> Self {
        Self {
            lanes: Vec::new(),
            sides: Sides::NONE,
            limits,
            memory_max: usize::MAX,
            held: Amount::ZERO,
            stored,
            is_left_to_store: false,
            is_overdrawn: false,
            next_number: 1,
            evicted: Vec::new(),
            latest: None,
        }
    }

    /// Bytes of QoS 1 and 2 deliveries that may be in memory.
    pub(super) fn bytes_max(&self) -> usize {
        self.limits.bytes_max.min(self.memory_max)
    }

    /// Bytes of QoS 0 deliveries that may wait.
    pub(super) fn live_bytes_max(&self) -> usize {
        self.limits.live_bytes_max.min(self.memory_max)
    }

    /// True if less memory is left than the limits allow.
    pub(super) fn is_squeezed(&self) -> bool {
        self.memory_max < self.limits.live_bytes_max
    }

    /// Bytes in memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let lanes = self.lanes.iter();
        let all = lanes.fold(self.held, |sum, lane| sum.plus(lane.in_memory()));
        usize::try_from(all.memory_bytes()).unwrap_or(usize::MAX)
    }

    /// What waits, without what is being removed.
    pub(super) fn waiting(&self) -> Amount {
        let lanes = self.lanes.iter();
        lanes.fold(self.held, |sum, lane| sum.plus(lane.waiting()))
    }

    /// True if no delivery waits in a lane, or is on its way into one.
    pub(super) fn has_empty_lanes(&self) -> bool {
        self.lanes.iter().all(Lane::is_at_rest)
    }

    /// Whether so much more may wait encoded.
    pub(super) fn may_hold(&self, more: Amount) -> bool {
        let held = self.held.plus(more);
        self.limits.holds_encoded
            && self.limits.when_full == WhenFull::RejectNew
            && held.messages <= self.limits.messages_max as u64
            && held.memory_bytes() <= self.bytes_max() as u64
            && self.fits(self.waiting(), more)
    }

    /// The sequence of the next delivery, if it does not ask for another lane.
    pub(super) const fn next_sequence(&self) -> u64 {
        sequence(DEFAULT_LANE, self.next_number)
    }

    /// A delivery passes by the lanes with the next sequence.
    pub(super) const fn pass(&mut self, sequence: u64) {
        self.next_number = number_of(sequence) + 1;
    }

    /// True if nothing waits in memory.
    pub(super) fn is_drained(&self) -> bool {
        self.lanes.iter().all(Lane::is_drained)
    }

    /// Whether a delivery finds room without another making way.
    pub(super) fn has_room(&self, delivery: &Delivery) -> bool {
        self.fits(self.waiting(), Amount::of(delivery))
    }

    fn fits(&self, waiting: Amount, more: Amount) -> bool {
        let limits = &self.limits;
        // What no store keeps is in memory.
        let fits_memory = || {
            waiting.messages < limits.messages_max as u64
                && (waiting.messages == 0 || waiting.memory_bytes() < self.bytes_max() as u64)
        };
        self.excess(waiting.plus(more)) == Amount::ZERO && (self.stored || fits_memory())
    }

    /// By how much an amount exceeds the quotas.
    fn excess(&self, amount: Amount) -> Amount {
        amount.minus(Amount {
            messages: self.limits.stored_messages_max,
            bytes: self.limits.stored_bytes_max,
        })
    }

    /// Takes out an entry that the store has, wherever in the line it waits; false if it does not.
    /// It is unsettled if it may have been sent before a restart.
    pub(super) fn give_up(&mut self, sequence: u64, bytes: u64, is_unsettled: bool) -> bool {
        let range = range_of(sequence);
        let lane = self.lanes.iter_mut().find(|it| it.range == range);
        let is_given_up = lane.is_some_and(|it| it.give_up(sequence, bytes, is_unsettled));
        if let Some(latest) = self.latest.as_mut().filter(|_| is_given_up) {
            latest.forget_between(sequence, sequence + 1);
        }
        is_given_up
    }

    /// Takes in a delivery, if there is room or can be made.
    pub(super) fn push(&mut self, mut delivery: Delivery) -> Enqueue {
        if !self.make_room_for(&delivery) {
            return Enqueue::Dropped;
        }
        let last = self.last_of(&delivery);
        let tied = last.filter(|it| it.tie != Tie::Free);
        let side = tied.map_or(self.sides.live, |it| side_of(it.sequence));
        let range = delivery.class.lane | side;
        delivery.sequence = sequence(range, self.next_number);
        self.next_number += 1;
        if delivery.class.latest_only {
            self.supersede(&delivery, last);
        }
        let (sides, rank) = (self.sides, self.sides.rank(range));
        let is_before = |it: &Lane| sides.rank(it.range) > rank;
        let place = self.lanes.partition_point(is_before);
        if self.lanes.get(place).is_none_or(|it| it.range != range) {
            self.lanes.insert(place, Lane::new(range));
        }
        let mut share = self.share();
        if self.is_left_to_store {
            share = share.while_away();
        }
        self.lanes[place].push(delivery, share)
    }

    pub(super) const fn leave_to_store(&mut self, is_left: bool) {
        self.is_left_to_store = is_left && self.stored;
    }

    /// What of the memory belongs to each lane.
    fn share(&self) -> Share {
        // What no store keeps has been given its room already.
        let parts = if self.stored {
            self.lanes.len().max(1)
        } else {
            1
        };
        let bytes_held = usize::try_from(self.held.memory_bytes()).unwrap_or(usize::MAX);
        let messages_held = usize::try_from(self.held.messages).unwrap_or(usize::MAX);
        let messages = self.limits.messages_max.saturating_sub(messages_held);
        Share {
            messages: (messages / parts).max(1),
            bytes: self.bytes_max().saturating_sub(bytes_held) / parts,
        }
    }

    fn make_room_for(&mut self, delivery: &Delivery) -> bool {
        let more = Amount::of(delivery);
        if let Some(last) = self.last_of(delivery)
            && self.fits(self.waiting().minus(last.amount()), more)
        {
            return true;
        }
        let lane = delivery.class.lane;
        let losers = match self.limits.when_full {
            WhenFull::RejectNew => lane,
            WhenFull::DropOldest => lane + 1,
        };
        self.make_room(losers, more)
    }

    /// The last delivery of the same topic that waits, if only the last is kept.
    fn last_of(&self, delivery: &Delivery) -> Option<Last> {
        let latest = self.latest.as_ref()?;
        let latest = delivery.class.latest_only.then_some(latest)?;
        latest.get(&delivery.message.topic)
    }

    /// Removes what waits of the topic of a new delivery, and notes that one.
    fn supersede(&mut self, delivery: &Delivery, last: Option<Last>) {
        if let Some(last) = last.filter(|it| it.tie != Tie::Sent) {
            let range = range_of(last.sequence);
            let lane = self.lanes.iter_mut().find(|it| it.range == range);
            if lane.is_some_and(|lane| lane.remove(last.sequence, last.amount())) {
                self.evicted.push(Evicted::Superseded(last.sequence));
            }
        }
        let is_free = last.is_none_or(|it| it.tie == Tie::Free);
        let last = Last {
            sequence: delivery.sequence,
            bytes: Amount::of(delivery).bytes,
            tie: if is_free { Tie::Free } else { Tie::Behind },
        };
        let latest = self.latest.get_or_insert_default();
        latest.put(&delivery.message.topic, last);
    }

    /// A delivery does not wait any more.
    fn forget(&mut self, delivery: &Delivery) {
        if let Some(latest) = &mut self.latest {
            latest.forget_between(delivery.sequence, delivery.sequence + 1);
        }
    }

    /// Makes room by dropping what is oldest in the lanes below `losers`, the lowest first, and of
    /// one lane the backlog before what is live. False if that is not enough; nothing is dropped in vain, unless sizes are not known.
    ///
    /// While a page is loaded that may have the oldest, the room is given first and the quota
    /// kept again when the page is there. So it is, up to a part of the quota, while the store
    /// removes something.
    fn make_room(&mut self, losers: u8, more: Amount) -> bool {
        if self.fits(self.waiting(), more) {
            return true;
        }
        let lanes = self.lanes.iter().filter(|it| it.lane() < losers);
        let droppable = lanes.fold(Amount::ZERO, |sum, lane| sum.plus(lane.droppable()));
        if !self.fits(self.waiting().minus(droppable), more) {
            return false;
        }
        while !self.fits(self.waiting(), more) {
            let excess = self.excess(self.waiting().plus(more));
            let may_be_overdrawn = self.may_be_overdrawn(excess);
            let mut lanes = self.lanes.iter_mut().rev();
            let loser = lanes.find(|it| it.lane() < losers && it.droppable() != Amount::ZERO);
            let Some(lane) = loser else {
                return false;
            };
            if let Some(delivery) = lane.drop_oldest() {
                self.evicted.push(Evicted::Dropped(delivery.sequence));
                self.forget(&delivery);
            } else if lane.is_loading() {
                self.is_overdrawn = true;
                return true;
            } else if lane.is_trimming() && may_be_overdrawn {
                return true;
            } else {
                let request = lane.trim(excess, self.next_number);
                self.evicted.push(Evicted::Trim(request));
            }
        }
        true
    }

    /// Whether so much more than the quotas may wait until the store has answered.
    fn may_be_overdrawn(&self, excess: Amount) -> bool {
        excess.messages <= self.limits.stored_messages_max / OVERDRAFT_PARTS
            && excess.bytes <= self.limits.stored_bytes_max / OVERDRAFT_PARTS
    }

    /// What made way since the last call.
    pub(super) fn take_evicted(&mut self) -> Vec<Evicted> {
        std::mem::take(&mut self.evicted)
    }

    /// Notes what was trimmed; returns how many deliveries were dropped by it.
    pub(super) fn trimmed(&mut self, request: &TrimRequest, done: Trimmed) -> u64 {
        let range = range_of(request.to);
        let lane = self.lanes.iter_mut().find(|it| it.range == range);
        let dropped = lane.map_or(0, |lane| lane.trimmed(request, done));
        if let Some(latest) = &mut self.latest {
            latest.forget_between(request.from, done.next);
        }
        // There may have been less than was believed to be there, and room was given for it.
        self.make_room(u8::MAX, Amount::ZERO);
        dropped
    }

    /// The next delivery and the place of its lane, unless it is in the store only. Those from the
    /// number `held_from` on may not go yet.
    pub(super) fn front(&self, held_from: u64) -> Option<(usize, &Delivery)> {
        let mut place = self.lanes.iter().position(|it| !it.is_empty())?;
        if self.has_backlog(place) && !self.is_live_next(place, held_from) {
            place += 1;
        }
        Some((place, self.lanes.get(place)?.front()?))
    }

    /// Takes out the first delivery of a lane.
    pub(super) fn pop(&mut self, place: usize) -> Option<Delivery> {
        let delivery = self.lanes.get_mut(place)?.pop()?;
        self.forget(&delivery);
        Some(delivery)
    }

    /// Takes out what is in memory, from the highest lane to the lowest.
    pub(super) fn pop_any(&mut self) -> Option<Delivery> {
        let place = self.lanes.iter().position(|it| !it.is_drained())?;
        self.pop(place)
    }

    pub(super) fn page_wanted(&mut self) -> Option<PageRequest> {
        if self.lanes.iter().any(Lane::is_loading) {
            return None;
        }
        let (share, next) = (self.share(), self.next_number);
        let is_shared = self.sides.is_shared();
        // Neither side waits until the other has many in memory.
        let lanes = self.lanes.iter_mut();
        let mut drained = lanes.filter(|it| is_shared && it.is_drained());
        let wanted = drained.find_map(|it| it.page_wanted(share, next));
        wanted.or_else(|| {
            let mut lanes = self.lanes.iter_mut();
            lanes.find_map(|it| it.page_wanted(share, next))
        })
    }

    pub(super) fn page_loaded(&mut self, page: Vec<Delivery>, complete: bool) {
        if let Some(lane) = self.lanes.iter_mut().find(|it| it.is_loading()) {
            lane.page_loaded(page, complete);
        }
        if std::mem::take(&mut self.is_overdrawn) {
            self.make_room(u8::MAX, Amount::ZERO);
        }
    }
}
