//! The quotas of a session, in memory and in a store together, and who makes way.

mod backlog;
mod line;
mod unsettled;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt::QoS;
use mqtt::session::{
    Acknowledged, Amount, Delivery, Enqueue, Evicted, Outgoing, PageRequest, QueueClass,
    QueueLimits, SIDE, Session, StoredLane, StoredLast, StoredQueue, TrimRequest, Trimmed,
    WhenFull, lane_of, number_of, range_of, side_of,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, delivery_of};

const MESSAGES_MAX: u64 = 12;
const BYTES_MAX: u64 = 1_000;

fn limits(when_full: WhenFull) -> QueueLimits {
    QueueLimits {
        messages_max: 4,
        bytes_max: 4_000,
        live_bytes_max: 0,
        stored_messages_max: MESSAGES_MAX,
        stored_bytes_max: BYTES_MAX,
        when_full,
        holds_encoded: true,
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A delivery with so many bytes of payload in a lane, of one of the topics of that lane.
    Enqueue(usize, u8, Topic),
    /// The next one is sent and acknowledged.
    Take,
    WantPage,
    /// The store does so much of what it has been asked for.
    Work(usize),
    /// A connection begins.
    Connect,
    /// So many percent are for what is live.
    Share(u8),
    /// What the store has not done is lost, and the session begins again with what it has.
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Topic {
    Any,
    /// Only the last delivery of it is kept.
    Latest(u8),
}

fn steps(lane: impl Strategy<Value = u8>) -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![9 => 0..100_usize, 1 => 300..1_200_usize];
    let topic = prop_oneof![2 => Just(Topic::Any), 1 => (0..3_u8).prop_map(Topic::Latest)];
    let step = prop_oneof![
        16 => (bytes, lane, topic)
            .prop_map(|(bytes, lane, topic)| Step::Enqueue(bytes, lane, topic)),
        6 => Just(Step::Take),
        4 => Just(Step::WantPage),
        8 => (1..6_usize).prop_map(Step::Work),
        1 => Just(Step::Connect),
        1 => prop_oneof![Just(0), Just(100), 1..100_u8].prop_map(Step::Share),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..300)
}

/// Something that the store was asked for.
#[derive(Debug)]
enum Operation {
    Put(Delivery),
    Remove(u64),
    Load(PageRequest),
    Trim(TrimRequest),
    /// Nothing: all of a range that has a lower number than this has been trimmed by now.
    Trimmed(u8, u64),
}

/// A session with its store, and what waits according to what was said of it.
struct World {
    session: Session,
    limits: QueueLimits,
    disk: BTreeMap<u64, Delivery>,
    operations: VecDeque<Operation>,
    waiting: BTreeMap<u64, u64>,
    /// The topics of which only the last delivery is kept, by what waits of them.
    latest: BTreeMap<u64, String>,
    /// Those of which one waits behind another on its side, since the removal of that was lost.
    tied: BTreeSet<String>,
    /// The range of which a page is loaded.
    loading: Option<u8>,
    percent: u8,
    /// The side that is not the backlog, as far as it is known.
    live: Option<u8>,
    /// What was to be removed is there again after a restart.
    is_exceeded: bool,
    /// The last number that was taken in each range.
    taken: BTreeMap<u8, u64>,
}

impl World {
    fn new(limits: QueueLimits) -> Self {
        let mut session = Session::new(limits, true);
        session.resume(100);
        Self {
            session,
            limits,
            disk: BTreeMap::new(),
            operations: VecDeque::new(),
            waiting: BTreeMap::new(),
            latest: BTreeMap::new(),
            tied: BTreeSet::new(),
            loading: None,
            percent: 0,
            live: None,
            is_exceeded: false,
            taken: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue(bytes, lane, topic) => self.enqueue(*bytes, *lane, *topic),
            Step::Take => {
                self.take();
            }
            Step::WantPage => {
                if let Some(request) = self.session.page_wanted() {
                    assert_eq!(self.loading, None, "one page at a time");
                    self.loading = Some(range_of(request.from));
                    self.operations.push_back(Operation::Load(request));
                }
            }
            Step::Work(count) => {
                for _ in 0..*count {
                    self.work();
                }
            }
            Step::Connect => {
                self.session.resume(100);
                self.live = None;
            }
            Step::Share(percent) => {
                self.percent = *percent;
                self.session.share_live(*percent);
            }
            Step::Restart => self.restart(),
        }
    }

    fn enqueue(&mut self, bytes: usize, lane: u8, topic: Topic) {
        let (topic, latest_only) = match topic {
            Topic::Any => ("t".to_owned(), false),
            Topic::Latest(number) => (format!("{lane}/{number}"), true),
        };
        let mut delivery = delivery_of(&topic, QoS::AtLeastOnce, 0, bytes);
        delivery.class = QueueClass { lane, latest_only };
        let last = self.last(&topic);
        let size = delivery.message.byte_count() as u64;
        let losers = match self.limits.when_full {
            WhenFull::RejectNew => lane,
            WhenFull::DropOldest => lane + 1,
        };
        let kept = |it: &(&u64, &u64)| lane_of(*it.0) >= losers;
        let staying: Vec<u64> = self.waiting.iter().filter(kept).map(|it| *it.1).collect();
        match self.session.enqueue(delivery.clone()) {
            Enqueue::Dropped => {
                let is_full = staying.len() as u64 >= self.limits.stored_messages_max
                    || staying.iter().sum::<u64>() + size > self.limits.stored_bytes_max;
                assert!(is_full || self.is_unsure(), "there is room");
                assert_eq!(self.session.take_evicted(), [], "dropped in vain");
            }
            Enqueue::Kept { sequence } | Enqueue::Spilled { sequence } => {
                assert_eq!(lane_of(sequence), lane);
                let evicted = self.session.take_evicted();
                let is_tied = |it: &u64| {
                    self.tied.contains(&topic) && evicted.contains(&Evicted::Superseded(*it))
                };
                let tied = last.filter(is_tied).map(side_of);
                let known = tied.or_else(|| self.live.replace(side_of(sequence)));
                assert!(known.is_none_or(|it| it == side_of(sequence)), "sides");
                if tied.is_none() {
                    self.tied.remove(&topic);
                }
                delivery.sequence = sequence;
                self.operations.push_back(Operation::Put(delivery));
                self.evict(evicted, losers);
                if let Some(last) = last.filter(|_| latest_only) {
                    assert!(!self.waiting.contains_key(&last), "not superseded");
                }
                self.waiting.insert(sequence, size);
                if latest_only {
                    self.latest.insert(sequence, topic);
                }
            }
        }
    }

    /// The last delivery of a topic that waits.
    fn last(&self, topic: &str) -> Option<u64> {
        let waiting = self.waiting.keys().filter(|it| {
            let latest = self.latest.get(it);
            latest.is_some_and(|it| it == topic)
        });
        waiting.copied().max_by_key(|it| number_of(*it))
    }

    /// The session may believe in one more in the store than there is. What is being trimmed can
    /// hide that.
    fn is_unsure(&self) -> bool {
        let is_trim = |it: &Operation| matches!(it, Operation::Trim(_));
        self.operations.iter().any(is_trim) || self.session.backlog() > self.waiting.len() as u64
    }

    fn evict(&mut self, evicted: Vec<Evicted>, losers: u8) {
        for evicted in evicted {
            let sequence = match evicted {
                Evicted::Superseded(sequence) => {
                    self.operations.push_back(Operation::Remove(sequence));
                    let topic = self.latest.get(&sequence).unwrap();
                    assert_eq!(self.last(topic), Some(sequence));
                    self.waiting.remove(&sequence);
                    continue;
                }
                Evicted::Dropped(sequence) => {
                    self.operations.push_back(Operation::Remove(sequence));
                    assert!(self.waiting.contains_key(&sequence));
                    sequence
                }
                Evicted::Trim(request) => {
                    assert_ne!(
                        self.loading,
                        Some(range_of(request.from)),
                        "the page may have it"
                    );
                    self.operations.push_back(Operation::Trim(request));
                    request.from
                }
            };
            assert!(lane_of(sequence) < losers, "{evicted:?}");
            if let Evicted::Dropped(sequence) = evicted {
                // What is being trimmed still waits here.
                let backlog = range_of(sequence) ^ SIDE;
                let is_trimmed = self.is_trimmed(backlog);
                self.assert_oldest(sequence, if is_trimmed { 0 } else { u64::MAX });
                if is_trimmed && self.live == Some(side_of(sequence)) {
                    let last = self.waiting.keys().map(|it| number_of(*it)).max();
                    let trimmed = Operation::Trimmed(backlog, last.unwrap() + 1);
                    self.operations.push_back(trimmed);
                }
                self.waiting.remove(&sequence);
            }
        }
    }

    /// It is what makes way first of all that has a lower number than this.
    #[track_caller]
    fn assert_oldest(&self, sequence: u64, next: u64) {
        let first = |range| self.waiting.keys().find(|it| range_of(**it) == range);
        let range = range_of(sequence);
        assert_eq!(first(range), Some(&sequence), "not the oldest");
        if self.live == Some(side_of(sequence)) {
            let backlog = first(range ^ SIDE).filter(|it| number_of(**it) < next);
            assert_eq!(backlog, None, "before the backlog");
        }
    }

    fn take(&mut self) -> bool {
        let Some(outgoing) = self.session.next(NOW, &mut Vec::new()) else {
            return false;
        };
        let Outgoing::Publish {
            delivery,
            packet_id,
            ..
        } = outgoing
        else {
            panic!("{outgoing:?}");
        };
        let sequence = delivery.sequence;
        assert!(self.waiting.remove(&sequence).is_some(), "not waiting");
        let higher = |it: &&u64| lane_of(**it) > lane_of(sequence);
        assert!(
            !self.waiting.keys().any(|it| higher(&it)),
            "a higher lane waits"
        );
        if self.percent == 0 {
            let mut lane = self.waiting.keys();
            let is_older = |it: &u64| number_of(*it) < number_of(sequence);
            let older = lane.find(|it| lane_of(**it) == lane_of(sequence) && is_older(it));
            assert_eq!(older, None, "before what is older");
        }
        let before = self.taken.insert(range_of(sequence), number_of(sequence));
        assert!(before.is_none_or(|it| it < number_of(sequence)), "order");
        let done = self.session.inflight_mut().puback(packet_id);
        assert_eq!(done, Acknowledged::Done(sequence));
        self.operations.push_back(Operation::Remove(sequence));
        true
    }

    fn work(&mut self) -> bool {
        match self.operations.pop_front() {
            None => return false,
            Some(Operation::Put(delivery)) => {
                self.disk.insert(delivery.sequence, delivery);
            }
            Some(Operation::Remove(sequence)) => {
                self.disk.remove(&sequence);
            }
            Some(Operation::Load(request)) => {
                let rows = self.disk.range(request.from..request.to);
                let page: Vec<_> = rows.map(|it| it.1.clone()).take(request.count).collect();
                let complete = page.len() < request.count;
                self.session.page_loaded(page, complete);
                self.loading = None;
                let evicted = self.session.take_evicted();
                self.evict(evicted, u8::MAX);
            }
            Some(Operation::Trimmed(range, next)) => {
                let is_before = |it: &u64| range_of(*it) == range && number_of(*it) < next;
                assert!(!self.waiting.keys().any(is_before), "before the backlog");
            }
            Some(Operation::Trim(request)) => {
                let done = self.trim(&request);
                self.session.trimmed(&request, done);
                let evicted = self.session.take_evicted();
                self.evict(evicted, u8::MAX);
            }
        }
        true
    }

    fn trim(&mut self, request: &TrimRequest) -> Trimmed {
        let mut done = Trimmed::default();
        while done.removed.messages < request.wanted.messages
            || done.removed.bytes < request.wanted.bytes
        {
            let mut rows = self.disk.range(request.from..request.to);
            let skip = usize::try_from(request.skip).unwrap();
            let Some((&sequence, _)) = rows.nth(skip) else {
                done.complete = true;
                break;
            };
            let row = self.disk.remove(&sequence).unwrap();
            // It may be superseded, which the store has not been told yet.
            if self.waiting.contains_key(&sequence) {
                self.assert_oldest(sequence, number_of(request.to));
                self.waiting.remove(&sequence);
            }
            done.removed.messages += 1;
            done.removed.bytes += row.message.byte_count() as u64;
            done.next = sequence + 1;
        }
        done
    }

    fn restart(&mut self) {
        self.operations.clear();
        self.loading = None;
        self.taken.clear();
        let size = |it: &Delivery| it.message.byte_count() as u64;
        let sizes = self.disk.iter().map(|(sequence, it)| (*sequence, size(it)));
        self.waiting = sizes.collect();
        let mut lanes: BTreeMap<u8, StoredLane> = BTreeMap::new();
        for (&sequence, &bytes) in &self.waiting {
            let lane = lanes.entry(range_of(sequence));
            let lane = lane.or_insert_with(|| StoredLane {
                first: sequence,
                waiting: Amount::default(),
                unsettled: 0,
            });
            lane.waiting.messages += 1;
            lane.waiting.bytes += bytes;
        }
        let numbers: BTreeSet<u64> = self.disk.keys().map(|it| number_of(*it)).collect();
        assert_eq!(numbers.len(), self.disk.len(), "a number twice");
        let rows = || self.disk.values().filter(|it| it.class.latest_only);
        let topic = |it: &Delivery| it.message.topic.as_str().to_owned();
        // One whose removal is lost waits like any other.
        let last = |it: &&Delivery| {
            let mut same = rows().filter(|other| topic(other) == topic(it));
            same.all(|other| number_of(other.sequence) <= number_of(it.sequence))
        };
        let latest = rows().filter(last);
        let before = |it: &&Delivery| {
            let same = rows().filter(|other| topic(other) == topic(it));
            let older = same.filter(|other| number_of(other.sequence) < number_of(it.sequence));
            older.max_by_key(|other| number_of(other.sequence))
        };
        let is_behind = |it: &&Delivery| {
            before(it).is_some_and(|other| side_of(other.sequence) == side_of(it.sequence))
        };
        self.tied = latest.clone().filter(is_behind).map(topic).collect();
        self.latest = latest.map(|it| (it.sequence, topic(it))).collect();
        let latest = rows().map(|it| StoredLast {
            topic: it.message.topic.clone(),
            sequence: it.sequence,
            bytes: size(it),
        });
        let last = self.disk.keys().max_by_key(|it| number_of(**it));
        let stored = StoredQueue {
            lanes: lanes.into_values().collect(),
            latest: latest.collect(),
            next: numbers.last().map_or(1, |it| it + 1),
            side: side_of(last.copied().unwrap_or_default()),
            sent: 0,
            released: Vec::new(),
            in_flight: Vec::new(),
        };
        self.is_exceeded = true;
        self.session = Session::recovered(self.limits, &stored);
        self.session.share_live(self.percent);
        self.session.resume(100);
        self.live = None;
    }

    /// With nothing under way, what the session says is so, and no quota is exceeded.
    fn check(&mut self) {
        if !self.operations.is_empty() || self.is_unsure() {
            return;
        }
        let waiting = Amount {
            messages: self.waiting.len() as u64,
            bytes: self.waiting.values().sum(),
        };
        assert_eq!(self.session.waiting(), waiting);
        let fits = waiting.messages <= self.limits.stored_messages_max
            && waiting.bytes <= self.limits.stored_bytes_max;
        assert!(fits || self.is_exceeded, "{waiting:?}");
        self.is_exceeded &= !fits;
    }

    fn drain(&mut self) {
        for _ in 0..200 {
            while self.take() {}
            self.step(&Step::WantPage);
            while self.work() {}
            self.check();
        }
        assert!(self.waiting.is_empty(), "all is taken: {:?}", self.waiting);
        assert!(self.disk.is_empty(), "the store keeps nothing");
        assert_eq!(self.session.waiting(), Amount::default());
    }
}

fn when_full() -> impl Strategy<Value = WhenFull> {
    prop_oneof![Just(WhenFull::RejectNew), Just(WhenFull::DropOldest)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn quotas_hold_and_only_what_is_oldest_makes_way(
        steps in prop_oneof![steps(Just(1)), steps(0..=3_u8)],
        when_full in when_full(),
    ) {
        let mut world = World::new(limits(when_full));
        for step in &steps {
            world.step(step);
            world.check();
        }
        world.drain();
    }
}

#[test]
fn no_more_makes_way_than_has_to_however_late_the_store_answers() {
    const MAX: u64 = 300;
    for work in [1, 2, 3, 10, 100] {
        let mut world = World::new(QueueLimits {
            messages_max: 50,
            bytes_max: 1 << 20,
            stored_messages_max: MAX,
            stored_bytes_max: 1 << 20,
            ..limits(WhenFull::DropOldest)
        });
        for number in 0..3 * MAX {
            world.enqueue(1, 1, Topic::Any);
            let waiting = world.session.waiting().messages;
            assert!(waiting <= MAX + MAX / 100, "{waiting}");
            if number % work == 0 {
                world.step(&Step::Work(work as usize));
            }
        }
        while world.work() {}
        assert_eq!(world.waiting.len() as u64, MAX);
        world.drain();
    }
}
