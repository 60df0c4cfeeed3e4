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
mod frame;
mod peer;
mod poller;
mod relay;
mod scenario;
mod traffic;

use std::env;
use std::io;
use std::time::{Duration, Instant};

use arguments::Arguments;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenario::Scenario;
use tests::contender::{Broker, Contender};
use tests::report::{Comparison, Report, machine, write_section};
use traffic::Traffic;

const CPU: &str = "CPU of the broker, µs for each delivered message";
const RATE: &str = "Delivered messages a second";
const MEMORY: &str = "Resident memory of the broker behind it, MiB";
const PACED_CPU: &str = "At a fixed rate: CPU of the broker, µs for each delivered message";
const LATENCY: &str = "At a fixed rate: latency, µs, of 50 / 99 / 99.9 % of the messages";
/// Share of the time that a load lasts before it is measured.
const WARM_UP: f64 = 0.25;
/// How many times longer a load of a fixed rate is, because it has few messages.
const PACED_TIMES: f64 = 2.0;
/// Open files of this program and of each broker, at most.
const FILES_MAX: u64 = 20_000;

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
         medians of those within a round.\n{tables}",
        machine()?,
        arguments.rounds,
    ))
}

/// One round over all brokers.
struct Run<'a> {
    arguments: &'a Arguments,
    contenders: &'a [Contender],
    report: &'a mut Report,
    round: u64,
}

/// What a measurement brought: the title of a table, and the values of a cell.
type Figures = Vec<(&'static str, Vec<f64>)>;

impl Run<'_> {
    fn traffic(&mut self) {
        let time = self.arguments.time;
        for scenario in scenario::saturated() {
            let name = scenario.name();
            self.row(CPU, &name, scenario.is_for_relay(), |contender| {
                measure_saturated(contender, scenario, time)
            });
        }
        for scenario in scenario::paced() {
            let name = scenario.name();
            self.row(PACED_CPU, &name, scenario.is_for_relay(), |contender| {
                measure_paced(contender, scenario, time)
            });
        }
    }

    /// Measures one row with each broker in turn. A failure is recorded, below the first title.
    fn row(
        &mut self,
        title: &str,
        name: &str,
        is_for_relay: bool,
        measure: impl Fn(&Contender) -> io::Result<Figures>,
    ) {
        if !self.arguments.wants(name) {
            return;
        }
        let round = self.round;
        println!("round {round}: {name}");
        for (place, contender) in self.contenders.iter().enumerate() {
            let is_relay = place + 1 == self.contenders.len();
            if is_relay && !is_for_relay {
                continue;
            }
            match measure(contender) {
                Ok(figures) => {
                    let mut line = format!("  {:>12}", contender.name);
                    for (title, values) in figures {
                        line += &format!("  {values:.2?}");
                        self.report.record(title, name, place, &values);
                    }
                    println!("{line}");
                }
                Err(error) => {
                    println!("  {:>12} failed: {error}", contender.name);
                    self.report.fail(title, name, place, &error.to_string());
                }
            }
        }
    }
}

fn measure_saturated(
    contender: &Contender,
    scenario: Scenario,
    time: Duration,
) -> io::Result<Figures> {
    let (broker, _) = contender.start(scenario.setup())?;
    let mut traffic = Traffic::connect(broker.port(), scenario)?;
    traffic.run(time.mul_f64(WARM_UP))?;
    let (cpu, rate) = measure(&broker, &mut traffic, time)?;
    let memory = broker.usage()?.memory as f64 / f64::from(1 << 20);
    Ok(vec![
        (CPU, vec![cpu]),
        (RATE, vec![rate]),
        (MEMORY, vec![memory]),
    ])
}

fn measure_paced(contender: &Contender, scenario: Scenario, time: Duration) -> io::Result<Figures> {
    let (broker, _) = contender.start(scenario.setup())?;
    let mut traffic = Traffic::connect(broker.port(), scenario)?;
    traffic.run(time.mul_f64(WARM_UP))?;
    traffic.note_latencies();
    let (cpu, _) = measure(&broker, &mut traffic, time.mul_f64(PACED_TIMES))?;
    let latencies = traffic.latencies();
    let quantile = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies.get(place).map_or(0.0, |it| f64::from(*it) / 1e3)
    };
    Ok(vec![
        (PACED_CPU, vec![cpu]),
        (LATENCY, [0.5, 0.99, 0.999].map(quantile).to_vec()),
    ])
}

/// Publishes for so long; returns the microseconds of the broker's CPU for each delivered message,
/// and the delivered messages a second. All have arrived then.
fn measure(broker: &Broker, traffic: &mut Traffic, time: Duration) -> io::Result<(f64, f64)> {
    let (start, delivered, cpu) = (Instant::now(), traffic.delivered(), broker.cpu()?);
    traffic.run(time)?;
    let cpu = broker.cpu()?.saturating_sub(cpu);
    let delivered = (traffic.delivered() - delivered) as f64;
    let time = start.elapsed();
    traffic.finish()?;
    Ok((
        cpu.as_secs_f64() * 1e6 / delivered,
        delivered / time.as_secs_f64(),
    ))
}
