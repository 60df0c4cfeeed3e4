//! The command line.

mod bench;
mod broker_client;
mod check;
mod hints;
mod publish;
mod reload;
mod resumption;
mod start;
mod store;
mod subscribe;

pub use resumption::NothingUnacknowledged;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use self::broker_client::words;

use crate::config::{ConfigError, ENVIRONMENT_PREFIX};
use crate::settings::Settings;
use crate::{crashlab, demo};

/// A wrong command line, as clap has it.
const EXIT_USAGE: u8 = 2;
/// Wrong configuration, as in sysexits.
pub(crate) const EXIT_CONFIG: u8 = 78;

/// An MQTT broker for the edge: ZeroMQ, NNG and DDS in, MQTT out, nothing acknowledged lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker.
    Start(start::Start),
    /// Check a configuration file and say what is wrong with it.
    Check(Configured),
    /// Have a running broker read its configuration anew, as SIGHUP does.
    Reload(reload::Reload),
    /// Look at the database: check it, count what is in it, read it out, delete a session, or repair it.
    Store(store::Store),
    /// Publish messages.
    Pub(publish::Publish),
    /// Subscribe and print what comes.
    Sub(subscribe::Subscribe),
    /// Measure a broker, this one or another: connections, messages, and how long they take.
    Bench(bench::Bench),
    /// Show the main job: a simulated plant, this broker, a hub, and an uplink that is cut.
    Demo(demo::Demo),
    /// Kill a broker again and again on your disk, and count what it has lost.
    Crashlab(crashlab::Crashlab),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Configured {
    /// The configuration file, HOCON or TOML; without it only 127.0.0.1:1883 is open.
    #[arg(short, long, value_name = "FILE")]
    conf: Option<PathBuf>,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let command = std::env::args_os().nth(1).unwrap_or_default();
    let matches = with_negative_numbers(Cli::command()).try_get_matches();
    let cli = matches.and_then(|it| Cli::from_arg_matches(&it));
    let cli = cli.unwrap_or_else(|error| hints::with_tip(error, &command.to_string_lossy()).exit());
    match cli.command {
        Command::Start(it) => start::run(&it),
        Command::Check(it) => check::run(it.conf.as_deref()),
        Command::Reload(it) => reload::run(&it),
        Command::Store(it) => store::run(&it),
        Command::Pub(it) => publish::run(&it),
        Command::Sub(it) => subscribe::run(&it),
        Command::Bench(it) => bench::run(&it),
        Command::Demo(it) => demo::run(&it),
        Command::Crashlab(it) => crashlab::run(&it),
    }
}

/// Reads a configuration and the files that bridges of it read.
///
/// # Errors
/// The first thing that is wrong, with its place.
fn load_with_files(conf: Option<&Path>) -> Result<Settings, ConfigError> {
    let settings = Settings::load(conf, environment())?;
    settings.check_files(|_| true)?;
    Ok(settings)
}

/// Has `-1` taken for a value, so that the answer is what the argument may be.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let each = |argument: Arg| {
        let has_value = argument.get_action().takes_values();
        argument.allow_negative_numbers(has_value)
    };
    command
        .mut_args(each)
        .mut_subcommands(with_negative_numbers)
}

/// The variables that are UTF-8 text. Of the others those that look like settings are here too,
/// with U+FFFD for what is no text, so that they are refused by name.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |it: &OsString| it.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(move |variable| {
            let is_text = variable.0.to_str().is_some() && variable.1.to_str().is_some();
            (is_text, text(&variable.0), text(&variable.1))
        })
        .filter(|(is_text, name, _)| *is_text || name.starts_with(ENVIRONMENT_PREFIX))
        .map(|(_, name, value)| (name, value))
}
