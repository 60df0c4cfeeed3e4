//! What the store knew when the daemon last ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt::session::{Amount, Delivery, StoredLane, StoredLast, number_of, range_of, side_of};
use mqtt::{Message, Timestamp, TopicName};
use rusqlite::{Connection, Error};

use crate::clock::{Clock, Mark};
use crate::damage::is_damage;
use crate::in_flight::{self, InFlight};
use crate::{
    Damage, RecoveredNames, RecoveredWill, SessionId, StoredSubscription, names, row, will,
};

/// Everything that is loaded at start. The queues themselves stay on disk.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The durable sessions.
    pub sessions: Vec<RecoveredSession>,
    /// The retained messages.
    pub retained: Vec<Arc<Message>>,
    /// The delayed messages, the one that is due first in front.
    pub delayed: Vec<DelayedMessage>,
    /// The wills, the earliest connection's in front.
    pub wills: Vec<RecoveredWill>,
    /// The names of messages that were taken, those of the run that was silent for longest in front.
    pub names: Vec<RecoveredNames>,
    /// Retained and delayed messages that are damaged, each by itself. They stay in the file.
    pub left_out: u64,
    /// Random, as old as the store; none if there is no store.
    pub broker_id: Option<String>,
    /// What was wrong with the files, and was logged.
    pub damage: Option<Damage>,
}

/// A message that is still to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedMessage {
    /// Its number.
    pub id: u64,
    /// When it is to be published.
    pub due: Timestamp,
    /// What.
    pub message: Arc<Message>,
}

/// The greatest numbers that are in use, and how much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) session: u64,
    pub(crate) message: u64,
    pub(crate) delayed: u64,
    pub(crate) will: u64,
    /// Entries in all queues.
    pub(crate) queued: u64,
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
    /// The lanes of its queue that are not empty, each side by itself.
    pub lanes: Vec<StoredLane>,
    /// The entries of which only the last of its topic is kept. Damaged ones are left out.
    pub latest: Vec<StoredLast>,
    /// The number that the next new entry gets.
    pub next_sequence: u64,
    /// The side of its lanes that the entry with the greatest number has joined.
    pub side: u8,
    /// Entries up to this number may have been sent before, so they are sent again with DUP
    /// [MQTT-3.3.1-1]; it is below `next_sequence`.
    ///
    /// Nothing is written for a message that is sent. While a connection may be sending, which
    /// its [`crate::Operation::PutSession`] says, all that a crash leaves in the queue may have
    /// been sent. When it ends, [`crate::Operation::Sent`] says how far it came. So DUP is never
    /// missing, provided that a resumed session sends nothing before that `PutSession` is
    /// durable; what waited behind the window of a connection that a crash ended has it for
    /// nothing, which the specification allows: DUP says that a packet might have come before.
    pub sent_sequence: u64,
    /// QoS 2 identifiers that its client has not released.
    pub received: Vec<u16>,
    /// The sequences of QoS 2 entries that its client has and that are not released to the end,
    /// in the order of their numbers.
    pub released: Vec<u64>,
    /// The deliveries among those in `released` whose messages are kept until PUBCOMP, with what was
    /// sent before them and is not acknowledged: in the order of their numbers, and not counted in
    /// `lanes`. Damaged ones are left out.
    pub in_flight: Vec<Delivery>,
}

impl RecoveredSession {
    /// Entries in its queue.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let lanes = self.lanes.iter().map(|it| it.waiting.messages);
        lanes.sum::<u64>() + self.in_flight.len() as u64
    }

    /// Counts an entry; they come in the order of their sequences.
    fn add(&mut self, sequence: u64, bytes: u64) {
        self.note_number(sequence);
        let unsettled = u64::from(number_of(sequence) <= self.sent_sequence);
        let last = self.lanes.last_mut();
        if let Some(lane) = last.filter(|it| range_of(it.first) == range_of(sequence)) {
            lane.waiting.messages += 1;
            lane.waiting.bytes += bytes;
            lane.unsettled += unsettled;
            return;
        }
        let waiting = Amount { messages: 1, bytes };
        self.lanes.push(StoredLane {
            first: sequence,
            waiting,
            unsettled,
        });
    }

    /// The next entry follows the one with the greatest number.
    fn note_number(&mut self, sequence: u64) {
        let number = number_of(sequence);
        if number >= self.next_sequence {
            self.next_sequence = number + 1;
            self.side = side_of(sequence);
        }
    }
}

