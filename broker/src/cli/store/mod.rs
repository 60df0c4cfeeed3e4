//! `tidegate store`: looking at the database, also beside a running daemon, and repairing it.

mod check;
mod export;
mod forget;
mod repair;
mod stats;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use persistence::Quota;
use serde_json::Value;

use super::{EXIT_CONFIG, environment};
use crate::daemon::state_directory;
use crate::settings::Settings;
use crate::terminal::Terminal;

/// Look at the database: check it, count what is in it, read it out, delete a session, or repair it.
#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look for damage, and measure how long the disk takes to write; changes nothing.
    ///
    /// Ends with 0 if the store is whole, 1 if it is damaged, 2 if it cannot be looked at.
    Check(Look),
    /// Count sessions, messages and bytes, and list the deepest queues.
    Stats(Look),
    /// Print sessions, queues, retained and delayed messages, a line of JSON for each.
    ///
    /// Each line has a `type`: `session`, `subscription`, `queued`, `retained` or `delayed`. A payload
    /// is in `payload` if it is UTF-8 text, else in `payload_base64`. Times are milliseconds since 1970
    /// in fields that end in `_ms`; null is never. What changes while it runs may be printed as it was
    /// before or after its change.
    Export(export::Export),
    /// Delete a session with what waits for it; the daemon has to be stopped.
    ///
    /// This is the way to give up what waits for a bridge that is no longer configured.
    Forget(forget::Forget),
    /// Save what can be read of a damaged store; the daemon has to be stopped.
    ///
    /// The damaged files are kept as tidegate.db.damaged-1 or the next free number. With --from,
    /// what such a file has is added to the store: sessions that have begun again since stay as
    /// they are, and what waited for them is queued behind what waits now. A store that is whole is
    /// left alone. Nothing is ever deleted.
    Repair(repair::Repair),
}

/// A look at the store.
#[derive(Debug, Args)]
struct Look {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where the store is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration file that says where the store is.
    #[arg(short, long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// The data directory itself.
    #[arg(long, value_name = "DIR", conflicts_with = "conf")]
    path: Option<PathBuf>,
}

impl Place {
    /// The configuration file that was named.
    pub(super) fn conf(&self) -> Option<&Path> {
        self.conf.as_deref()
    }

    /// The data directory. Without one, the reason is printed and the exit code returned.
    pub(super) fn directory(&self) -> Result<PathBuf, ExitCode> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        self.configured().map_err(|error| {
            Terminal.error(error);
            ExitCode::from(EXIT_CONFIG)
        })
    }

    /// The bounds of the store as far as they are configured.
    pub(super) fn quota(&self) -> Quota {
        let configured = match &self.path {
            Some(_) => None,
            None => Settings::load(self.conf.as_deref(), environment()).ok(),
        };
        let options = configured.and_then(|it| it.store_options());
        options.map_or_else(Quota::default, |it| it.quota)
    }

    fn configured(&self) -> Result<PathBuf, String> {
        let settings = Settings::load(self.conf.as_deref(), environment());
        let settings = settings.map_err(|error| error.to_string())?;
        if settings.store_options().is_none() {
            return Err("`store.enable` is off; name a directory with --path".to_owned());
        }
        let directory = settings.store_directory().or_else(state_directory);
        directory.ok_or_else(|| {
            let reason = "no data directory: neither HOME nor XDG_STATE_HOME is set";
            format!("{reason}; name it with --path")
        })
    }
}

pub(super) fn run(store: &Store) -> ExitCode {
    match &store.command {
        Command::Check(it) => check::run(it),
        Command::Stats(it) => stats::run(it),
        Command::Export(it) => export::run(it),
        Command::Forget(it) => forget::run(it),
        Command::Repair(it) => repair::run(it),
    }
}

/// A time without end is written as the greatest number that a column holds.
fn finite(number: u64) -> Option<u64> {
    Some(number).filter(|&it| it < i64::MAX.unsigned_abs())
}

/// A number of bytes for a person.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} bytes");
    }
    // Tenths, without the detour over floating point.
    let mut tenths = bytes.saturating_mul(10) >> 10;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10_240
        && let Some(next) = units.next()
    {
        tenths >>= 10;
        unit = Some(next);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&""))
}

/// Prints an object over several lines.
fn print_json(value: &Value) {
    Terminal.line(format_args!("{value:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1_023), "1023 bytes");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(64 << 20), "64.0 MiB");
        assert_eq!(size(3 << 50), "3072.0 TiB");
    }
}
