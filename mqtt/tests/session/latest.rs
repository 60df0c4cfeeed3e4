//! Topics of which only the last delivery is kept, while a backlog and what is live share the
//! connection: whatever a crash takes, the last of a topic is the last that comes.

use std::collections::{BTreeMap, VecDeque};

use mqtt::session::{
    Acknowledged, Amount, Delivery, Enqueue, Evicted, Outgoing, Session, StoredLane, StoredLast,
    StoredQueue, number_of, range_of, side_of,
};
use mqtt::{QoS, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, STORED, delivery_of, number};

const WINDOW: u16 = 5;

/// A session, its store, and its receiver.
struct World {
    session: Session,
    percent: u8,
    rows: BTreeMap<u64, Delivery>,
    /// What the last operations have removed, which a crash may bring back.
    removed: Vec<Delivery>,
    is_connected: bool,
    /// The greatest number that was sent on connections that have ended in order.
    sent: u64,
    unacknowledged: VecDeque<u16>,
    /// The last message that was put in of each topic, and the last that came.
    put: BTreeMap<String, u64>,
    come: BTreeMap<String, u64>,
}

impl World {
    fn new(percent: u8) -> Self {
        let mut session = Session::new(STORED, true);
        session.share_live(percent);
        Self {
            session,
            percent,
            rows: BTreeMap::new(),
            removed: Vec::new(),
            is_connected: false,
            sent: 0,
            unacknowledged: VecDeque::new(),
            put: BTreeMap::new(),
            come: BTreeMap::new(),
        }
    }

    /// Puts a message in, of which only the last is kept if its topic has a name; returns its
    /// sequence.
    fn put(&mut self, topic: &str, number: u64) -> u64 {
        let mut delivery = delivery_of(&format!("t/{topic}"), QoS::AtLeastOnce, number, 0);
        delivery.class.latest_only = !topic.is_empty();
        match self.session.enqueue(delivery.clone()) {
            Enqueue::Kept { sequence } | Enqueue::Spilled { sequence } => {
                delivery.sequence = sequence;
            }
            Enqueue::Dropped => panic!("there is no room"),
        }
        let sequence = delivery.sequence;
        if !topic.is_empty() {
            self.put.insert(topic.to_owned(), number);
        }
        // The store has this before what follows it, so a crash takes all that follows, or nothing.
        self.removed.clear();
        self.rows.insert(sequence, delivery);
        for evicted in self.session.take_evicted() {
            let Evicted::Superseded(superseded) = evicted else {
                panic!("{evicted:?}");
            };
            self.remove(superseded);
        }
        sequence
    }

    fn remove(&mut self, sequence: u64) {
        self.removed.extend(self.rows.remove(&sequence));
    }

    fn connect(&mut self) {
        self.session.resume(WINDOW);
        self.is_connected = true;
        self.unacknowledged.clear();
    }

    fn disconnect(&mut self) {
        self.is_connected = false;
        self.sent = self.session.sent();
        self.session.suspend();
    }

    /// The next message comes; false if there is none, or the window is full.
    fn send(&mut self) -> bool {
        while let Some(request) = self.session.page_wanted() {
            let rows = self.rows.range(request.from..request.to);
            let rows: Vec<_> = rows.map(|it| it.1.clone()).collect();
            let page = rows.iter().take(request.count).cloned().collect();
            self.session.page_loaded(page, rows.len() <= request.count);
        }
        match self.session.next(NOW, &mut Vec::new()) {
            Some(Outgoing::Publish {
                delivery,
                packet_id,
                ..
            }) => {
                self.unacknowledged.push_back(packet_id);
                let topic = delivery.message.topic.as_str();
                let topic = topic.strip_prefix("t/").unwrap();
                self.come.insert(topic.to_owned(), number(&delivery));
                true
            }
            Some(Outgoing::Release(_)) => panic!("nothing is of QoS 2"),
            None => false,
        }
    }

    fn acknowledge(&mut self) -> bool {
        let Some(packet_id) = self.unacknowledged.pop_front() else {
            return false;
        };
        match self.session.inflight_mut().puback(packet_id) {
            Acknowledged::Done(sequence) => self.remove(sequence),
            Acknowledged::Release(_) | Acknowledged::Unknown => panic!("it was sent"),
        }
        true
    }

