//! `tidegate crashlab`: is it true on your disk that nothing acknowledged is lost?
//!
//! ```text
//! publishers, subscribers (threads here) <--> broker (child process) <--> data directory
//!            \__ history: sent, acknowledged, delivered __/    ^
//!                            |                                 | SIGKILL, power cut
//!                          verdict                         conductor
//! ```
//!
//! Everything that the verdict needs is in this process, so it survives the broker. The clients
//! keep their sessions as the specification wants it, and acknowledge nothing by accident.

mod connection;
mod disk;
mod history;
mod lab;
mod process;
mod publisher;
mod report;
mod run;
mod subscriber;
mod workload;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use persistence::Durability;
use serde_json::Value;
use tokio::sync::oneshot;

use self::run::Plan;
use crate::demo::interruption;
use crate::folder::Folder;
use crate::terminal::Terminal;

/// Names of its temporary folders begin with this.
const FOLDER_PREFIX: &str = "tidegate-crashlab-";

/// What the figures of the report mean.
const FIGURES: &str = "\
Four publishers and six subscribers keep their sessions while the broker dies, at random moments
and at named points of its store. At the end everything is delivered, and compared:

  lost            acknowledged (PUBACK or PUBREC) and not delivered; counted for each subscriber,
                  of which a shared subscription is one
  lost unsynced   the same, acknowledged just before a power cut, and nothing behind it was kept;
                  with normal durability a second is allowed, and one more for a busy machine
  duplicated      delivered again: at QoS 2 at all; at QoS 1 unless the publisher had sent the
                  message again, or the broker died before it had to know the PUBACK and repeats it
                  on another connection, with DUP and the same Packet Identifier
  reordered       delivered for the first time behind a later message of its publisher and topic
  retained wrong  topics whose retained message is neither the last that was acknowledged nor one
                  that was sent later
  mistaken        delivered at QoS 2 under a Packet Identifier that stands for another message, so
                  that the subscriber discards it
  phantom         delivered and never sent

The exit code is 0 if the promises of the level are kept. With memory durability nothing is
promised over a crash, so losses are reported only.";

/// Kill a broker again and again on your disk, and count what it has lost.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = FIGURES)]
pub(crate) struct Crashlab {
    /// A folder on the disk that is tested; everything happens in a temporary folder below it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Kills of the broker for each level.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// Seconds after which no more kills follow.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// What the broker is told to promise.
    #[arg(long, value_enum, default_value_t = Levels::Normal)]
    durability: Levels,
    /// Cut the power in place of killing: on a disk in a file below the folder, which takes root.
    #[arg(long)]
    power_cut: bool,
    /// This process was begun again with mounts of its own.
    #[arg(long, hide = true)]
    own_mounts: bool,
    /// Repeats the random choices of a run, though not its timing.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Levels {
    Memory,
    Normal,
    Full,
    All,
}

impl Levels {
    const fn durabilities(self) -> &'static [Durability] {
        match self {
            Self::Memory => &[Durability::Memory],
            Self::Normal => &[Durability::Normal],
            Self::Full => &[Durability::Full],
            Self::All => &[Durability::Memory, Durability::Normal, Durability::Full],
        }
    }
}

/// Torments brokers; fails if one has broken what its level promises.
pub(crate) fn run(crashlab: &Crashlab) -> ExitCode {
    if crashlab.power_cut && !crashlab.own_mounts {
        return Terminal.exit_code(Err(disk::begin_again("--own-mounts")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(supervise(crashlab.clone())),
        Err(error) => Err(error.to_string()),
    };
    Terminal.exit_code(outcome)
}

/// Runs everything in a thread. A signal ends it in order: processes, disks and files go with it.
async fn supervise(crashlab: Crashlab) -> Result<(), String> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let (sender, mut outcome) = oneshot::channel();
    let asked = Arc::clone(&is_stopped);
    let thread = std::thread::spawn(move || {
        let outcome = crashlab.run_levels(&|| asked.load(Ordering::SeqCst));
        // Somebody is always there for it.
        sender.send(outcome).ok();
    });
    let finished = tokio::select! {
        outcome = &mut outcome => outcome,
        _ = interruption() => {
            is_stopped.store(true, Ordering::SeqCst);
            outcome.await
        }
    };
    thread.join().map_err(|_| "the laboratory has panicked")?;
    finished.map_err(|error| error.to_string())?
}

impl Crashlab {
    fn run_levels(&self, is_stopped: &dyn Fn() -> bool) -> Result<(), String> {
        let seed = self
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
        let mut reports = Vec::new();
        for &durability in self.durability.durabilities() {
            if self.power_cut && durability == Durability::Memory {
                return Err("--power-cut is for the levels normal and full".to_owned());
            }
            let plan = Plan {
                durability,
                kills: self.kills,
                seconds: self.seconds.into(),
                seed,
                is_power_cut: self.power_cut,
            };
            let folder = Folder::create(&self.path, FOLDER_PREFIX)
                .map_err(|error| format!("{}: {error}", self.path.display()))?;
            let folder_path = folder
                .path()
                .canonicalize()
                .map_err(|error| error.to_string())?;
            let report = run::run(&plan, &folder_path, is_stopped);
            Terminal.progress("");
            let report = report?;
            if !self.json {
                report.to_lines().all(|line| Terminal.line(line));
            }
            reports.push(report);
        }
        if self.json {
            let all: Value = reports.iter().map(report::Report::to_json).collect();
            Terminal.line(all);
        }
        match reports.iter().all(report::Report::is_kept) {
            true => Ok(()),
            false => Err("a promise is broken".to_owned()),
        }
    }
}
