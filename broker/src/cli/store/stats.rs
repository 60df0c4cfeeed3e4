//! `tidegate store stats`

use std::process::ExitCode;
use std::time::SystemTime;

use mqtt::session::Amount;
use persistence::{Depth, Inspection, OpenStoreError, Stats};
use serde_json::{Value, json};

use super::{Look, finite, print_json, size};
use crate::terminal::Terminal;

pub(super) fn run(look: &Look) -> ExitCode {
    let directory = match look.place.directory() {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    let stats = Inspection::open(&directory).and_then(|mut it| it.stats());
    Terminal.exit_code(stats.map_err(explain).map(|stats| {
        if look.json {
            print_json(&as_json(&stats));
        } else {
            print(&stats);
        }
    }))
}

/// The error with what can be done about it.
pub(super) fn explain(error: OpenStoreError) -> String {
    let tip = if error.is_damage() {
        "; see `tidegate store check`"
    } else {
        ""
    };
    format!("{error}{tip}")
}

fn as_json(stats: &Stats) -> Value {
    let amount = |it: Amount| json!({ "messages": it.messages, "bytes": it.bytes });
    let deepest = stats.deepest.iter().map(|it| {
        json!({
            "client_id": it.client_id,
            "messages": it.queued.messages,
            "bytes": it.queued.bytes,
            "oldest_sequence": it.first_sequence,
            "expiry_seconds": it.expiry_seconds.and_then(finite),
            "expires_at_ms": it.expires_at.and_then(|at| finite(at.as_millis())),
            "connected": it.client_id.is_some() && it.expires_at.is_none(),
        })
    });
    json!({
        "schema_version": stats.version,
        "sessions": stats.sessions,
        "connected": stats.connected,
        "subscriptions": stats.subscriptions,
        "queued": amount(stats.queued),
        "bodies": amount(stats.bodies),
        "retained": amount(stats.retained),
        "delayed": amount(stats.delayed),
        "runs": stats.runs,
        "deepest": deepest.collect::<Vec<_>>(),
        "database_bytes": stats.database_bytes,
        "log_bytes": stats.log_bytes,
        "page_bytes": stats.page_bytes,
        "pages": stats.pages,
        "free_pages": stats.free_pages,
    })
}

fn print(stats: &Stats) {
    let (sessions, connected) = (stats.sessions, stats.connected);
    Terminal.line(format_args!(
        "sessions       {sessions}, {connected} connected"
    ));
    Terminal.line(format_args!("subscriptions  {}", stats.subscriptions));
    for (name, amount) in [
        ("queued", stats.queued),
        ("bodies", stats.bodies),
        ("retained", stats.retained),
        ("delayed", stats.delayed),
    ] {
        let (messages, bytes) = (amount.messages, size(amount.bytes));
        Terminal.line(format_args!("{name:<15}{messages} messages, {bytes}"));
    }
    let runs = stats.runs;
    Terminal.line(format_args!(
        "names          of {runs} runs of other brokers"
    ));
    // Pages that are in the log only are not in the database file yet.
    let (pages, free) = (stats.pages, stats.free_pages);
    let page = size(stats.page_bytes);
    Terminal.line(format_args!(
        "pages          {pages} of {page}, {free} of them free"
    ));
    let (database, log) = (size(stats.database_bytes), size(stats.log_bytes));
    Terminal.line(format_args!(
        "files          database {database}, log {log}"
    ));
    if !stats.deepest.is_empty() {
        Terminal.line("deepest queues");
    }
    for depth in &stats.deepest {
        let client_id = depth.client_id.as_deref();
        let client_id = client_id.unwrap_or("(a session that does not outlive the daemon)");
        let (messages, bytes) = (depth.queued.messages, size(depth.queued.bytes));
        let (first, end) = (depth.first_sequence, end(depth));
        Terminal.line(format_args!(
            "  {client_id}: {messages} messages, {bytes}, oldest sequence {first}{end}"
        ));
    }
}

/// When a session ends, for a person.
fn end(depth: &Depth) -> String {
    if depth.client_id.is_none() {
        return String::new();
    }
    let Some(at) = depth.expires_at else {
        return ", connected".to_owned();
    };
    let Some(at) = finite(at.as_millis()) else {
        return ", never expires".to_owned();
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |it| it.as_millis());
    match u128::from(at).checked_sub(now) {
        Some(left) => format!(", expires in {} s", left / 1000),
        None => ", expired".to_owned(),
    }
}
