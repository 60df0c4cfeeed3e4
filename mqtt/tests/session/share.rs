//! A backlog and what is live, which share a connection.

use std::collections::VecDeque;

use mqtt::QoS;
use mqtt::session::{
    Amount, Delivery, Enqueue, Evicted, Outgoing, PageRequest, QueueLimits, SIDE, Session,
    StoredLane, StoredLast, StoredQueue, WhenFull, lane_of, sequence, side_of,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, delivery, delivery_of, number};

const LIMITS: QueueLimits = QueueLimits {
    messages_max: 1_000,
    bytes_max: 1 << 20,
    live_bytes_max: 0,
    stored_messages_max: 1_000,
    stored_bytes_max: 1 << 20,
    when_full: WhenFull::RejectNew,
    holds_encoded: false,
};

/// Puts one in, which is named by this number; returns its sequence.
fn put(session: &mut Session, lane: u8, number: u64) -> u64 {
    let mut delivery = delivery(QoS::AtLeastOnce, number, 0);
    delivery.class.lane = lane;
    put_in(session, delivery)
}

fn put_in(session: &mut Session, delivery: Delivery) -> u64 {
    match session.enqueue(delivery) {
        Enqueue::Kept { sequence } | Enqueue::Spilled { sequence } => sequence,
        Enqueue::Dropped => panic!("there is no room"),
    }
}

/// Takes the next one, which is acknowledged at once.
fn take(session: &mut Session) -> Option<Delivery> {
    let outgoing = session.next(NOW, &mut Vec::new())?;
    let Outgoing::Publish {
        delivery,
        packet_id,
        ..
    } = outgoing
    else {
        panic!("{outgoing:?}");
    };
    session.inflight_mut().puback(packet_id);
    Some(delivery)
}

