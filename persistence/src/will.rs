//! The wills of durable sessions: each is stored while its connection lives or its delay runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqtt::Timestamp;
use mqtt::connection::WillMessage;
use rusqlite::{Connection, Error, params};

use crate::{SessionId, Store, row};

impl Store {
    /// A number for the will of a connection that begins.
    #[must_use]
    pub fn next_will_id(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(0, |it| it.next_will.fetch_add(1, Ordering::Relaxed))
    }
}

/// A will that is still to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredWill {
    /// Its number; a later connection has a greater one.
    pub id: u64,
    /// The session of its connection. If it is not among the recovered ones, it has ended.
    pub session: SessionId,
    /// When its delay ends; none if its connection lived when the daemon died.
    pub due: Option<Timestamp>,
    /// What.
    pub will: Arc<WillMessage>,
}

/// What a batch changes. One that comes and goes within it is not written at all.
#[derive(Default)]
pub(crate) struct Wills(BTreeMap<u64, Change>);

enum Change {
    Put {
        session: SessionId,
        will: Arc<WillMessage>,
        due: Option<Timestamp>,
    },
    Due(Timestamp),
    Removed,
}

impl Wills {
    pub(crate) fn put(&mut self, id: u64, session: SessionId, will: Arc<WillMessage>) {
        let due = None;
        self.0.insert(id, Change::Put { session, will, due });
    }

    pub(crate) fn delay(&mut self, id: u64, until: Timestamp) {
        if let Some(Change::Put { due, .. }) = self.0.get_mut(&id) {
            *due = Some(until);
        } else {
            self.0.insert(id, Change::Due(until));
        }
    }

    pub(crate) fn remove(&mut self, id: u64) {
        if !matches!(self.0.remove(&id), Some(Change::Put { .. })) {
            self.0.insert(id, Change::Removed);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn apply(&self, connection: &Connection) -> Result<(), Error> {
        for (id, change) in &self.0 {
            match change {
                Change::Put { session, will, due } => {
                    put(connection, *id, *session, will, *due)?;
                }
                Change::Due(due) => {
                    let mut update =
                        connection.prepare_cached("UPDATE will SET due = ?2 WHERE id = ?1")?;
                    update.execute(params![id, row::timestamp(*due)])?;
                }
                Change::Removed => {
                    let mut delete = connection.prepare_cached("DELETE FROM will WHERE id = ?1")?;
                    delete.execute([id])?;
                }
            }
        }
        Ok(())
    }
}

fn put(
    connection: &Connection,
    id: u64,
    session: SessionId,
    will: &WillMessage,
    due: Option<Timestamp>,
) -> Result<(), Error> {
    let mut put = connection.prepare_cached(
        "INSERT OR REPLACE INTO will VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let message = &will.message;
    put.execute(params![
        id,
        session.0,
        row::integer(will.delay.as_secs()),
        due.map(row::timestamp),
        message.topic.as_str(),
        &message.payload[..],
        &message.properties.as_bytes()[..],
        message.qos as u8,
        message.retain,
        will.expiry.map(|it| row::integer(it.as_secs())),
    ])?;
    Ok(())
}

/// Reads all of them, in the order of their numbers.
pub(crate) fn recover(connection: &Connection) -> Result<Vec<RecoveredWill>, Error> {
    let mut statement = connection.prepare(
        "SELECT id, session_id, due, delay_seconds, expiry_seconds,
             topic, payload, properties, qos, retain, NULL
         FROM will ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        let due: Option<u64> = row.get(2)?;
        let expiry: Option<u64> = row.get(4)?;
        let will = WillMessage {
            message: row::message(row, 5)?,
            expiry: expiry.map(Duration::from_secs),
            delay: Duration::from_secs(row.get(3)?),
        };
        Ok(RecoveredWill {
            id: row.get(0)?,
            session: SessionId(row.get(1)?),
            due: due.map(Timestamp::from_millis),
            will: Arc::new(will),
        })
    })?;
    rows.collect()
}
