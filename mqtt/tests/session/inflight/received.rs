//! What a receiver has that may forget it, before PUBCOMP and over a restart.

use super::*;

fn put_exactly_once(session: &mut Session, number: u64, lane: u8) {
    let mut delivery = delivery(QoS::ExactlyOnce, number, 0);
    delivery.class.lane = lane;
    let _ = session.enqueue(delivery);
}

fn all(session: &mut Session) -> Vec<Option<Sent>> {
    std::iter::from_fn(|| next(session)).map(Some).collect()
}

#[test]
fn what_its_receiver_has_forgotten_is_published_again_in_its_order() {
    let mut session = Session::new(LIMITS, true);
    session.resume(10);
    for number in 1..=5 {
        put_exactly_once(&mut session, number, 1);
        assert_eq!(next(&mut session), sent(number, packet_id(number), false));
    }
    let in_memory = session.memory_bytes();
    for packet_id in [2, 4, 4, 5] {
        let received = session.inflight_mut().received(packet_id);
        assert_eq!(received, Acknowledged::Release(packet_id.into()));
    }
    assert_eq!(session.memory_bytes(), in_memory);
    assert_eq!(session.inflight_mut().pubcomp(5), Acknowledged::Done(5));
    // It still has them.
    session.suspend();
    session.resume(10);
    let (second, fourth) = (Some(Sent::Release(2)), Some(Sent::Release(4)));
    let expected = [sent(1, 1, true), second, sent(3, 3, true), fourth];
    assert_eq!(all(&mut session), expected);
    // It has them no more.
    session.suspend();
    session.inflight_mut().receiver_forgot();
    session.resume(10);
    let expected = [1, 2, 3, 4].map(|it| sent(it, packet_id(it), true));
    assert_eq!(all(&mut session), expected);
    for packet_id in 1..=4 {
        session.inflight_mut().received(packet_id);
        session.inflight_mut().pubcomp(packet_id);
    }
    assert_eq!((session.memory_bytes(), session.backlog()), (0, 0));
}

/// A session of which the 2nd, 3rd and 5th were received when it was left, the 3rd without its
/// content, and the 6th waits.
fn left_in_flight() -> Session {
    let of = |number| {
        let mut delivery = delivery(QoS::ExactlyOnce, number, 0);
        delivery.sequence = number;
        delivery
    };
    let stored = StoredQueue {
        lanes: vec![StoredLane {
            first: 6,
            waiting: Amount {
                messages: 1,
                bytes: CONTENT_BYTES,
            },
            unsettled: 1,
        }],
        latest: Vec::new(),
        next: 7,
        side: 0,
        sent: 6,
        released: vec![2, 3, 5],
        in_flight: [1, 2, 4, 5].map(of).into(),
    };
    Session::recovered(LIMITS, &stored)
}

#[test]
fn what_was_in_flight_before_a_restart_is_so_again() {
    let mut session = left_in_flight();
    let kept = Amount {
        messages: 6,
        bytes: 5 * CONTENT_BYTES,
    };
    assert_eq!(session.outstanding(), kept);
    assert_eq!((session.waiting().messages, session.numbers()), (1, (1, 7)));
    // None of them makes way.
    for sequence in 1..=5 {
        assert!(!session.give_up(sequence, QoS::ExactlyOnce, CONTENT_BYTES));
        assert!(!session.give_up(sequence, QoS::AtLeastOnce, CONTENT_BYTES));
    }
    session.resume(10);
    let released = [2, 3, 5].map(|it| Some(Sent::Release(it)));
    let [second, third, fifth] = released;
    let expected = [sent(1, 1, true), second, third, sent(4, 4, true), fifth];
    assert_eq!(all(&mut session), expected);
    for (packet_id, sequence) in [(2, 2), (3, 3), (5, 5)] {
        let done = session.inflight_mut().pubcomp(packet_id);
        assert_eq!(done, Acknowledged::Done(sequence));
    }
    assert_eq!(session.backlog(), 3);
    let page = session.page_wanted().unwrap();
    assert_eq!((page.from, page.to), (6, 7));
}

#[test]
fn what_was_received_before_a_restart_and_is_forgotten_is_published_before_what_waits() {
    let mut session = left_in_flight();
    session.inflight_mut().receiver_forgot();
    session.resume(3);
    let expected = [1, 2].map(|it| sent(it, packet_id(it), true));
    let third = Some(Sent::Release(3));
    assert_eq!(all(&mut session), [expected.to_vec(), vec![third]].concat());
    session.inflight_mut().pubcomp(3);
    session.inflight_mut().received(1);
    session.inflight_mut().pubcomp(1);
    let expected = [4, 5].map(|it| sent(it, packet_id(it), true));
    assert_eq!(all(&mut session), expected);
}
