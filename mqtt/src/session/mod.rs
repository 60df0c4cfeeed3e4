//! Session state (MQTT 5.0 §4.1): what survives a Network Connection.
//!
//! A plain value. Publishers put deliveries in ([`Session::enqueue`]), the connection takes them
//! out ([`Session::next`]) and reports acknowledgements. Where a store keeps the queue too, only
//! its beginning is in memory; the rest is fetched page by page ([`Session::page_wanted`]).

mod delivery;
mod direct;
mod inbound;
mod inflight;
mod lane;
mod latest;
mod live;
mod queue;
mod sequence;

pub use delivery::{Delivery, Outgoing};
pub use direct::{DirectTerms, Encoded};
pub use inbound::{Inbound, Receive};
pub use inflight::{Acknowledged, Inflight};
pub use queue::{
    Amount, Enqueue, Evicted, PageRequest, QueueClass, QueueLimits, StoredLane, StoredLast,
    StoredQueue, TrimRequest, Trimmed, WhenFull,
};
pub use sequence::{DEFAULT_LANE, LANE_MAX, SIDE, lane_of, number_of, range_of, sequence, side_of};

use std::sync::Arc;

use direct::Direct;
use lane::Lane;
use live::Live;
use queue::Queue;

use crate::{QoS, Timestamp};

/// The state of one client's session, apart from its subscriptions.
#[derive(Clone, Debug)]
pub struct Session {
    live: Live,
    /// What goes before the rest, encoded already.
    direct: Direct,
    queue: Queue,
    inflight: Inflight,
    /// Deliveries from this number on are not sent yet.
    held_from: u64,
    /// Packet Identifiers of QoS 2 messages received and not yet released.
    pub inbound: Inbound,
}

impl Session {
    /// An empty session, within limits that sessions may share. `stored` tells whether a store keeps its queue as well.
    #[must_use]
    pub fn new(limits: impl Into<Arc<QueueLimits>>, stored: bool) -> Self {
        Self {
            live: Live::default(),
            direct: Direct::default(),
            queue: Queue::new(limits.into(), stored),
            inflight: Inflight::default(),
            held_from: u64::MAX,
            inbound: Inbound::default(),
        }
    }

    /// A session whose queue is in the store.
    #[must_use]
    pub fn recovered(limits: impl Into<Arc<QueueLimits>>, stored: &StoredQueue) -> Self {
        let mut session = Self::new(limits, true);
        session.queue.recover(stored);
        session.inflight = Inflight::recovered(stored);
        session
    }

    /// Takes in a delivery while the client is connected or, for QoS 1 and 2, at any time.
    ///
    /// Its sequence is assigned here. Others may make way for it, see [`Session::take_evicted`].
    /// QoS 0 beyond the byte budget is dropped.
    pub fn enqueue(&mut self, delivery: Delivery) -> Enqueue {
        if delivery.qos.is_acknowledged() {
            return self.queue.push(delivery);
        }
        if !self.has_room(&delivery) {
            return Enqueue::Dropped;
        }
        self.live.push(delivery);
        Enqueue::Kept { sequence: 0 }
    }

    /// Whether this delivery would find room without another making way.
    #[must_use]
    pub fn has_room(&self, delivery: &Delivery) -> bool {
        if delivery.qos.is_acknowledged() {
            return self.queue.has_room(delivery);
        }
        self.has_live_room(delivery.message.memory_bytes())
    }

    /// Whether a delivery of QoS 0 would find room that takes so many bytes, see
    /// [`crate::Message::memory_bytes`].
    #[must_use]
    pub fn has_live_room(&self, bytes: usize) -> bool {
        let waiting = self.direct.len() + self.live.bytes();
        let is_first = self.live.is_empty() && self.direct.is_empty();
        is_first || waiting + bytes <= self.queue.live_bytes_max()
    }

    /// From now on, each of QoS 0, QoS 1 and 2, and what is in flight may have so many bytes in
    /// memory, if that is less than the limits. One larger delivery is still kept of each, and what
    /// is there stays.
    pub const fn bound_memory(&mut self, bytes: usize) {
        self.queue.memory_max = bytes;
    }

