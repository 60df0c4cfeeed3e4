//! Deliveries that make way while they wait.

use mqtt::QoS;
use mqtt::session::{
    Amount, Enqueue, Evicted, Outgoing, QueueClass, QueueLimits, Session, StoredLane, StoredQueue,
    WhenFull, number_of,
};

use crate::{NOW, delivery};

const LIMITS: QueueLimits = QueueLimits {
    messages_max: 4,
    bytes_max: 1 << 20,
    live_bytes_max: 0,
    stored_messages_max: 100,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
/// Bytes of the content of each message.
const BYTES: u64 = 1 + 8 + 10;

/// A session with deliveries 1 to 10, of which the store only has 5 to 10.
fn session() -> Session {
    let mut session = Session::new(LIMITS, true);
    session.resume(2);
    for number in 1..=10 {
        session.enqueue(delivery(QoS::AtLeastOnce, number, 10));
    }
    session
}

fn send(session: &mut Session) -> Option<(u64, u16)> {
    match session.next(NOW, &mut Vec::new())? {
        Outgoing::Publish {
            delivery,
            packet_id,
            ..
        } => Some((delivery.sequence, packet_id)),
        Outgoing::Release(_) => None,
    }
}

#[test]
fn what_waits_makes_way_and_what_is_sent_does_not() {
    let mut session = session();
    let (first, packet_id) = send(&mut session).unwrap();
    assert_eq!((first, session.backlog()), (1, 10));
    for sequence in [1, 2, 3, 7] {
        let waits = [2, 3, 7].contains(&sequence);
        assert_eq!(
            session.give_up(sequence, QoS::AtLeastOnce, BYTES),
            waits,
            "{sequence}"
        );
    }
    assert_eq!(session.backlog(), 7);
    assert!(!session.give_up(2, QoS::AtLeastOnce, BYTES), "it has gone");
    session.inflight_mut().puback(packet_id);
    assert!(!session.give_up(1, QoS::AtLeastOnce, BYTES));
    assert_eq!(send(&mut session).map(|it| it.0), Some(4));
    let page = session.page_wanted().unwrap();
    assert_eq!((page.from, page.to), (5, 11));
    let rows = [5, 6, 8].map(|it| {
        let mut row = delivery(QoS::AtLeastOnce, it, 10);
        row.sequence = it;
        row
    });
    session.page_loaded(rows.into(), false);
    assert_eq!(session.backlog(), 6);
}

#[test]
fn what_comes_follows_a_page_of_which_nothing_is_left() {
    let mut session = session();
    for _ in 0..4 {
        let (_, packet_id) = send(&mut session).unwrap();
        session.inflight_mut().puback(packet_id);
    }
    let page = session.page_wanted().unwrap();
    for sequence in page.from..page.to {
        assert!(session.give_up(sequence, QoS::AtLeastOnce, BYTES));
    }
    assert_eq!(session.backlog(), 0);
    let last = session.enqueue(delivery(QoS::AtLeastOnce, 11, 10));
    assert_eq!(last, Enqueue::Spilled { sequence: 11 });
    session.page_loaded(Vec::new(), true);
    assert_eq!(session.backlog(), 1);
    let page = session.page_wanted().unwrap();
    assert_eq!((page.from, page.to), (11, 12));
}

#[test]
fn an_identifier_that_the_receiver_may_know_is_not_given_away() {
    let stored = StoredQueue {
        lanes: vec![StoredLane {
            first: 1,
            waiting: Amount {
                messages: 3,
                bytes: 3 * BYTES,
            },
            unsettled: 2,
        }],
        latest: Vec::new(),
        next: 4,
        side: 0,
        sent: 2,
        released: Vec::new(),
        in_flight: Vec::new(),
    };
    let mut session = Session::recovered(LIMITS, &stored);
    assert!(!session.give_up(2, QoS::ExactlyOnce, BYTES));
    assert!(session.give_up(3, QoS::ExactlyOnce, BYTES));
    // Its receiver knows nothing of one of QoS 1.
    assert!(session.give_up(1, QoS::AtLeastOnce, BYTES));
    assert_eq!(session.backlog(), 1);
}

#[test]
fn what_waits_in_a_lower_lane_makes_way_although_others_were_sent() {
    let mut session = session();
    let mut higher = delivery(QoS::ExactlyOnce, 11, 10);
    higher.class = QueueClass {
        lane: 3,
        ..QueueClass::default()
    };
    session.enqueue(higher);
    let (sequence, _) = send(&mut session).unwrap();
    assert_eq!(number_of(sequence), 11);
    assert!(session.give_up(1, QoS::ExactlyOnce, BYTES));
    assert!(!session.give_up(sequence, QoS::ExactlyOnce, BYTES));
}

#[test]
fn nothing_takes_the_place_of_what_has_made_way() {
    let mut session = session();
    let state = || {
        let mut delivery = delivery(QoS::AtLeastOnce, 0, 10);
        delivery.class.latest_only = true;
        delivery
    };
    assert_eq!(session.enqueue(state()), Enqueue::Spilled { sequence: 11 });
    assert!(session.give_up(11, QoS::AtLeastOnce, BYTES));
    assert_eq!(session.backlog(), 10);
    assert_eq!(session.enqueue(state()), Enqueue::Spilled { sequence: 12 });
    assert_eq!((session.take_evicted(), session.backlog()), (vec![], 11));
    session.enqueue(state());
    let evicted = session.take_evicted();
    assert_eq!(
        (evicted, session.backlog()),
        (vec![Evicted::Superseded(12)], 11)
    );
}
