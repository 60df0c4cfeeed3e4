//! What `pub` and `sub` have in common: which broker, a client for it, and how it ends.

use std::cell::Cell;
use std::fmt::Debug;
use std::future::{Future, pending};
use std::process::ExitCode;
use std::time::Duration;

use crate::terminal::Terminal;
use clap::Args;
use gateway::Secret;
use rumqttc::{AsyncClient, Broker, ConnectionError, Event, EventLoop, MqttOptions, StateError};

/// Requests that wait inside the client library.
const REQUESTS: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long messages without acknowledgement may hold up the DISCONNECT.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of a text from the command line that are repeated in an error.
const QUOTED_CHARACTERS_MAX: usize = 60;

/// The broker to talk to. The letters are those of Mosquitto's clients.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The broker's host.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's port.
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// The Client Identifier; one is made up if absent.
    #[arg(short = 'i', long, value_name = "CLIENT_ID")]
    id: Option<String>,
    /// The user name.
    #[arg(short, long)]
    username: Option<String>,
    /// The password; needs --username.
    #[arg(short = 'P', long, requires = "username")]
    password: Option<Secret>,
    /// Seconds of the Keep Alive.
    #[arg(short, long, default_value_t = 60)]
    keepalive: u16,
}

/// A client that is connected, or about to be.
pub(super) struct Conversation {
    pub(super) client: AsyncClient,
    events: EventLoop,
    /// True once the DISCONNECT is asked for.
    is_ending: Cell<bool>,
    /// How errors name the broker.
    broker: String,
}

impl Target {
    /// A conversation that begins with its first event.
    pub(super) fn conversation(
        &self,
        set: impl FnOnce(&mut MqttOptions),
    ) -> Result<Conversation, String> {
        let id = self
            .id
            .clone()
            .unwrap_or_else(|| format!("tidegate-{}", std::process::id()));
        let mut options = MqttOptions::new(id, Broker::tcp(&self.host, self.port));
        options
            .set_keep_alive(self.keepalive)
            .set_connect_timeout(CONNECT_TIMEOUT);
        if let Some(username) = &self.username {
            let password = self.password.as_ref().map_or("", Secret::as_str).to_owned();
            options.set_credentials(username.clone(), password);
        }
        // The broker's own limit decides, not the library's.
        options.set_unlimited_incoming_packet_size();
        set(&mut options);
        let (client, events) = AsyncClient::builder(options)
            .capacity(REQUESTS)
            .try_build()
            .map_err(|error| error.to_string())?;
        Ok(Conversation {
            client,
            events,
            is_ending: Cell::new(false),
            broker: format!("{}:{}", self.host, self.port),
        })
    }
}

impl Conversation {
    /// Moves bytes and does `work` beside, until the connection ends. When `work` is done, or
    /// `handle` returns true, everything that waits and the DISCONNECT leave first.
    pub(super) async fn run(
        mut self,
        mut handle: impl AsyncFnMut(&AsyncClient, Event) -> Result<bool, String>,
        work: impl AsyncFnOnce(&AsyncClient) -> Result<(), String>,
    ) -> Result<(), String> {
        let Self {
            client,
            events,
            is_ending,
            broker,
        } = &mut self;
        let (client, is_ending) = (&*client, &*is_ending);
        let moved = async {
            loop {
                let event = match events.poll().await {
                    Ok(event) => event,
                    Err(_) if is_ending.get() => return Ok(()),
                    Err(error) => return Err(format!("{broker}: {}", explain(&error))),
                };
                if !is_ending.get() && handle(client, event).await? {
                    end(client, is_ending).await?;
                }
            }
        };
        let worked = async {
            work(client).await?;
            end(client, is_ending).await?;
            pending().await
        };
        tokio::select! {
            ended = moved => ended,
            ended = worked => ended,
        }
    }
}

async fn end(client: &AsyncClient, is_ending: &Cell<bool>) -> Result<(), String> {
    if is_ending.replace(true) {
        return Ok(());
    }
    let asked = client.disconnect_with_timeout(DISCONNECT_TIMEOUT).await;
    asked.map_err(|error| error.to_string())
}

/// What went wrong, in plain words where it is not rare.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is rare, and the library says what it is"
)]
fn explain(error: &ConnectionError) -> String {
    use rumqttc::Error::{self, OutgoingPacketTooLarge};
    match error {
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(Error::Io(error)),
        ) => error.to_string(),
        ConnectionError::Timeout(_) => {
            format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())
        }
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refuses the connection: {}", words(code))
        }
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => {
            let reason = reason_string.clone().unwrap_or_else(|| words(reason_code));
            format!("the broker ended the connection: {reason}")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the broker closed the connection".to_owned()
        }
        ConnectionError::MqttState(
            StateError::OutgoingPacketTooLarge { pkt_size, max }
            | StateError::Deserialization(OutgoingPacketTooLarge { pkt_size, max }),
        ) => {
            format!(
                "the message is too large: its packet has {pkt_size} bytes, the broker takes {max}"
            )
        }
        other => other.to_string(),
    }
}

/// A reason code in words: `NotAuthorized` is "not authorized".
pub(crate) fn words(code: &impl Debug) -> String {
    let mut words = String::new();
    for character in format!("{code:?}").replace("QoS", "Qos").chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

/// A text from the command line as an error repeats it; the middle of a long one is left out.
pub(super) fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= QUOTED_CHARACTERS_MAX {
        return text.to_owned();
    }
    let half = QUOTED_CHARACTERS_MAX / 2;
    let beginning: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{beginning}…{end}")
}

/// Runs a client's conversation; an error is printed as one line.
pub(super) fn block_on(work: impl Future<Output = Result<(), String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.to_string()),
    };
    Terminal.exit_code(outcome)
}

/// A QoS as the command line gives it.
pub(super) fn parse_qos(text: &str) -> Result<u8, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err("QoS is 0, 1 or 2".to_owned()),
    }
}

pub(super) const fn library_qos(qos: u8) -> rumqttc::QoS {
    match qos {
        0 => rumqttc::QoS::AtMostOnce,
        1 => rumqttc::QoS::AtLeastOnce,
        _ => rumqttc::QoS::ExactlyOnce,
    }
}
