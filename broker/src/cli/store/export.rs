//! `tidegate store export`

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{Message, Timestamp};
use persistence::{Exported, Exports, Inspection};
use serde_json::{Map, Value, json};

use super::stats::explain;
use super::{Place, finite};
use crate::terminal::Terminal;

/// Which part of the store is printed.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Place,
    /// What to print, separated by commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sessions,queues,retained,delayed"
    )]
    what: Vec<What>,
    /// Only the session and the queue of this client.
    #[arg(long, value_name = "CLIENT")]
    client_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The sessions with their subscriptions.
    Sessions,
    /// What waits for the sessions.
    Queues,
    /// The retained messages.
    Retained,
    /// The delayed messages.
    Delayed,
}

pub(super) fn run(export: &Export) -> ExitCode {
    match export.place.directory() {
        Ok(directory) => {
            let inspection = Inspection::open(&directory).map_err(explain);
            Terminal.exit_code(inspection.and_then(|it| export.print(it)))
        }
        Err(code) => code,
    }
}

impl Export {
    fn print(&self, mut inspection: Inspection) -> Result<(), String> {
        let is_all = self.client_id.is_none();
        let exports = Exports {
            sessions: self.what.contains(&What::Sessions),
            queues: self.what.contains(&What::Queues),
            retained: is_all && self.what.contains(&What::Retained),
            delayed: is_all && self.what.contains(&What::Delayed),
            client_id: self.client_id.clone(),
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let mut written = Ok(());
        let damaged = inspection.export(&exports, &mut |found| {
            written = writeln!(out, "{}", as_json(&found));
            written.is_ok()
        });
        let written = written.and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| format!("standard output: {error}"))?,
        }
        match damaged.map_err(explain)? {
            0 => Ok(()),
            damaged => Err(format!(
                "{damaged} rows or ranges of rows are damaged and left out; \
                 see `tidegate store check`"
            )),
        }
    }
}

fn as_json(exported: &Exported) -> Value {
    match exported {
        Exported::Session(it) => json!({
            "type": "session",
            "client_id": &*it.client_id,
            "connected": it.expires_at.is_none(),
            "expiry_seconds": finite(it.expiry_seconds),
            "expires_at_ms": milliseconds(it.expires_at),
        }),
        Exported::Subscription(client_id, it) => json!({
            "type": "subscription",
            "client_id": &**client_id,
            "filter": it.filter.as_str(),
            "qos": it.options.qos as u8,
            "no_local": it.options.no_local,
            "retain_as_published": it.options.retain_as_published,
            "retain_handling": it.options.retain_handling as u8,
            "subscription_id": it.identifier,
        }),
        Exported::Queued(it) => {
            let head = json!({
                "type": "queued",
                "client_id": &*it.client_id,
                "sequence": it.delivery.sequence,
                "qos": it.delivery.qos as u8,
                "retain": it.delivery.retain,
                "subscription_ids": it.delivery.subscription_ids,
            });
            with_message(head, &it.delivery.message)
        }
        Exported::Retained(it) => {
            let head = json!({ "type": "retained", "qos": it.qos as u8 });
            with_message(head, it)
        }
        Exported::Delayed(it) => {
            let head = json!({
                "type": "delayed",
                "due_ms": milliseconds(Some(it.due)),
                "qos": it.message.qos as u8,
                "retain": it.message.retain,
            });
            with_message(head, &it.message)
        }
    }
}

/// Adds what every message has.
fn with_message(mut object: Value, message: &Message) -> Value {
    object["topic"] = message.topic.as_str().into();
    object["expires_at_ms"] = milliseconds(message.expires_at).into();
    match std::str::from_utf8(&message.payload) {
        Ok(text) => object["payload"] = text.into(),
        Err(_) => object["payload_base64"] = STANDARD.encode(&message.payload).into(),
    }
    let properties = properties(&message.properties);
    if !properties.is_empty() {
        object["properties"] = properties.into();
    }
    object
}

/// The properties that travel with a message, by the names of the specification.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other property travels with a message"
)]
fn properties(properties: &ForwardedProperties) -> Map<String, Value> {
    let mut object = Map::new();
    let mut user = Vec::new();
    for property in properties.iter() {
        let (name, value) = match property {
            Property::PayloadFormatIndicator(is_text) => {
                ("payload_format_indicator", u8::from(is_text).into())
            }
            Property::ContentType(text) => ("content_type", text.into()),
            Property::ResponseTopic(text) => ("response_topic", text.into()),
            Property::CorrelationData(bytes) => {
                ("correlation_data_base64", STANDARD.encode(bytes).into())
            }
            Property::UserProperty(name, value) => {
                user.push(json!([name, value]));
                continue;
            }
            _ => continue,
        };
        object.insert(name.to_owned(), value);
    }
    if !user.is_empty() {
        object.insert("user_properties".to_owned(), user.into());
    }
    object
}

fn milliseconds(time: Option<Timestamp>) -> Option<u64> {
    time.and_then(|it| finite(it.as_millis()))
}
