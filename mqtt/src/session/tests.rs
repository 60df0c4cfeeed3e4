//! The session against a naive model, and the rules of each part.

use std::collections::VecDeque;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Message, TopicName};

const LIMITS: QueueLimits = QueueLimits {
    messages_max: 4,
    bytes_max: 1 << 20,
    live_bytes_max: 2_000,
    stored_messages_max: 1_000,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
const NOW: Timestamp = Timestamp::from_millis(1_000);

fn delivery(qos: QoS, number: u64) -> Delivery {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    let mut message = Message::new(TopicName::new("t").unwrap(), payload);
    message.qos = qos;
    let message = Arc::new(message);
    Delivery {
        sequence: 0,
        message,
        qos,
        retain: false,
        subscription_ids: Vec::new(),
        class: QueueClass::default(),
        expires_at: None,
    }
}

fn next(session: &mut Session) -> Option<(u64, u16, bool)> {
    match session.next(NOW, &mut Vec::new())? {
        Outgoing::Publish {
            delivery,
            packet_id,
            dup,
        } => {
            let number = u64::from_be_bytes(delivery.message.payload[..].try_into().unwrap());
            Some((number, packet_id, dup))
        }
        Outgoing::Release(packet_id) => Some((u64::MAX, packet_id, false)),
    }
}

#[test]
fn the_oldest_delivery_is_known_wherever_it_is() {
    let mut session = Session::new(LIMITS, true);
    session.resume(2);
    assert_eq!(session.numbers(), (1, 1));
    // Two are sent, two wait in memory, the others in the store, and one is more urgent.
    for number in 0..7 {
        session.enqueue(delivery(QoS::AtLeastOnce, number));
    }
    for _ in 0..2 {
        assert!(next(&mut session).is_some());
    }
    let mut urgent = delivery(QoS::AtLeastOnce, 7);
    urgent.class.lane = LANE_MAX;
    session.enqueue(urgent);
    assert_eq!(session.numbers(), (1, 9));
    session.inflight_mut().abandon(1);
    assert_eq!(session.numbers(), (2, 9));
    session.inflight_mut().abandon(2);
    assert_eq!(session.numbers(), (3, 9));
    // The urgent one, then those in memory.
    for expected in [3, 4, 5] {
        let (_, packet_id, _) = next(&mut session).unwrap();
        session.inflight_mut().abandon(packet_id);
        assert_eq!(session.numbers(), (expected, 9));
    }
}

#[test]
fn what_is_outstanding_keeps_its_bytes_until_it_is_acknowledged() {
    let mut session = Session::new(LIMITS, false);
    session.resume(2);
    for number in 0..3 {
        session.enqueue(delivery(QoS::AtLeastOnce, number));
    }
    let amount = |messages| Amount {
        messages,
        // Topic and payload.
        bytes: messages * 9,
    };
    assert_eq!(
        (session.waiting(), session.outstanding()),
        (amount(3), amount(3))
    );
    let (_, packet_id, _) = next(&mut session).unwrap();
    next(&mut session).unwrap();
    assert_eq!(
        (session.waiting(), session.outstanding()),
        (amount(1), amount(3))
    );
    session.inflight_mut().abandon(packet_id);
    assert_eq!(
        (session.waiting(), session.outstanding()),
        (amount(1), amount(2))
    );
}

// Conforms: 5.0 [MQTT-3.3.4-9] [MQTT-4.3.2-3] [MQTT-4.9.0-1] [MQTT-4.9.0-2]; 3.1.1 [MQTT-4.3.2-1]
#[test]
fn the_window_holds_back_qos_1_but_not_qos_0() {
    let mut session = Session::new(LIMITS, false);
    session.resume(2);
    for number in 0..3 {
        session.enqueue(delivery(QoS::AtLeastOnce, number));
    }
    session.enqueue(delivery(QoS::AtMostOnce, 9));
    assert_eq!(next(&mut session), Some((0, 1, false)));
    assert_eq!(next(&mut session), Some((1, 2, false)));
    assert_eq!(next(&mut session), Some((9, 0, false)));
    assert_eq!(next(&mut session), None);
    assert_eq!(session.inflight_mut().puback(2), Acknowledged::Done(2));
    assert_eq!(session.inflight_mut().puback(2), Acknowledged::Unknown);
    assert_eq!(next(&mut session), Some((2, 3, false)));
}

// Conforms: 5.0 [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6]
// Conforms: 5.0 [MQTT-4.4.0-1]
// Conforms: 3.1.1 [MQTT-2.3.1-4] [MQTT-3.3.1-1] [MQTT-4.3.2-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1]
#[test]
fn unacknowledged_deliveries_are_repeated_in_order_with_dup() {
    let mut session = Session::new(LIMITS, false);
    session.resume(10);
    session.enqueue(delivery(QoS::ExactlyOnce, 0));
    session.enqueue(delivery(QoS::AtLeastOnce, 1));
    session.enqueue(delivery(QoS::ExactlyOnce, 2));
    while next(&mut session).is_some() {}
    assert_eq!(
        session.inflight_mut().pubrec(1, false),
        Acknowledged::Release(1)
    );
    session.suspend();
    session.enqueue(delivery(QoS::AtLeastOnce, 3));
    session.resume(10);
    let repeated: Vec<_> = std::iter::from_fn(|| next(&mut session)).collect();
    assert_eq!(
        repeated,
        [
            (u64::MAX, 1, false),
            (1, 2, true),
            (2, 3, true),
            (3, 4, false)
        ]
    );
    assert_eq!(session.inflight_mut().pubcomp(1), Acknowledged::Done(1));
    assert_eq!(
        session.inflight_mut().pubrec(3, true),
        Acknowledged::Done(3)
    );
}

// Conforms: 5.0 [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn a_smaller_window_after_reconnect_is_respected() {
    let mut session = Session::new(LIMITS, false);
    session.resume(4);
    for number in 0..4 {
        session.enqueue(delivery(QoS::AtLeastOnce, number));
    }
    while next(&mut session).is_some() {}
    session.resume(1);
    assert_eq!(next(&mut session), Some((0, 1, true)));
    assert_eq!(next(&mut session), None);
    session.inflight_mut().puback(1);
    assert_eq!(next(&mut session), Some((1, 2, true)));
}

