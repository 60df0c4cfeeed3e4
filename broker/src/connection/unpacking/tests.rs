//! What comes in a batch against the same messages one by one, and what is refused.

use std::sync::Arc;

use bridges::batch::{PACKET_ID, Packer};
use mqtt::packet::{Ack, AckKind, Frame, Property, PublishHeader, encode_publish};
use mqtt::{ProtocolVersion, QoS};
use persistence::{Options, Store};

use super::super::Bare;
use super::*;
use crate::exchange::Exchange;
use crate::exchange::tests::{attach, exchange, qos, subscribe};

const VERSION: ProtocolVersion = ProtocolVersion::V5;

fn publish(topic: &str, qos: QoS, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut own = Vec::new();
    Property::ContentType("text").encode(&mut own);
    let (mut out, dup, retain) = (Vec::new(), false, false);
    let header = PublishHeader {
        dup,
        qos,
        retain,
        topic,
        packet_id,
    };
    encode_publish(&mut out, VERSION, &header, &[&own], payload);
    out
}

/// Messages of QoS 1, one to each topic, as they are inside.
fn inside(topics: &[&str]) -> Vec<u8> {
    let packets = topics.iter().enumerate();
    let packets =
        packets.map(|(at, topic)| publish(topic, QoS::AtLeastOnce, PACKET_ID, &at.to_le_bytes()));
    packets.collect::<Vec<_>>().concat()
}

fn batch_of(qos: QoS, packets: &[u8]) -> Vec<u8> {
    let payload = Packer::new(3).unwrap().pack(packets).unwrap();
    publish(batch::TOPIC, qos, 7, &payload)
}

fn connect(exchange: &Arc<Exchange>) -> Bare {
    let connect = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01b";
    Bare::connect(exchange, connect).unwrap()
}

/// A bridge that may send batches.
fn bridge(exchange: &Arc<Exchange>) -> Bare {
    let bridge = connect(exchange);
    bridge.allow_batches();
    bridge
}

/// The Reason Code of the PUBACK of a batch, and what it says of the messages.
fn answer(bytes: &[u8]) -> (ReasonCode, Option<Refusals>) {
    let (frame, length) = Frame::split(bytes, 1 << 20).unwrap().unwrap();
    assert_eq!(length, bytes.len(), "one packet");
    let ack = Ack::decode(AckKind::Puback, frame, VERSION).unwrap();
    assert_eq!(ack.packet_id, 7);
    (ack.reason, Refusals::read(ack.properties))
}

#[test]
fn a_batch_is_what_its_messages_are() {
    let topics = ["a/1", "a/2", "nobody", "a/1", "a/1", "b/1"];
    let received = |is_batch: bool| {
        let exchange = Arc::new(exchange(Store::disabled()));
        let subscriber = attach(&exchange, "s", true, 0);
        for filter in ["a/+", "b/1"] {
            subscribe(&exchange, &subscriber.link, filter, qos(QoS::AtLeastOnce));
        }
        let mut bridge = bridge(&exchange);
        if is_batch {
            let packet = batch_of(QoS::AtLeastOnce, &inside(&topics));
            assert_eq!(bridge.handle(&packet), Ok(packet.len()));
            assert_eq!(answer(&bridge.take()), (ReasonCode::Success, None));
        } else {
            for (at, topic) in topics.iter().enumerate() {
                let packet = publish(topic, QoS::AtLeastOnce, 7, &at.to_le_bytes());
                assert_eq!(bridge.handle(&packet), Ok(packet.len()));
            }
        }
        let counted = exchange.counters.received.sum();
        let (mut state, mut messages) = (subscriber.link.lock(), Vec::new());
        state.session.resume(100);
        while let Some(next) = state.session.next(exchange.now(), &mut Vec::new()) {
            let mqtt::session::Outgoing::Publish { delivery, .. } = next else {
                panic!("{next:?}");
            };
            let message = (*delivery.message).clone();
            messages.push((message, delivery.qos));
        }
        (messages, counted.publishes, counted.payload_bytes)
    };
    let (messages, publishes, payload_bytes) = received(true);
    assert_eq!((messages.len(), publishes), (5, 6));
    assert_eq!((messages, publishes, payload_bytes), received(false));
}

#[test]
fn a_topic_in_a_batch_is_looked_up_once() {
    let exchange = Arc::new(exchange(Store::disabled()));
    let subscriber = attach(&exchange, "s", true, 0);
    subscribe(&exchange, &subscriber.link, "a/+", qos(QoS::AtLeastOnce));
    let mut bridge = bridge(&exchange);
    let packet = batch_of(QoS::AtLeastOnce, &inside(&["a/1", "a/1"]));
    bridge.handle(&packet).unwrap();
    let route = bridge.0.routes.get(b"a/1", &exchange).unwrap();
    assert_eq!(route.targets.len(), 1);
    // Another one that matches has to be found.
    let second = attach(&exchange, "t", true, 0);
    subscribe(&exchange, &second.link, "#", qos(QoS::AtLeastOnce));
    bridge.handle(&packet).unwrap();
    let backlogs = [subscriber, second].map(|it| it.link.lock().session.backlog());
    assert_eq!(backlogs, [4, 2]);
}

