//! What the store knew when the daemon last ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt::{Message, Timestamp};
use rusqlite::{Connection, Error};

use crate::{SessionId, StoredSubscription};
use crate::{batch, row};

/// Everything that is loaded at start. The queues themselves stay on disk.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The durable sessions.
    pub sessions: Vec<RecoveredSession>,
    /// The retained messages.
    pub retained: Vec<Arc<Message>>,
}

/// A durable session as it was left.
#[derive(Debug)]
pub struct RecoveredSession {
    /// Its number.
    pub id: SessionId,
    /// Its Client Identifier.
    pub client_id: Arc<str>,
    /// Seconds that it outlives its connection.
    pub expiry_seconds: u64,
    /// When it ends; none if its client was connected when the daemon died.
    pub expires_at: Option<Timestamp>,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// Entries in its queue.
    pub waiting: u64,
    /// The sequence of the first of them.
    pub first_sequence: u64,
    /// The sequence that the next new entry gets.
    pub next_sequence: u64,
    /// QoS 2 identifiers that its client has not released.
    pub received: Vec<u16>,
}

/// Reads everything but the queues; also the greatest session and message numbers in use.
pub(crate) fn recover(connection: &Connection) -> Result<(Recovered, u64, u64), Error> {
    delete_orphans(connection)?;
    let mut sessions = sessions(connection)?;
    subscriptions(connection, &mut sessions)?;
    queues(connection, &mut sessions)?;
    inbound(connection, &mut sessions)?;
    let last_session = sessions.keys().next_back().map_or(0, |id| id.0);
    let last_message =
        connection.query_row("SELECT coalesce(max(id), 0) FROM message", [], |row| {
            row.get(0)
        })?;
    let recovered = Recovered {
        sessions: sessions.into_values().collect(),
        retained: retained(connection)?,
    };
    Ok((recovered, last_session, last_message))
}

/// Removes queues without a session: what sessions that do not survive a restart had spilled.
fn delete_orphans(connection: &Connection) -> Result<(), Error> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT session_id FROM queue WHERE session_id NOT IN (SELECT id FROM session)",
    )?;
    let orphans = statement.query_map([], |row| row.get(0).map(SessionId))?;
    for orphan in orphans.collect::<Result<Vec<_>, _>>()? {
        batch::delete_session(connection, orphan)?;
    }
    Ok(())
}

type Sessions = BTreeMap<SessionId, RecoveredSession>;

fn sessions(connection: &Connection) -> Result<Sessions, Error> {
    let mut statement =
        connection.prepare("SELECT id, client_id, expiry_seconds, expires_at FROM session")?;
    let rows = statement.query_map([], |row| {
        let client_id: String = row.get(1)?;
        let expires_at: Option<u64> = row.get(3)?;
        Ok(RecoveredSession {
            id: SessionId(row.get(0)?),
            client_id: client_id.into(),
            expiry_seconds: row.get(2)?,
            expires_at: expires_at.map(Timestamp::from_millis),
            subscriptions: Vec::new(),
            waiting: 0,
            first_sequence: 1,
            next_sequence: 1,
            received: Vec::new(),
        })
    })?;
    rows.map(|session| session.map(|session| (session.id, session)))
        .collect()
}

fn subscriptions(connection: &Connection, sessions: &mut Sessions) -> Result<(), Error> {
    let mut statement =
        connection.prepare("SELECT session_id, filter, options, identifier FROM subscription")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            session.subscriptions.push(row::subscription(row, 1)?);
        }
    }
    Ok(())
}

fn queues(connection: &Connection, sessions: &mut Sessions) -> Result<(), Error> {
    let mut statement = connection.prepare(
        "SELECT session_id, count(*), min(sequence), max(sequence) FROM queue GROUP BY session_id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            session.waiting = row.get(1)?;
            session.first_sequence = row.get(2)?;
            session.next_sequence = row.get::<_, u64>(3)? + 1;
        }
    }
    Ok(())
}

fn inbound(connection: &Connection, sessions: &mut Sessions) -> Result<(), Error> {
    let mut statement = connection.prepare("SELECT session_id, packet_id FROM inbound")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            session.received.push(row.get(1)?);
        }
    }
    Ok(())
}

fn retained(connection: &Connection) -> Result<Vec<Arc<Message>>, Error> {
    let mut statement = connection
        .prepare("SELECT topic, payload, properties, qos, retain, expires_at FROM retained")?;
    let rows = statement.query_map([], |row| row::message(row, 0).map(Arc::new))?;
    rows.collect()
}
