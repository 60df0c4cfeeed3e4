//! The process whose disk fails: it goes through a script and says on its standard output how far
//! it came, one word in a line.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use persistence::{Durability, Operation, Store};

use crate::script::{PATIENCE, long_script, options, script, submit};

/// How it goes through the script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) durability: Durability,
    /// The store is never closed; and there are so many messages that the log is written to the
    /// database in between.
    pub(crate) stays_open: bool,
    /// The steps that are durable already.
    pub(crate) from: usize,
}

impl Run {
    pub(crate) fn arguments(self) -> [String; 3] {
        let full = self.durability == Durability::Full;
        [
            full.to_string(),
            self.stays_open.to_string(),
            self.from.to_string(),
        ]
    }

    fn parse(arguments: &[String]) -> Self {
        let full: bool = arguments[0].parse().unwrap();
        Self {
            durability: if full {
                Durability::Full
            } else {
                Durability::Normal
            },
            stays_open: arguments[1].parse().unwrap(),
            from: arguments[2].parse().unwrap(),
        }
    }

    /// The steps of each time that the store is open.
    pub(crate) fn script(self) -> Vec<Vec<Vec<Operation>>> {
        if self.stays_open {
            vec![long_script()]
        } else {
            script().into()
        }
    }
}

pub(crate) fn say(what: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}").and_then(|()| out.flush()).unwrap();
}

/// Ends when its input does.
pub(crate) fn main(directory: &str, arguments: &[String]) -> ExitCode {
    let run = Run::parse(arguments);
    let mut left = run.from;
    for part in run.script() {
        let skipped = left.min(part.len());
        left -= skipped;
        let mut steps = part.into_iter().skip(skipped).collect::<Vec<_>>();
        let Some(last) = steps.pop() else {
            continue;
        };
        let opened = Store::open(Path::new(directory), options(run.durability));
        let (store, recovered) = match opened {
            Ok(opened) => opened,
            Err(error) => return refuse(&format!("refused {error}")),
        };
        if let Some(damage) = recovered.damage {
            say(&format!("damage {damage}"));
        }
        steps.into_iter().for_each(|step| take(&store, step));
        let before = epoch(directory);
        take(&store, last);
        if run.stays_open {
            wait_synced(directory, &before);
            return wait();
        }
        if let Err(error) = store.close() {
            return refuse(&format!("unclosed {error}"));
        }
    }
    wait()
}

fn epoch(directory: &str) -> Vec<u8> {
    fs::read(Path::new(directory).join("tidegate.epoch")).unwrap_or_default()
}

/// Waits until there was a sync.
fn wait_synced(directory: &str, before: &[u8]) {
    let start = Instant::now();
    while epoch(directory) == before {
        assert!(start.elapsed() < PATIENCE, "never synced");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until it is killed.
fn wait() -> ExitCode {
    say("done");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    ExitCode::SUCCESS
}

fn refuse(why: &str) -> ExitCode {
    say(why);
    ExitCode::FAILURE
}

fn take(store: &Store, step: Vec<Operation>) {
    let last = submit(store, step);
    let (start, mut was_said) = (Instant::now(), false);
    while store.durable() < last {
        if store.is_failing() && !was_said {
            was_said = true;
            say("failing");
        }
        assert!(start.elapsed() < PATIENCE, "it never recovers");
        thread::sleep(Duration::from_millis(1));
    }
    say("durable");
}