#[test]
fn what_is_refused_is_said_and_the_others_are_taken() {
    let exchange = Arc::new(exchange(Store::disabled()));
    let away = attach(&exchange, "away", true, 60);
    subscribe(&exchange, &away.link, "#", qos(QoS::AtLeastOnce));
    let mut bridge = bridge(&exchange);
    let packets = inside(&["a", "$SYS/broker/uptime", "b", "$delayed/1", "c"]);
    bridge
        .handle(&batch_of(QoS::AtLeastOnce, &packets))
        .unwrap();
    let (reason, refusals) = answer(&bridge.take());
    assert!(reason.is_error());
    let refusals = refusals.unwrap();
    assert_eq!(refusals.answer(1), ReasonCode::NotAuthorized);
    let taken = [0, 2, 4].map(|at| refusals.answer(at));
    assert_eq!(taken, [ReasonCode::Success; 3]);
    assert_eq!(away.link.lock().session.backlog(), 3);
}

#[test]
fn behind_one_that_has_no_room_none_is_taken() {
    const MAX: u64 = 10;
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.quota.queued_max = MAX;
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let exchange = Arc::new(exchange(store.clone()));
    let away = attach(&exchange, "away", true, 60);
    subscribe(&exchange, &away.link, "a", qos(QoS::AtLeastOnce));
    let live = attach(&exchange, "live", true, 0);
    subscribe(&exchange, &live.link, "b", qos(QoS::AtMostOnce));
    let mut bridge = bridge(&exchange);
    let mut packets = inside(&["a"; 20]);
    // Nobody has to keep the one, and the other has no answer.
    packets.extend(inside(&["b"]));
    packets.extend(publish("b", QoS::AtMostOnce, 0, b"live"));
    bridge
        .handle(&batch_of(QoS::AtLeastOnce, &packets))
        .unwrap();
    let taken = away.link.lock().session.backlog();
    assert!((MAX..20).contains(&taken), "{taken}");
    assert_eq!(live.link.lock().session.backlog(), 0);
    let next = live
        .link
        .lock()
        .session
        .next(exchange.now(), &mut Vec::new());
    assert!(next.is_some(), "QoS 0 is not left out");
    store.close().unwrap();
    let (reason, refusals) = answer(&bridge.take());
    assert_eq!(reason, ReasonCode::QuotaExceeded);
    let refusals = refusals.unwrap();
    let first = usize::try_from(taken).unwrap();
    assert_eq!(refusals.answer(first - 1), ReasonCode::Success);
    for place in [first, 20] {
        assert_eq!(refusals.answer(place), ReasonCode::QuotaExceeded);
    }
}

#[test]
fn what_may_not_be_in_a_batch_ends_the_connection() {
    let one = inside(&["a"]);
    let nested = batch_of(QoS::AtLeastOnce, &one);
    let long = inside(&[&"x".repeat(2_000)]);
    let table: [(QoS, &[u8], &str); 7] = [
        (QoS::AtLeastOnce, &nested, "a batch is in a batch"),
        (QoS::ExactlyOnce, &one, "a batch is of QoS 2"),
        (
            QoS::AtMostOnce,
            &one,
            "a batch of QoS 0 holds a message of QoS 1",
        ),
        (QoS::AtLeastOnce, &long, "the topic is too long"),
        (
            QoS::AtLeastOnce,
            &[0xC0, 0],
            "a batch holds a packet that is no PUBLISH",
        ),
        (
            QoS::AtLeastOnce,
            &one[..one.len() - 1],
            "a batch ends inside a packet",
        ),
        (QoS::AtLeastOnce, &[], "a batch is empty"),
    ];
    for (qos, packets, expected) in table {
        let mut bridge = bridge(&Arc::new(exchange(Store::disabled())));
        let violation = bridge.handle(&batch_of(qos, packets)).unwrap_err();
        assert_eq!(violation.detail, expected);
    }
}

#[test]
fn nobody_else_publishes_there() {
    let exchange = Arc::new(exchange(Store::disabled()));
    let spy = attach(&exchange, "spy", true, 60);
    for filter in ["$tidegate/#", "a"] {
        subscribe(&exchange, &spy.link, filter, qos(QoS::AtLeastOnce));
    }
    let mut client = connect(&exchange);
    let packet = batch_of(QoS::AtLeastOnce, &inside(&["a"]));
    assert_eq!(client.handle(&packet), Ok(packet.len()));
    assert_eq!(answer(&client.take()), (ReasonCode::NotAuthorized, None));
    let packet = batch_of(QoS::AtLeastOnce, &inside(&["a"]));
    let mut bridge = bridge(&exchange);
    assert_eq!(bridge.handle(&packet), Ok(packet.len()));
    // Not the batch, but what is in it.
    assert_eq!(spy.link.lock().session.backlog(), 1);
}
