//! What a bridge writes down over restarts: one object of JSON, in which each of its parts has
//! fields of its own.

use gateway::Client;
use serde_json::{Map, Value};

/// Writes these fields down, an object of JSON, and leaves the others as they are.
pub(crate) fn put(client: &Client, fields: &str) {
    let mut all = read(&client.record().unwrap_or_default());
    all.extend(read(fields));
    client.set_record(Value::Object(all).to_string());
}

/// Nothing, if something else is there.
fn read(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}
