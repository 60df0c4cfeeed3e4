//! How fast a bridge brings its outbox to the hub after an outage, what that costs, and what a
//! SIGKILL loses, beside Mosquitto's bridge to the same hub in the same run.
//!
//! `cargo bench -p tests --bench bridge -- [OPTION]...`
//!
//! | option | |
//! |---|---|
//! | `--messages N` | that wait in the outbox; 200000, then 3600000, an hour at 1,000 a second: 1 GB |
//! | `--rounds N` | that the medians are of; 5 |
//! | `--write` | the section "Bridges" of BENCHMARKS.md |

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark says on the terminal what it found, and why it cannot"
)]

mod load;

use std::env;
use std::io;
use std::path::PathBuf;
use std::thread;

use load::{Load, WINDOW, drain, leave_session, publish, publish_last};
use tests::contender::{Broker, Contender, Program, Setup};
use tests::fault_proxy::FaultProxy;
use tests::report::{Comparison, Report, machine, write_section};

/// Messages that wait in the outbox, unless it is said: some minutes, and an hour at 1,000 a second.
const OUTAGES: [u64; 2] = [200_000, 3_600_000];
/// Messages that are acknowledged before a SIGKILL.
const KILLED_MESSAGES: u64 = 20_000;
/// Messages that are published while the hub is there.
const LIVE_MESSAGES: u64 = 500_000;
const PUBLISHERS: u32 = 10;
const TOPICS: u64 = 100;
const SESSION: &str = "session-0";
const FILTER: &str = "bench/+";

struct Arguments {
    outages: Vec<u64>,
    rounds: u32,
    write: bool,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Self {
            outages: OUTAGES.to_vec(),
            rounds: 5,
            write: false,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} of what?"));
            match word.as_str() {
                // From cargo.
                "--bench" => {}
                "--messages" => arguments.outages = vec![value().parse().expect("a number")],
                "--rounds" => arguments.rounds = value().parse().expect("a number"),
                "--write" => arguments.write = true,
                _ => panic!("unknown: {word}"),
            }
        }
        arguments
    }
}

