//! What a bridge writes down over restarts: one object of JSON, in which each of its parts has
//! fields of its own.

use gateway::Client;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The fields of one part; its defaults if there are none, or others.
pub(crate) fn get<T: DeserializeOwned + Default>(client: &Client) -> T {
    parse(&client.record().unwrap_or_default())
}

/// Writes these fields down, an object of JSON, and leaves the others as they are.
pub(crate) fn put(client: &Client, fields: &str) {
    let mut all: Map<String, Value> = get(client);
    all.extend(parse::<Map<String, Value>>(fields));
    client.set_record(Value::Object(all).to_string());
}

fn parse<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}
