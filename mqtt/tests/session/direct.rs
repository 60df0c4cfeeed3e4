//! Packets that are encoded when they are put in, beside deliveries that are not.

use std::collections::VecDeque;

use mqtt::packet::{EncodedRun, Frame, Packet};
use mqtt::session::{
    Acknowledged, DirectTerms, Encoded, Enqueue, Outgoing, QueueLimits, Session, WhenFull,
};
use mqtt::{ProtocolVersion, QoS};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, delivery_of, number_in, payload};

const LIMITS: QueueLimits = QueueLimits {
    messages_max: 40,
    bytes_max: 1 << 20,
    live_bytes_max: 4_000,
    stored_messages_max: 60,
    stored_bytes_max: 1 << 20,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
const VERSION: ProtocolVersion = ProtocolVersion::V311;
const TERMS: DirectTerms = DirectTerms {
    version: VERSION,
    packet_bytes_max: 1_000,
    is_transient: true,
};
const TOPIC: &str = "topic";

/// A client with the session that it gets its messages from.
struct Client {
    session: Session,
    window: usize,
    /// What is to come, by QoS, in its order.
    expected: [VecDeque<u64>; 3],
    /// Identifiers that are in use.
    unacknowledged: VecDeque<(u16, QoS)>,
    next: u64,
}

fn run(qos: QoS, payloads: &[Vec<u8>]) -> EncodedRun {
    let mut run = EncodedRun::default();
    run.begin(qos);
    for payload in payloads {
        run.push(VERSION, TOPIC, &[], &[], payload);
    }
    run
}

impl Client {
    fn new(window: u16, terms: DirectTerms) -> Self {
        let mut session = Session::new(LIMITS, false);
        session.resume(window);
        session.encode_for(terms);
        Self {
            session,
            window: window.into(),
            expected: Default::default(),
            unacknowledged: VecDeque::new(),
            next: 0,
        }
    }

    /// Puts messages in, as a publisher's run; returns how many were taken.
    fn put(&mut self, qos: QoS, count: usize, bytes: usize) -> usize {
        let numbers: Vec<u64> = (0..count as u64).map(|it| self.next + it).collect();
        self.next += count as u64;
        let payloads: Vec<Vec<u8>> = numbers.iter().map(|it| payload(*it, bytes)).collect();
        let direct = match self.session.encoded_version(qos) {
            Some(version) => {
                assert_eq!(version, VERSION);
                self.session.put_encoded(&run(qos, &payloads))
            }
            None => 0,
        };
        let mut taken = direct;
        self.expected[qos as usize].extend(&numbers[..direct]);
        for number in &numbers[direct..] {
            if self.put_delivery(qos, *number, bytes) {
                self.expected[qos as usize].push_back(*number);
                taken += 1;
            }
        }
        taken
    }

    fn put_delivery(&mut self, qos: QoS, number: u64, bytes: usize) -> bool {
        let enqueued = self.session.enqueue(delivery_of(TOPIC, qos, number, bytes));
        matches!(enqueued, Enqueue::Kept { .. })
    }

    /// Takes all that may be sent now, and checks it.
    fn take(&mut self) {
        let mut bytes = b"before".to_vec();
        let encoded = self.session.take_encoded(&mut bytes);
        let mut rest = bytes.strip_prefix(b"before").unwrap();
        let mut count = Encoded::default();
        while let Some((frame, length)) = Frame::split(rest, 1_000).unwrap() {
            let Packet::Publish(publish) = Packet::decode(frame, VERSION).unwrap() else {
                panic!("no PUBLISH");
            };
            let header = publish.header;
            self.check(header.qos, header.packet_id, publish.payload);
            count.packets += 1;
            count.payload_bytes += publish.payload.len() as u64;
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        assert_eq!(encoded, count);
        while let Some(outgoing) = self.session.next(NOW, &mut Vec::new()) {
            let Outgoing::Publish {
                delivery,
                packet_id,
                dup,
            } = outgoing
            else {
                panic!("no PUBLISH");
            };
            assert!(!dup);
            self.check(delivery.qos, packet_id, &delivery.message.payload);
        }
    }

    fn check(&mut self, qos: QoS, packet_id: u16, payload: &[u8]) {
        let expected = self.expected[qos as usize].pop_front();
        assert_eq!(expected, Some(number_in(payload)));
        if qos.is_acknowledged() {
            assert!(packet_id > 0);
            let mut used = self.unacknowledged.iter();
            assert!(used.all(|(used, _)| *used != packet_id));
            self.unacknowledged.push_back((packet_id, qos));
            assert!(self.unacknowledged.len() <= self.window);
        }
    }

    /// Acknowledges the oldest, or the newest.
    fn acknowledge(&mut self, oldest: bool) {
        let next = if oldest {
            self.unacknowledged.pop_front()
        } else {
            self.unacknowledged.pop_back()
        };
        let Some((packet_id, qos)) = next else {
            return;
        };
        let inflight = self.session.inflight_mut();
        if qos == QoS::ExactlyOnce {
            assert_eq!(inflight.puback(packet_id), Acknowledged::Unknown);
            let received = inflight.pubrec(packet_id, false);
            assert!(matches!(received, Acknowledged::Release(_)));
            assert!(matches!(inflight.pubcomp(packet_id), Acknowledged::Done(_)));
        } else {
            assert_eq!(inflight.pubcomp(packet_id), Acknowledged::Unknown);
            assert!(matches!(inflight.puback(packet_id), Acknowledged::Done(_)));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Run(QoS, usize, usize),
    Delivery(QoS),
    Take,
    Acknowledge(bool, usize),
}

fn any_qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any_qos(), 1..12_usize, 0..600_usize).prop_map(|(a, b, c)| Step::Run(a, b, c)),
        1 => any_qos().prop_map(Step::Delivery),
        3 => Just(Step::Take),
        3 => (any::<bool>(), 1..12_usize).prop_map(|(a, b)| Step::Acknowledge(a, b)),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_and_what_is_not_keep_their_order_and_the_window(
        window in 1..20_u16,
        steps in vec(any_step(), 1..120),
    ) {
        let mut client = Client::new(window, TERMS);
        for step in steps {
            match step {
                Step::Run(qos, count, length) => {
                    client.put(qos, count, length);
                }
                Step::Delivery(qos) => {
                    let number = client.next;
                    client.next += 1;
                    if client.put_delivery(qos, number, 0) {
                        client.expected[qos as usize].push_back(number);
                    }
                }
                Step::Take => client.take(),
                Step::Acknowledge(oldest, count) => {
                    (0..count).for_each(|_| client.acknowledge(oldest));
                }
            }
            // What is held counts among what waits, and keeps within the same bounds.
            prop_assert!(client.session.waiting().messages <= LIMITS.messages_max as u64);
        }
        // All of it comes in the end.
        let left = |client: &Client| client.expected.iter().map(VecDeque::len).sum::<usize>();
        while left(&client) > 0 {
            let before = (left(&client), client.unacknowledged.len());
            client.take();
            client.acknowledge(true);
            prop_assert_ne!((left(&client), client.unacknowledged.len()), before);
        }
        prop_assert!(client.session.is_drained());
        prop_assert_eq!(client.session.waiting().messages, 0);
    }
}

#[test]
fn what_the_window_has_no_room_for_waits_encoded() {
    let mut client = Client::new(2, TERMS);
    assert_eq!(client.put(QoS::AtLeastOnce, 10, 8), 10);
    assert_eq!(client.session.waiting().messages, 8);
    assert!(!client.session.keeps_up());
    // QoS 0 does not wait with it.
    assert_eq!(client.put(QoS::AtMostOnce, 1, 8), 1);
    client.take();
    assert_eq!(client.expected.each_ref().map(VecDeque::len), [0, 8, 0]);
    client.acknowledge(true);
    client.take();
    assert_eq!(client.session.waiting().messages, 7);
}

#[test]
fn no_more_waits_encoded_than_may_wait_in_memory() {
    let mut client = Client::new(1, TERMS);
    let taken = client.put(QoS::AtLeastOnce, 100, 8);
    // One is under way.
    assert_eq!(taken, LIMITS.messages_max + 1);
    assert_eq!(client.put(QoS::AtLeastOnce, 1, 8), 0);
}

#[test]
fn qos_0_is_encoded_within_its_budget() {
    let mut client = Client::new(1, TERMS);
    let length = payload(0, 92).len() + 2 + 2 + TOPIC.len();
    assert_eq!(client.put(QoS::AtMostOnce, 100, 92), 4_000 / length);
    assert_eq!(client.put(QoS::AtMostOnce, 1, 92), 0);
    client.take();
    assert_eq!(client.put(QoS::AtMostOnce, 1, 92), 1);
}

#[test]
fn a_packet_that_the_client_does_not_take_is_not_encoded_for_it() {
    let terms = DirectTerms {
        packet_bytes_max: 50,
        ..TERMS
    };
    let mut client = Client::new(1, terms);
    let small = payload(0, 8);
    let run = run(QoS::AtMostOnce, &[small.clone(), payload(1, 60), small]);
    assert_eq!(client.session.put_encoded(&run), 1);
}

#[test]
fn what_may_be_sent_again_is_not_encoded() {
    let terms = DirectTerms {
        is_transient: false,
        ..TERMS
    };
    let client = Client::new(5, terms);
    assert_eq!(client.session.encoded_version(QoS::AtLeastOnce), None);
    assert_eq!(client.session.encoded_version(QoS::ExactlyOnce), None);
    let version = client.session.encoded_version(QoS::AtMostOnce);
    assert_eq!(version, Some(VERSION));
}

#[test]
fn nothing_goes_before_what_waits_for_its_turn() {
    let mut client = Client::new(1, TERMS);
    assert!(client.put_delivery(QoS::AtLeastOnce, 0, 0));
    assert_eq!(client.session.encoded_version(QoS::AtLeastOnce), None);
    assert!(client.session.encoded_version(QoS::AtMostOnce).is_some());
    assert!(client.put_delivery(QoS::AtMostOnce, 1, 0));
    assert_eq!(client.session.encoded_version(QoS::AtMostOnce), None);
}

#[test]
fn what_is_encoded_ends_with_its_connection() {
    for ends in [Session::suspend, |session: &mut Session| session.resume(5)] {
        let mut client = Client::new(1, TERMS);
        client.put(QoS::AtLeastOnce, 5, 8);
        client.put(QoS::AtMostOnce, 5, 8);
        ends(&mut client.session);
        assert!(client.session.is_drained());
        assert_eq!(client.session.waiting().messages, 0);
        assert_eq!(client.session.encoded_version(QoS::AtMostOnce), None);
        let mut bytes = Vec::new();
        assert_eq!(client.session.take_encoded(&mut bytes), Encoded::default());
        assert!(bytes.is_empty());
    }
}