    /// From now on, what waits when a connection begins is a backlog, which shares the connection
    /// with what comes later and is live: of each 100 deliveries of a lane that are sent while both
    /// wait, so many are live ones, evenly spread. Each side keeps its order; that of a topic is
    /// given up between them. As long as a backlog waits no other begins.
    ///
    /// With 0, as at first, what is oldest in a lane is sent first, also if there are both.
    pub fn share_live(&mut self, percent: u8) {
        self.queue.share_live(percent);
    }

    /// True if memory is bounded further than by the limits of QoS 0.
    #[must_use]
    pub fn is_squeezed(&self) -> bool {
        self.queue.is_squeezed()
    }

    /// Bytes of all deliveries in memory, about. Those that several sessions share count for each.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let live = self.direct.len() + self.live.bytes();
        live + self.queue.memory_bytes() + self.inflight.bytes()
    }

    /// What made way since the last call. The caller forgets it in the store, behind what it made
    /// way for.
    #[must_use]
    pub fn take_evicted(&mut self) -> Vec<Evicted> {
        self.queue.take_evicted()
    }

    /// The answer to a [`TrimRequest`]; returns how many deliveries it dropped. Others may make
    /// way, see [`Session::take_evicted`].
    pub fn trimmed(&mut self, request: &TrimRequest, done: Trimmed) -> u64 {
        self.queue.trimmed(request, done)
    }

    /// The next packet to send, if the flow control window allows one.
    ///
    /// The sequences of those that have expired are put into `expired` instead; the caller forgets
    /// them in the store.
    pub fn next(&mut self, now: Timestamp, expired: &mut Vec<u64>) -> Option<Outgoing> {
        if let Some(outgoing) = self.inflight.resend() {
            return Some(outgoing);
        }
        // What is held encoded waits for the window, and goes first.
        while self.direct.holds_nothing()
            && let Some((place, delivery)) = self.queue.front(self.held_from)
        {
            let sequence = delivery.sequence;
            if delivery.is_expired(now) && self.may_go(sequence, delivery.qos) {
                expired.push(sequence);
                self.queue.pop(place);
            } else if number_of(sequence) < self.held_from
                && self.inflight.has_room(sequence)
                && self
                    .inflight
                    .has_room_for(&delivery.message, self.queue.bytes_max())
            {
                self.queue.take_turn(place);
                let delivery = self.queue.pop(place)?;
                return Some(self.inflight.begin(delivery));
            } else {
                break;
            }
        }
        self.next_live(now, expired)
    }

    fn next_live(&mut self, now: Timestamp, expired: &mut Vec<u64>) -> Option<Outgoing> {
        while let Some(delivery) = self.live.pop() {
            if !delivery.is_expired(now) {
                return Some(Outgoing::Publish {
                    delivery,
                    packet_id: 0,
                    dup: false,
                });
            }
            expired.push(delivery.sequence);
        }
        None
    }

    /// Lets go of a delivery of QoS 1 or 2 that the store has, with this many bytes of content, and
    /// is about to remove. False if it does not wait any more, or is of QoS 2 and was perhaps sent
    /// before a restart: it stays in the store until its acknowledgement.
    ///
    /// Pages that were read before this must have been loaded, and those that are read later must
    /// be without the delivery.
    pub fn give_up(&mut self, sequence: u64, qos: QoS, bytes: u64) -> bool {
        let is_unsettled = self.inflight.may_know(sequence);
        self.may_go(sequence, qos) && self.queue.give_up(sequence, bytes, is_unsettled)
    }

    /// The receiver of QoS 2 may know the Packet Identifier of what was perhaps sent, and would
    /// take the next message under it for a repetition [MQTT-4.3.3-1].
    fn may_go(&self, sequence: u64, qos: QoS) -> bool {
        qos == QoS::AtLeastOnce || !self.inflight.may_know(sequence)
    }

    /// Deliveries of QoS 1 and 2 from this sequence on are not sent for the first time until this
    /// is called again; `u64::MAX` holds none.
    pub const fn hold_from(&mut self, sequence: u64) {
        self.held_from = number_of(sequence);
    }

    /// The greatest number that was sent; 0 if none was.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.inflight.sent()
    }

    /// The window of unacknowledged deliveries.
    pub const fn inflight_mut(&mut self) -> &mut Inflight {
        &mut self.inflight
    }

    /// A connection begins: everything unacknowledged is sent again, in order [MQTT-4.4.0-1],
    /// with at most `receive_maximum` outstanding.
    pub fn resume(&mut self, receive_maximum: u16) {
        self.forget_direct();
        self.queue.begin_backlog();
        self.inflight.resume(receive_maximum);
    }

    /// The connection ended: QoS 0 deliveries are not kept.
    pub fn suspend(&mut self) {
        self.forget_direct();
        self.live = Live::default();
    }

    /// Whether most deliveries of QoS 1 and 2 that come from here on wait in the store only, if
    /// there is one: nobody takes them out, and memory hardly grows with the clients that are away.
    pub const fn leave_to_store(&mut self, is_left: bool) {
        self.queue.leave_to_store(is_left);
    }

    /// The part of the stored queue to load now, at most once until [`Session::page_loaded`].
    pub fn page_wanted(&mut self) -> Option<PageRequest> {
        self.queue.page_wanted()
    }

    /// The answer to [`Session::page_wanted`]; `complete` if the store had no more below the
    /// request's end. Others may make way, see [`Session::take_evicted`].
    pub fn page_loaded(&mut self, page: Vec<Delivery>, complete: bool) {
        self.queue.page_loaded(page, complete);
    }

    /// Deliveries of QoS 1 and 2 that wait to be sent for the first time, in memory and in the
    /// store.
    #[must_use]
    pub fn waiting(&self) -> Amount {
        self.queue.waiting()
    }

    /// Deliveries of QoS 1 and 2 that wait or are unacknowledged, in memory and in the store.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.queue.waiting().messages + self.inflight.len() as u64
    }

    /// The same with the bytes of their contents. It looks at each unacknowledged one.
    #[must_use]
    pub fn outstanding(&self) -> Amount {
        self.queue.waiting().plus(self.inflight.amount())
    }

    /// The number of the oldest delivery of QoS 1 or 2 that waits or is unacknowledged, as far as it
    /// is known, and of the next one that comes; the same if there is none. It looks at each
    /// unacknowledged one.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        let next = number_of(self.queue.next_sequence());
        let waiting = self.queue.lanes.iter().filter_map(Lane::first);
        let oldest = waiting.map(number_of).chain(self.inflight.oldest());
        (oldest.min().unwrap_or(next), next)
    }

    /// True if what is put in now reaches the client soon: no more waits than one window takes,
    /// and QoS 0 has at least half of its room.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        self.queue.waiting().messages <= self.inflight.window() as u64
            && self.direct.len() + self.live.bytes() <= self.queue.live_bytes_max() / 2
    }

    /// Takes out the QoS 1 deliveries that are in memory and not acknowledged, in their order,
    /// and forgets the others: the session has ended, and a Shared Subscription gives what it
    /// did not deliver to somebody else. QoS 2 is never given to a second client
    /// [MQTT-4.8.2-5].
    pub fn take_undelivered(&mut self) -> Vec<Delivery> {
        let mut taken = self.inflight.take();
        while let Some(delivery) = self.queue.pop_any() {
            taken.push(delivery);
        }
        taken.retain(|delivery| delivery.qos == QoS::AtLeastOnce);
        taken
    }

    /// True if nothing waits to be sent in memory.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.direct.is_empty() && self.has_no_deliveries()
    }

    /// True if nothing waits in memory that is not encoded yet.
    #[must_use]
    pub fn has_no_deliveries(&self) -> bool {
        self.live.is_empty() && self.queue.is_drained()
    }
}

#[cfg(test)]
mod tests;
