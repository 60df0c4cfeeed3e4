//! Reading out a store, piece by piece.
//!
//! Each piece is read in a moment of its own and handed over afterwards: whoever takes it may be
//! slow, and a running daemon must not have to keep its log for that long. So what changes
//! meanwhile may be seen before or after its change.

use std::sync::Arc;

use mqtt::session::Delivery;
use mqtt::{Message, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Error, Row, params};

use super::{Columns, Inspection};
use crate::damage::is_damage;
use crate::{DelayedMessage, OpenStoreError, StoredSubscription, row};

/// Rows of one piece.
const PAGE_ROWS_MAX: usize = 500;
/// Bytes of message bodies after which a piece ends.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// What to read out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// The sessions with their subscriptions.
    pub sessions: bool,
    /// The queues of the sessions.
    pub queues: bool,
    /// The retained messages.
    pub retained: bool,
    /// The delayed messages.
    pub delayed: bool,
    /// Only the session of this Client Identifier.
    pub client_id: Option<String>,
}

/// Something that was read out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exported {
    /// A session; its subscriptions and its queue follow.
    Session(SessionRecord),
    /// A subscription of the session with this Client Identifier.
    Subscription(Arc<str>, StoredSubscription),
    /// An entry of a queue.
    Queued(QueuedMessage),
    /// A retained message.
    Retained(Message),
    /// A delayed message.
    Delayed(DelayedMessage),
}

/// A durable session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its Client Identifier.
    pub client_id: Arc<str>,
    /// Seconds that it outlives its connection.
    pub expiry_seconds: u64,
    /// When it ends; none if its client is connected.
    pub expires_at: Option<Timestamp>,
    id: i64,
}

/// An entry of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// The Client Identifier of the session.
    pub client_id: Arc<str>,
    /// What waits for it.
    pub delivery: Delivery,
}

impl Inspection {
    /// Hands over what is chosen, until there is no more or `take` returns false. Returns how many
    /// rows, or ranges of rows, were left out because they are damaged.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn export(
        &mut self,
        what: &Exports,
        take: &mut dyn FnMut(Exported) -> bool,
    ) -> Result<u64, OpenStoreError> {
        let mut export = Export {
            inspection: self,
            take,
            damaged: 0,
        };
        export.run(what)?;
        Ok(export.damaged)
    }
}

/// Rows of one kind in the order of a key, which is their first column. The parameters of the
/// statement are the key before, and what the query is limited to.
struct Query<T> {
    /// Where it says `{checksum}`, earlier versions have none.
    sql: &'static str,
    /// Comes before every key.
    start: Start,
    read: fn(&Row<'_>) -> Result<T, Error>,
    bytes: fn(&T) -> usize,
}

#[derive(Clone, Copy)]
enum Start {
    Number,
    Text,
}

const SESSIONS: Query<SessionRecord> = Query {
    sql: "SELECT id, client_id, expiry_seconds, expires_at FROM session
          WHERE id > ?1 AND (?2 IS NULL OR client_id = ?2) ORDER BY id",
    start: Start::Number,
    read: session,
    bytes: |_| 0,
};
const SUBSCRIPTIONS: Query<StoredSubscription> = Query {
    sql: "SELECT filter, options, identifier FROM subscription
          WHERE filter > ?1 AND session_id = ?2 ORDER BY filter",
    start: Start::Text,
    read: |row| row::subscription(row, 0),
    bytes: |_| 0,
};
const QUEUE: Query<Delivery> = Query {
    sql: "SELECT q.sequence, q.qos, q.retain, q.subscription_ids,
                 m.topic, m.payload, m.properties, m.qos, m.retain, m.expires_at,
                 0 AS latest_only, {checksum}
          FROM queue q LEFT JOIN message m ON m.id = q.message_id
          WHERE q.sequence > ?1 AND q.session_id = ?2 ORDER BY q.sequence",
    start: Start::Number,
    read: row::delivery,
    bytes: |it| it.message.byte_count(),
};
const RETAINED: Query<Message> = Query {
    sql: "SELECT topic, payload, properties, qos, retain, expires_at, {checksum} FROM retained
          WHERE topic > ?1 AND ?2 IS NULL ORDER BY topic",
    start: Start::Text,
    read: |row| row::checked_message(row, 0),
    bytes: Message::byte_count,
};
const DELAYED: Query<DelayedMessage> = Query {
    sql: "SELECT id, due, topic, payload, properties, qos, retain, expires_at, {checksum}
          FROM delayed
          WHERE id > ?1 AND ?2 IS NULL ORDER BY id",
    start: Start::Number,
    read: row::delayed,
    bytes: |it| it.message.byte_count(),
};

fn session(row: &Row<'_>) -> Result<SessionRecord, Error> {
    let client_id: String = row.get(1)?;
    let expires_at: Option<u64> = row.get(3)?;
    Ok(SessionRecord {
        id: row.get(0)?,
        client_id: client_id.into(),
        expiry_seconds: row.get(2)?,
        expires_at: expires_at.map(Timestamp::from_millis),
    })
}

/// How far a query has been read.
struct Cursor<'a, T> {
    query: &'a Query<T>,
    after: Value,
    limit: Value,
    is_complete: bool,
    damaged: u64,
}

