//! `tidegate reload`

use std::process::ExitCode;

use clap::Args;
use persistence::holder;
use rustix::process::{Pid, Signal, kill_process};

use super::store::Place;
use super::{EXIT_CONFIG, load_with_files};
use crate::terminal::Terminal;

/// Which daemon.
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    place: Place,
    /// The daemon's process, for one without a store.
    #[arg(long, conflicts_with = "path", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

pub(super) fn run(reload: &Reload) -> ExitCode {
    // The daemon would only say it in its log.
    if let Some(conf) = reload.place.conf()
        && let Err(error) = load_with_files(Some(conf))
    {
        Terminal.error(error);
        return ExitCode::from(EXIT_CONFIG);
    }
    let process = match reload.pid {
        Some(process) => process,
        None => match reload.find() {
            Ok(process) => process,
            Err(code) => return code,
        },
    };
    Terminal.exit_code(ask(process))
}

impl Reload {
    /// The process that has the store open. Without one, the reason is printed.
    fn find(&self) -> Result<u32, ExitCode> {
        let directory = self.place.directory()?;
        let shown = directory.display();
        let found = match holder(&directory) {
            Ok(Some(process)) => return Ok(process),
            Ok(None) => format!("no daemon runs with the store in {shown}; name it with --pid"),
            Err(error) => format!("{shown}: {error}"),
        };
        Terminal.error(found);
        Err(ExitCode::FAILURE)
    }
}

fn ask(process: u32) -> Result<(), String> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("there is no process {process}"))?;
    kill_process(pid, Signal::HUP).map_err(|error| format!("process {process}: {error}"))?;
    Terminal.line(format_args!(
        "process {process} reads its configuration anew; its log says what has changed"
    ));
    Ok(())
}
