//! How fast messages become durable, how fast a backlog leaves, and what that costs, beside
//! Mosquitto in the same run.
//!
//! `cargo bench -p tests --bench durability -- [OPTION]...`
//!
//! | option | |
//! |---|---|
//! | `--messages N` | published in each measurement of the rate; 100000 |
//! | `--backlog N` | that collect and are drained; 1000000 |
//! | `--rounds N` | that the medians are of; 3 |
//! | `--levels A,B` | of durability: memory, normal, full |
//! | `--only A,B` | lines whose names have one of these |
//! | `--beside A,B` | other tidegate binaries, which are measured beside the one of this build |
//! | `--quick` | few messages, one round |
//! | `--write` | the section "Durability" of BENCHMARKS.md |

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark says on the terminal what it found, and why it cannot"
)]

mod load;

use std::env;
use std::io;

use load::{Drained, Load, WINDOW, drain, leave_session, publish, topic};
use tests::contender::{Broker, Contender, Program, Setup, Usage};
use tests::report::{Comparison, Report, machine, write_section};

const RATE: &str = "Acknowledged messages a second";
const CPU: &str = "CPU of the broker, µs for each message";
const BYTES: &str = "Bytes written to the disk for each message";
const MEMORY: &str = "Resident memory of the broker before, at most and after, MiB";
const BACKLOG: &str = "A backlog in one session";
/// Messages that are acknowledged before a SIGKILL.
const KILLED_MESSAGES: u64 = 20_000;

const SETUP: Setup<'_> = Setup {
    // Room for the backlog and the message behind it.
    tidegate: "store.max_messages = 100000000",
    mosquitto: "persistence true\npersistence_location {folder}/",
};

/// Where the messages go.
struct Scenario {
    name: &'static str,
    sessions: u64,
    /// Every session gets every message, and not only those of its own topic.
    is_fan_out: bool,
    publishers: u32,
}

const SCENARIOS: [Scenario; 6] = [
    scenario("1 publisher into 1 session", 1, false, 1),
    scenario("100 publishers into 1 session", 1, false, 100),
    scenario("1 publisher over 100 sessions", 100, false, 1),
    scenario("100 publishers over 100 sessions", 100, false, 100),
    scenario("1 publisher to each of 100 sessions", 100, true, 1),
    scenario("100 publishers to each of 100 sessions", 100, true, 100),
];
/// Topics, and sessions where there are several.
const TOPICS: u64 = 100;
/// Where every message goes to all sessions, so many times fewer are published.
const FAN_OUT_SHARE: u64 = 20;

const fn scenario(
    name: &'static str,
    sessions: u64,
    is_fan_out: bool,
    publishers: u32,
) -> Scenario {
    Scenario {
        name,
        sessions,
        is_fan_out,
        publishers,
    }
}