impl<'a, T> Cursor<'a, T> {
    fn new(query: &'a Query<T>, limit: Value) -> Self {
        let after = match query.start {
            Start::Number => Value::Integer(i64::MIN),
            Start::Text => Value::Text(String::new()),
        };
        Self {
            query,
            after,
            limit,
            is_complete: false,
            damaged: 0,
        }
    }

    fn next(&mut self, connection: &Connection, checksum: &str) -> Result<Vec<T>, Error> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        let sql = self.query.sql.replace("{checksum}", checksum);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![self.after, self.limit])?;
        while page.len() < PAGE_ROWS_MAX && bytes < PAGE_BYTES_MAX {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => {
                    self.is_complete = true;
                    break;
                }
                Err(error) if is_damage(&error) => {
                    // What is behind it in this table cannot be reached in this order.
                    self.damaged += 1;
                    self.is_complete = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            let Ok(after) = row.get(0) else {
                // Nobody can say what comes behind it.
                self.damaged += 1;
                self.is_complete = true;
                break;
            };
            self.after = after;
            match (self.query.read)(row) {
                Ok(found) => {
                    bytes += (self.query.bytes)(&found);
                    page.push(found);
                }
                Err(_) => self.damaged += 1,
            }
        }
        Ok(page)
    }
}

struct Export<'a> {
    inspection: &'a mut Inspection,
    take: &'a mut dyn FnMut(Exported) -> bool,
    damaged: u64,
}

impl Export<'_> {
    fn run(&mut self, what: &Exports) -> Result<(), OpenStoreError> {
        if self.inspection.version == 0 {
            return Ok(());
        }
        let client_id = what.client_id.clone().map_or(Value::Null, Value::Text);
        let wants_sessions = what.sessions || what.queues;
        let goes_on = !wants_sessions || self.sessions(what, client_id)?;
        let goes_on =
            goes_on && (!what.retained || self.all(&RETAINED, Value::Null, Exported::Retained)?);
        if goes_on && what.delayed && self.inspection.version >= 2 {
            self.all(&DELAYED, Value::Null, Exported::Delayed)?;
        }
        Ok(())
    }

    /// Hands over the sessions, each with what belongs to it; false if nothing more is wanted.
    fn sessions(&mut self, what: &Exports, client_id: Value) -> Result<bool, OpenStoreError> {
        let mut sessions = Cursor::new(&SESSIONS, client_id);
        while !sessions.is_complete {
            for session in self.page(&mut sessions)? {
                if !self.session(what, session)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn session(&mut self, what: &Exports, session: SessionRecord) -> Result<bool, OpenStoreError> {
        let id = Value::Integer(session.id);
        let client_id = Arc::clone(&session.client_id);
        if what.sessions {
            let subscription = |it| Exported::Subscription(Arc::clone(&client_id), it);
            let goes_on = (self.take)(Exported::Session(session))
                && self.all(&SUBSCRIPTIONS, id.clone(), subscription)?;
            if !goes_on {
                return Ok(false);
            }
        }
        if !what.queues {
            return Ok(true);
        }
        self.all(&QUEUE, id, |delivery| {
            let client_id = Arc::clone(&client_id);
            Exported::Queued(QueuedMessage {
                client_id,
                delivery,
            })
        })
    }

    /// Hands over all rows of a query; false if nothing more is wanted.
    fn all<T>(
        &mut self,
        query: &Query<T>,
        limit: Value,
        wrap: impl Fn(T) -> Exported,
    ) -> Result<bool, OpenStoreError> {
        let mut cursor = Cursor::new(query, limit);
        while !cursor.is_complete {
            for found in self.page(&mut cursor)? {
                if !(self.take)(wrap(found)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn page<T>(&mut self, cursor: &mut Cursor<'_, T>) -> Result<Vec<T>, OpenStoreError> {
        self.inspection.refresh()?;
        let known = Columns::of(&self.inspection.connection);
        let checksum = known
            .as_ref()
            .map_or("NULL", |it| it.name("message", "checksum"));
        let found = cursor.next(&self.inspection.connection, checksum);
        self.damaged += std::mem::take(&mut cursor.damaged);
        found.map_err(|source| self.inspection.failed(source))
    }
}
