//! The gateway against a peer in another process, over the loopback interface.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, also outside their functions"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use gateway::testing::FakeBroker;
use gateway::{DropReason, Gateway, LinkState, Status};
use gateway_dds::idl::Idl;
use gateway_dds::peer::{DomainSettings, Durability, EndpointSettings, Peer, PeerWriter};
use gateway_dds::type_tree::Structure;
use gateway_dds::{Config, DdsGateway};
use serde_json::{Value, json};
use support::{free_domain, run, until};

const BURST: u64 = 10_000;
const FLOOD: u64 = 40_000;
/// The number in a sample that only tells whether the peer is there.
const PROBE: u64 = 1_000_000;

const TYPES: &str = "
    module Demo {
        struct Reading { @key string sensor; double value; unsigned long n; sequence<string> tags; };
        struct Plain { unsigned long n; string text; };
        enum Mode { OFF, ON };
        @appendable struct Point { short x; double y; };
        @appendable struct Rich {
            @key long id; @key Mode mode; Point point; sequence<Point> points; Mode modes[2];
            octet raw[3]; long grid[2][2]; sequence<sequence<string> > names; char c; boolean b;
            long long big; uint8 small; float f; string<5> bounded; sequence<Mode> history;
        };
        struct Part { @key long a; long b; };
        struct Whole { short a; string b; };
        struct Keyed {
            @key Part part; @key Whole whole; @key octet id[2]; @key boolean flag; @key Mode mode;
            @key double d; long x;
        };
    };";

fn structure(name: &str) -> Arc<Structure> {
    Arc::clone(Idl::parse(TYPES).unwrap().find(name).unwrap())
}

fn settings(domain: u32) -> DomainSettings {
    DomainSettings {
        domain,
        interface: Some("lo".to_owned()),
        ..DomainSettings::default()
    }
}

fn gateway(domain: u32, rules: &str) -> DdsGateway {
    let text = format!("domain = {domain}\ninterface = \"lo\"\nidl = \"\"\"{TYPES}\"\"\"\n{rules}");
    let config: Config = toml::from_str(&text).unwrap();
    DdsGateway::new("robot", config).unwrap()
}

fn reading(n: u64) -> Value {
    let sensor = format!("s{}", n % 7);
    json!({"sensor": sensor, "value": n as f64 / 8.0, "n": n, "tags": ["a", "b"]})
}

fn plain(n: u64) -> Value {
    json!({"n": n, "text": "x".repeat(n as usize % 50)})
}

fn rich(id: i64) -> Value {
    json!({
        "id": id, "mode": "ON", "point": {"x": -3, "y": 0.25},
        "points": [{"x": 1, "y": 1.5}, {"x": 2, "y": 2.5}], "modes": ["ON", "OFF"],
        "raw": [0, 128, 255], "grid": [[1, 2], [3, 4]], "names": [["a"], [], ["b", "cc"]],
        "c": "\u{e9}", "b": true, "big": 9_007_199_254_740_993_i64, "small": 200, "f": 0.1,
        "bounded": "12345", "history": ["OFF", "ON"],
    })
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

/// Says where values differ instead of printing all of them.
fn assert_same(values: &[Value], expected: &[Value]) {
    let differs = values
        .iter()
        .zip(expected)
        .find(|(value, expected)| value != expected);
    assert_eq!(differs, None);
    assert_eq!(values.len(), expected.len());
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "never happened: {what}"
        );
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
    assert!(readings.wait_for_acknowledgments(Duration::from_secs(60)));
    assert!(plains.wait_for_acknowledgments(Duration::from_secs(60)));
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
    assert!(writer.wait_for_acknowledgments(Duration::from_secs(60)));
}