#[test]
fn qos_0_beyond_its_bytes_is_dropped() {
    let mut session = Session::new(LIMITS, false);
    let outcomes: Vec<_> = (0..10)
        .map(|number| session.enqueue(delivery(QoS::AtMostOnce, number)) == Enqueue::Dropped)
        .collect();
    // Nine bytes each with the topic, and 256 around them; 2,000 in all.
    assert_eq!(
        outcomes,
        [
            false, false, false, false, false, false, false, true, true, true
        ]
    );
}

// Conforms: 5.0 [MQTT-3.3.2-5]
#[test]
fn a_delivery_larger_than_the_budget_is_kept_alone() {
    let mut session = Session::new(LIMITS, false);
    let message = Message::new(TopicName::new("t").unwrap(), vec![0; 3_000]);
    let large = Delivery {
        message: Arc::new(message),
        ..delivery(QoS::AtMostOnce, 0)
    };
    let kept = Enqueue::Kept { sequence: 0 };
    assert_eq!(session.enqueue(large.clone()), kept);
    assert_eq!(
        session.enqueue(delivery(QoS::AtMostOnce, 1)),
        Enqueue::Dropped
    );
    assert!(session.next(NOW, &mut Vec::new()).is_some());
    assert_eq!(session.enqueue(delivery(QoS::AtMostOnce, 1)), kept);
    assert_eq!(session.enqueue(large), Enqueue::Dropped);
}

