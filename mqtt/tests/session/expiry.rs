//! Deliveries that expire while they wait, in memory and in the store, however what the session
//! does and what the store does come after one another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mqtt::session::{
    Acknowledged, Amount, DEFAULT_LANE, Delivery, Enqueue, LANE_MAX, Outgoing, PageRequest,
    QueueClass, Session, StoredLane, StoredQueue, lane_of, number_of, sequence,
};
use mqtt::{QoS, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, STORED, delivery, number};

/// Of the content of each delivery.
const BYTES: u64 = 9;
const WINDOW: u16 = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Enqueue(Sample),
    Send,
    /// The oldest delivery that was sent is acknowledged.
    Acknowledge,
    WantPage,
    /// The timekeeper has the store look for what has expired.
    Sweep,
    /// The store takes so many operations, makes all the changes and then reads; it cannot read if
    /// it is told to.
    Store(usize, bool),
    Pass(u64),
}

/// A delivery that ends after so many milliseconds, if ever.
#[derive(Clone, Copy, Debug)]
struct Sample {
    qos: QoS,
    end: Option<u64>,
    lane: u8,
}

fn sample() -> impl Strategy<Value = Sample> {
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    // 0 ends while it is put in.
    let end = prop::option::weighted(0.7, 0..8_u64);
    let lane = prop_oneof![5 => Just(DEFAULT_LANE), 1 => 0..=LANE_MAX];
    (qos, end, lane).prop_map(|(qos, end, lane)| Sample { qos, end, lane })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => sample().prop_map(Step::Enqueue),
        2 => Just(Step::Send),
        2 => Just(Step::Acknowledge),
        2 => Just(Step::WantPage),
        1 => Just(Step::Sweep),
        4 => (1..6_usize, prop::bool::weighted(0.05)).prop_map(|(count, fails)| Step::Store(count, fails)),
        1 => (0..4_u64).prop_map(Step::Pass),
    ];
    vec(step, 1..300)
}

/// What a session that is opened again finds in the store.
#[derive(Clone, Debug)]
struct Left {
    entries: Vec<Sample>,
    /// How many of them may have been sent.
    sent: usize,
}

fn left() -> impl Strategy<Value = Left> {
    let entries = (vec(sample(), 0..12), any::<prop::sample::Index>());
    entries.prop_map(|(entries, index)| Left {
        sent: index.index(entries.len() + 1),
        entries,
    })
}

/// What waits for the store, in its order.
enum Operation {
    Enqueue(Delivery),
    Dequeue(u64),
    Read(Read),
}

enum Read {
    Page(PageRequest),
    Expired(Timestamp),
}

struct Model {
    session: Session,
    now: Timestamp,
    disk: BTreeMap<u64, Delivery>,
    operations: VecDeque<Operation>,
    /// Packet Identifiers and sequences of what was sent and is not acknowledged.
    sent: VecDeque<(u16, u64)>,
    received: Vec<u64>,
    expired: BTreeSet<u64>,
    /// What was perhaps sent before the session was opened, and whose receiver would not forget.
    known: BTreeSet<u64>,
    done: u64,
    numbers: u64,
    /// Lanes of which the store said that there may be more: one entry is believed to be there
    /// that perhaps is not.
    unsure: BTreeSet<u8>,
}

impl Model {
    fn new(left: &Left) -> Self {
        let mut model = Self {
            session: Session::new(STORED, true),
            now: NOW,
            disk: BTreeMap::new(),
            operations: VecDeque::new(),
            sent: VecDeque::new(),
            received: Vec::new(),
            expired: BTreeSet::new(),
            known: BTreeSet::new(),
            done: 0,
            numbers: 0,
            unsure: BTreeSet::new(),
        };
        let mut lanes: BTreeMap<u8, StoredLane> = BTreeMap::new();
        for sample in &left.entries {
            let mut delivery = model.delivery(*sample);
            delivery.sequence = sequence(sample.lane, model.numbers);
            let may_be_sent = model.numbers <= left.sent as u64;
            if sample.qos == QoS::ExactlyOnce && may_be_sent {
                model.known.insert(delivery.sequence);
            }
            let lane = lanes.entry(sample.lane).or_insert_with(|| StoredLane {
                first: delivery.sequence,
                waiting: Amount::default(),
                unsettled: 0,
            });
            lane.waiting.messages += 1;
            lane.waiting.bytes += BYTES;
            lane.unsettled += u64::from(may_be_sent);
            model.disk.insert(delivery.sequence, delivery);
        }
        let stored = StoredQueue {
            latest: Vec::new(),
            lanes: lanes.into_values().collect(),
            next: model.numbers + 1,
            side: 0,
            sent: left.sent as u64,
            released: Vec::new(),
            in_flight: Vec::new(),
        };
        model.session = Session::recovered(STORED, &stored);
        model.session.resume(WINDOW);
        model
    }

