//! `tidegate bench`: how many connections and messages a broker can take, and how long they take.
//!
//! ```text
//! conductor: stages, progress, report
//!     | Course: stage, attendance, one cue for each client, one tally for each worker
//! worker (thread) --- metronome: when messages are due
//!     | clients (tasks) --- dialogue --- publisher | subscriber
//!     | connection <--> broker
//! ```
//!
//! Packets are encoded once and copied; a client reads and writes batches, and takes its worker's
//! tally once for each. Nothing but the conductor's line of progress is done by the clock.

mod acknowledgement;
mod client;
mod connection;
mod course;
mod dialogue;
mod fault;
mod histogram;
mod metronome;
mod open_files;
mod plan;
mod progress;
mod publisher;
mod report;
mod round_trips;
mod run;
mod schedule;
mod stamp;
mod subscriber;
mod tally;
mod topic;
mod window;
mod worker;

use std::hash::{BuildHasher, RandomState};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) use self::plan::{Load, Plan, Publishing, Subscribing};
pub(crate) use self::topic::TopicTemplate;

use self::course::Course;
use self::progress::Progress;
use self::report::Report;
use self::stamp::COMMON_MARK;
use crate::terminal::Terminal;

/// Payloads of round trips have room for what times them.
pub(crate) const ROUND_TRIP_BYTES_MIN: usize = stamp::STAMP_BYTES;

/// Measures; prints how far it is and the report, or the report alone as JSON.
pub(crate) fn run(plan: Plan, is_json: bool) -> ExitCode {
    Terminal.exit_code(measure(plan, is_json))
}

fn measure(plan: Plan, is_json: bool) -> Result<(), String> {
    open_files::make_room(plan.total())?;
    let broker = format!("{}:{}", plan.host, plan.port);
    let named = |text: String| format!("{broker}: {text}");
    let addresses = (plan.host.as_str(), plan.port).to_socket_addrs();
    let addresses = addresses.map_err(|error| named(error.to_string()))?;
    // Round trips of two processes at once do not take each other's messages for their own.
    let mark = if plan.has_round_trips() {
        random().to_be_bytes()
    } else {
        COMMON_MARK
    };
    let course = Arc::new(Course::new(plan, addresses.collect(), mark));
    run::run(&course, Progress::new(!is_json))?;
    let report = Report::new(&course);
    if course.attendance().connected > 0 {
        if is_json {
            Terminal.progress("");
            Terminal.line(format_args!("{:#}", report.to_json()));
        } else {
            report.to_lines().all(|line| Terminal.line(line));
        }
    }
    report.outcome().map_err(named)
}

/// A number that other processes do not have.
pub(crate) fn random() -> u32 {
    (RandomState::new().hash_one(0) >> 32) as u32
}
