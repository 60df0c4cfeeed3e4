//! What a PUBLISH costs from the bytes that were read to the bytes that are to be written, by the
//! number of topics that its publisher uses in turn, and in a batch of a bridge beside one by itself.
//!
//! `cargo bench -p broker --bench publish`. The cases of one table take turns, so their ratios
//! hold on a machine that does other things too.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it is a program for whoever works on this package"
)]

use std::hint::black_box;
use std::time::Instant;

use bridges::batch::{self, Packer};
use broker::bench_support::{Connected, Daemon};
use mqtt::packet::{PublishHeader, encode_publish};
use mqtt::{ProtocolVersion, QoS};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Topics of a publisher.
const TOPICS: [usize; 5] = [1, 8, 100, 1_000, 4_000];
/// Bytes that come with one read.
const READ_BYTES: usize = 64 << 10;
const PAYLOAD: [u8; 16] = [b'x'; 16];
/// Messages of a case in each round.
const MESSAGES: usize = 64_000;
const ROUNDS: usize = 31;

/// Bytes of the payloads that are sent in batches.
const PACKED_BYTES: usize = 256;

struct Case {
    name: String,
    publisher: Connected,
    /// What comes with each read.
    reads: Vec<Vec<u8>>,
    /// Nanoseconds for each message, by round.
    costs: Vec<f64>,
}

fn main() {
    for (title, qos) in [("QoS 0", 0), ("QoS 1", 1)] {
        measure(title, |daemon| {
            TOPICS.map(|it| case(daemon, it, qos)).into()
        });
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let title = format!("{PACKED_BYTES} bytes, QoS {}", qos as u8);
        measure(&title, |daemon| {
            [None, Some(3), Some(9)]
                .map(|it| packed(daemon, qos, it))
                .into()
        });
    }
}

fn measure(title: &str, cases: impl Fn(&Daemon) -> Vec<Case>) {
    let daemon = Daemon::default();
    let mut subscriber = daemon.accept(&connect("subscriber", 4)).unwrap();
    assert!(subscriber.send(b"\x82\x0c\0\x01\0\x07plant/#\0"));
    subscriber.receive();
    let mut cases = cases(&daemon);
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let begin = Instant::now();
            for read in &case.reads {
                assert!(case.publisher.send(read));
                black_box(case.publisher.receive());
                assert!(subscriber.receive().len() > MESSAGES / READ_BYTES);
            }
            let nanoseconds = begin.elapsed().as_nanos() as f64;
            case.costs.push(nanoseconds / MESSAGES as f64);
        }
    }
    println!("{title}");
    let mut base = None;
    for case in &mut cases {
        case.costs.sort_unstable_by(f64::total_cmp);
        let cost = case.costs[case.costs.len() / 2];
        let ratio = cost / *base.get_or_insert(cost);
        println!("  {:>12} {cost:>8.1} ns {ratio:>6.2}", case.name);
    }
}

/// Telemetry as a read brings it, or in a batch of this level.
fn packed(daemon: &Daemon, qos: QoS, level: Option<i32>) -> Case {
    let name = level.map_or_else(|| "one by one".to_owned(), |it| format!("level {it}"));
    let connect = connect(&name, 5);
    let publisher = daemon.accept(&connect).unwrap();
    publisher.allow_batches();
    let mut reads = vec![Vec::with_capacity(READ_BYTES)];
    for index in 0..MESSAGES {
        let number = index % 100;
        let topic = format!("plant/line-{}/device/{number:05}/state", number % 7);
        let mut payload = format!("{{\"n\":{index},\"temperature\":{}", index * 7919 % 9973);
        while payload.len() < PACKED_BYTES {
            payload.push_str(&format!(",\"value\":{}", payload.len() * index % 8_191));
        }
        let mut packet = Vec::new();
        publish(&mut packet, qos, &topic, payload.as_bytes());
        if reads[reads.len() - 1].len() + packet.len() > READ_BYTES {
            reads.push(Vec::with_capacity(READ_BYTES));
        }
        let last = reads.len() - 1;
        reads[last].extend(packet);
    }
    let mut packer = level.map(|it| Packer::new(it).unwrap());
    for read in &mut reads {
        if let Some(packer) = &mut packer {
            let payload = packer.pack(read).unwrap();
            read.clear();
            publish(read, qos, batch::TOPIC, &payload);
        }
    }
    let costs = Vec::new();
    Case {
        name,
        publisher,
        reads,
        costs,
    }
}

fn publish(out: &mut Vec<u8>, qos: QoS, topic: &str, payload: &[u8]) {
    let header = PublishHeader {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: batch::PACKET_ID,
    };
    encode_publish(out, ProtocolVersion::V5, &header, &[], payload);
}

fn connect(client_id: &str, version: u8) -> Vec<u8> {
    let length = u8::try_from(client_id.len()).unwrap();
    // Version 5 has properties, of which there are none.
    let properties = usize::from(version == 5);
    let mut packet = vec![0x10, 12 + length + properties as u8];
    packet.extend(b"\0\x04MQTT");
    packet.extend([version, 2, 0, 0]);
    packet.resize(packet.len() + properties, 0);
    packet.push(0);
    packet.push(length);
    packet.extend(client_id.as_bytes());
    packet
}

fn case(daemon: &Daemon, topics: usize, qos: u8) -> Case {
    let publisher = connect(&format!("publisher-{topics}"), 4);
    let mut reads = vec![Vec::with_capacity(READ_BYTES)];
    for index in 0..MESSAGES {
        let number = index % topics;
        let topic = format!("plant/line-{}/device/{number:05}/state", number % 7);
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        if qos > 0 {
            body.extend([1, 1]);
        }
        body.extend(PAYLOAD);
        let mut packet = vec![0x30 | qos << 1, u8::try_from(body.len()).unwrap()];
        packet.extend(body);
        if reads[reads.len() - 1].len() + packet.len() > READ_BYTES {
            reads.push(Vec::with_capacity(READ_BYTES));
        }
        let last = reads.len() - 1;
        reads[last].extend(packet);
    }
    Case {
        name: format!("{topics} topics"),
        publisher: daemon.accept(&publisher).unwrap(),
        reads,
        costs: Vec::new(),
    }
}