struct Arguments {
    messages: u64,
    backlog: u64,
    rounds: u64,
    levels: Vec<String>,
    only: Vec<String>,
    beside: Vec<String>,
    write: bool,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Self {
            messages: 100_000,
            backlog: 1_000_000,
            rounds: 3,
            levels: list("memory,normal,full"),
            only: Vec::new(),
            beside: Vec::new(),
            write: false,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} of what?"));
            let number = |text: String| text.parse().expect("a number");
            match word.as_str() {
                // From cargo.
                "--bench" => {}
                "--messages" => arguments.messages = number(value()),
                "--backlog" => arguments.backlog = number(value()),
                "--rounds" => arguments.rounds = number(value()),
                "--levels" => arguments.levels = list(&value()),
                "--only" => arguments.only = list(&value()),
                "--beside" => arguments.beside = list(&value()),
                "--write" => arguments.write = true,
                "--quick" => {
                    arguments.messages = 10_000;
                    arguments.backlog = 50_000;
                    arguments.rounds = 1;
                }
                _ => panic!("unknown: {word}"),
            }
        }
        arguments
    }

    fn contenders(&self) -> Vec<Contender> {
        let mut contenders = Vec::new();
        for level in ["memory", "normal", "full"] {
            if !self.levels.iter().any(|it| it == level) {
                continue;
            }
            let own = (level.to_owned(), None);
            let beside = self.beside.iter().map(|binary| {
                let name = binary.rsplit('/').next().unwrap_or(binary);
                (format!("{level}, {name}"), Some(binary.into()))
            });
            for (name, binary) in beside.chain([own]) {
                let program = Program::Tidegate { level, binary };
                contenders.push(Contender { name, program });
            }
        }
        contenders.push(Contender {
            name: "Mosquitto".to_owned(),
            program: Program::Mosquitto,
        });
        contenders
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| name.contains(it.as_str()))
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let contenders = arguments.contenders();
    let names = contenders.iter().map(|it| it.name.clone());
    let mut report = Report::new(names.collect(), Comparison::WithLast);
    for round in 1..=arguments.rounds {
        for scenario in SCENARIOS.iter().filter(|it| arguments.wants(it.name)) {
            for (place, contender) in contenders.iter().enumerate() {
                println!("round {round}: {}, {}", scenario.name, contender.name);
                let messages = if scenario.is_fan_out {
                    arguments.messages / FAN_OUT_SHARE
                } else {
                    arguments.messages
                };
                measure_rate(contender, scenario, messages, &mut |title, values| {
                    report.record(title, scenario.name, place, values);
                })?;
            }
        }
        if !arguments.wants("backlog") {
            continue;
        }
        for (place, contender) in contenders.iter().enumerate() {
            println!("round {round}: backlog, {}", contender.name);
            let mut record = |name: &str, values: &[f64]| {
                report.record(BACKLOG, name, place, values);
            };
            measure_loss(contender, &mut record)?;
            if has_backlog(contender) {
                measure_backlog(contender, arguments.backlog, &mut record)?;
            }
        }
    }
    let tables = report.markdown();
    let text = page_text(&arguments, &tables)?;
    println!("\n{text}");
    if arguments.write {
        let page = tests::workspace().join("BENCHMARKS.md");
        write_section(&page, "Durability", &text)?;
    }
    Ok(())
}

fn page_text(arguments: &Arguments, tables: &str) -> io::Result<String> {
    Ok(format!(
        "Written by `cargo bench -p tests --bench durability -- --write`.\n\n\
         Machine: {}.\n\n\
         Method: messages of QoS 1 with 256 bytes of payload over the loopback interface, at most \
         {WINDOW} unacknowledged ones of each publisher, into durable sessions whose clients are \
         away. The columns are the levels of `store.durability` and Debian's Mosquitto with \
         `persistence true`, which writes to the disk when it stops; both may have 128 messages \
         under way to a subscriber. Each measurement has a broker and a folder of its own; \
         {} messages for each rate (a twentieth of that where each goes to 100 sessions), medians \
         of {} interleaved rounds. In parentheses: how many times Mosquitto's figure that is. \
         The load generator runs on the same machine. NanoMQ is not measured, because Debian has no \
         package of it; it keeps 100 messages in memory before it writes them (its default of \
         `flush_mem_threshold`), so a SIGKILL may take as many.\n{tables}",
        machine()?,
        arguments.messages,
        arguments.rounds,
    ))
}

fn start(contender: &Contender) -> io::Result<Broker> {
    let (broker, _) = contender.start(SETUP)?;
    Ok(broker)
}

/// One level shows what all have in common.
fn has_backlog(contender: &Contender) -> bool {
    match &contender.program {
        Program::Tidegate { level, .. } => *level == "normal",
        Program::Mosquitto | Program::CommandLine(_) => true,
    }
}

fn measure_rate(
    contender: &Contender,
    scenario: &Scenario,
    messages: u64,
    record: &mut dyn FnMut(&str, &[f64]),
) -> io::Result<()> {
    let broker = start(contender)?;
    for session in 0..scenario.sessions {
        let is_for_all = scenario.is_fan_out || scenario.sessions == 1;
        let filter = if is_for_all {
            "bench/+".to_owned()
        } else {
            topic(session)
        };
        leave_session(broker.port(), &format!("session-{session}"), &filter)?;
    }
    let load = Load {
        messages,
        publishers: scenario.publishers,
        topics: TOPICS,
    };
    let phase = Phase::begin(&broker)?;
    let time = publish(broker.port(), load)?;
    record(RATE, &[messages as f64 / time.as_secs_f64()]);
    phase.end(messages, |what, values| record(what.title(), values))
}

