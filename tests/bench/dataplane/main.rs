//! What passing messages on costs, beside Mosquitto and a relay that only copies bytes, in the
//! same run.
//!
//! `cargo bench -p tests --bench dataplane -- [OPTION]...`
//!
//! | option | |
//! |---|---|
//! | `--rounds N` | that the medians are of; 5 |
//! | `--only A,B` | rows whose names have one of these |
//! | `--beside NAME=PATH,...` | other tidegate binaries, which are measured beside the one of this build |
//! | `--broker 'NAME=COMMAND LINE'` | another broker, which stays in the foreground; `{port}` and `{folder}` stand for its port and a folder of its own |
//! | `--quick` | short measurements, one round |
//! | `--write` | the section "Data plane" of BENCHMARKS.md |
//!
//! The environment variable `TIDEGATE_BINARY` names a binary to be measured in place of the one
//! that this build makes.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark says on the terminal what it found, and why it cannot"
)]

mod arguments;
mod churn;
mod figure;
mod frame;
mod idle;
#[path = "../load.rs"]
mod load;
mod offline;
mod peer;
mod poller;
mod publisher;
mod relay;
mod retained;
mod scenario;
mod subscriber;
mod subscription;
mod throughput;
mod traffic;

use std::env;
use std::io;

use arguments::Arguments;
use figure::Figure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenario::{Scenario, UNDER_WAY_BYTES_MAX};
use tests::contender::Contender;
use tests::report::{Comparison, Report, machine, write_section};
use throughput::{CPU, PACED_CPU};

/// Open files of this program and of each broker, at most.
const FILES_MAX: u64 = 20_000;
/// The table of all that is not traffic.
const OTHERS: &str = "Connections, subscriptions, retained and queued messages";
const IDLE_CONNECTIONS: u64 = 10_000;
/// What each of them subscribes to, if anything.
const IDLE_SUBSCRIPTIONS: u64 = 5;
const SUBSCRIPTIONS: [u64; 2] = [200_000, 1_000_000];
const RETAINED: u64 = 100_000;
const QUEUED: u64 = 100_000;

fn main() -> io::Result<()> {
    allow_files()?;
    let mut words = env::args().skip(1);
    if words.next().as_deref() == Some("--relay") {
        let port = words.next().and_then(|it| it.parse().ok());
        return relay::run(port.expect("a port"));
    }
    let arguments = Arguments::parse();
    let contenders = arguments.contenders();
    let names = contenders.iter().map(|it| it.name.clone());
    let mut report = Report::new(names.collect(), Comparison::OfFirst);
    for round in 1..=arguments.rounds {
        let mut run = Run {
            arguments: &arguments,
            contenders: &contenders,
            report: &mut report,
            round,
        };
        run.traffic();
        run.others();
    }
    let text = page_text(&arguments, &report.markdown())?;
    println!("\n{text}");
    if arguments.write {
        let page = tests::workspace().join("BENCHMARKS.md");
        write_section(&page, "Data plane", &text)?;
    }
    Ok(())
}

/// Raises the limit of open files, which the brokers inherit.
fn allow_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(FILES_MAX, |it| it.min(FILES_MAX)));
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