fn contender(name: &str, program: Program) -> Contender {
    Contender {
        name: name.to_owned(),
        program,
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let binary = env::var_os("TIDEGATE_BINARY").map(PathBuf::from);
    let tidegate = |level| Program::Tidegate {
        level,
        binary: binary.clone(),
    };
    let contenders = [
        contender("Tidegate", tidegate("normal")),
        contender("Mosquitto", Program::Mosquitto),
    ];
    let hub = contender("hub", tidegate("memory"));
    let names = contenders.iter().map(|it| it.name.clone());
    let mut report = Report::new(names.collect(), Comparison::OfFirst);
    for round in 1..=arguments.rounds {
        for (place, contender) in contenders.iter().enumerate() {
            println!("round {round}: {}", contender.name);
            let mut record = |title: &str, name: &str, value: f64| {
                println!("  {name}: {value:.2}");
                report.record(title, name, place, &[value]);
            };
            measure_live(contender, &hub, &mut |name, value| {
                record("A bridge that is connected", name, value);
            })?;
            for &messages in &arguments.outages {
                let title = format!("A bridge after an outage of {messages} messages");
                let mut record = |name: &str, value: f64| record(&title, name, value);
                measure_outage(contender, &hub, messages, &mut record)?;
            }
            let lost = measure_loss(contender, &hub)?;
            let name = format!("acknowledged messages lost, of {KILLED_MESSAGES}");
            record("A bridge after a SIGKILL", &name, lost);
        }
    }
    let text = format!(
        "Written by `cargo bench -p tests --bench bridge -- --write`.\n\n\
         Machine: {}.\n\n\
         Method: messages of QoS 1 with 256 bytes of payload are published to a broker whose \
         bridge cannot reach its hub ({PUBLISHERS} publishers, {TOPICS} topics, at most {WINDOW} \
         unacknowledged each); then it can, and a subscriber at the hub waits for all of them. The \
         hub is Tidegate without a store, for both; a proxy between them opens and closes the way. \
         Tidegate is durable at `normal`, with 256 messages in flight; Debian's Mosquitto has \
         `persistence true`, which writes to the disk when it stops, `max_inflight_messages 256` \
         and `cleansession false`. Medians of {} interleaved rounds.\n{}",
        machine()?,
        arguments.rounds,
        report.markdown(),
    );
    println!("\n{text}");
    if arguments.write {
        let page = tests::workspace().join("BENCHMARKS.md");
        write_section(&page, "Bridges", &text)?;
    }
    Ok(())
}

/// A hub with a session for all messages, and a broker whose bridge finds the way closed.
fn start(contender: &Contender, hub: &Contender) -> io::Result<(Broker, Broker, FaultProxy)> {
    let (hub, _) = hub.start(Setup {
        tidegate: "mqtt.max_mqueue_len = 10000\nstore.max_messages = 100000000",
        mosquitto: "",
    })?;
    leave_session(hub.port(), SESSION, FILTER)?;
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let port = proxy.port();
    let (edge, _) = contender.start(Setup {
        tidegate: &format!(
            "store {{ max_messages = 100000000, max_bytes = 64GiB, max_total_size = 0 }}\n\
             bridges.mqtt.hub {{ server = \"127.0.0.1:{port}\", backoff_max = 1s, \
             forwards = [{{ local_topic = \"bench/#\" }}] }}"
        ),
        mosquitto: &format!(
            "persistence true\npersistence_location {{folder}}/\nmax_inflight_messages 256\n\
             connection hub\naddress 127.0.0.1:{port}\ntopic bench/# out 1\n\
             cleansession false\nbridge_protocol_version mqttv50\nrestart_timeout 1\n\
             notifications false\ntry_private false"
        ),
    })?;
    Ok((edge, hub, proxy))
}

fn measure_outage(
    contender: &Contender,
    hub: &Contender,
    messages: u64,
    record: &mut dyn FnMut(&str, f64),
) -> io::Result<()> {
    let (edge, hub, proxy) = start(contender, hub)?;
    let load = Load {
        messages,
        publishers: PUBLISHERS,
        topics: TOPICS,
    };
    let before = edge.cpu()?;
    edge.reset_peak()?;
    let collecting = publish(edge.port(), load)?;
    let collected = edge.usage()?;
    edge.reset_peak()?;
    let (hub_port, edge_port) = (hub.port(), edge.port());
    let drained = thread::scope(|scope| {
        let drained = scope.spawn(|| drain(hub_port, Some(edge_port), SESSION, FILTER));
        proxy.pass();
        drained.join().expect("a thread that ends")
    })?;
    let after = edge.usage()?;
    let rate = |time: std::time::Duration| messages as f64 / time.as_secs_f64();
    let micros = |from: std::time::Duration, to: std::time::Duration| {
        (to - from).as_secs_f64() * 1e6 / messages as f64
    };
    record("collecting: messages a second", rate(collecting));
    record(
        "collecting: CPU, µs for each",
        micros(before, collected.cpu),
    );
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    record(
        "collecting: peak of resident memory, MiB",
        mebibytes(collected.memory_peak),
    );
    record(
        "before draining: resident memory, MiB",
        mebibytes(collected.memory),
    );
    record("draining: messages a second", rate(drained.time));
    record(
        "draining: CPU, µs for each",
        micros(collected.cpu, after.cpu),
    );
    record(
        "draining: peak of resident memory, MiB",
        mebibytes(after.memory_peak),
    );
    record(
        "draining: messages lost",
        messages.saturating_sub(drained.messages) as f64,
    );
    record("draining: messages out of order", drained.displaced as f64);
    Ok(())
}

/// What is published while the hub is there, at full speed.
fn measure_live(
    contender: &Contender,
    hub: &Contender,
    record: &mut dyn FnMut(&str, f64),
) -> io::Result<()> {
    let (edge, hub, proxy) = start(contender, hub)?;
    proxy.pass();
    let (hub_port, edge_port) = (hub.port(), edge.port());
    // The bridge is connected when a message has come through.
    drain(hub_port, Some(edge_port), SESSION, FILTER)?;
    let load = Load {
        messages: LIVE_MESSAGES,
        publishers: PUBLISHERS,
        topics: TOPICS,
    };
    let before = edge.cpu()?;
    edge.reset_peak()?;
    let drained = thread::scope(|scope| {
        let drained = scope.spawn(|| drain(hub_port, None, SESSION, FILTER));
        publish(edge_port, load)?;
        publish_last(edge_port)?;
        drained.join().expect("a thread that ends")
    })?;
    let after = edge.usage()?;
    let messages = LIVE_MESSAGES as f64;
    record("messages a second", messages / drained.time.as_secs_f64());
    let micros = (after.cpu - before).as_secs_f64() * 1e6;
    record("CPU, µs for each", micros / messages);
    let mebibytes = after.memory_peak as f64 / f64::from(1 << 20);
    record("peak of resident memory, MiB", mebibytes);
    let lost = LIVE_MESSAGES.saturating_sub(drained.messages);
    record("messages lost", lost as f64);
    record("messages out of order", drained.displaced as f64);
    Ok(())
}

/// How many messages are lost that were acknowledged before the broker was killed.
fn measure_loss(contender: &Contender, hub: &Contender) -> io::Result<f64> {
    let (mut edge, hub, proxy) = start(contender, hub)?;
    let load = Load {
        messages: KILLED_MESSAGES,
        publishers: PUBLISHERS,
        topics: TOPICS,
    };
    publish(edge.port(), load)?;
    edge.kill();
    edge.restart()?;
    proxy.pass();
    let drained = drain(hub.port(), Some(edge.port()), SESSION, FILTER)?;
    Ok(KILLED_MESSAGES.saturating_sub(drained.messages) as f64)
}