    /// The next one; its number is that of its sequence too.
    fn delivery(&mut self, Sample { qos, end, lane }: Sample) -> Delivery {
        self.numbers += 1;
        let mut delivery = delivery(qos, self.numbers, 0);
        delivery.expires_at = end.map(|it| self.now.after(Duration::from_millis(it)));
        delivery.class = QueueClass {
            lane,
            ..QueueClass::default()
        };
        delivery
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enqueue(sample) => {
                let mut delivery = self.delivery(sample);
                match self.session.enqueue(delivery.clone()) {
                    Enqueue::Kept { sequence } | Enqueue::Spilled { sequence } => {
                        assert_eq!(number_of(sequence), self.numbers);
                        delivery.sequence = sequence;
                        self.operations.push_back(Operation::Enqueue(delivery));
                    }
                    Enqueue::Dropped => panic!("dropped"),
                }
            }
            Step::Send => self.send(),
            Step::Acknowledge => {
                if let Some((packet_id, sequence)) = self.sent.pop_front() {
                    let done = self.session.inflight_mut().abandon(packet_id);
                    assert_eq!(done, Acknowledged::Done(sequence));
                    self.operations.push_back(Operation::Dequeue(sequence));
                    self.done += 1;
                }
            }
            Step::WantPage => {
                let request = self.session.page_wanted();
                let read = request.map(|it| Operation::Read(Read::Page(it)));
                self.operations.extend(read);
            }
            Step::Sweep => {
                let read = Read::Expired(self.now);
                self.operations.push_back(Operation::Read(read));
            }
            Step::Store(count, fails) => {
                let count = count.min(self.operations.len());
                let taken: Vec<_> = self.operations.drain(..count).collect();
                let reads: Vec<_> = taken.into_iter().filter_map(|it| self.write(it)).collect();
                reads.into_iter().for_each(|it| self.read(it, fails));
            }
            Step::Pass(millis) => self.now = self.now.after(Duration::from_millis(millis)),
        }
    }

    fn send(&mut self) {
        let mut expired = Vec::new();
        let outgoing = self.session.next(self.now, &mut expired);
        for sequence in expired {
            self.expire(sequence);
            self.operations.push_back(Operation::Dequeue(sequence));
        }
        if let Some(Outgoing::Publish {
            delivery,
            packet_id,
            dup,
        }) = outgoing
        {
            let in_vain = delivery.is_expired(self.now);
            assert!(!in_vain || delivery.qos == QoS::ExactlyOnce && dup);
            assert_eq!(number(&delivery), number_of(delivery.sequence));
            self.received.push(delivery.sequence);
            self.sent.push_back((packet_id, delivery.sequence));
        }
    }

    #[track_caller]
    fn expire(&mut self, sequence: u64) {
        assert!(!self.known.contains(&sequence), "{sequence} may be known");
        assert!(self.expired.insert(sequence), "{sequence} expired twice");
    }

    /// Makes a change; hands a read back.
    fn write(&mut self, operation: Operation) -> Option<Read> {
        match operation {
            Operation::Enqueue(delivery) => {
                self.disk.insert(delivery.sequence, delivery);
            }
            Operation::Dequeue(sequence) => {
                self.disk.remove(&sequence);
            }
            Operation::Read(read) => return Some(read),
        }
        None
    }

    fn read(&mut self, read: Read, fails: bool) {
        match read {
            Read::Page(request) if fails => {
                self.session.page_loaded(Vec::new(), false);
                self.unsure.insert(lane_of(request.to));
            }
            Read::Page(request) => {
                let rows = self.disk.range(request.from..request.to);
                let rows: Vec<_> = rows.map(|(_, it)| it.clone()).take(request.count).collect();
                let complete = rows.len() < request.count;
                self.session.page_loaded(rows, complete);
                if complete {
                    self.unsure.remove(&lane_of(request.to));
                } else {
                    self.unsure.insert(lane_of(request.to));
                }
            }
            Read::Expired(until) => {
                let due = self.disk.values();
                let due = due.filter(|it| it.expires_at.is_some_and(|at| at <= until));
                for (sequence, qos) in due.map(|it| (it.sequence, it.qos)).collect::<Vec<_>>() {
                    if !self.session.give_up(sequence, qos, BYTES) {
                        continue;
                    }
                    let in_flight = self.sent.iter().any(|(_, it)| *it == sequence);
                    assert!(!in_flight, "{sequence} is in flight");
                    self.expire(sequence);
                    self.disk.remove(&sequence);
                }
            }
        }
    }

    #[track_caller]
    fn check(&self) {
        let waiting = self.numbers - self.done - self.expired.len() as u64;
        let believed = waiting + self.unsure.len() as u64;
        let backlog = self.session.backlog();
        assert!(
            (waiting..=believed).contains(&backlog),
            "{backlog}, not {waiting}"
        );
    }
}

