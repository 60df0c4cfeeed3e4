//! Time to put a delivery into a session and to take it out.

#![expect(
    clippy::unwrap_used,
    reason = "the name is valid and the packets are whole"
)]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use mqtt::packet::EncodedRun;
use mqtt::session::{Delivery, DirectTerms, Outgoing, QueueClass, QueueLimits, Session, WhenFull};
use mqtt::{Message, ProtocolVersion, QoS, Timestamp, TopicName};

const NOW: Timestamp = Timestamp::from_millis(1_000);
const LIMITS: QueueLimits = QueueLimits {
    messages_max: 1_000,
    bytes_max: 16 << 20,
    live_bytes_max: 16 << 20,
    stored_messages_max: 1_000,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
/// Deliveries that are put in before they are taken out.
const DELIVERIES: usize = 64;

fn main() {
    divan::main();
}

fn message(qos: QoS) -> Arc<Message> {
    let topic = TopicName::new("site/7/device/1234/temperature").unwrap();
    let mut message = Message::new(topic, vec![b'x'; 256]);
    message.qos = qos;
    Arc::new(message)
}

fn enqueue_and_next(bencher: Bencher<'_, '_>, qos: QoS) {
    let message = message(qos);
    let mut session = Session::new(LIMITS, false);
    session.resume(u16::MAX);
    let mut expired = Vec::new();
    bencher
        .counter(ItemsCount::new(DELIVERIES))
        .bench_local(|| {
            for _ in 0..DELIVERIES {
                divan::black_box(session.enqueue(Delivery {
                    sequence: 0,
                    message: Arc::clone(&message),
                    qos,
                    retain: false,
                    subscription_ids: Vec::new(),
                    class: QueueClass::default(),
                    expires_at: None,
                }));
            }
            while let Some(outgoing) = session.next(NOW, &mut expired) {
                if let Outgoing::Publish { packet_id, .. } = divan::black_box(outgoing)
                    && qos.is_acknowledged()
                {
                    session.inflight_mut().puback(packet_id);
                }
            }
        });
}

#[divan::bench]
fn enqueue_and_next_qos_0(bencher: Bencher<'_, '_>) {
    enqueue_and_next(bencher, QoS::AtMostOnce);
}

/// With the acknowledgement.
#[divan::bench]
fn enqueue_and_next_qos_1(bencher: Bencher<'_, '_>) {
    enqueue_and_next(bencher, QoS::AtLeastOnce);
}

/// What was encoded once goes to a client that is connected.
fn put_and_take_encoded(bencher: Bencher<'_, '_>, qos: QoS) {
    let message = message(qos);
    let mut run = EncodedRun::default();
    run.begin(qos);
    for _ in 0..DELIVERIES {
        let topic = message.topic.as_str();
        run.push(ProtocolVersion::V311, topic, &[], &[], &message.payload);
    }
    let mut session = Session::new(LIMITS, false);
    session.resume(u16::MAX);
    session.encode_for(DirectTerms {
        version: ProtocolVersion::V311,
        packet_bytes_max: u32::MAX,
        is_transient: true,
    });
    let mut out = Vec::new();
    bencher
        .counter(ItemsCount::new(DELIVERIES))
        .bench_local(|| {
            divan::black_box(session.encoded_version(qos));
            session.put_encoded(&run);
            out.clear();
            session.take_encoded(&mut out);
            for packet in run.packets().iter().filter(|_| qos.is_acknowledged()) {
                let identifier = out
                    .get(packet.packet_id_at..)
                    .and_then(|it| it.first_chunk());
                session
                    .inflight_mut()
                    .puback(u16::from_be_bytes(*identifier.unwrap()));
            }
        });
}

#[divan::bench]
fn put_and_take_encoded_qos_0(bencher: Bencher<'_, '_>) {
    put_and_take_encoded(bencher, QoS::AtMostOnce);
}

/// With the acknowledgement.
#[divan::bench]
fn put_and_take_encoded_qos_1(bencher: Bencher<'_, '_>) {
    put_and_take_encoded(bencher, QoS::AtLeastOnce);
}
