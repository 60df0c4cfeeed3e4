//! What comes with one read against the same packets one by one.

use gateway::Template;
use mqtt::ProtocolVersion;
use mqtt::TopicFilter;
use mqtt::packet::{Property, PublishHeader, encode_publish};
use persistence::{Options, Store};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::Bare;
use super::*;
use crate::exchange;
use crate::extensions::RewriteRule;

const VERSION: ProtocolVersion = ProtocolVersion::V5;
const TOPICS: [&str; 6] = ["a/1", "a/2", "a/three", "b/1", "c", "old/1"];
/// Subscription Identifiers, their filters, and the QoS.
const SUBSCRIPTIONS: [&[(u8, &str, u8)]; 5] = [
    &[(1, "#", 0)],
    &[(0, "#", 1)],
    &[(0, "a/+", 2), (0, "b/1", 2)],
    &[(1, "a/1", 1), (2, "a/2", 1), (3, "+/1", 0)],
    &[(0, "$share/g/c", 1)],
];

#[derive(Clone, Debug)]
struct Sent {
    topic: &'static str,
    qos: QoS,
    retain: bool,
    has_property: bool,
    payload_bytes: usize,
}

fn sent() -> impl Strategy<Value = Sent> {
    let qos = select(
        &[
            QoS::AtMostOnce,
            QoS::AtLeastOnce,
            QoS::AtLeastOnce,
            QoS::ExactlyOnce,
        ][..],
    );
    let rarely = || prop::bool::weighted(0.1);
    let payload_bytes = select(&[0, 1, 20, 3_000][..]);
    (select(&TOPICS[..]), qos, rarely(), rarely(), payload_bytes).prop_map(
        |(topic, qos, retain, has_property, payload_bytes)| Sent {
            topic,
            qos,
            retain,
            has_property,
            payload_bytes,
        },
    )
}

fn encode(sent: &Sent, number: usize) -> Vec<u8> {
    let mut properties = Vec::new();
    if sent.has_property {
        Property::ContentType("text").encode(&mut properties);
    }
    let acknowledged = sent.qos.is_acknowledged();
    let mut payload = number.to_string().into_bytes();
    payload.resize(payload.len() + sent.payload_bytes, b'.');
    let header = PublishHeader {
        dup: false,
        qos: sent.qos,
        retain: sent.retain,
        topic: sent.topic,
        packet_id: if acknowledged { number as u16 + 1 } else { 0 },
    };
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, VERSION, &header, &[&properties], &payload);
    bytes
}

fn subscribe(client: &mut Bare, (identifier, filter, qos): (u8, &str, u8)) {
    let mut body = vec![0, 1];
    match identifier {
        0 => body.push(0),
        it => body.extend([2, 0x0B, it]),
    }
    body.extend([0, filter.len() as u8]);
    body.extend(filter.as_bytes());
    body.push(qos);
    let mut packet = vec![0x82, body.len() as u8];
    packet.extend(body);
    assert_eq!(client.handle(&packet), Ok(packet.len()));
    assert!(!client.take().is_empty());
}

fn connect(client_id: &str) -> Vec<u8> {
    let length = client_id.len() as u8;
    let mut packet = vec![0x10, 13 + length];
    packet.extend(b"\0\x04MQTT\x05\x02\0\0\0\0");
    packet.push(length);
    packet.extend(client_id.as_bytes());
    packet
}

/// What everybody gets for these reads, the publisher first.
fn outcome(reads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut exchange = exchange::tests::exchange(Store::disabled());
    exchange.extensions.rewrites.publish = vec![RewriteRule {
        source: TopicFilter::new("old/#").unwrap(),
        expression: None,
        destination: Template::parse("a/$1").unwrap(),
    }];
    let exchange = Arc::new(exchange);
    let client = |number| Bare::connect(&exchange, &connect(&format!("c{number}"))).unwrap();
    let mut clients: Vec<Bare> = (0..=SUBSCRIPTIONS.len()).map(client).collect();
    for (client, subscriptions) in clients[1..].iter_mut().zip(SUBSCRIPTIONS) {
        subscriptions.iter().for_each(|it| subscribe(client, *it));
    }
    for read in reads {
        assert_eq!(clients[0].handle(read), Ok(read.len()));
    }
    clients.iter_mut().map(Bare::take).collect()
}

proptest! {
    #[test]
    fn a_read_is_what_its_packets_are(sent in prop::collection::vec(sent(), 1..60)) {
        let packets = sent.iter().enumerate().map(|(number, it)| encode(it, number));
        let packets: Vec<Vec<u8>> = packets.collect();
        prop_assert_eq!(outcome(&[packets.concat()]), outcome(&packets));
    }
}

