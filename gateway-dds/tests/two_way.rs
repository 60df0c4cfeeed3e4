//! The gateway against a peer in another process, over the loopback interface.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, also outside their functions"
)]

mod demo;
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use demo::{assert_same, gateway, reading, settings, structure};
use gateway::testing::FakeBroker;
use gateway::{DropReason, Gateway, Status};
use gateway_dds::peer::{EndpointSettings, Peer, PeerWriter, WRITE_BLOCKING_MAX};
use serde_json::{Value, json};
use support::{free_domain, run, until};

const BURST: u64 = 10_000;
const FLOOD: u64 = 40_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// The number in a sample that only tells whether the peer is there.
const PROBE: u64 = 1_000_000;

fn plain(n: u64) -> Value {
    json!({"n": n, "text": "x".repeat(n as usize % 50)})
}

/// Another process that runs [`peer_process`].
struct PeerProcess {
    process: Child,
    /// What it printed that is marked as its own.
    lines: Receiver<String>,
}

impl PeerProcess {
    fn start(role: &str, domain: u32) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "peer_process", "--nocapture", "--test-threads=1"])
            .env("PEER_ROLE", role)
            .env("PEER_DOMAIN", domain.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = sync_channel(4 * BURST as usize);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once("PEER ") {
                    sender.send(line.to_owned()).ok();
                }
            }
        });
        Self { process, lines }
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes although the reader at times does not keep up.
fn write(writer: &PeerWriter, json: &Value) {
    wait_for("a write", || writer.write(json).is_ok());
}

/// No test of its own: the other process of the tests here, which [`PeerProcess`] starts.
#[test]
fn peer_process() {
    let Ok(role) = std::env::var("PEER_ROLE") else {
        return;
    };
    let domain = std::env::var("PEER_DOMAIN").unwrap().parse().unwrap();
    let peer = Peer::open(&settings(domain)).unwrap();
    match role.as_str() {
        "burst" => publish_burst(&peer),
        "flood" => publish_flood(&peer),
        _ => subscribe(&peer),
    }
}

fn publish_burst(peer: &Peer) {
    let defaults = EndpointSettings::default();
    let readings = peer
        .writer("Readings", &structure("Demo::Reading"), &defaults)
        .unwrap();
    let plains = peer
        .writer("Plains", &structure("Demo::Plain"), &defaults)
        .unwrap();
    wait_for("a match", || {
        readings.matched_readers() + plains.matched_readers() == 2
    });
    for n in 0..BURST {
        write(&readings, &reading(n));
        write(&plains, &plain(n));
    }
    assert!(readings.wait_for_acknowledgments(PATIENCE));
    assert!(plains.wait_for_acknowledgments(PATIENCE));
}

/// More than what the gateway keeps.
fn publish_flood(peer: &Peer) {
    let writer = peer.writer(
        "Plains",
        &structure("Demo::Plain"),
        &EndpointSettings::default(),
    );
    let writer = writer.unwrap();
    wait_for("a match", || writer.matched_readers() == 1);
    for n in 0..FLOOD {
        write(&writer, &plain(n));
    }
    assert!(writer.wait_for_acknowledgments(PATIENCE));
}

/// Prints every sample until it is killed, or nobody has done that for long.
fn subscribe(peer: &Peer) {
    let settings = EndpointSettings::default();
    let reader = peer
        .reader("Commands", &structure("Demo::Reading"), &settings)
        .unwrap();
    println!("PEER ready");
    wait_for("the end", || {
        let samples = reader.take().unwrap();
        samples.iter().for_each(|it| println!("PEER {it}"));
        false
    });
}

#[test]
fn a_reliable_burst_is_complete() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [
            { dds_topic = "Readings", type = "Demo::Reading", topic = "dds/${gateway}/${sensor}" },
            { dds_topic = "Plains", type = "Demo::Plain", qos = 2, retain = true },
        ]
    "#;
    let gateway = gateway(domain, rules);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    let peer = PeerProcess::start("burst", domain);
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("all published", || broker.published() >= 2 * BURST as usize).await;
        // Nothing comes twice.
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    drop(peer);
    assert_eq!(status.counters.received(), 2 * BURST);
    let mut by_topic: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in broker.take_published() {
        assert_eq!(message.properties.content_type(), Some("application/json"));
        let is_plain = message.topic.as_str() == format!("dds/{domain}/Plains");
        assert_eq!(
            (message.qos as u8, message.retain),
            if is_plain { (2, true) } else { (1, false) }
        );
        let json = serde_json::from_slice(&message.payload).unwrap();
        by_topic
            .entry(message.topic.to_string())
            .or_default()
            .push(json);
    }
    assert_eq!(by_topic.len(), 8);
    let plains: Vec<Value> = (0..BURST).map(plain).collect();
    assert_same(&by_topic[&format!("dds/{domain}/Plains")], &plains);
    for sensor in 0..7 {
        let numbers = (0..BURST).filter(|n| n % 7 == sensor);
        let expected: Vec<Value> = numbers.map(reading).collect();
        assert_same(&by_topic[&format!("dds/robot/s{sensor}")], &expected);
    }
}

