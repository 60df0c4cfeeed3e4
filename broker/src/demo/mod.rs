//! `tidegate demo`: the main job, whole, on this machine, with nothing configured.
//!
//! ```text
//! plant (this process)            edge (child)            uplink        hub (child)
//! ZeroMQ PUB, NNG pub0, DDS  -->  gateways, store, bridge --> proxy --> subscriber (this process)
//! subscriber (this process)  <--  bridge <----------------- proxy <--- command (this process)
//! ```
//!
//! The uplink is a proxy that can be cut. While it is cut, messages wait in the edge's outbox, and a
//! command at the hub; then the edge is killed with SIGKILL and started again. At the end every
//! number that the edge took in must have arrived at the hub, and the command at the edge. How many
//! messages wait is what the edge says of its bridge below `$SYS`. However this process ends, the children end with it,
//! because they watch a pipe that it holds.

mod broker;
mod plant;
mod screen;
mod stage;
mod story;
mod trend;
mod uplink;
mod verdict;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::Terminal;

/// Show the main job: a simulated plant, this broker, a hub, and an uplink that is cut.
#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// Readings that each of the three sources sends in a second, 1 to 1,000.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Messages a second that the bridge may send (`max_messages_per_second`), 0 for no limit; a
    /// third more than the sources send if absent, so that the drain can be watched.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    uplink_rate: Option<u32>,
    /// Seconds with the uplink, and seconds without, 1 to 60.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    act_seconds: u32,
}

impl Demo {
    fn act(&self) -> Duration {
        Duration::from_secs(self.act_seconds.into())
    }

    /// Messages a second that all sources send.
    const fn rate(&self) -> u32 {
        self.rate * 3
    }

    /// Messages a second that the bridge may send; 0 for no limit.
    fn uplink_rate(&self) -> u32 {
        self.uplink_rate.unwrap_or(self.rate * 4)
    }
}

/// Runs the demonstration; fails if a message was lost.
pub(crate) fn run(demo: &Demo) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                outcome = story::tell(demo) => outcome,
                reason = interruption() => Err(reason),
            }
        }),
        Err(error) => Err(error.to_string()),
    };
    Terminal.exit_code(outcome)
}

/// Waits for a signal that ends a command; its processes and files go with it.
pub(crate) async fn interruption() -> String {
    let signals = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [interrupt, terminate, hangup] = signals.map(signal);
    match (interrupt, terminate, hangup) {
        (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            "interrupted".to_owned()
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
            format!("signals cannot be handled: {error}")
        }
    }
}
