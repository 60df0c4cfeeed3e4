//! What subscriptions and retained messages cost: bytes of memory and time for each.
//!
//! `cargo bench -p broker --bench table [-- CASE...]`. Each case runs in a process of its own,
//! because memory that was in use before says nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for whoever works on this package"
)]

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::{Command, exit};
use std::thread::sleep;
use std::time::{Duration, Instant};

use broker::bench_support::{Client, Daemon};
use bytes::Bytes;
use mqtt::{Message, TopicFilter, TopicName};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Sites among which the topics are distributed.
const SITES: usize = 100;
/// Lookups of each kind.
const LOOKUPS: usize = 200_000;
/// Has no factor in common with the counts, so that topics come in no order.
const STRIDE: usize = 387_413;
const PAYLOAD_BYTES: usize = 64;
const DECAY: &str = "dirty_decay_ms:200,muzzy_decay_ms:0,background_thread:true";
/// Longer than it takes the allocator to give memory back.
const DECAYED: Duration = Duration::from_millis(800);

const CASES: [(&str, fn()); 11] = [
    ("table-0", || table(0, 1)),
    ("table-1k", || table(1_000, 10)),
    ("table-200k", || table(200_000, 100)),
    ("table-200k-1-each", || table(200_000, 1)),
    ("table-1m", || table(1_000_000, 100)),
    ("table-1m-one-session", || table(1_000_000, 1_000_000)),
    ("wildcard-100k-below-one-level", || {
        alike(100_000, |index| format!("device/{index}/+"), "device/1/x");
    }),
    ("one-filter-100k-sessions", || {
        alike(100_000, |_| "all/commands".to_owned(), "all/commands");
    }),
    ("one-group-100k-sessions", || {
        let filter = "$share/workers/jobs/+".to_owned();
        alike(100_000, move |_| filter.clone(), "jobs/1");
    }),
    ("retained-100k", || retained(100_000)),
    ("retained-1m", || retained(1_000_000)),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [flag, case] = &arguments[..]
        && flag == "--case"
    {
        let known = CASES.iter().find(|(name, _)| name == case);
        return known.unwrap().1();
    }
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|it| it == name);
    for (name, _) in CASES.iter().filter(|(name, _)| chosen(name)) {
        println!("{name}");
        let mut process = Command::new(env::current_exe().unwrap());
        // As in the daemon, so that what is free is not counted.
        process.env("_RJEM_MALLOC_CONF", DECAY);
        if !process.args(["--case", name]).status().unwrap().success() {
            eprintln!("{name} failed");
            exit(1);
        }
    }
}

/// Bytes that this process has in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<usize>().unwrap() * 1024
}

fn print_bytes(what: &str, before: usize, count: usize) {
    sleep(DECAYED);
    let bytes = resident().saturating_sub(before) as f64;
    println!("  {what:<40} {:>10.1} B", bytes / count.max(1) as f64);
}

/// Does something `count` times and says how long each took.
fn time(what: &str, count: usize, mut act: impl FnMut(usize)) {
    let begin = Instant::now();
    for index in 0..count {
        act(index);
    }
    let nanoseconds = begin.elapsed().as_nanos() as f64 / count.max(1) as f64;
    println!("  {what:<40} {nanoseconds:>10.1} ns");
}

/// Numbers without an order, the same ones each time.
fn scattered(index: usize) -> usize {
    let mut number = index as u64;
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (number >> 33) as usize
}

/// 90 % without wildcards, 10 % with `+`, 0.1 % with `#`.
fn filter(index: usize) -> TopicFilter {
    let site = index % SITES;
    let text = match index % 1_000 {
        0 => format!("area/{index}/#"),
        it if it % 20 == 1 => format!("site/{site}/device/{index}/+"),
        it if it % 20 == 2 => format!("site/{site}/+/{index}/state"),
        _ => exact(index),
    };
    TopicFilter::new(&text).unwrap()
}

fn exact(index: usize) -> String {
    format!("site/{}/device/{index}/temperature", index % SITES)
}

fn connect(daemon: &Daemon, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|index| daemon.connect(&format!("client-{index}")));
    clients.collect()
}

fn look_up(daemon: &Daemon, what: &str, topic: impl Fn(usize) -> String) {
    let topics = (0..LOOKUPS).map(|index| TopicName::new(&topic(scattered(index))).unwrap());
    let topics: Vec<_> = topics.collect();
    let mut found = 0;
    time(what, LOOKUPS, |index| {
        found += daemon.count_matches(black_box(&topics[index]));
    });
    println!(
        "  {:<40} {:>10.1}",
        "... found",
        found as f64 / LOOKUPS as f64
    );
}

