//! `tidegate sub`

use std::process::ExitCode;

use bridges::NothingUnacknowledged;
use clap::{ArgAction, Args};
use mqtt::TopicFilter;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, PersistedAckMode, SubscribeReasonCode};

use super::broker_client::{Target, block_on, library_qos, parse_qos};
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
    /// End after this many messages.
    #[arg(short = 'C', long, value_name = "COUNT")]
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
        TopicFilter::new(filter).map_err(|error| format!("{filter}: {error}"))?;
    }
    let (client, events) = subscribe.target.client(|options| {
        options.set_clean_start(subscribe.session_expiry == 0);
        options.set_session_expiry_interval(Some(subscribe.session_expiry));
        options.set_session_store(NothingUnacknowledged {
            session_expiry: subscribe.session_expiry,
            ack_mode: PersistedAckMode::Automatic,
            inflight_max: None,
        });
    })?;
    let ended = tokio::select! {
        ended = subscribe.print(&client, events) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    ended.map_err(|error| subscribe.target.failed(error))
}

impl Subscribe {
    async fn print(&self, client: &AsyncClient, mut events: EventLoop) -> Result<(), String> {
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            match events.poll().await.map_err(|error| error.to_string())? {
                Event::Incoming(Packet::ConnAck(_)) => {
                    for filter in &self.topic {
                        let sent = client.subscribe(filter, library_qos(self.qos)).await;
                        sent.map_err(|error| error.to_string())?;
                    }
                }
                Event::Incoming(Packet::SubAck(suback)) => {
                    if let Some(code) = suback.return_codes.iter().find(|code| !is_granted(code)) {
                        return Err(format!("the subscription was refused: {code:?}"));
                    }
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    left -= 1;
                    let mut line = Vec::new();
                    if self.verbose {
                        line.extend_from_slice(&publish.topic);
                        line.push(b' ');
                    }
                    line.extend_from_slice(&publish.payload);
                    if !Terminal.bytes(&line) {
                        return Ok(());
                    }
                }
                Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => {}
            }
        }
        // The acknowledgement of the last message and the DISCONNECT leave before the end.
        client
            .disconnect()
            .await
            .map_err(|error| error.to_string())?;
        while events.poll().await.is_ok() {}
        Ok(())
    }
}

const fn is_granted(code: &SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}
