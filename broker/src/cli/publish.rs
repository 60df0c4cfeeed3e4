//! `tidegate pub`

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{BufRead, Read, stdin};
use std::process::ExitCode;

use clap::{ArgAction, ArgGroup, Args};
use mqtt::TopicName;
use rumqttc::{AsyncClient, PublishNotice, PublishNoticeError, PublishOptions};
use tokio::sync::mpsc;

use super::broker_client::{Target, block_on, library_qos, parse_qos, shorten, words};

/// Messages that are read before there is room for them.
const MESSAGES_AHEAD: usize = 16;
/// Messages whose acknowledgements are waited for together.
const NOTICES_MAX: usize = 1_000;

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
    #[arg(short, long, group = "what", allow_hyphen_values = true)]
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
    TopicName::check(&publish.topic)
        .map_err(|error| format!("{}: {error}", shorten(&publish.topic)))?;
    let conversation = publish.target.conversation(|_| {})?;
    let messages = publish.messages();
    conversation
        .run(
            async |_, _| Ok(false),
            async |client| publish.send(client, messages).await,
        )
        .await
}

/// A message, or why there is none.
type Message = std::io::Result<Vec<u8>>;

impl Publish {
    /// The messages, as they come.
    fn messages(&self) -> mpsc::Receiver<Message> {
        let (sender, messages) = mpsc::channel(MESSAGES_AHEAD);
        let given = self.message.clone().map(String::into_bytes);
        let (whole, lines) = (self.stdin, self.lines);
        // Reading waits, and must not hold up the connection; the thread ends with the process.
        std::thread::spawn(move || {
            let send = |message: Message| sender.blocking_send(message).is_ok();
            if lines {
                let lines = stdin().lock().split(b'\n');
                let mut lines =
                    lines.filter(|line| line.as_ref().map_or(true, |it| !it.is_empty()));
                return lines.all(send);
            }
            let mut message = given.unwrap_or_default();
            let read = match whole {
                true => stdin().read_to_end(&mut message).map(drop),
                false => Ok(()),
            };
            send(read.map(|()| message))
        });
        messages
    }

    /// Publishes and waits for every acknowledgement.
    async fn send(
        &self,
        client: &AsyncClient,
        mut messages: mpsc::Receiver<Message>,
    ) -> Result<(), String> {
        let mut notices = VecDeque::new();
        while let Some(message) = messages.recv().await {
            let message = message.map_err(|error| format!("standard input: {error}"))?;
            let options = PublishOptions::new(library_qos(self.qos)).retain(self.retain);
            let notice = client.publish_tracked(&self.topic, message, options).await;
            notices.push_back(notice.map_err(|error| error.to_string())?);
            if notices.len() > NOTICES_MAX
                && let Some(first) = notices.pop_front()
            {
                complete(first).await?;
            }
        }
        for notice in notices {
            complete(notice).await?;
        }
        Ok(())
    }
}

/// Waits until a message has left, or is acknowledged.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest does not come from the broker and is rare"
)]
async fn complete(notice: PublishNotice) -> Result<(), String> {
    let completed = notice.wait_completion_async().await;
    completed.map_err(|error| match error {
        PublishNoticeError::V5PubAck(code) => refused(&code),
        PublishNoticeError::V5PubRec(code) => refused(&code),
        PublishNoticeError::V5PubComp(code) => refused(&code),
        other => other.to_string(),
    })
}

fn refused(code: &impl Debug) -> String {
    format!("the broker refused a message: {}", words(code))
}
