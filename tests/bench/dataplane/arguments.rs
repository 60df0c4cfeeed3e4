//! The command line of the benchmark.

use std::env;
use std::process::Command;
use std::time::Duration;

use tests::contender::{Contender, Program};

/// What the figures of a page are medians of.
const ROUNDS: u64 = 5;
/// How long a load is measured.
const TIME: Duration = Duration::from_millis(500);
/// Likewise with `--quick`.
const TIME_QUICK: Duration = Duration::from_millis(300);

const SETTLE: Duration = Duration::from_secs(8);
const SETTLE_QUICK: Duration = Duration::from_secs(1);

pub(crate) struct Arguments {
    pub(crate) rounds: u64,
    pub(crate) time: Duration,
    /// How long a broker gets until its memory is looked at; longer than Tidegate's connections
    /// take until they are passive.
    pub(crate) settle: Duration,
    pub(crate) write: bool,
    only: Vec<String>,
    beside: Vec<Contender>,
    others: Vec<Contender>,
}

impl Arguments {
    /// From the words of the command line.
    ///
    /// # Panics
    /// They are wrong.
    pub(crate) fn parse() -> Self {
        let mut arguments = Self {
            rounds: ROUNDS,
            time: TIME,
            settle: SETTLE,
            write: false,
            only: Vec::new(),
            beside: Vec::new(),
            others: Vec::new(),
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} of what?"));
            match word.as_str() {
                // From cargo.
                "--bench" => {}
                "--rounds" => arguments.rounds = value().parse().expect("a number"),
                "--only" => arguments.only = value().split(',').map(str::to_owned).collect(),
                "--beside" => arguments.beside.extend(value().split(',').map(|it| {
                    let (name, binary) = named(it);
                    contender(name, tidegate(Some(binary)))
                })),
                "--broker" => {
                    let value = value();
                    let (name, line) = named(&value);
                    let program = Program::CommandLine(line.to_owned());
                    arguments.others.push(contender(name, program));
                }
                "--write" => arguments.write = true,
                "--quick" => {
                    arguments.rounds = 1;
                    arguments.time = TIME_QUICK;
                    arguments.settle = SETTLE_QUICK;
                }
                _ => panic!("unknown: {word}"),
            }
        }
        arguments
    }

    /// The brokers; the first is ours, the last the relay.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let relay = env::current_exe().expect("the path of this program");
        let relay = format!("'{}' --relay {{port}}", relay.display());
        let mut contenders = vec![contender("Tidegate", tidegate(None))];
        contenders.extend(self.beside.iter().cloned());
        // Its name and version, which it tells with an exit code of its own.
        match Command::new("mosquitto").arg("-h").output() {
            Ok(_) => contenders.push(contender("Mosquitto", Program::Mosquitto)),
            Err(error) => println!("no mosquitto: {error}"),
        }
        contenders.extend(self.others.iter().cloned());
        contenders.push(contender("relay", Program::CommandLine(relay)));
        contenders
    }

    /// Whether a row is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| name.contains(it.as_str()))
    }
}

fn named(text: &str) -> (&str, &str) {
    let parts = text.split_once('=');
    parts.unwrap_or_else(|| panic!("{text} is not NAME=WHAT"))
}

fn contender(name: &str, program: Program) -> Contender {
    Contender {
        name: name.to_owned(),
        program,
    }
}

fn tidegate(binary: Option<&str>) -> Program {
    Program::Tidegate {
        level: "normal",
        binary: binary.map(Into::into),
    }
}
