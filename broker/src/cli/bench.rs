//! `tidegate bench`

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand, value_parser};
use mqtt::{ProtocolVersion, QoS};

use super::broker_client::{parse_qos, shorten};
use crate::bench::{
    self, Load, Plan, Publishing, ROUND_TRIP_BYTES_MIN, Subscribing, TopicTemplate,
};
use crate::terminal::Terminal;

/// A limit that is there so that a slip of the finger is noticed.
const CLIENTS_MAX: i64 = 1_000_000;
/// Bytes of the largest payload; a packet has 268,435,455, with its topic.
const SIZE_MAX: u64 = 268_000_000;
const SECONDS_MAX: u64 = 100 * 365 * 86_400;

const FIGURES: &str = "\
The names are those of emqtt-bench. A topic may have placeholders: %i is the client's number, %c
its Client Identifier, %u the user name, %% is %.

Once a second a line says how far it is. The report at the end has the time until CONNACK, until
a message of QoS 1 or 2 is acknowledged (PUBACK, PUBCOMP), and until it is delivered. For the last
one the first 16 bytes of a payload say when it was published; `bench sub` reads what `bench pub`
wrote, also in another process, if the clocks of both agree. With a rate or an interval, time
counts from when a message was due, so a broker that is slow for a while does not look fast.

Ctrl-C ends it in order, with the report. The exit code is 0 if no client failed and
no message was refused.";

/// Measure a broker: this one or another.
#[derive(Debug, Args)]
#[command(after_long_help = FIGURES)]
pub(super) struct Bench {
    #[command(subcommand)]
    load: BenchLoad,
}

#[derive(Debug, Subcommand)]
enum BenchLoad {
    /// Connect, and stay connected.
    #[command(disable_help_flag = true)]
    Conn(Conn),
    /// Publish.
    #[command(disable_help_flag = true)]
    Pub(BenchPub),
    /// Subscribe.
    #[command(disable_help_flag = true)]
    Sub(BenchSub),
    /// Publish and subscribe in one process, and time the round trips.
    #[command(disable_help_flag = true, visible_alias = "pairs")]
    Rtt(Rtt),
}

/// Which broker, which clients, how long, and how it is told.
#[derive(Debug, Args)]
struct Common {
    /// The broker's host.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's port.
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// The version of MQTT: 3.1, 3.1.1 or 5 (or 3 and 4, as in the protocol).
    #[arg(short = 'V', long, visible_alias = "ver", default_value = "5", value_parser = parse_version)]
    version: ProtocolVersion,
    /// Clients, of rtt publishers; 200 if absent, of rtt 1.
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=CLIENTS_MAX))]
    count: Option<u32>,
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
    json: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Connect, and stay connected.
#[derive(Debug, Args)]
struct Conn {
    #[command(flatten)]
    common: Common,
}

/// What is published.
#[derive(Debug, Args)]
struct Messages {
    /// The topic to publish to, with %i, %c and %u; bench/%i if absent, of rtt bench/rtt/%i.
    #[arg(short, long)]
    topic: Option<String>,
    /// Bytes of the payload.
    #[arg(short, long, default_value_t = 256, value_name = "BYTES",
        value_parser = value_parser!(u64).range(0..=SIZE_MAX))]
    size: u64,
    /// The QoS.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: u8,
    /// Ask the broker to retain the messages.
    #[arg(short, long, num_args = 0..=1, default_value = "false", default_missing_value = "true",
        value_name = "BOOL", value_parser = BoolishValueParser::new())]
    retain: bool,
    /// Messages of all clients together, after which it ends; 0 for no limit.
    #[arg(
        short = 'L',
        visible_short_alias = 'l',
        long,
        default_value_t = 0,
        value_name = "MESSAGES"
    )]
    limit: u64,
    /// Milliseconds between two messages of a client; 0 for as fast as it can be. 1000 if absent,
    /// of rtt 0.
    #[arg(short = 'I', long, alias = "interval_of_msg", value_name = "MS")]
    interval_of_msg: Option<u32>,
    /// Messages in a second of all clients together, in place of --interval-of-msg.
    #[arg(long, value_name = "RATE", conflicts_with = "interval_of_msg",
        value_parser = value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Messages of a client that await their acknowledgement; with rtt at full speed also their
    /// delivery, at any QoS. 0 for 65535.
    #[arg(short = 'F', long, default_value_t = 1, value_name = "MESSAGES")]
    inflight: u16,
}

/// Publish.
#[derive(Debug, Args)]
struct BenchPub {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    messages: Messages,
    /// Publish when all clients have connected, or tried to.
    #[arg(short, long, num_args = 0..=1, default_value = "true", default_missing_value = "true",
        value_name = "BOOL", value_parser = BoolishValueParser::new())]
    wait_before_publishing: bool,
}

