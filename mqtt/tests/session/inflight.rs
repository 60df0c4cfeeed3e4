//! Packet Identifiers and the window of what is unacknowledged (§4.3, §4.4, §4.9).

mod received;

use mqtt::QoS;
use mqtt::session::{
    Acknowledged, Amount, Outgoing, QueueLimits, Session, StoredLane, StoredQueue, WhenFull,
    lane_of, number_of, sequence,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{NOW, delivery, number};

const LIMITS: QueueLimits = QueueLimits {
    messages_max: 1_000,
    bytes_max: 1 << 30,
    live_bytes_max: 1 << 30,
    stored_messages_max: 1_000,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
/// Identifiers come round soon after the first of these sequences.
const FIRST: u64 = 65_530;
/// A topic of one byte, and a number.
const CONTENT_BYTES: u64 = 9;

#[derive(Clone, Debug)]
enum Step {
    Enqueue(QoS, u8),
    Next,
    Acknowledge(Kind, Index),
    /// An acknowledgement of any identifier.
    Stray(Kind, u16),
    Resume(u16),
    /// The receiver has forgotten what it had.
    Forget,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Puback,
    Pubrec,
    /// PUBREC of a receiver that may forget it.
    Received,
    Refusal,
    Pubcomp,
    Abandon,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    let kind = || {
        prop_oneof![
            4 => Just(Kind::Puback),
            4 => Just(Kind::Pubrec),
            4 => Just(Kind::Received),
            1 => Just(Kind::Refusal),
            4 => Just(Kind::Pubcomp),
            1 => Just(Kind::Abandon),
        ]
    };
    let stray = prop_oneof![0..9_u16, 65_525..=u16::MAX];
    let step = prop_oneof![
        5 => (qos, 0..=3_u8).prop_map(|(qos, lane)| Step::Enqueue(qos, lane)),
        8 => Just(Step::Next),
        8 => (kind(), any::<Index>()).prop_map(|(kind, index)| Step::Acknowledge(kind, index)),
        1 => (kind(), stray).prop_map(|(kind, packet_id)| Step::Stray(kind, packet_id)),
        1 => (0..4_u16).prop_map(Step::Resume),
        1 => Just(Step::Forget),
    ];
    vec(step, 1..200)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Published,
    Released,
    /// The same, with the content.
    Received,
}

#[derive(Clone, Debug)]
struct Entry {
    number: u64,
    sequence: u64,
    qos: QoS,
    state: State,
    sent_now: bool,
}

/// What is sent, as a list.
#[derive(Debug, Default)]
struct Model {
    waiting: Vec<Entry>,
    live: Vec<u64>,
    entries: Vec<Entry>,
    window: usize,
    last_number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    Publish {
        number: u64,
        packet_id: u16,
        dup: bool,
    },
    Release(u16),
}

/// 1 to 65,535 and from 1 again.
fn packet_id(sequence: u64) -> u16 {
    u16::try_from((number_of(sequence) - 1) % 65_535 + 1).unwrap()
}

impl Model {
    fn next(&mut self) -> Option<Sent> {
        let sent_now = self.entries.iter().filter(|it| it.sent_now).count();
        let old = self.entries.iter_mut().find(|it| !it.sent_now);
        match old {
            Some(entry) if sent_now < self.window => {
                entry.sent_now = true;
                let packet_id = packet_id(entry.sequence);
                return Some(match entry.state {
                    State::Released | State::Received => Sent::Release(packet_id),
                    State::Published => Sent::Publish {
                        number: entry.number,
                        packet_id,
                        dup: true,
                    },
                });
            }
            None if sent_now < self.window && !self.waiting.is_empty() => {
                let lanes = self.waiting.iter().map(|it| lane_of(it.sequence));
                let highest = lanes.max();
                let mut waiting = self.waiting.iter();
                let first = waiting.position(|it| Some(lane_of(it.sequence)) == highest);
                let entry = self.waiting.remove(first.unwrap());
                let sent = Sent::Publish {
                    number: entry.number,
                    packet_id: packet_id(entry.sequence),
                    dup: false,
                };
                self.entries.push(entry);
                return Some(sent);
            }
            _ => {}
        }
        // QoS 0 waits for no window.
        (!self.live.is_empty()).then(|| Sent::Publish {
            number: self.live.remove(0),
            packet_id: 0,
            dup: false,
        })
    }

    fn enqueue(&mut self, number: u64, qos: QoS, lane: u8) {
        self.last_number += 1;
        self.waiting.push(Entry {
            number,
            sequence: sequence(lane, self.last_number),
            qos,
            state: State::Published,
            sent_now: true,
        });
    }

    fn forget(&mut self) {
        for entry in &mut self.entries {
            if entry.state == State::Received {
                entry.state = State::Published;
            }
        }
    }

    /// What waits or is unacknowledged, with the contents that are kept.
    fn outstanding(&self) -> Amount {
        let kept = self.entries.iter().filter(|it| it.state != State::Released);
        Amount {
            messages: (self.waiting.len() + self.entries.len()) as u64,
            bytes: (self.waiting.len() + kept.count()) as u64 * CONTENT_BYTES,
        }
    }

    fn acknowledge(&mut self, kind: Kind, wanted: u16) -> Acknowledged {
        let mut entries = self.entries.iter_mut();
        let found = entries.position(|it| packet_id(it.sequence) == wanted);
        let Some(place) = found else {
            return Acknowledged::Unknown;
        };
        let entry = &mut self.entries[place];
        let sequence = entry.sequence;
        let is_done = match (kind, entry.qos, entry.state) {
            (Kind::Pubrec, QoS::ExactlyOnce, _) => {
                entry.state = State::Released;
                return Acknowledged::Release(sequence);
            }
            (Kind::Received, QoS::ExactlyOnce, state) => {
                if state == State::Published {
                    entry.state = State::Received;
                }
                return Acknowledged::Release(sequence);
            }
            (Kind::Puback, QoS::AtLeastOnce, _)
            | (Kind::Refusal, QoS::ExactlyOnce, State::Published)
            | (Kind::Pubcomp, QoS::ExactlyOnce, State::Released | State::Received)
            | (Kind::Abandon, ..) => true,
            _ => false,
        };
        if !is_done {
            return Acknowledged::Unknown;
        }
        self.entries.remove(place);
        Acknowledged::Done(sequence)
    }
}

fn acknowledge(session: &mut Session, kind: Kind, packet_id: u16) -> Acknowledged {
    let inflight = session.inflight_mut();
    match kind {
        Kind::Puback => inflight.puback(packet_id),
        Kind::Pubrec => inflight.pubrec(packet_id, false),
        Kind::Received => inflight.received(packet_id),
        Kind::Refusal => inflight.pubrec(packet_id, true),
        Kind::Pubcomp => inflight.pubcomp(packet_id),
        Kind::Abandon => inflight.abandon(packet_id),
    }
}

fn next(session: &mut Session) -> Option<Sent> {
    Some(match session.next(NOW, &mut Vec::new())? {
        Outgoing::Publish {
            delivery,
            packet_id,
            dup,
        } => Sent::Publish {
            number: number(&delivery),
            packet_id,
            dup,
        },
        Outgoing::Release(packet_id) => Sent::Release(packet_id),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_window_is_a_list_of_what_is_unacknowledged(steps in steps()) {
        let stored = StoredQueue {
            lanes: Vec::new(),
            latest: Vec::new(),
            next: FIRST,
            side: 0,
            sent: 0,
            released: Vec::new(),
            in_flight: Vec::new(),
        };
        let mut session = Session::recovered(LIMITS, &stored);
        session.resume(2);
        let mut model = Model {
            window: 2,
            last_number: FIRST - 1,
            ..Model::default()
        };
        for (step, count) in steps.into_iter().zip(0..) {
            match step {
                Step::Enqueue(qos, lane) => {
                    let mut delivery = delivery(qos, count, 0);
                    delivery.class.lane = lane;
                    let _ = session.enqueue(delivery);
                    if qos.is_acknowledged() {
                        model.enqueue(count, qos, lane);
                    } else {
                        model.live.push(count);
                    }
                }
                Step::Next => prop_assert_eq!(next(&mut session), model.next()),
                Step::Acknowledge(kind, index) => {
                    let ids: Vec<_> = model.entries.iter().map(|it| packet_id(it.sequence)).collect();
                    if !ids.is_empty() {
                        let id = *index.get(&ids);
                        let expected = model.acknowledge(kind, id);
                        prop_assert_eq!(acknowledge(&mut session, kind, id), expected);
                    }
                }
                Step::Stray(kind, id) => {
                    let expected = model.acknowledge(kind, id);
                    prop_assert_eq!(acknowledge(&mut session, kind, id), expected);
                }
                Step::Resume(receive_maximum) => {
                    session.suspend();
                    session.resume(receive_maximum);
                    model.live.clear();
                    model.window = usize::from(receive_maximum.max(1));
                    model.entries.iter_mut().for_each(|it| it.sent_now = false);
                }
                Step::Forget => {
                    session.inflight_mut().receiver_forgot();
                    model.forget();
                }
            }
            let keeps = model.entries.iter().any(|it| it.state == State::Received);
            prop_assert_eq!(session.inflight_mut().keeps_received(), keeps);
            prop_assert_eq!(session.outstanding(), model.outstanding());
            let backlog = model.waiting.len() + model.entries.len();
            prop_assert_eq!(session.backlog(), backlog as u64);
        }
    }
}

/// Enqueues a delivery in a lane.
fn put(session: &mut Session, number: u64, lane: u8) {
    let mut delivery = delivery(QoS::AtLeastOnce, number, 0);
    delivery.class.lane = lane;
    let _ = session.enqueue(delivery);
}

fn sent(number: u64, packet_id: u16, dup: bool) -> Option<Sent> {
    Some(Sent::Publish {
        number,
        packet_id,
        dup,
    })
}

#[test]
fn an_identifier_that_a_later_number_uses_holds_up_an_earlier_one() {
    let mut session = Session::new(LIMITS, false);
    session.resume(10);
    put(&mut session, 0, 0);
    for number in 2..=65_535_u16 {
        put(&mut session, number.into(), 1);
        assert_eq!(next(&mut session), sent(number.into(), number, false));
        session.inflight_mut().puback(number);
    }
    put(&mut session, 65_536, 1);
    assert_eq!(next(&mut session), sent(65_536, 1, false));
    assert_eq!(next(&mut session), None, "identifier 1 is in use");
    session.inflight_mut().puback(1);
    assert_eq!(next(&mut session), sent(0, 1, false));
    // The other way round, with one between them that is done.
    put(&mut session, 65_537, 1);
    assert_eq!(next(&mut session), sent(65_537, 2, false));
    session.inflight_mut().puback(2);
    for number in 65_538..131_071_u64 {
        put(&mut session, number, 1);
        let packet_id = packet_id(number);
        assert_eq!(next(&mut session), sent(number, packet_id, false));
        session.inflight_mut().puback(packet_id);
    }
    put(&mut session, 131_071, 1);
    assert_eq!(next(&mut session), None, "identifier 1 is in use again");
    session.inflight_mut().puback(1);
    assert_eq!(next(&mut session), sent(131_071, 1, false));
}

#[test]
fn lanes_are_repeated_in_the_order_of_sending_and_after_a_restart_with_dup() {
    let mut session = Session::new(LIMITS, true);
    session.resume(10);
    put(&mut session, 1, 0);
    put(&mut session, 2, 0);
    put(&mut session, 3, 2);
    assert_eq!(next(&mut session), sent(3, 3, false));
    assert_eq!(next(&mut session), sent(1, 1, false));
    put(&mut session, 4, 3);
    for _ in 0..2 {
        session.suspend();
        session.resume(2);
        assert_eq!(next(&mut session), sent(3, 3, true));
        assert_eq!(next(&mut session), sent(1, 1, true));
        assert_eq!(next(&mut session), None);
    }
    session.inflight_mut().puback(3);
    assert_eq!(next(&mut session), sent(4, 4, false));
    assert_eq!(session.sent(), 4);

    // Of these the first and the last were sent.
    let lane = |lane, numbers: &[u64]| StoredLane {
        first: sequence(lane, numbers[0]),
        waiting: Amount {
            messages: numbers.len() as u64,
            bytes: 9 * numbers.len() as u64,
        },
        unsettled: numbers.len() as u64,
    };
    let stored = StoredQueue {
        lanes: vec![lane(0, &[1, 2]), lane(3, &[4])],
        latest: Vec::new(),
        next: 5,
        side: 0,
        sent: 4,
        released: vec![sequence(2, 3)],
        in_flight: Vec::new(),
    };
    let mut session = Session::recovered(LIMITS, &stored);
    session.resume(10);
    assert_eq!(next(&mut session), Some(Sent::Release(3)));
    assert_eq!(next(&mut session), None, "the rest is in the store");
    for (number, lane) in [(4, 3), (1, 0)] {
        let request = session.page_wanted().unwrap();
        assert_eq!(request.from, sequence(lane, number));
        let mut entry = delivery(QoS::AtLeastOnce, number, 0);
        entry.class.lane = lane;
        entry.sequence = request.from;
        session.page_loaded(vec![entry], true);
    }
    put(&mut session, 5, 1);
    assert_eq!(next(&mut session), sent(4, 4, true));
    assert_eq!(next(&mut session), sent(5, 5, false));
    assert_eq!(next(&mut session), sent(1, 1, true));
    session.suspend();
    session.resume(10);
    let order: Vec<_> = std::iter::from_fn(|| next(&mut session)).collect();
    let expected = [
        Sent::Release(3),
        sent(4, 4, true).unwrap(),
        sent(5, 5, true).unwrap(),
        sent(1, 1, true).unwrap(),
    ];
    assert_eq!(order, expected);
}

#[test]
fn what_is_kept_back_takes_no_place_of_others() {
    const PAYLOAD: usize = 1_000;
    let new = |number| delivery(QoS::AtLeastOnce, number, PAYLOAD);
    let bytes = u32::try_from(new(0).message.memory_bytes()).unwrap();
    let limits = QueueLimits {
        bytes_max: 4 * bytes as usize - 1,
        ..LIMITS
    };
    let mut session = Session::new(limits, false);
    session.resume(2);
    let mut step = |kept: Option<(u16, u32)>, more: &[u64], expected: &[u64]| {
        if let Some((messages, bytes)) = kept {
            session.inflight_mut().keep_back(messages, bytes);
        }
        for number in more {
            assert!(session.has_room(&new(*number)));
            session.enqueue(new(*number));
        }
        let mut numbers = Vec::new();
        while let Some(Outgoing::Publish { delivery, .. }) = session.next(NOW, &mut Vec::new()) {
            numbers.push(number(&delivery));
        }
        assert_eq!(numbers, expected, "{kept:?}");
        session.inflight_mut().len()
    };
    step(None, &[1, 2, 3], &[1, 2]);
    step(Some((1, bytes)), &[], &[3]);
    step(Some((3, 3 * bytes)), &[4, 5, 6], &[4, 5]);
    // There are places for two more, and memory for one.
    step(Some((5, 3 * bytes)), &[7], &[6]);
    assert_eq!(step(Some((5, 5 * bytes)), &[], &[7]), 7);
    // Nothing is kept back of what is sent again.
    session.resume(2);
    let mut again = || match session.next(NOW, &mut Vec::new()) {
        Some(Outgoing::Publish { delivery, .. }) => number(&delivery),
        other => panic!("{other:?}"),
    };
    assert_eq!([again(), again()], [1, 2]);
    assert!(session.next(NOW, &mut Vec::new()).is_none());
    session.inflight_mut().keep_back(1, bytes);
    assert!(session.next(NOW, &mut Vec::new()).is_some());
}
