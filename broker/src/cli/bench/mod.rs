//! `tidegate bench`

mod clients;
mod messages;

use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, value_parser};
use mqtt::QoS;

use self::clients::{CLIENTS_MAX, Clients};
use self::messages::{Messages, parse_limit};
use super::EXIT_USAGE;
use super::broker_client::parse_qos;
use crate::bench::{self, Load, Plan, ROUND_TRIP_BYTES_MIN, Subscribing, TopicTemplate};
use crate::terminal::Terminal;

const FIGURES: &str = "\
The names are those of emqtt-bench. A topic may have placeholders: %i is the client's number, %c
its Client Identifier, %u the user name, %% is %.

Once a second a line says how far it is. The report at the end has the time until CONNACK, until
a message of QoS 1 or 2 is acknowledged (PUBACK, PUBCOMP), and until it is delivered. For the last
one the first 16 bytes of a payload say when it was published; `bench sub` reads what `bench pub`
wrote, also in another process, if the clocks of both agree. With a rate or an interval, time
counts from when a message was due, so a broker that is slow for a while does not look fast.

Ctrl-C ends it in order, with the report. The exit code is 0 if no client failed and no message
was refused.";

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

/// Connect, and stay connected.
#[derive(Debug, Args)]
struct Conn {
    #[command(flatten)]
    clients: Clients,
}

/// Publish.
#[derive(Debug, Args)]
struct BenchPub {
    #[command(flatten)]
    clients: Clients,
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
    clients: Clients,
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
        value_name = "MESSAGES",
        value_parser = parse_limit
    )]
    limit: u64,
}

/// Publish and subscribe in one process, and time the round trips.
#[derive(Debug, Args)]
struct Rtt {
    #[command(flatten)]
    clients: Clients,
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
    let (clients, plan) = match &bench.load {
        BenchLoad::Conn(it) => (&it.clients, Ok(it.clients.plan(CLIENTS, Load::Connections))),
        BenchLoad::Pub(it) => (&it.clients, it.plan()),
        BenchLoad::Sub(it) => (&it.clients, it.plan()),
        BenchLoad::Rtt(it) => (&it.clients, it.plan()),
    };
    match plan {
        Ok(plan) => bench::run(plan, clients.json),
        Err(error) => {
            Terminal.error(error);
            EXIT_USAGE.into()
        }
    }
}

impl BenchPub {
    fn plan(&self) -> Result<Plan, String> {
        let text = self.messages.topic.as_deref().unwrap_or("bench/%i");
        let topic = self.clients.topic(text, TopicTemplate::check_name)?;
        let clients = self.clients.count.unwrap_or(CLIENTS);
        let publishing = self.messages.publishing(clients, topic, MESSAGE_INTERVAL);
        Ok(Plan {
            waits: self.wait_before_publishing,
            ..self.clients.plan(clients, Load::Publish(publishing))
        })
    }
}

impl BenchSub {
    fn plan(&self) -> Result<Plan, String> {
        let topic = self
            .clients
            .topic(&self.topic, TopicTemplate::check_filter)?;
        let subscribing = Subscribing {
            topic,
            qos: QoS::from_u8(self.qos).unwrap_or_default(),
            limit: (self.limit > 0).then_some(self.limit),
        };
        Ok(self.clients.plan(CLIENTS, Load::Subscribe(subscribing)))
    }
}

impl Rtt {
    fn plan(&self) -> Result<Plan, String> {
        let bytes = ROUND_TRIP_BYTES_MIN;
        if (self.messages.size as usize) < bytes {
            return Err(format!(
                "--size: the payloads of round trips have at least {bytes} bytes"
            ));
        }
        let clients = self.clients.count.unwrap_or(1);
        let subscribers = self.subscribers.unwrap_or(clients);
        let text = self.messages.topic.as_deref().unwrap_or("bench/rtt/%i");
        let topic = self.clients.topic(text, |it| {
            it.check_name()?;
            if subscribers == clients {
                return Ok(());
            }
            it.check_common_filter()
        })?;
        let publishing = self.messages.publishing(clients, topic, 0);
        let load = Load::RoundTrips {
            publishing,
            subscribers,
        };
        Ok(self.clients.plan(clients, load))
    }
}