#[test]
fn a_row_of_messages_to_a_topic_that_is_rewritten_goes_where_one_of_them_goes() {
    let message = Sent {
        topic: "old/1",
        qos: QoS::AtMostOnce,
        retain: false,
        has_property: false,
        payload_bytes: 5,
    };
    let packets: Vec<_> = (0..5).map(|it| encode(&message, it)).collect();
    let received = outcome(&[packets.concat()]);
    assert_eq!(received, outcome(&packets));
    let has = |topic: &[u8]| received[1].windows(topic.len()).any(|it| it == topic);
    assert!(has(b"a/1") && !has(b"old"));
}

/// How many messages are routed together that go to these topics in turn.
fn together(topics: &[&'static str]) -> usize {
    let exchange = Arc::new(exchange::tests::exchange(Store::disabled()));
    let [mut publisher, mut one, mut other] =
        ["p", "one", "other"].map(|it| Bare::connect(&exchange, &connect(it)).unwrap());
    subscribe(&mut one, (0, "a/+", 1));
    subscribe(&mut one, (0, "b/1", 1));
    subscribe(&mut other, (0, "b/2", 1));
    let packets = (0..100).map(|number| {
        let message = Sent {
            topic: topics[number % topics.len()],
            qos: QoS::AtLeastOnce,
            retain: false,
            has_property: false,
            payload_bytes: 0,
        };
        encode(&message, number)
    });
    let packets: Vec<_> = packets.collect();
    let mut batch = Batch::default();
    let mut largest = 0;
    for packet in &packets {
        let (frame, _) = Frame::split(packet, 1_000).unwrap().unwrap();
        publisher.0.on_publish(frame, &mut batch).unwrap();
        largest = largest.max(batch.messages.len());
    }
    publisher.0.flush(&mut batch);
    largest
}

#[test]
fn what_comes_with_one_read_stops_at_the_bound_of_the_store() {
    const MAX: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.quota.queued_max = MAX;
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let exchange = Arc::new(exchange::tests::exchange(store.clone()));
    let away = exchange::tests::attach(&exchange, "away", true, 60);
    let at_least_once = exchange::tests::qos(QoS::AtLeastOnce);
    exchange::tests::subscribe(&exchange, &away.link, "a/1", at_least_once);
    let mut publisher = Bare::connect(&exchange, &connect("p")).unwrap();
    let message = Sent {
        topic: "a/1",
        qos: QoS::AtLeastOnce,
        retain: false,
        has_property: false,
        payload_bytes: 1,
    };
    let read: Vec<u8> = (0..500).flat_map(|it| encode(&message, it)).collect();
    assert_eq!(publisher.handle(&read), Ok(read.len()));
    assert_eq!(away.link.lock().session.backlog(), MAX);
    store.close().unwrap();
}

/// A client that is answered once it has acknowledged something must not get that again after a
/// crash.
#[test]
fn what_came_before_a_message_is_stored_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    let exchange = Arc::new(exchange::tests::exchange(store.clone()));
    let message = |topic, retain| Sent {
        topic,
        qos: QoS::AtLeastOnce,
        retain,
        has_property: false,
        payload_bytes: 1,
    };
    for retain in [false, true] {
        let mut packet = connect("durable");
        // With a Session Expiry Interval.
        packet.splice(12..13, *b"\x05\x11\0\0\0\x3C");
        packet[1] += 5;
        let mut client = Bare::connect(&exchange, &packet).unwrap();
        let at_least_once = exchange::tests::qos(QoS::AtLeastOnce);
        exchange::tests::subscribe(&exchange, &client.0.link, "a/1", at_least_once);
        let mut publisher = Bare::connect(&exchange, &connect("p")).unwrap();
        let delivered = encode(&message("a/1", false), 0);
        assert_eq!(publisher.handle(&delivered), Ok(delivered.len()));
        // Which waits until the new session is stored.
        let taken = std::iter::repeat_with(|| client.take()).find(|it| !it.is_empty());
        assert_eq!(taken.unwrap()[..2], [0x32, delivered.len() as u8 - 2]);

        let puback: &[u8] = &[0x40, 2, 0, 1];
        let read = [puback, &encode(&message("a/1", retain), 7)].concat();
        assert_eq!(client.handle(&read), Ok(read.len()));
        let next = store.submit(Operation::NoteTime);
        let answered = client.0.outbox.last_position();
        assert_eq!(answered, Some(Position(next.0 - 1)), "retain: {retain}");
    }
    store.close().unwrap();
}

#[test]
fn topics_with_the_same_receivers_are_routed_together() {
    assert_eq!(together(&["a/1"]), 100);
    assert_eq!(together(&["a/1", "a/2", "b/1"]), 100);
    assert_eq!(together(&["nobody", "none"]), 100);
    assert_eq!(together(&["a/1", "b/2"]), 1);
    assert_eq!(together(&["a/1", "nobody"]), 1);
}