fn page_text(arguments: &Arguments, tables: &str) -> io::Result<String> {
    Ok(format!(
        "Written by `cargo bench -p tests --bench dataplane -- --write`.\n\n\
         Machine: {}.\n\n\
         Method: medians of {} rounds, in each of which the brokers take turns; ratios are the \
         medians of those within a round. Each measurement has a broker and a folder of its own. \
         Tidegate has its defaults, but for `mqtt.max_mqueue_len = 10000` where more than 1000 \
         messages of QoS 1 or 2 are under way to one client, and `max_connections = 20000` for the \
         idle connections; Debian's Mosquitto has `persistence false` (`true` for what is queued \
         offline), `max_inflight_messages 128`, which is Tidegate's default, and \
         `max_queued_messages 0`. The relay is a program of one thread that copies what each \
         publisher writes to its subscribers, and knows no more of MQTT than where a packet ends: \
         the limit for QoS 0. All sessions but those of what is queued offline end with their \
         connections, so nothing is stored for them.\n\n\
         The load is one thread of another process on the same machine, over the loopback \
         interface with TCP_NODELAY. It sees that nothing is missing and that the messages of each \
         publisher keep their order; otherwise a row fails. Of one publisher 20 (fan-in 50:1), 40 \
         (50:5 and fan-out) or 50 (pairs) messages are under way at most, and fewer where that \
         would be more than {} KiB to one subscriber. *Batched*: when half of them have arrived, \
         the window is filled with one write; *one packet per write*: likewise, with one write for \
         each; *window 1*: the next one when the one before has arrived. Each load lasts {:.1} s \
         behind a quarter of that which is not counted, and twice as long at a fixed rate. CPU is \
         what the kernel counts for the broker's threads (`schedstat`). The rates of the fastest \
         rows are those of the load, which shares the processors with the broker; CPU for each \
         message is the figure to compare. At a fixed rate the load looks at its sockets all the \
         time. Properties are three User Properties and a Response Topic.\n\n\
         Memory is resident memory {} s after the last change, less that before. Of the \
         subscriptions nine in ten are exact, one in ten has a `+` and one in a thousand a `#`; \
         others' messages match none of them. Retained messages have 64 bytes of payload; the \
         bytes are those of topic and bookkeeping. Churn is 50 clients that connect and then \
         disconnect; both brokers log that, by default. What is queued offline has 256 bytes of \
         payload and is durable at `normal` in Tidegate.\n{tables}",
        machine()?,
        arguments.rounds,
        UNDER_WAY_BYTES_MAX >> 10,
        arguments.time.as_secs_f64(),
        arguments.settle.as_secs(),
    ))
}

/// One round over all brokers.
struct Run<'a> {
    arguments: &'a Arguments,
    contenders: &'a [Contender],
    report: &'a mut Report,
    round: u64,
}

impl Run<'_> {
    fn traffic(&mut self) {
        let time = self.arguments.time;
        for scenario in scenario::saturated() {
            self.row(CPU, &scenario.name(), Some(scenario), |contender| {
                throughput::saturated(contender, scenario, time)
            });
        }
        for scenario in scenario::paced() {
            self.row(PACED_CPU, &scenario.name(), Some(scenario), |contender| {
                throughput::paced(contender, scenario, time)
            });
        }
    }

    fn others(&mut self) {
        let Arguments { time, settle, .. } = *self.arguments;
        self.row(OTHERS, "idle daemon", None, idle::daemon);
        for each in [0, IDLE_SUBSCRIPTIONS] {
            let name = format!("{IDLE_CONNECTIONS} idle connections with {each} subscriptions");
            self.row(OTHERS, &name, None, |contender| {
                idle::connections(contender, IDLE_CONNECTIONS, each, settle)
            });
        }
        for count in SUBSCRIPTIONS {
            let name = format!("{count} subscriptions");
            self.row(OTHERS, &name, None, |contender| {
                subscription::table(contender, count, settle, time)
            });
        }
        self.row(OTHERS, &format!("{RETAINED} retained"), None, |contender| {
            retained::measure(contender, RETAINED, settle)
        });
        self.row(OTHERS, "churn", None, |contender| {
            churn::measure(contender, time)
        });
        self.row(
            OTHERS,
            &format!("{QUEUED} queued offline"),
            None,
            |contender| offline::measure(contender, QUEUED),
        );
    }

    /// Measures something with each broker in turn. A failure is recorded below `table`.
    fn row(
        &mut self,
        table: &str,
        name: &str,
        scenario: Option<Scenario>,
        measure: impl Fn(&Contender) -> io::Result<Vec<Figure>>,
    ) {
        if !self.arguments.wants(name) {
            return;
        }
        println!("round {}: {name}", self.round);
        for (place, contender) in self.contenders.iter().enumerate() {
            let is_relay = place + 1 == self.contenders.len();
            if is_relay && !scenario.is_some_and(|it| it.is_for_relay()) {
                continue;
            }
            let mut line = format!("{:>14}", contender.name);
            match measure(contender) {
                Ok(figures) => {
                    for Figure { table, row, values } in figures {
                        line += &format!("  {values:.2?}");
                        self.report.record(table, &row, place, &values);
                    }
                }
                Err(error) => {
                    line += &format!("  failed: {error}");
                    self.report.fail(table, name, place, &error.to_string());
                }
            }
            println!("{line}");
        }
    }
}
