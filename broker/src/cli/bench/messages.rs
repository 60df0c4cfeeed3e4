//! What is published, on the command line.

use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, value_parser};
use mqtt::QoS;

use crate::bench::{Publishing, TopicTemplate};
use crate::cli::broker_client::parse_qos;

/// Bytes of the largest payload; a packet has 268,435,455, with its topic.
const SIZE_MAX: i64 = 268_000_000;

/// What is published.
#[derive(Debug, Args)]
pub(super) struct Messages {
    /// The topic to publish to, with %i, %c and %u; bench/%i if absent, of rtt bench/rtt/%i.
    #[arg(short, long)]
    pub(super) topic: Option<String>,
    /// Bytes of the payload.
    #[arg(short, long, default_value_t = 256, value_name = "BYTES",
        value_parser = value_parser!(u32).range(0..=SIZE_MAX))]
    pub(super) size: u32,
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
        value_name = "MESSAGES",
        value_parser = parse_limit
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

impl Messages {
    /// What each of so many clients publishes.
    pub(super) fn publishing(
        &self,
        clients: u32,
        topic: TopicTemplate,
        interval_of_msg: u32,
    ) -> Publishing {
        let interval = match (self.rate, self.interval_of_msg.unwrap_or(interval_of_msg)) {
            (Some(rate), _) => Some(Duration::from_secs(clients.into()) / rate),
            (None, 0) => None,
            (None, interval) => Some(Duration::from_millis(interval.into())),
        };
        Publishing {
            topic,
            size: self.size as usize,
            qos: QoS::from_u8(self.qos).unwrap_or_default(),
            retain: self.retain,
            limit: (self.limit > 0).then_some(self.limit),
            interval,
            window: if self.inflight == 0 {
                u16::MAX
            } else {
                self.inflight
            },
        }
    }
}

pub(super) fn parse_limit(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("MESSAGES is a number from 0 to {}", u64::MAX))
}
