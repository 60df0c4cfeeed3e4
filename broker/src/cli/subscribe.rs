//! `tidegate sub`

use std::process::ExitCode;

use clap::{ArgAction, Args};
use mqtt::TopicFilter;
use rumqttc::{AsyncClient, Event, Packet, PersistedAckMode, Publish, SubscribeReasonCode};
use tokio::signal::unix::{SignalKind, signal};

use super::broker_client::{Target, block_on, library_qos, parse_qos, shorten, words};
use super::resumption::NothingUnacknowledged;
use crate::terminal::Terminal;

/// Subscribe and print what comes.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Subscribe {
    #[command(flatten)]
    target: Target,
    /// A topic filter; may be given several times.
    #[arg(short, long, required = true)]
    topic: Vec<String>,
    /// The highest QoS.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: u8,
    /// Print the topic before each message.
    #[arg(short, long)]
    verbose: bool,
    /// End after this many messages, at least 1; without it, go on.
    #[arg(short = 'C', long, value_name = "COUNT", value_parser = parse_count)]
    count: Option<u64>,
    /// Keep the session at the broker for this many seconds; needs --id to be of use.
    #[arg(short = 'x', long, value_name = "SECONDS", default_value_t = 0)]
    session_expiry: u32,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

pub(super) fn run(subscribe: &Subscribe) -> ExitCode {
    block_on(conversation(subscribe))
}

async fn conversation(subscribe: &Subscribe) -> Result<(), String> {
    for filter in &subscribe.topic {
        TopicFilter::new(filter).map_err(|error| format!("{}: {error}", shorten(filter)))?;
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let conversation = subscribe.target.conversation(|options| {
        options.set_clean_start(subscribe.session_expiry == 0);
        options.set_session_expiry_interval(Some(subscribe.session_expiry));
        options.set_session_store(NothingUnacknowledged {
            session_expiry: subscribe.session_expiry,
            ack_mode: PersistedAckMode::Automatic,
            inflight_max: None,
        });
    })?;
    let mut left = subscribe.count.unwrap_or(u64::MAX);
    let handle = async |client: &AsyncClient, event| match event {
        Event::Incoming(Packet::ConnAck(_)) => subscribe.ask(client).await.map(|()| false),
        Event::Incoming(Packet::SubAck(suback)) => {
            let mut codes = suback.return_codes.iter();
            match codes.find(|code| !is_granted(code)) {
                Some(code) => Err(format!("the subscription was refused: {}", words(code))),
                None => Ok(false),
            }
        }
        Event::Incoming(Packet::Publish(publish)) => {
            left -= 1;
            Ok(!subscribe.print(&publish) || left == 0)
        }
        Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => Ok(false),
    };
    let interrupted = async |_: &AsyncClient| {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    };
    conversation.run(handle, interrupted).await
}

impl Subscribe {
    async fn ask(&self, client: &AsyncClient) -> Result<(), String> {
        for filter in &self.topic {
            let sent = client.subscribe(filter, library_qos(self.qos)).await;
            sent.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Prints a message; false if nobody reads any more.
    fn print(&self, publish: &Publish) -> bool {
        let mut line = Vec::new();
        if self.verbose {
            line.extend_from_slice(&publish.topic);
            line.push(b' ');
        }
        line.extend_from_slice(&publish.payload);
        Terminal.bytes(&line)
    }
}

fn parse_count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|&count| count > 0);
    count.ok_or_else(|| "COUNT is a number from 1 on; without it there is no limit".to_owned())
}

const fn is_granted(code: &SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}