/// Reads everything but the queues.
pub(crate) fn recover(connection: &mut Connection) -> Result<(Recovered, Numbers), Error> {
    match tidy_up(connection) {
        Err(error) if !is_damage(&error) => {
            // A full disk is no reason not to start: it may be what waits here that fills it.
            tracing::warn!(%error, "the store cannot be tidied up");
        }
        result => result?,
    }
    let mut sessions = sessions(connection)?;
    subscriptions(connection, &mut sessions)?;
    let in_flight = InFlight::find(connection)?;
    let queued = queues(connection, &mut sessions, &in_flight)?;
    latest(connection, &mut sessions, &in_flight)?;
    in_flight.load(connection, &mut sessions)?;
    inbound(connection, &mut sessions)?;
    outbound(connection, &mut sessions)?;
    for session in sessions.values_mut() {
        // As it is written down, or would have been.
        session.sent_sequence = session.sent_sequence.min(session.next_sequence - 1);
    }
    let last = |sql| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
    // The will of a session that has ended must not fall to another one.
    let ended = last("SELECT coalesce(max(session_id), 0) FROM will")?
        // Nor a queue that could not be removed.
        .max(last("SELECT coalesce(max(session_id), 0) FROM queue")?);
    let numbers = Numbers {
        session: sessions
            .keys()
            .next_back()
            .map_or(ended, |id| id.0.max(ended)),
        message: last("SELECT coalesce(max(id), 0) FROM message")?,
        delayed: last("SELECT coalesce(max(id), 0) FROM delayed")?,
        will: last("SELECT coalesce(max(id), 0) FROM will")?,
        queued,
    };
    let mut left_out = 0;
    let recovered = Recovered {
        sessions: sessions.into_values().collect(),
        retained: retained(connection, &mut left_out)?,
        delayed: delayed(connection, &mut left_out)?,
        wills: will::recover(connection)?,
        names: names::recover(connection)?,
        left_out,
        broker_id: connection.query_row("SELECT broker_id FROM store", [], |row| row.get(0))?,
        damage: None,
    };
    Ok((recovered, numbers))
}

/// The clock that goes on from where the store was left.
pub(crate) fn clock(connection: &Connection) -> Result<Clock, Error> {
    let last = Mark::load(connection)?;
    // Up to version 3 nobody wrote the time down, and the wall clock may not be set yet. But the
    // ends of sessions say when their clients went.
    let sql = "SELECT max(expires_at - 1000 * expiry_seconds) FROM session
               WHERE expiry_seconds <= 0xFFFFFFFF";
    let gone: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    let gone = gone.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
    Ok(Clock::begin(last.as_ref(), Timestamp::from_millis(gone)))
}

/// Writes down what is decided at a start.
fn tidy_up(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection.transaction()?;
    delete_orphans(&transaction)?;
    in_flight::settle_connecting(&transaction)?;
    settle_sent(&transaction)?;
    names::remove_damaged(&transaction)?;
    transaction.commit()
}

/// The sessions that are none, with queues: those that do not survive a restart had spilled them.
pub(crate) fn orphans(connection: &Connection) -> Result<Vec<SessionId>, Error> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT session_id FROM queue WHERE session_id NOT IN (SELECT id FROM session)",
    )?;
    let orphans = statement.query_map([], |row| row.get(0).map(SessionId))?;
    orphans.collect()
}

/// Removes what belongs to no session, but for [`orphans`], which may be much: what was written for
/// a session whose name another one had taken.
fn delete_orphans(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(
        "DELETE FROM subscription WHERE session_id NOT IN (SELECT id FROM session);
         DELETE FROM inbound WHERE session_id NOT IN (SELECT id FROM session);
         DELETE FROM outbound WHERE session_id NOT IN (SELECT id FROM session);",
    )
}

/// Writes down for each session how far its connections may have sent: whatever is still there
/// if one was sending, and never further than the queue goes, since numbers begin again behind
/// what is left of it. The number is what remains of a sequence without its lane and side, which
/// together are one of eight ranges.
fn settle_sent(connection: &Connection) -> Result<(), Error> {
    connection.execute(
        "WITH RECURSIVE lane(first, behind) AS (
             VALUES(0, 1 << 56)
             UNION ALL SELECT behind, behind + (1 << 56) FROM lane WHERE behind < 8 << 56)
         UPDATE session SET sent_sequence = queued.last FROM (
             SELECT id, max(coalesce(
                 (SELECT max(sequence) - first FROM queue
                  WHERE session_id = id AND sequence >= first AND sequence < behind), 0)) AS last
             FROM session, lane GROUP BY id) AS queued
         WHERE session.id = queued.id
             AND (sent_sequence IS NULL OR sent_sequence > queued.last)",
        [],
    )?;
    Ok(())
}