    /// A restart with what the store has. So many of what was removed last were not removed yet.
    fn crash(&mut self, count: usize) {
        let kept = self.removed.len().saturating_sub(count);
        let back = self.removed.drain(..).skip(kept);
        self.rows.extend(back.map(|it| (it.sequence, it)));
        let numbers = self.rows.keys().copied();
        let greatest = numbers.max_by_key(|it| number_of(*it)).unwrap_or(0);
        let last = number_of(greatest);
        self.sent = if self.is_connected {
            last
        } else {
            self.sent.min(last)
        };
        let mut lanes: BTreeMap<u8, StoredLane> = BTreeMap::new();
        for (&sequence, delivery) in &self.rows {
            let lane = lanes
                .entry(range_of(sequence))
                .or_insert_with(|| StoredLane {
                    first: sequence,
                    waiting: Amount::default(),
                    unsettled: 0,
                });
            lane.waiting.messages += 1;
            lane.waiting.bytes += delivery.message.byte_count() as u64;
            let is_unsettled = number_of(sequence) <= self.sent;
            lane.unsettled = u64::from(WINDOW).min(lane.unsettled + u64::from(is_unsettled));
        }
        let latest = self.rows.values().filter(|it| it.class.latest_only);
        let stored = StoredQueue {
            lanes: lanes.into_values().collect(),
            latest: latest.map(last_of).collect(),
            next: last + 1,
            side: side_of(greatest),
            sent: self.sent,
            released: Vec::new(),
            in_flight: Vec::new(),
        };
        self.session = Session::recovered(STORED, &stored);
        self.session.share_live(self.percent);
        self.is_connected = false;
        self.unacknowledged.clear();
    }

    /// Everything comes.
    fn drain(&mut self) {
        if !self.is_connected {
            self.connect();
        }
        while self.send() || self.acknowledge() {}
        self.come.remove("");
        assert_eq!(self.come, self.put);
        assert!(self.rows.is_empty(), "{:?}", self.rows);
    }
}

fn last_of(delivery: &Delivery) -> StoredLast {
    StoredLast {
        topic: TopicName::new(delivery.message.topic.as_str()).unwrap(),
        sequence: delivery.sequence,
        bytes: delivery.message.byte_count() as u64,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str),
    Send,
    Acknowledge,
    Connect,
    Disconnect,
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = prop_oneof![3 => Just(""), 1 => Just("a"), 1 => Just("b")];
    let step = prop_oneof![
        12 => topic.prop_map(Step::Put),
        8 => Just(Step::Send),
        6 => Just(Step::Acknowledge),
        1 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        1 => (0..3_usize).prop_map(Step::Crash),
    ];
    vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_last_of_a_topic_comes_last(percent in 1..=100_u8, steps in steps()) {
        let mut world = World::new(percent);
        for (step, number) in steps.into_iter().zip(1..) {
            match step {
                Step::Put(topic) => {
                    world.put(topic, number);
                }
                Step::Send if world.is_connected => {
                    world.send();
                }
                Step::Acknowledge if world.is_connected => {
                    world.acknowledge();
                }
                Step::Disconnect if world.is_connected => world.disconnect(),
                Step::Connect => world.connect(),
                Step::Crash(count) => world.crash(count),
                Step::Send | Step::Acknowledge | Step::Disconnect => {}
            }
        }
        world.drain();
    }
}

/// A world in which these wait behind each other as a backlog, of topics that go on being kept but
/// for those with a name, and whose connection has begun.
fn backlog(topics: &[&str]) -> World {
    let mut world = World::new(50);
    for (topic, number) in topics.iter().zip(1..) {
        world.put(topic, number);
    }
    world.connect();
    world
}

#[test]
fn what_was_sent_of_both_sides_before_a_crash_comes_in_its_order() {
    let mut world = backlog(&["", "", "", "a"]);
    (0..4).for_each(|_| assert!(world.send()));
    let [old, new] = [4, world.put("a", 10)];
    assert_ne!(side_of(old), side_of(new));
    assert!(world.send());
    world.crash(0);
    world.drain();
}

#[test]
fn what_a_crash_kept_from_being_removed_comes_before_what_took_its_place() {
    let mut world = backlog(&["", "", "", "a"]);
    world.put("a", 10);
    assert_eq!(world.removed.len(), 1);
    world.crash(1);
    assert_eq!(world.rows.len(), 5);
    world.drain();
}

#[test]
fn what_waits_behind_one_that_was_sent_does_so_after_another_crash_too() {
    let mut world = backlog(&["", "", "", "a", ""]);
    (0..4).for_each(|_| assert!(world.send()));
    // It is live.
    world.put("", 10);
    world.crash(0);
    let backlog = side_of(world.put("a", 11));
    assert_eq!(backlog, 0);
    assert_ne!(side_of(world.put("", 12)), backlog);
    world.crash(0);
    assert_eq!(side_of(world.put("a", 13)), backlog);
    world.drain();
}