fn table(count: usize, per_session: usize) {
    let daemon = Daemon::default();
    let clients = connect(&daemon, count.div_ceil(per_session));
    // Neighbours in the table are not neighbours in a session.
    let of = |index: usize| &clients[index % clients.len()];
    let filters: Vec<_> = (0..count).map(filter).collect();
    let before = resident();
    time("subscribe", count, |index| {
        assert!(daemon.subscribe(of(index), &filters[index]));
        assert_eq!(daemon.receive(of(index)), 0);
    });
    print_bytes("a subscription", before, count);
    // All over the table, so that the processor has not seen most of it lately.
    let known = |number: usize, kind: usize| number % count.max(20) / 20 * 20 + kind;
    look_up(&daemon, "route, exact", |it| exact(known(it, 3)));
    look_up(&daemon, "route, `+`", |it| exact(known(it, 1)));
    look_up(&daemon, "route, none", |it| {
        format!("site/{}/device/{it}/pressure", it % SITES)
    });
    time("unsubscribe", count / 2, |index| {
        assert!(daemon.unsubscribe(of(index), &filters[index]));
    });
    let sessions = clients.len();
    let mut clients = clients.into_iter();
    time("disconnect", sessions, |_| {
        daemon.disconnect(clients.next().unwrap());
    });
    print_bytes("left of each", before, count);
}

/// Every client has one subscription, and all of them leave.
fn alike(count: usize, filter: impl Fn(usize) -> String, topic: &str) {
    let daemon = Daemon::default();
    let clients = connect(&daemon, count);
    let filters: Vec<_> = (0..count)
        .map(|index| TopicFilter::new(&filter(index)).unwrap())
        .collect();
    let before = resident();
    time("subscribe", count, |index| {
        assert!(daemon.subscribe(&clients[index], &filters[index]));
        assert_eq!(daemon.receive(&clients[index]), 0);
    });
    print_bytes("a subscription", before, count);
    let topic = TopicName::new(topic).unwrap();
    time("route", 10, |_| {
        assert!(daemon.count_matches(&topic) > 0);
    });
    let mut clients = clients.into_iter();
    time("disconnect, half", count / 2, |_| {
        daemon.disconnect(clients.next().unwrap());
    });
    time("disconnect, the rest backwards", count - count / 2, |_| {
        daemon.disconnect(clients.next_back().unwrap());
    });
    assert_eq!(daemon.count_matches(&topic), 0);
    print_bytes("left of each", before, count);
}

fn retained(count: usize) {
    let daemon = Daemon::default();
    let client = daemon.connect("reader");
    let topic = |index: usize| TopicName::new(&exact(index)).unwrap();
    let content: usize = (0..count)
        .map(|index| topic(index).as_str().len() + PAYLOAD_BYTES)
        .sum();
    let before = resident();
    time("retain", count, |index| {
        let payload = Bytes::copy_from_slice(&[b'x'; PAYLOAD_BYTES]);
        let mut message = Message::new(topic(index * STRIDE % count), payload);
        message.retain = true;
        assert_eq!(daemon.publish(message), 0);
    });
    print_bytes(
        "a message beside topic and payload",
        before + content,
        count,
    );
    for text in ["#", "site/+/device/+/temperature", "+/7/#"] {
        let filter = TopicFilter::new(text).unwrap();
        assert!(daemon.subscribe(&client, &filter));
        let begin = Instant::now();
        let received = daemon.receive(&client);
        let rate = received as f64 / begin.elapsed().as_secs_f64();
        println!(
            "  {:<40} {:>10.0}/s",
            format!("replay to {text}, {received}"),
            rate
        );
        assert!(received >= count / SITES);
        assert!(daemon.unsubscribe(&client, &filter));
    }
    let nothing = TopicFilter::new("+/+/+/0/none").unwrap();
    time("replay of nothing to +/+/+/0/none", 10, |_| {
        assert!(daemon.subscribe(&client, &nothing));
        assert_eq!(daemon.receive(&client), 0);
        assert!(daemon.unsubscribe(&client, &nothing));
    });
    time("clear", count, |index| {
        let mut message = Message::new(topic(index), Bytes::new());
        message.retain = true;
        assert_eq!(daemon.publish(message), 0);
    });
    print_bytes("left of each", before, count);
}