const COMMANDS: &str =
    r#"from_mqtt = [{ filter = "cmd/#", dds_topic = "Commands", type = "Demo::Reading" }]"#;

/// A peer that has received something, so that nothing that follows is lost.
async fn subscribed_peer(domain: u32, broker: &FakeBroker) -> PeerProcess {
    let peer = PeerProcess::start("subscribe", domain);
    assert_eq!(peer.lines.recv().unwrap(), "ready");
    until("a first sample", || {
        broker.deliver("cmd/x", reading(PROBE).to_string());
        peer.lines.try_recv().is_ok()
    })
    .await;
    peer
}

#[test]
fn messages_reach_the_peer() {
    let domain = free_domain();
    let gateway = gateway(domain, COMMANDS);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    let no_room = || status.counters.dropped(DropReason::NoRoom);
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        let all_acknowledged = || broker.acknowledged().len() as u64 == broker.delivered();
        let peer = subscribed_peer(domain, &broker).await;
        until("all acknowledged", all_acknowledged).await;
        let dropped_before = no_room();
        for wrong in ["no json", "{}", ""] {
            broker.deliver("cmd/x", wrong);
        }
        broker.deliver("elsewhere", "{}");
        let start = Instant::now();
        for n in 0..BURST {
            broker.deliver("cmd/x", reading(n).to_string());
        }
        until("all acknowledged", all_acknowledged).await;
        // A machine under load may stop the peer for so long that it does not keep up.
        let dropped = u32::try_from(no_room() - dropped_before).unwrap();
        assert!(start.elapsed() >= WRITE_BLOCKING_MAX * dropped, "{dropped}");
        assert_burst(&peer, BURST - u64::from(dropped));
    });
    let delivered = broker.delivered();
    assert_eq!(status.counters.sent(), delivered - 4 - no_room());
    assert_eq!(status.counters.dropped(DropReason::Untranslatable), 3);
    assert_eq!(status.counters.dropped(DropReason::Unmapped), 1);
    let ids: Vec<u64> = broker.acknowledged().iter().map(|id| id.0.into()).collect();
    assert_eq!(ids, (1..=delivered).collect::<Vec<u64>>());
}

/// So many samples of a burst come, each once, and those of an instance in their order.
fn assert_burst(peer: &PeerProcess, count: u64) {
    let mut last = BTreeMap::new();
    let lines = std::iter::from_fn(|| peer.lines.recv_timeout(PATIENCE).ok());
    let samples = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let samples = samples.filter(|sample| sample["n"] != json!(PROBE));
    let mut came = 0;
    for sample in samples.take(count as usize) {
        let n = sample["n"].as_u64().unwrap();
        assert_eq!(sample, reading(n));
        let before = last.insert(sample["sensor"].to_string(), n);
        assert!(before < Some(n), "{n} behind {before:?}");
        came += 1;
    }
    assert_eq!(came, count);
}

#[test]
fn a_peer_that_stands_still_costs_samples_and_not_the_gateway() {
    let domain = free_domain();
    let gateway = gateway(domain, COMMANDS);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    let mut end = Instant::now();
    let mut standing = None;
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        let peer = subscribed_peer(domain, &broker).await;
        let id = peer.process.id().to_string();
        let stopped = Command::new("kill").args(["-STOP", &id]).status();
        assert!(stopped.unwrap().success());
        for n in 0..BURST {
            broker.deliver("cmd/x", reading(n).to_string());
        }
        until("a drop", || status.counters.dropped(DropReason::NoRoom) > 0).await;
        let acknowledged = broker.acknowledged().len();
        until("progress", || {
            broker.acknowledged().len() > acknowledged + 3
        })
        .await;
        // It outlives the gateway, which has to stop although the peer still stands.
        standing = Some(peer);
        end = Instant::now();
    });
    let closing = end.elapsed();
    drop(standing);
    println!("closed in {closing:?}");
    assert!(closing < Duration::from_secs(3), "{closing:?}");
}

#[test]
fn a_slow_broker_slows_down_the_peer() {
    let domain = free_domain();
    let rules = r#"to_mqtt = [{ dds_topic = "Plains", type = "Demo::Plain" }]"#;
    let gateway = gateway(domain, rules);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    broker.set_full(true);
    let _peer = PeerProcess::start("flood", domain);
    let mut end = Instant::now();
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        broker.set_full(false);
        until("all published", || broker.published() >= FLOOD as usize).await;
        broker.set_full(true);
        end = Instant::now();
    });
    assert!(
        end.elapsed() < Duration::from_secs(1),
        "{:?}",
        end.elapsed()
    );
    let published = broker.take_published();
    let values = published
        .iter()
        .map(|message| serde_json::from_slice(&message.payload).unwrap());
    let values: Vec<Value> = values.collect();
    assert_same(&values, &(0..FLOOD).map(plain).collect::<Vec<Value>>());
}
