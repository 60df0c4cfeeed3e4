//! `tidegate pub`

use std::io::{Read, stdin};
use std::process::ExitCode;

use clap::{ArgAction, ArgGroup, Args};
use mqtt::TopicName;
use rumqttc::{AsyncClient, EventLoop, PublishOptions};

use super::broker_client::{Target, block_on, library_qos, parse_qos};

/// Publish messages.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
#[command(group(ArgGroup::new("what").required(true)))]
pub(super) struct Publish {
    #[command(flatten)]
    target: Target,
    /// The topic to publish to.
    #[arg(short, long)]
    topic: String,
    /// The message.
    #[arg(short, long, group = "what")]
    message: Option<String>,
    /// Read standard input as one message.
    #[arg(short, long, group = "what")]
    stdin: bool,
    /// Read standard input line by line, a message for each.
    #[arg(short = 'l', long, group = "what")]
    lines: bool,
    /// Publish an empty message; with --retain it removes the retained one.
    #[arg(short, long, group = "what")]
    null_message: bool,
    /// The QoS.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: u8,
    /// Ask the broker to retain the message.
    #[arg(short, long)]
    retain: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

pub(super) fn run(publish: &Publish) -> ExitCode {
    block_on(conversation(publish))
}

async fn conversation(publish: &Publish) -> Result<(), String> {
    TopicName::check(&publish.topic).map_err(|error| format!("{}: {error}", publish.topic))?;
    let messages = publish
        .messages()
        .map_err(|error| format!("standard input: {error}"))?;
    let (client, events) = publish.target.client(|_| {})?;
    tokio::select! {
        error = drive(events) => Err(publish.target.failed(error)),
        sent = publish.send(&client, messages) => sent,
    }
}

/// Moves bytes until the connection fails.
async fn drive(mut events: EventLoop) -> String {
    loop {
        if let Err(error) = events.poll().await {
            return error.to_string();
        }
    }
}

impl Publish {
    fn messages(&self) -> std::io::Result<Vec<Vec<u8>>> {
        if let Some(message) = &self.message {
            return Ok(vec![message.clone().into_bytes()]);
        }
        let mut input = Vec::new();
        if self.stdin || self.lines {
            stdin().read_to_end(&mut input)?;
        }
        if !self.lines {
            return Ok(vec![input]);
        }
        let lines = input.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
        Ok(lines.filter(|line| !line.is_empty()).collect())
    }

    /// Publishes and waits for every acknowledgement.
    async fn send(&self, client: &AsyncClient, messages: Vec<Vec<u8>>) -> Result<(), String> {
        let mut notices = Vec::new();
        for message in messages {
            let options = PublishOptions::new(library_qos(self.qos)).retain(self.retain);
            let notice = client.publish_tracked(&self.topic, message, options).await;
            notices.push(notice.map_err(|error| error.to_string())?);
        }
        for notice in notices {
            notice
                .wait_completion_async()
                .await
                .map_err(|error| error.to_string())?;
        }
        client.disconnect().await.map_err(|error| error.to_string())
    }
}