fn check(left: &Left, steps: Vec<Step>) {
    let mut model = Model::new(left);
    let drain = [
        Step::Send,
        Step::Acknowledge,
        Step::WantPage,
        Step::Store(3, false),
    ];
    let drain = std::iter::repeat_n(drain, 1_000).flatten();
    for step in steps.into_iter().chain(drain) {
        model.take(step);
        model.check();
    }
    assert_eq!(model.session.backlog(), 0);
    assert!(model.disk.is_empty() && model.operations.is_empty());
    for lane in 0..=LANE_MAX {
        let lane = model.received.iter().filter(|it| lane_of(**it) == lane);
        assert!(lane.is_sorted_by(|a, b| a < b), "{:?}", model.received);
    }
    let all = model.received.iter().chain(&model.expired);
    let all: BTreeSet<u64> = all.copied().collect();
    assert_eq!(all.len(), model.received.len() + model.expired.len());
    assert_eq!(
        all.len() as u64,
        model.numbers,
        "each is received or expired"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_waits_is_received_or_expires_once(left in left(), steps in steps()) {
        check(&left, steps);
    }
}

/// What nobody takes leaves memory and store, whichever of them it is in.
#[test]
fn a_queue_that_nobody_reads_empties() {
    let mut session = Session::new(STORED, true);
    for number in 1..=10 {
        session.enqueue(delivery(QoS::AtLeastOnce, number, 0));
    }
    // Four are in memory.
    for sequence in [3, 9, 1, 5, 2, 4, 10, 6, 8, 7] {
        assert!(session.give_up(sequence, QoS::AtLeastOnce, BYTES));
    }
    assert_eq!(session.backlog(), 0);
    assert!(session.is_drained() && session.page_wanted().is_none());
    // There is room in memory again.
    let next = session.enqueue(delivery(QoS::AtLeastOnce, 11, 0));
    assert_eq!(next, Enqueue::Kept { sequence: 11 });
    assert!(!session.give_up(7, QoS::AtLeastOnce, BYTES), "it is gone");
}

#[test]
fn a_delivery_ends_before_its_message_if_it_may_not_wait_as_long() {
    let mut session = Session::new(STORED, true);
    let end = |millis| Some(NOW.after(Duration::from_millis(millis)));
    for (number, waiting, message) in [
        (1, end(5), None),
        (2, end(5), end(9)),
        (3, None, end(5)),
        (4, end(6), end(6)),
    ] {
        let mut delivery = delivery(QoS::AtLeastOnce, number, 0);
        delivery.expires_at = waiting;
        Arc::make_mut(&mut delivery.message).expires_at = message;
        session.enqueue(delivery);
    }
    let mut expired = Vec::new();
    let outgoing = session.next(NOW.after(Duration::from_millis(5)), &mut expired);
    let Some(Outgoing::Publish { delivery, .. }) = outgoing else {
        panic!("{outgoing:?}")
    };
    assert_eq!((number(&delivery), expired), (4, vec![1, 2, 3]));
}

/// What comes behind a page that is being loaded may expire before the page is there.
#[test]
fn a_page_leaves_behind_it_what_is_still_there() {
    for (expired, left) in [(None, 4), (Some(5), 3), (Some(6), 3), (Some(7), 3)] {
        let mut session = Session::new(STORED, true);
        let mut rows = Vec::new();
        for number in 1..=6 {
            let mut delivery = delivery(QoS::AtLeastOnce, number, 0);
            session.enqueue(delivery.clone());
            delivery.sequence = number;
            rows.extend(Some(delivery).filter(|_| number > 4 && expired != Some(number)));
        }
        while session.next(NOW, &mut Vec::new()).is_some() {}
        let request = session.page_wanted().unwrap();
        assert_eq!((request.from, request.to), (5, 7));
        for number in [7, 8] {
            let spilled = session.enqueue(delivery(QoS::AtLeastOnce, number, 0));
            assert_eq!(spilled, Enqueue::Spilled { sequence: number });
        }
        if let Some(sequence) = expired {
            assert!(session.give_up(sequence, QoS::AtLeastOnce, BYTES));
        }
        session.page_loaded(rows, true);
        assert_eq!(session.backlog(), 4 + left, "{expired:?}");
    }
}

/// What is sent first may have come last.
#[test]
fn what_waits_behind_a_higher_lane_was_not_sent() {
    let mut session = Session::new(STORED, true);
    for (number, lane) in [(1, 0), (2, 0), (3, LANE_MAX)] {
        let mut delivery = delivery(QoS::ExactlyOnce, number, 0);
        delivery.class = QueueClass {
            lane,
            ..QueueClass::default()
        };
        session.enqueue(delivery);
    }
    session.resume(1);
    let sent = session.next(NOW, &mut Vec::new());
    assert!(matches!(sent, Some(Outgoing::Publish { packet_id: 3, .. })));
    assert!(session.give_up(sequence(0, 1), QoS::ExactlyOnce, BYTES));
    assert!(session.give_up(sequence(0, 2), QoS::AtLeastOnce, BYTES));
    assert_eq!(session.backlog(), 1);
}