fn take_all(session: &mut Session) -> Vec<u64> {
    std::iter::from_fn(|| take(session))
        .map(|it| number(&it))
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Take,
    Connect,
    Share(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let percent = prop_oneof![1 => Just(0), 1 => Just(100), 4 => 1..100_u8];
    let step = prop_oneof![
        12 => (0..=3_u8).prop_map(Step::Put),
        10 => Just(Step::Take),
        1 => Just(Step::Connect),
        1 => percent.prop_map(Step::Share),
    ];
    vec(step, 1..300)
}

/// Of each lane, the backlog and what is live.
#[derive(Default)]
struct Model {
    backlog: [VecDeque<u64>; 4],
    live: [VecDeque<u64>; 4],
    percent: u32,
    /// Percents of a turn.
    earned: u32,
}

impl Model {
    fn connect(&mut self) {
        if self.percent > 0 && self.backlog.iter().all(VecDeque::is_empty) {
            self.backlog = std::mem::take(&mut self.live);
        }
    }

    fn take(&mut self) -> Option<u64> {
        for (live, backlog) in self.live.iter_mut().zip(&mut self.backlog).rev() {
            let (Some(&newer), Some(&older)) = (live.front(), backlog.front()) else {
                match live.pop_front().or_else(|| backlog.pop_front()) {
                    None => continue,
                    taken => return taken,
                }
            };
            if self.percent == 0 {
                let is_live = newer < older;
                return if is_live { live } else { backlog }.pop_front();
            }
            self.earned += self.percent;
            if self.earned < 100 {
                return backlog.pop_front();
            }
            self.earned -= 100;
            return live.pop_front();
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn both_sides_of_a_lane_take_turns(steps in steps()) {
        let mut session = Session::new(LIMITS, false);
        session.resume(100);
        let mut model = Model::default();
        for (step, number) in steps.into_iter().zip(1..) {
            match step {
                Step::Put(lane) => {
                    let sequence = put(&mut session, lane, number);
                    prop_assert_eq!(lane_of(sequence), lane);
                    model.live[usize::from(lane)].push_back(number);
                }
                Step::Take => {
                    let taken = take(&mut session).map(|it| self::number(&it));
                    prop_assert_eq!(taken, model.take());
                }
                Step::Connect => {
                    session.resume(100);
                    model.connect();
                }
                Step::Share(percent) => {
                    session.share_live(percent);
                    model.percent = percent.into();
                }
            }
        }
        let left: Vec<u64> = std::iter::from_fn(|| model.take()).collect();
        prop_assert_eq!(take_all(&mut session), left);
    }
}

#[test]
fn thirty_of_each_hundred_are_live() {
    let mut session = Session::new(LIMITS, false);
    session.share_live(30);
    for number in 1..=300 {
        put(&mut session, 1, number);
    }
    session.resume(100);
    for number in 301..=400 {
        put(&mut session, 1, number);
    }
    let taken = take_all(&mut session);
    for hundred in taken[..300].chunks(100) {
        let live = |part: &[u64]| part.iter().filter(|it| **it > 300).count();
        assert_eq!(live(hundred), 30, "{hundred:?}");
        assert!(hundred.chunks(10).all(|it| live(it) == 3), "{hundred:?}");
    }
    let (live, backlog): (Vec<u64>, Vec<u64>) = taken.into_iter().partition(|it| *it > 300);
    assert_eq!(backlog, (1..=300).collect::<Vec<_>>());
    assert_eq!(live, (301..=400).collect::<Vec<_>>());
}

#[test]
fn without_a_share_the_oldest_goes_first_whatever_happens() {
    let mut session = Session::new(LIMITS, false);
    for number in 1..=10 {
        if number % 3 == 0 {
            session.resume(100);
        }
        assert_eq!(put(&mut session, 1, number), number);
    }
    assert_eq!(take_all(&mut session), (1..=10).collect::<Vec<_>>());
}

/// A session whose live side is the first, and has these; the backlog is on the other.
fn recovered(live: &[u64], backlog: &[u64], sent: u64) -> Session {
    let lane = |range, numbers: &[u64]| StoredLane {
        first: sequence(range, numbers[0]),
        waiting: Amount {
            messages: numbers.len() as u64,
            bytes: 9 * numbers.len() as u64,
        },
        unsettled: numbers.iter().filter(|it| **it <= sent).count() as u64,
    };
    let latest = |(sequence, topic): (u64, &str)| StoredLast {
        topic: mqtt::TopicName::new(topic).unwrap(),
        sequence,
        bytes: 9,
    };
    let first = sequence(1 | SIDE, backlog[0]);
    let stored = StoredQueue {
        lanes: vec![lane(1, live), lane(1 | SIDE, backlog)],
        latest: vec![latest((first, "t"))],
        next: 101,
        side: 0,
        sent,
        released: Vec::new(),
        in_flight: Vec::new(),
    };
    let mut session = Session::recovered(LIMITS, &stored);
    session.share_live(30);
    session.resume(100);
    session
}

/// A page with these, which are named by their numbers.
fn page(range: u8, numbers: &[u64]) -> Vec<Delivery> {
    let entry = |it: &u64| Delivery {
        sequence: sequence(range, *it),
        ..delivery(QoS::AtLeastOnce, *it, 0)
    };
    numbers.iter().map(entry).collect()
}

#[test]
fn a_side_that_is_in_the_store_does_not_hold_up_the_other() {
    let mut session = recovered(&[90, 91, 92, 93], &[1, 2, 3, 4], 0);
    let PageRequest { from, to, .. } = session.page_wanted().unwrap();
    assert_eq!((from, to), (sequence(1, 90), sequence(1, 101)));
    assert!(take(&mut session).is_none());
    session.page_loaded(page(1, &[90, 91, 92]), false);
    // It is the turn of the backlog.
    assert_eq!(number(&take(&mut session).unwrap()), 90);
    let PageRequest { from, to, .. } = session.page_wanted().unwrap();
    assert_eq!((from, to), (sequence(1 | SIDE, 1), sequence(1 | SIDE, 101)));
    session.page_loaded(page(1 | SIDE, &[1, 2, 3, 4]), true);
    // What went instead has used up no turn.
    assert_eq!(take_all(&mut session), [1, 2, 3, 91, 4, 92]);
    // With nothing to share for, the oldest is waited for.
    let mut session = recovered(&[90], &[1], 0);
    session.share_live(0);
    assert!(session.page_wanted().is_some());
    session.page_loaded(page(1, &[90]), true);
    assert!(take(&mut session).is_none());
    assert!(session.page_wanted().is_some());
    session.page_loaded(page(1 | SIDE, &[1]), true);
    assert_eq!(take_all(&mut session), [1, 90]);
}

#[test]
fn what_may_not_go_yet_does_not_hold_up_the_backlog() {
    let mut session = Session::new(LIMITS, false);
    session.share_live(50);
    (1..=4).for_each(|it| assert_eq!(put(&mut session, 1, it), it));
    session.resume(100);
    (5..=6).for_each(|it| assert_eq!(put(&mut session, 1, it), sequence(1 | SIDE, it)));
    session.hold_from(5);
    let taken: Vec<_> = (0..3)
        .map(|_| number(&take(&mut session).unwrap()))
        .collect();
    assert_eq!(taken, [1, 2, 3]);
    session.hold_from(u64::MAX);
    assert_eq!(take_all(&mut session), [5, 4, 6]);
}

#[test]
fn only_the_last_of_a_topic_waits_on_either_side() {
    let latest = |number| {
        let mut delivery = delivery_of("t", QoS::AtLeastOnce, number, 0);
        delivery.class.latest_only = true;
        delivery
    };
    let mut session = recovered(&[90], &[1, 2], 0);
    let last = put_in(&mut session, latest(101));
    assert_eq!(side_of(last), 0);
    let superseded = Evicted::Superseded(sequence(1 | SIDE, 1));
    assert_eq!(session.take_evicted(), [superseded]);
    // One that may have been sent keeps its place, and is not overtaken.
    let mut session = recovered(&[90], &[1, 2], 1);
    let behind = put_in(&mut session, latest(101));
    assert_eq!((side_of(behind), session.take_evicted()), (SIDE, vec![]));
    let later = put_in(&mut session, latest(102));
    assert_eq!(side_of(later), SIDE);
    assert_eq!(session.take_evicted(), [Evicted::Superseded(behind)]);
    assert_eq!(side_of(put(&mut session, 1, 103)), 0);
}

#[test]
fn a_connection_amid_a_backlog_begins_no_other() {
    let mut session = Session::new(LIMITS, false);
    session.share_live(50);
    (1..=3).for_each(|it| assert_eq!(put(&mut session, 1, it), it));
    for number in 4..=6 {
        session.resume(100);
        assert_eq!(put(&mut session, 1, number), sequence(1 | SIDE, number));
    }
    assert_eq!(take_all(&mut session), [1, 4, 2, 5, 3, 6]);
    // Nothing is a backlog of nothing.
    session.resume(100);
    assert_eq!(put(&mut session, 1, 7), sequence(1 | SIDE, 7));
    session.resume(100);
    assert_eq!(put(&mut session, 1, 8), 8);
}
