//! How much is in a store.

use std::fs;

use mqtt::Timestamp;
use mqtt::session::Amount;
use rusqlite::{Connection, Error, Row};

use super::Inspection;
use crate::OpenStoreError;
use crate::files::with_suffix;

/// Queues that are listed one by one.
const DEEPEST_MAX: u32 = 10;

/// How much is in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The version of the tables.
    pub version: usize,
    /// Durable sessions.
    pub sessions: u64,
    /// Those that a client is connected to, or was when the daemon died.
    pub connected: u64,
    /// Subscriptions of durable sessions.
    pub subscriptions: u64,
    /// Entries of queues, with the bytes of their messages; a message counts in each queue.
    pub queued: Amount,
    /// Messages that stand in queues; each counts once.
    pub bodies: Amount,
    /// Retained messages.
    pub retained: Amount,
    /// Delayed messages.
    pub delayed: Amount,
    /// Runs of other brokers of which is known what has come.
    pub runs: u64,
    /// The sessions with the most entries in their queues, the deepest first; at most ten.
    pub deepest: Vec<Depth>,
    /// Length of the database.
    pub database_bytes: u64,
    /// Length of its log, 0 if it has none.
    pub log_bytes: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Pages of the database.
    pub pages: u64,
    /// Pages that nothing stands in.
    pub free_pages: u64,
}

/// The queue of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The Client Identifier; none if the session does not outlive the daemon, and only its queue
    /// is in the store.
    pub client_id: Option<String>,
    /// What waits.
    pub queued: Amount,
    /// The sequence of the oldest entry.
    pub first_sequence: u64,
    /// Seconds that the session outlives its connection.
    pub expiry_seconds: Option<u64>,
    /// When it ends, if its client is away.
    pub expires_at: Option<Timestamp>,
}

impl Inspection {
    /// Counts what is in the store. Reads every row, but no payload that has pages of its own.
    ///
    /// # Errors
    /// The store cannot be read, for example because it is damaged.
    pub fn stats(&mut self) -> Result<Stats, OpenStoreError> {
        loop {
            let stats = count(&self.connection, self.version);
            if self.is_outdated() {
                self.refresh()?;
                continue;
            }
            let mut stats = stats.map_err(|source| self.failed(source))?;
            let length = |suffix| {
                let metadata = fs::metadata(with_suffix(&self.file(), suffix));
                metadata.map_or(0, |it| it.len())
            };
            stats.database_bytes = length("");
            stats.log_bytes = length("-wal");
            return Ok(stats);
        }
    }
}

fn count(connection: &Connection, version: usize) -> Result<Stats, Error> {
    const BYTES: &str = "octet_length(topic) + octet_length(payload) + octet_length(properties)";
    let mut stats = Stats {
        version,
        page_bytes: number(connection, "PRAGMA page_size")?,
        pages: number(connection, "PRAGMA page_count")?,
        free_pages: number(connection, "PRAGMA freelist_count")?,
        ..Stats::default()
    };
    if version == 0 {
        return Ok(stats);
    }
    // One moment for all of them.
    let snapshot = connection.unchecked_transaction()?;
    let (sessions, connected) = pair(
        &snapshot,
        "SELECT count(*), count(*) - count(expires_at) FROM session",
    )?;
    stats.sessions = sessions;
    stats.connected = connected;
    stats.subscriptions = number(&snapshot, "SELECT count(*) FROM subscription")?;
    let amount = |what: &str, table: &str| {
        let sql = format!("SELECT {what} FROM {table}");
        pair(&snapshot, &sql).map(|(messages, bytes)| Amount { messages, bytes })
    };
    let each = format!("count(*), coalesce(sum({BYTES}), 0)");
    stats.bodies = amount(&each, "message")?;
    stats.retained = amount(&each, "retained")?;
    if version >= 2 {
        stats.delayed = amount(&each, "delayed")?;
    }
    if version >= 10 {
        stats.runs = number(&snapshot, "SELECT count(DISTINCT run) FROM seen")?;
    }
    // A body knows in how many queues it stands, so that they need not be joined with it.
    let all = format!("coalesce(sum(refs), 0), coalesce(sum(refs * ({BYTES})), 0)");
    stats.queued = amount(&all, "message")?;
    stats.deepest = deepest(&snapshot, BYTES)?;
    Ok(stats)
}

fn deepest(connection: &Connection, bytes: &str) -> Result<Vec<Depth>, Error> {
    let sql = format!(
        "SELECT client_id, entries, first, expiry_seconds, expires_at,
                (SELECT coalesce(sum({bytes}), 0) FROM queue JOIN message m ON m.id = message_id
                 WHERE session_id = deep.session_id)
         FROM (SELECT session_id, count(*) AS entries, min(sequence) AS first FROM queue
               GROUP BY session_id ORDER BY entries DESC, session_id LIMIT {DEEPEST_MAX}) AS deep
         LEFT JOIN session ON session.id = deep.session_id
         ORDER BY entries DESC, deep.session_id"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], depth)?;
    rows.collect()
}

fn depth(row: &Row<'_>) -> Result<Depth, Error> {
    let expires_at: Option<u64> = row.get(4)?;
    Ok(Depth {
        client_id: row.get(0)?,
        queued: Amount {
            messages: row.get(1)?,
            bytes: row.get(5)?,
        },
        first_sequence: row.get(2)?,
        expiry_seconds: row.get(3)?,
        expires_at: expires_at.map(Timestamp::from_millis),
    })
}

fn number(connection: &Connection, sql: &str) -> Result<u64, Error> {
    connection.query_row(sql, [], |row| row.get(0))
}

fn pair(connection: &Connection, sql: &str) -> Result<(u64, u64), Error> {
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}