/// What a SIGKILL directly after the last PUBACK costs.
fn measure_loss(contender: &Contender, record: &mut dyn FnMut(&str, &[f64])) -> io::Result<()> {
    let mut broker = start(contender)?;
    leave_session(broker.port(), "session-0", "bench/+")?;
    let load = Load {
        messages: KILLED_MESSAGES,
        publishers: 10,
        topics: TOPICS,
    };
    publish(broker.port(), load)?;
    broker.kill();
    broker.restart()?;
    let drained = drain(broker.port(), Some(broker.port()), "session-0", "bench/+")?;
    let lost = KILLED_MESSAGES.saturating_sub(drained.messages);
    let name = format!("acknowledged messages that a SIGKILL loses, of {KILLED_MESSAGES}");
    record(&name, &[lost as f64]);
    Ok(())
}

/// Lets a backlog collect, starts the broker again with it, and takes it out.
fn measure_backlog(
    contender: &Contender,
    messages: u64,
    record: &mut dyn FnMut(&str, &[f64]),
) -> io::Result<()> {
    let mut broker = start(contender)?;
    leave_session(broker.port(), "session-0", "bench/+")?;
    let load = Load {
        messages,
        publishers: 100,
        topics: TOPICS,
    };
    let phase = Phase::begin(&broker)?;
    let time = publish(broker.port(), load)?;
    let per_second = |time: std::time::Duration| messages as f64 / time.as_secs_f64();
    record("collecting: messages a second", &[per_second(time)]);
    phase.end(messages, |what, values| {
        record(&format!("collecting: {}", what.name()), values);
    })?;
    let name = "start with it after an orderly stop, seconds to the first CONNACK";
    broker.stop();
    record(name, &[broker.restart()?.as_secs_f64()]);
    if matches!(contender.program, Program::Tidegate { .. }) {
        broker.kill();
        // Mosquitto would begin with what it saved at the stop.
        let name = "start with it after a SIGKILL, seconds to the first CONNACK";
        record(name, &[broker.restart()?.as_secs_f64()]);
    }
    let phase = Phase::begin(&broker)?;
    let Drained {
        messages: drained,
        displaced,
        time,
    } = drain(broker.port(), Some(broker.port()), "session-0", "bench/+")?;
    record("draining: messages a second", &[per_second(time)]);
    phase.end(messages, |what, values| {
        record(&format!("draining: {}", what.name()), values);
    })?;
    let missing = messages.abs_diff(drained);
    record(
        "draining: messages that are missing or out of order",
        &[(missing + displaced) as f64],
    );
    Ok(())
}

/// What is recorded of a broker's usage.
#[derive(Clone, Copy)]
enum Measure {
    Cpu,
    Bytes,
    Memory,
}

impl Measure {
    const fn title(self) -> &'static str {
        match self {
            Self::Cpu => CPU,
            Self::Bytes => BYTES,
            Self::Memory => MEMORY,
        }
    }

    /// As a line of a table.
    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU of the broker, µs for each message",
            Self::Bytes => "bytes written for each message",
            Self::Memory => "memory before, at most and after, MiB",
        }
    }
}

/// A part of a broker's life whose usage is measured.
struct Phase<'a> {
    broker: &'a Broker,
    before: Usage,
}

impl<'a> Phase<'a> {
    fn begin(broker: &'a Broker) -> io::Result<Self> {
        broker.reset_peak()?;
        let before = broker.usage()?;
        Ok(Self { broker, before })
    }

    fn end(self, messages: u64, mut record: impl FnMut(Measure, &[f64])) -> io::Result<()> {
        let (before, after) = (self.before, self.broker.usage()?);
        let each = |amount: f64| amount / messages as f64;
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
        record(Measure::Cpu, &[each(cpu)]);
        let written = after.written - before.written;
        record(Measure::Bytes, &[each(written as f64)]);
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let memory = [before.memory, after.memory_peak, after.memory];
        record(Measure::Memory, &memory.map(mebibytes));
        Ok(())
    }
}