#[test]
fn an_expired_delivery_is_reported_and_not_sent() {
    let mut session = Session::new(LIMITS, true);
    let mut old = delivery(QoS::AtLeastOnce, 0);
    Arc::make_mut(&mut old.message).expires_at = Some(NOW);
    session.enqueue(old);
    session.enqueue(delivery(QoS::AtLeastOnce, 1));
    let mut expired = Vec::new();
    assert!(matches!(
        session.next(NOW, &mut expired),
        Some(Outgoing::Publish { packet_id: 2, .. })
    ));
    assert_eq!(expired, [1]);
}

// Conforms: 5.0 [MQTT-2.2.1-4] [MQTT-4.3.2-1]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.2-1]
#[test]
fn packet_identifiers_come_round_and_wait_for_one_in_use() {
    let limits = QueueLimits {
        messages_max: 100_000,
        ..LIMITS
    };
    let limits = QueueLimits {
        bytes_max: 1 << 30,
        stored_messages_max: 100_000,
        ..limits
    };
    let mut session = Session::new(limits, false);
    session.resume(10);
    for number in 0..65_536 {
        session.enqueue(delivery(QoS::AtLeastOnce, number));
    }
    assert_eq!(next(&mut session), Some((0, 1, false)));
    for number in 1..65_535_u16 {
        assert_eq!(
            next(&mut session),
            Some((u64::from(number), number + 1, false))
        );
        session.inflight_mut().puback(number + 1);
    }
    assert_eq!(next(&mut session), None, "identifier 1 is still in use");
    session.inflight_mut().puback(1);
    assert_eq!(next(&mut session), Some((65_535, 1, false)));
}

proptest! {
    /// A stored queue and its store together never lose, repeat or reorder a delivery, however
    /// production, consumption and page loads interleave.
    #[test]
    fn a_spilled_queue_keeps_everything_in_order(steps in prop::collection::vec(0..5_u8, 1..400)) {
        let mut session = Session::new(LIMITS, true);
        session.resume(3);
        let mut is_left = false;
        let mut disk: Vec<Delivery> = Vec::new();
        let mut page: Option<PageRequest> = None;
        let (mut sent, mut received, mut unacknowledged) = (0, Vec::new(), VecDeque::new());
        let drain = std::iter::repeat_n([2, 1, 3], 2_000).flatten();
        for step in steps.into_iter().chain(drain) {
            match step {
                0 => {
                    let mut entry = delivery(QoS::AtLeastOnce, sent);
                    match session.enqueue(entry.clone()) {
                        // The part of so little memory is nothing.
                        Enqueue::Kept { .. } if is_left => prop_assert!(false, "in memory"),
                        Enqueue::Kept { sequence } | Enqueue::Spilled { sequence } => {
                            entry.sequence = sequence;
                            disk.push(entry);
                            sent += 1;
                        }
                        Enqueue::Dropped => prop_assert!(false, "dropped"),
                    }
                }
                1 => {
                    if let Some((number, packet_id, _)) = next(&mut session) {
                        received.push(number);
                        unacknowledged.push_back(packet_id);
                    }
                    page = page.or_else(|| session.page_wanted());
                }
                2 => {
                    if let Some(packet_id) = unacknowledged.pop_front() {
                        let done = session.inflight_mut().puback(packet_id);
                        let Acknowledged::Done(sequence) = done else { panic!("{done:?}") };
                        disk.retain(|entry| entry.sequence != sequence);
                    }
                }
                4 => {
                    is_left = !is_left;
                    session.leave_to_store(is_left);
                }
                _ => {
                    if let Some(request) = page.take() {
                        let range = request.from..request.to;
                        let mut rows: Vec<_> = disk
                            .iter()
                            .filter(|entry| range.contains(&entry.sequence))
                            .cloned()
                            .collect();
                        let complete = rows.len() <= request.count;
                        rows.truncate(request.count);
                        session.page_loaded(rows, complete);
                    }
                }
            }
        }
        prop_assert_eq!(received, (0..sent).collect::<Vec<_>>());
        prop_assert_eq!(session.backlog(), 0);
        prop_assert!(disk.is_empty());
    }
}
