//! What all loads have in common on the command line: which broker, which clients, how long.

use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, value_parser};
use mqtt::ProtocolVersion;

use crate::bench::{self, Load, Plan, TopicTemplate};
use crate::cli::broker_client::shorten;

/// A limit that is there so that a slip of the finger is noticed.
pub(super) const CLIENTS_MAX: i64 = 1_000_000;
const SECONDS_MAX: u64 = 100 * 365 * 86_400;

/// Which broker, which clients, how long, and how it is told.
#[derive(Debug, Args)]
pub(super) struct Clients {
    /// The broker's host.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's port.
    #[arg(short, long, default_value_t = 1883, value_parser = value_parser!(u16).range(1..))]
    port: u16,
    /// The version of MQTT: 3.1, 3.1.1 or 5 (or 3 and 4, as in the protocol).
    #[arg(short = 'V', long, visible_alias = "ver", default_value = "5", value_parser = parse_version)]
    version: ProtocolVersion,
    /// Clients, of rtt publishers; 200 if absent, of rtt 1.
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=CLIENTS_MAX))]
    pub(super) count: Option<u32>,
    /// What is added to the clients' numbers, which begin with 1.
    #[arg(
        short = 'n',
        long,
        alias = "start-number",
        default_value_t = 0,
        value_name = "NUMBER"
    )]
    startnumber: u32,
    /// Milliseconds between two clients that connect.
    #[arg(short, long, default_value_t = 10, value_name = "MS")]
    interval: u32,
    /// Clients that connect in a second; 0 for --interval.
    #[arg(
        short = 'R',
        long,
        alias = "conn-rate",
        default_value_t = 0,
        value_name = "RATE"
    )]
    connrate: u32,
    /// The user name.
    #[arg(short, long)]
    username: Option<String>,
    /// The password; needs --username.
    #[arg(short = 'P', long, requires = "username")]
    password: Option<String>,
    /// Seconds of the Keep Alive.
    #[arg(short, long, default_value_t = 300, value_name = "SECONDS")]
    keepalive: u16,
    /// Begin with a clean session.
    #[arg(short = 'C', long, num_args = 0..=1, default_value = "true", default_missing_value = "true",
        value_name = "BOOL", value_parser = BoolishValueParser::new())]
    clean: bool,
    /// Seconds that MQTT 5 sessions are kept at the broker.
    #[arg(short = 'x', long, default_value_t = 0, value_name = "SECONDS")]
    session_expiry: u32,
    /// What Client Identifiers begin with, before the client's number; made up if absent.
    #[arg(long)]
    prefix: Option<String>,
    /// Client Identifiers are the clients' numbers, behind --prefix if there is one.
    #[arg(long, alias = "short-ids", num_args = 0..=1, default_value = "false",
        default_missing_value = "true", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    shortids: bool,
    /// Seconds after which it ends, counted from when all clients have connected.
    #[arg(short, long, visible_alias = "time", value_name = "SECONDS", value_parser = parse_seconds)]
    duration: Option<Duration>,
    /// Threads; half as many as there are processors if absent.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_024))]
    workers: Option<u32>,
    /// Print the report as JSON, and nothing else.
    #[arg(long)]
    pub(super) json: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl Clients {
    /// The clients with their load. Without a count there are so many.
    pub(super) fn plan(&self, clients: u32, load: Load) -> Plan {
        let clients = self.count.unwrap_or(clients);
        let connect_interval = match self.connrate {
            0 => Duration::from_millis(self.interval.into()),
            rate => Duration::from_secs(1) / rate,
        };
        let prefix = match &self.prefix {
            Some(prefix) if self.shortids => prefix.clone(),
            Some(prefix) => format!("{prefix}-"),
            None if self.shortids => String::new(),
            None => format!("bench-{:08x}-", bench::random()),
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let own = u32::try_from(cores / 2).unwrap_or(u32::MAX).max(1);
        Plan {
            load,
            host: self.host.clone(),
            port: self.port,
            version: self.version,
            clients,
            start_number: self.startnumber,
            connect_interval,
            user_name: self.username.clone(),
            password: self.password.clone(),
            keep_alive: self.keepalive,
            clean_start: self.clean,
            session_expiry: self.session_expiry,
            prefix,
            duration: self.duration,
            waits: true,
            workers: self.workers.unwrap_or(own).min(clients),
        }
    }

    /// A topic or filter that passes this check.
    pub(super) fn topic(
        &self,
        text: &str,
        check: impl FnOnce(&TopicTemplate) -> Result<(), String>,
    ) -> Result<TopicTemplate, String> {
        let template = TopicTemplate::parse(text);
        let checked = template.and_then(|template| {
            check(&template)?;
            if template.has_user_name() && self.username.is_none() {
                return Err("%u needs --username".to_owned());
            }
            Ok(template)
        });
        checked.map_err(|error| format!("--topic '{}': {error}", shorten(text)))
    }
}

fn parse_version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "3" | "31" | "3.1" | "mqttv31" => Ok(ProtocolVersion::V31),
        "4" | "311" | "3.1.1" | "mqttv311" => Ok(ProtocolVersion::V311),
        "5" | "5.0" | "mqttv5" => Ok(ProtocolVersion::V5),
        _ => Err("a version is 3.1, 3.1.1 or 5".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|it| *it <= SECONDS_MAX as f64);
    let duration = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
    let duration = duration.filter(|it| !it.is_zero());
    duration.ok_or_else(|| format!("SECONDS is a number above 0 and not above {SECONDS_MAX}"))
}