/// Prints every sample until a burst is complete.
fn subscribe(peer: &Peer) {
    let settings = EndpointSettings::default();
    let reader = peer
        .reader("Commands", &structure("Demo::Reading"), &settings)
        .unwrap();
    println!("PEER ready");
    let mut count = 0;
    wait_for("the whole burst", || {
        for sample in reader.take().unwrap() {
            println!("PEER {sample}");
            let sample: Value = serde_json::from_str(&sample).unwrap();
            count += u64::from(sample["n"] != json!(PROBE));
        }
        count == BURST
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
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        let peer = subscribed_peer(domain, &broker).await;
        for wrong in ["no json", "{}", ""] {
            broker.deliver("cmd/x", wrong);
        }
        broker.deliver("elsewhere", "{}");
        for n in 0..BURST {
            broker.deliver("cmd/x", reading(n).to_string());
        }
        until("all acknowledged", || {
            broker.acknowledged().len() as u64 == broker.delivered()
        })
        .await;
        let lines = std::iter::from_fn(|| peer.lines.recv_timeout(Duration::from_secs(60)).ok());
        let values = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let mut values: Vec<Value> = values.filter(|value| value["n"] != json!(PROBE)).collect();
        // The order is kept within an instance.
        values.sort_by_key(|value| value["sensor"].to_string());
        let mut expected: Vec<Value> = (0..BURST).map(reading).collect();
        expected.sort_by_key(|value| value["sensor"].to_string());
        assert_same(&values, &expected);
    });
    let delivered = broker.delivered();
    assert_eq!(status.counters.sent(), delivered - 4);
    assert_eq!(status.counters.dropped(DropReason::Untranslatable), 3);
    assert_eq!(status.counters.dropped(DropReason::Unmapped), 1);
    let ids: Vec<u64> = broker.acknowledged().iter().map(|id| id.0.into()).collect();
    assert_eq!(ids, (1..=delivered).collect::<Vec<u64>>());
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

#[test]
fn every_kind_of_member_crosses_in_both_directions() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [{ dds_topic = "Rich", type = "Demo::Rich", topic = "${type}/${id}/${mode}/${f}",
            reliability = "best_effort" }]
        from_mqtt = [{ filter = "in", dds_topic = "RichToo", type = "Demo::Rich" }]
    "#;
    let gateway = gateway(domain, rules);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("up", || status.link() == LinkState::Up).await;
        let peer = Peer::open(&settings(domain)).unwrap();
        let defaults = EndpointSettings::default();
        let writer = peer
            .writer("Rich", &structure("Demo::Rich"), &defaults)
            .unwrap();
        let reader = peer
            .reader("RichToo", &structure("Demo::Rich"), &defaults)
            .unwrap();
        until("a match", || writer.matched_readers() == 1).await;
        writer.write(&rich(-5)).unwrap();
        until("published", || broker.published() == 1).await;
        let message = broker.take_published().remove(0);
        assert_eq!(message.topic.as_str(), "Demo::Rich/-5/ON/0.1");
        assert_eq!(message.qos as u8, 0);
        assert_eq!(
            serde_json::from_slice::<Value>(&message.payload).unwrap(),
            rich(-5)
        );
        broker.deliver("in", rich(7).to_string());
        let mut samples = Vec::new();
        until("received", || {
            samples.extend(reader.take().unwrap());
            !samples.is_empty()
        })
        .await;
        assert_eq!(serde_json::from_str::<Value>(&samples[0]).unwrap(), rich(7));
    });
}

#[test]
fn a_topic_that_cannot_be_published_to_costs_the_sample_only() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [{ dds_topic = "Readings", type = "Demo::Reading", topic = "dds/${sensor}",
            durability = "transient_local" }]
    "#;
    let gateway = gateway(domain, rules);
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    let peer = Peer::open(&settings(domain)).unwrap();
    let lasting = EndpointSettings {
        durability: Durability::TransientLocal,
        ..EndpointSettings::default()
    };
    let writer = peer
        .writer("Readings", &structure("Demo::Reading"), &lasting)
        .unwrap();
    for sensor in ["#", "good", "a+b"] {
        let mut value = reading(1);
        value["sensor"] = json!(sensor);
        writer.write(&value).unwrap();
    }
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("dropped", || {
            status.counters.dropped(DropReason::Malformed) == 2
        })
        .await;
        until("published", || broker.published() == 1).await;
    });
    assert_eq!(broker.take_published()[0].topic.as_str(), "dds/good");
}

#[test]
fn instances_are_told_apart_by_keys_of_every_kind() {
    let domain = free_domain();
    let rules = r#"
        to_mqtt = [{ dds_topic = "Keyed", type = "Demo::Keyed", durability = "transient_local" }]
    "#;
    let gateway = gateway(domain, rules);
    let peer = Peer::open(&settings(domain)).unwrap();
    let lasting = EndpointSettings {
        durability: Durability::TransientLocal,
        ..EndpointSettings::default()
    };
    let writer = peer
        .writer("Keyed", &structure("Demo::Keyed"), &lasting)
        .unwrap();
    let first = json!({
        "part": {"a": 1, "b": 1}, "whole": {"a": 1, "b": "x"}, "id": [1, 2], "flag": true,
        "mode": "ON", "d": 0.5, "x": 1,
    });
    let mut expected = vec![first.clone()];
    let keys = [
        ("/part/a", json!(2)),
        ("/whole/a", json!(2)),
        ("/whole/b", json!("y")),
        ("/id/1", json!(3)),
        ("/flag", json!(false)),
        ("/mode", json!("OFF")),
        ("/d", json!(0.75)),
    ];
    for (place, other) in keys {
        let mut value = first.clone();
        *value.pointer_mut(place).unwrap() = other;
        expected.push(value);
    }
    for value in &mut expected {
        writer.write(value).unwrap();
        // Neither is part of the key, so this replaces what was written before.
        value["part"]["b"] = json!(9);
        value["x"] = json!(10);
        writer.write(value).unwrap();
    }
    let broker = Arc::new(FakeBroker::default());
    let status = Arc::new(Status::default());
    run(gateway.run(broker.client(), Arc::clone(&status)), async {
        until("all instances", || broker.published() >= expected.len()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    let published = broker.take_published();
    let values = published
        .iter()
        .map(|message| serde_json::from_slice(&message.payload).unwrap());
    let mut values: Vec<Value> = values.collect();
    values.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_same(&values, &expected);
}