pub(crate) type Sessions = BTreeMap<SessionId, RecoveredSession>;

fn sessions(connection: &Connection) -> Result<Sessions, Error> {
    let mut statement = connection
        .prepare("SELECT id, client_id, expiry_seconds, expires_at, sent_sequence FROM session")?;
    let rows = statement.query_map([], |row| {
        let client_id: String = row.get(1)?;
        let expires_at: Option<u64> = row.get(3)?;
        Ok(RecoveredSession {
            id: SessionId(row.get(0)?),
            client_id: client_id.into(),
            expiry_seconds: row.get(2)?,
            expires_at: expires_at.map(Timestamp::from_millis),
            subscriptions: Vec::new(),
            lanes: Vec::new(),
            latest: Vec::new(),
            next_sequence: 1,
            side: 0,
            sent_sequence: row.get::<_, Option<u64>>(4)?.unwrap_or(u64::MAX),
            received: Vec::new(),
            released: Vec::new(),
            in_flight: Vec::new(),
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

/// Tells how many entries there are in all queues.
fn queues(
    connection: &Connection,
    sessions: &mut Sessions,
    in_flight: &InFlight,
) -> Result<u64, Error> {
    let mut statement = connection
        .prepare("SELECT session_id, sequence, bytes FROM queue ORDER BY session_id, sequence")?;
    let mut rows = statement.query([])?;
    let mut queued = 0;
    while let Some(row) = rows.next()? {
        queued += 1;
        let (id, sequence) = (SessionId(row.get(0)?), row.get(1)?);
        let Some(session) = sessions.get_mut(&id) else {
            continue;
        };
        if in_flight.has(id, sequence) {
            session.note_number(sequence);
        } else {
            session.add(sequence, row.get(2)?);
        }
    }
    Ok(queued)
}

fn latest(
    connection: &Connection,
    sessions: &mut Sessions,
    in_flight: &InFlight,
) -> Result<(), Error> {
    let mut statement = connection.prepare(
        "SELECT q.session_id, q.sequence, q.bytes, m.topic
         FROM queue q JOIN message m ON m.id = q.message_id WHERE q.latest_only",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, sequence) = (SessionId(row.get(0)?), row.get(1)?);
        if in_flight.has(id, sequence) {
            continue;
        }
        let topic: String = row.get(3)?;
        let session = sessions.get_mut(&id);
        if let (Some(session), Ok(topic)) = (session, TopicName::new(&topic)) {
            session.latest.push(StoredLast {
                topic,
                sequence,
                bytes: row.get(2)?,
            });
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

fn outbound(connection: &Connection, sessions: &mut Sessions) -> Result<(), Error> {
    let mut statement =
        connection.prepare("SELECT session_id, sequence FROM outbound WHERE sequence <> ?1")?;
    let mut rows = statement.query([in_flight::CONNECTING])?;
    while let Some(row) = rows.next()? {
        if let Some(session) = sessions.get_mut(&SessionId(row.get(0)?)) {
            let sequence = row.get(1)?;
            session.released.push(sequence);
            session.note_number(sequence);
        }
    }
    for session in sessions.values_mut() {
        session.released.sort_by_key(|it| number_of(*it));
    }
    Ok(())
}

fn retained(connection: &Connection, left_out: &mut u64) -> Result<Vec<Arc<Message>>, Error> {
    let mut statement = connection.prepare(
        "SELECT topic, payload, properties, qos, retain, expires_at, checksum FROM retained",
    )?;
    let rows = statement.query_map([], |row| row::checked_message(row, 0).map(Arc::new))?;
    readable(rows, left_out)
}

fn delayed(connection: &Connection, left_out: &mut u64) -> Result<Vec<DelayedMessage>, Error> {
    let mut statement = connection.prepare(
        "SELECT id, due, topic, payload, properties, qos, retain, expires_at, checksum
         FROM delayed ORDER BY due, id",
    )?;
    let rows = statement.query_map([], row::delayed)?;
    readable(rows, left_out)
}

/// Leaves out, and counts, what is there and damaged: one message is no reason to lose the others.
fn readable<T>(
    rows: impl Iterator<Item = Result<T, Error>>,
    left_out: &mut u64,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    for row in rows {
        match row {
            Err(error) if error.sqlite_error().is_none() && is_damage(&error) => *left_out += 1,
            row => found.push(row?),
        }
    }
    Ok(found)
}
