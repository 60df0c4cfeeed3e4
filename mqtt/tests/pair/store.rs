//! What the server has stored, and what it has asked to be stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt::session::{
    Amount, Delivery, Inbound, PageRequest, QueueLimits, Session, StoredLane, StoredQueue, lane_of,
    number_of,
};

use crate::world::Sample;

/// A change that is durable after those before it.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A connection begins: what is in the queue from here on may have been sent.
    Connected,
    /// A connection has ended, and sent as far as this.
    Sent(u64),
    Enqueue(Delivery),
    /// The client has a QoS 2 delivery, whose message is not needed any more.
    Pubrec(u64),
    Dequeue(u64),
    /// A message of the client is routed; with the identifier of QoS 2.
    Route(Sample, Option<u16>),
    Release(u16),
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    waiting: VecDeque<Operation>,
    submitted: u64,
    first_sequence: u64,
    queue: BTreeMap<u64, Delivery>,
    inbound: BTreeSet<u16>,
    /// Deliveries between PUBREC and PUBCOMP.
    released: BTreeSet<u64>,
    /// None while a connection may be sending.
    sent: Option<u64>,
    /// What reached everybody else.
    pub(crate) routed: Vec<Sample>,
}

impl Store {
    pub(crate) fn new(first_sequence: u64) -> Self {
        Self {
            first_sequence,
            sent: Some(0),
            ..Self::default()
        }
    }

    /// Asks for a change; the number says when it is durable.
    pub(crate) fn submit(&mut self, operation: Operation) -> u64 {
        self.waiting.push_back(operation);
        self.submitted += 1;
        self.submitted
    }

    /// Changes up to this number are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.submitted - self.waiting.len() as u64
    }

    /// Makes the oldest changes durable.
    pub(crate) fn commit(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        for operation in self.waiting.drain(..count) {
            match operation {
                Operation::Connected => self.sent = None,
                Operation::Sent(sequence) => self.sent = Some(sequence),
                Operation::Enqueue(delivery) => {
                    self.queue.insert(delivery.sequence, delivery);
                }
                Operation::Pubrec(sequence) => {
                    self.queue.remove(&sequence);
                    self.released.insert(sequence);
                }
                Operation::Dequeue(sequence) => {
                    self.queue.remove(&sequence);
                    self.released.remove(&sequence);
                }
                Operation::Route(sample, packet_id) => {
                    self.routed.push(sample);
                    self.inbound.extend(packet_id);
                }
                Operation::Release(packet_id) => {
                    self.inbound.remove(&packet_id);
                }
            }
        }
    }

    pub(crate) fn commit_all(&mut self) {
        self.commit(self.waiting.len());
    }

    /// A part of the queue; true if there is no more of it. Whoever reads sees all changes.
    pub(crate) fn load(&mut self, request: PageRequest) -> (Vec<Delivery>, bool) {
        self.commit_all();
        let rows = self.queue.range(request.from..request.to);
        let page: Vec<_> = rows.map(|(_, it)| it.clone()).take(request.count).collect();
        let complete = page.len() < request.count;
        (page, complete)
    }

    fn released(&self) -> Vec<u64> {
        let mut released: Vec<u64> = self.released.iter().copied().collect();
        released.sort_by_key(|it| number_of(*it));
        released
    }

    fn lanes(&self) -> Vec<StoredLane> {
        let mut lanes: BTreeMap<u8, StoredLane> = BTreeMap::new();
        for (&first, entry) in &self.queue {
            let lane = lanes.entry(lane_of(first));
            let lane = lane.or_insert_with(|| StoredLane {
                first,
                waiting: Amount::default(),
                unsettled: 0,
            });
            lane.waiting.messages += 1;
            lane.waiting.bytes += entry.message.byte_count() as u64;
        }
        lanes.into_values().collect()
    }

    /// The server is killed: what is not durable is gone, and this is the session after.
    pub(crate) fn recover(&mut self, limits: QueueLimits) -> Session {
        self.submitted = self.durable();
        self.waiting.clear();
        let last = self.queue.keys().map(|it| number_of(*it)).max();
        let last_released = self.released.iter().map(|it| number_of(*it)).max();
        let stored = StoredQueue {
            lanes: self.lanes(),
            latest: Vec::new(),
            next: last
                .max(last_released)
                .map_or(self.first_sequence, |it| it + 1),
            side: 0,
            sent: last.unwrap_or(0).min(self.sent.unwrap_or(u64::MAX)),
            released: self.released(),
            in_flight: Vec::new(),
        };
        self.sent = Some(stored.sent);
        let mut session = Session::recovered(limits, &stored);
        session.inbound = Inbound::recovered(self.inbound.iter().copied());
        session
    }

    /// True if the delivery with this sequence is not done.
    pub(crate) fn has(&self, sequence: u64) -> bool {
        self.queue.contains_key(&sequence) || self.released.contains(&sequence)
    }
}
