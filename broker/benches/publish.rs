//! What a PUBLISH costs from the bytes that were read to the bytes that are to be written, by the
//! number of topics that its publisher uses in turn.
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

use broker::bench_support::{Connected, Daemon};
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

struct Case {
    topics: usize,
    publisher: Connected,
    /// What comes with each read.
    reads: Vec<Vec<u8>>,
    /// Nanoseconds for each message, by round.
    costs: Vec<f64>,
}

fn main() {
    for (title, qos) in [("QoS 0", 0), ("QoS 1", 1)] {
        measure(title, qos);
    }
}

fn measure(title: &str, qos: u8) {
    let daemon = Daemon::default();
    let mut subscriber = daemon.accept(&connect("subscriber")).unwrap();
    assert!(subscriber.send(b"\x82\x0c\0\x01\0\x07plant/#\0"));
    subscriber.receive();
    let mut cases: Vec<Case> = TOPICS.map(|it| case(&daemon, it, qos)).into();
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
        println!("  {:>6} topics {cost:>8.1} ns {ratio:>6.2}", case.topics);
    }
}

fn connect(client_id: &str) -> Vec<u8> {
    let length = u8::try_from(client_id.len()).unwrap();
    let mut packet = vec![0x10, 12 + length];
    packet.extend(b"\0\x04MQTT\x04\x02\0\0\0");
    packet.push(length);
    packet.extend(client_id.as_bytes());
    packet
}

fn case(daemon: &Daemon, topics: usize, qos: u8) -> Case {
    let publisher = connect(&format!("publisher-{topics}"));
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
        topics,
        publisher: daemon.accept(&publisher).unwrap(),
        reads,
        costs: Vec::new(),
    }
}