/// Subscribe.
#[derive(Debug, Args)]
struct BenchSub {
    #[command(flatten)]
    common: Common,
    /// The topic filter, with %i, %c and %u.
    #[arg(short, long, default_value = "bench/%i")]
    topic: String,
    /// The highest QoS.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: u8,
    /// Messages to all clients together, after which it ends; 0 for no limit.
    #[arg(
        short = 'L',
        visible_short_alias = 'l',
        long,
        default_value_t = 0,
        value_name = "MESSAGES"
    )]
    limit: u64,
}

/// Publish and subscribe in one process, and time the round trips.
#[derive(Debug, Args)]
struct Rtt {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    messages: Messages,
    /// Subscribers; as many as publishers if absent. If they are as many, and the topic has %i or
    /// %c, each gets what its publisher publishes, otherwise everything.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=CLIENTS_MAX))]
    subscribers: Option<u32>,
}

/// Clients where none are asked for.
const CLIENTS: u32 = 200;
/// Milliseconds between two messages of a publisher where none are asked for.
const MESSAGE_INTERVAL: u32 = 1_000;

pub(super) fn run(bench: &Bench) -> ExitCode {
    let (common, plan) = match &bench.load {
        BenchLoad::Conn(it) => (&it.common, it.common.plan(CLIENTS, Load::Connections)),
        BenchLoad::Pub(it) => (&it.common, it.plan()),
        BenchLoad::Sub(it) => (&it.common, it.plan()),
        BenchLoad::Rtt(it) => (&it.common, it.plan()),
    };
    match plan {
        Ok(plan) => bench::run(plan, common.json),
        Err(error) => Terminal.exit_code(Err(error)),
    }
}

impl Common {
    /// The clients with their load. Without a count there are so many.
    fn plan(&self, clients: u32, load: Load) -> Result<Plan, String> {
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
        Ok(Plan {
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
        })
    }

    /// A topic or filter that passes this check.
    fn topic(
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
        checked.map_err(|error| format!("{}: {error}", shorten(text)))
    }
}

impl Messages {
    /// What each of so many clients publishes.
    fn publishing(
        &self,
        clients: u32,
        topic: TopicTemplate,
        interval_of_msg: u32,
    ) -> Result<Publishing, String> {
        let interval = match (self.rate, self.interval_of_msg.unwrap_or(interval_of_msg)) {
            (Some(rate), _) => Some(Duration::from_secs(clients.into()) / rate),
            (None, 0) => None,
            (None, interval) => Some(Duration::from_millis(interval.into())),
        };
        Ok(Publishing {
            topic,
            size: usize::try_from(self.size).map_err(|error| error.to_string())?,
            qos: QoS::from_u8(self.qos).unwrap_or_default(),
            retain: self.retain,
            limit: (self.limit > 0).then_some(self.limit),
            interval,
            window: if self.inflight == 0 {
                u16::MAX
            } else {
                self.inflight
            },
        })
    }
}

impl BenchPub {
    fn plan(&self) -> Result<Plan, String> {
        let text = self.messages.topic.as_deref().unwrap_or("bench/%i");
        let topic = self.common.topic(text, TopicTemplate::check_name)?;
        let clients = self.common.count.unwrap_or(CLIENTS);
        let publishing = self.messages.publishing(clients, topic, MESSAGE_INTERVAL)?;
        let plan = self.common.plan(clients, Load::Publish(publishing))?;
        Ok(Plan {
            waits: self.wait_before_publishing,
            ..plan
        })
    }
}

impl BenchSub {
    fn plan(&self) -> Result<Plan, String> {
        let topic = self
            .common
            .topic(&self.topic, TopicTemplate::check_filter)?;
        let subscribing = Subscribing {
            topic,
            qos: QoS::from_u8(self.qos).unwrap_or_default(),
            limit: (self.limit > 0).then_some(self.limit),
        };
        self.common.plan(CLIENTS, Load::Subscribe(subscribing))
    }
}

impl Rtt {
    fn plan(&self) -> Result<Plan, String> {
        let bytes = ROUND_TRIP_BYTES_MIN;
        if self.messages.size < bytes as u64 {
            return Err(format!(
                "the payloads of round trips have at least {bytes} bytes (-s)"
            ));
        }
        let clients = self.common.count.unwrap_or(1);
        let subscribers = self.subscribers.unwrap_or(clients);
        let text = self.messages.topic.as_deref().unwrap_or("bench/rtt/%i");
        let topic = self.common.topic(text, |it| {
            it.check_name()?;
            if subscribers == clients {
                return Ok(());
            }
            it.check_common_filter()
        })?;
        let publishing = self.messages.publishing(clients, topic, 0)?;
        let load = Load::RoundTrips {
            publishing,
            subscribers,
        };
        self.common.plan(clients, load)
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
    duration.ok_or_else(|| "SECONDS is a number from 0 on".to_owned())
}
