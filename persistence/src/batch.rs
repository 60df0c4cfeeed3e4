//! Many operations folded into one transaction.
//!
//! Folding keeps the outcome of applying the operations one by one, but writes less: an entry
//! that is enqueued and dequeued within the batch is not written at all (commit elision), nor is
//! a message that is delayed and published within it or a will that comes and goes, and of several
//! retained messages of one topic only the last is.

mod released;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqtt::{Message, QoS, Timestamp, TopicName};
use rusqlite::{Connection, Error, params};

use crate::clock::Mark;
use crate::names::Names;
use crate::page::Page;
use crate::references::References;
use crate::statistics::QueueRows;
use crate::trim::Trim;
use crate::will::Wills;
use crate::{Operation, SessionId, StoredMessage, Sweep, checksum, row};

/// Entries that are removed in one transaction where the file system has little left.
pub(crate) const PART_ENTRIES: usize = 128;

#[derive(Default)]
pub(crate) struct Batch {
    /// Changes of sessions and subscriptions, in their order.
    sessions: Vec<Operation>,
    enqueued: BTreeMap<(SessionId, u64), Entry>,
    /// How many there were, with those that were dequeued again.
    enqueues: u64,
    dequeued: BTreeSet<(SessionId, u64)>,
    /// Entries of QoS 2 between PUBREC and PUBCOMP.
    released: BTreeSet<(SessionId, u64)>,
    /// Sessions whose receivers have forgotten what they had received before what is released here.
    forgotten: BTreeSet<SessionId>,
    retained: BTreeMap<TopicName, Option<Arc<Message>>>,
    /// QoS 2 identifiers: true if received, false if released.
    inbound: BTreeMap<(SessionId, u16), bool>,
    /// Delayed messages; none if they are not delayed any more.
    delayed: BTreeMap<u64, Option<Delayed>>,
    wills: Wills,
    names: Names,
    /// The present moment is to be written down.
    pub(crate) notes_time: bool,
}

struct Entry {
    stored: StoredMessage,
    qos: QoS,
    retain: bool,
    subscription_ids: Vec<u32>,
    latest_only: bool,
    expires_at: Option<Timestamp>,
}

struct Delayed {
    due: Timestamp,
    message: Arc<Message>,
}

/// A read that was met while folding. Its turn comes when the batch is committed.
pub(crate) enum Read {
    Page(Page),
    Expired(Sweep),
    Trim(Trim),
}

impl Batch {
    /// Takes in one operation; a read is handed back.
    pub(crate) fn fold(&mut self, operation: Operation) -> Option<Read> {
        match operation {
            Operation::PutSession { .. }
            | Operation::Subscribe(..)
            | Operation::Unsubscribe(..)
            | Operation::Sent(..) => self.sessions.push(operation),
            Operation::DeleteSession(session) => {
                self.forget_session(session);
                self.sessions.push(operation);
            }
            Operation::Enqueue {
                session,
                sequence,
                stored,
                qos,
                retain,
                subscription_ids,
                latest_only,
                expires_at,
            } => {
                let entry = Entry {
                    stored,
                    qos,
                    retain,
                    subscription_ids,
                    latest_only,
                    expires_at,
                };
                self.enqueues += 1;
                self.enqueued.insert((session, sequence), entry);
            }
            Operation::Pubrec(session, sequence) => self.pubrec((session, sequence)),
            Operation::Received(session, sequence) => self.received((session, sequence)),
            Operation::Connecting(session) => self.connecting(session),
            Operation::Connected { session, is_kept } => self.connected(session, is_kept),
            Operation::Dequeue(session, sequence) => self.complete((session, sequence)),
            Operation::Retain(topic, message) => {
                self.retained.insert(topic, message);
            }
            Operation::Receive(session, packet_id) => {
                self.inbound.insert((session, packet_id), true);
            }
            Operation::Release(session, packet_id) => {
                self.inbound.insert((session, packet_id), false);
            }
            Operation::Delay { id, due, message } => {
                self.delayed.insert(id, Some(Delayed { due, message }));
            }
            Operation::Undelay(id) => self.undelay(id),
            Operation::PutWill { id, session, will } => self.wills.put(id, session, will),
            Operation::DelayWill(id, until) => self.wills.delay(id, until),
            Operation::RemoveWill(id) => self.wills.remove(id),
            Operation::NoteName { run, number, at } => self.names.note(run, number, at),
            Operation::NoteTime => self.notes_time = true,
            Operation::Expire(sweep) => return Some(Read::Expired(sweep)),
            Operation::LoadPage(session, request, reply) => {
                return Some(Read::Page(Page {
                    session,
                    request,
                    reply,
                }));
            }
            Operation::Trim(session, request, reply) => {
                return Some(Read::Trim(Trim(session, request, reply)));
            }
        }
        None
    }

    /// Queue entries that came and went within the batch.
    pub(crate) fn elided(&self) -> u64 {
        self.enqueues - self.enqueued.len() as u64
    }

    /// What can be removed before the rest is written: small batches, and sessions whose queues are
    /// to go. None if it is little, or if something is written in its place, such as a message that
    /// goes to another session: then it stays together.
    pub(crate) fn removal(&self) -> Option<(Vec<Self>, Vec<SessionId>)> {
        let is_moved =
            !self.enqueued.is_empty() || !self.retained.is_empty() || !self.delayed.is_empty();
        let mut sessions = Vec::new();
        for operation in &self.sessions {
            if let Operation::DeleteSession(session) = operation {
                sessions.push(*session);
            }
        }
        let is_little = self.dequeued.len() <= PART_ENTRIES && sessions.is_empty();
        if is_moved || is_little {
            return None;
        }
        let entries: Vec<_> = self.dequeued.iter().copied().collect();
        let parts = entries.chunks(PART_ENTRIES).map(|part| Self {
            dequeued: part.iter().copied().collect(),
            // With the identifier that it leaves behind.
            released: part
                .iter()
                .copied()
                .filter(|it| self.released.contains(it))
                .collect(),
            ..Self::default()
        });
        Some((parts.collect(), sessions))
    }

    fn undelay(&mut self, id: u64) {
        if !matches!(self.delayed.remove(&id), Some(Some(_))) {
            self.delayed.insert(id, None);
        }
    }

    fn forget_session(&mut self, session: SessionId) {
        self.enqueued.retain(|(owner, _), _| *owner != session);
        self.released.retain(|(owner, _)| *owner != session);
        self.inbound.retain(|(owner, _), _| *owner != session);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.enqueued.is_empty()
            && self.dequeued.is_empty()
            && self.released.is_empty()
            && self.forgotten.is_empty()
            && self.retained.is_empty()
            && self.inbound.is_empty()
            && self.delayed.is_empty()
            && self.wills.is_empty()
            && self.names.is_empty()
            && !self.notes_time
    }

    /// Writes everything in one transaction, and if it is to be synced the new epoch and the
    /// present moment; tells what became of the queues. After an error all of it or nothing is
    /// written, and writing it once more changes nothing that is.
    pub(crate) fn commit(
        &self,
        connection: &mut Connection,
        synced: Option<&(u64, Mark)>,
    ) -> Result<QueueRows, Error> {
        let mut rows = QueueRows::default();
        let transaction = connection.transaction()?;
        if let Some((epoch, Mark { time, reading })) = synced {
            let mut update = transaction.prepare_cached(
                "UPDATE store SET epoch = ?1, time = ?2, wall = ?3, boot_id = ?4, boot_clock = ?5",
            )?;
            update.execute(params![
                epoch,
                row::timestamp(*time),
                row::integer(reading.wall_millis),
                reading.boot.map(|it| it.to_string()),
                row::integer(reading.boot_millis),
            ])?;
        }
        for operation in &self.sessions {
            rows.deleted += apply_session(&transaction, operation)?;
        }
        self.apply_queues(&transaction, &mut rows)?;
        self.apply_retained(&transaction)?;
        self.apply_inbound(&transaction)?;
        self.apply_delayed(&transaction)?;
        self.wills.apply(&transaction)?;
        self.names.apply(&transaction)?;
        transaction.commit()?;
        Ok(rows)
    }

    fn apply_queues(&self, connection: &Connection, rows: &mut QueueRows) -> Result<(), Error> {
        let mut references = References::default();
        let mut insert = connection.prepare_cached(
            "INSERT OR IGNORE INTO queue(
                 session_id, sequence, message_id, qos, retain, subscription_ids, bytes,
                 latest_only, expires_at)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for ((session, sequence), entry) in &self.enqueued {
            let ids = row::subscription_ids(&entry.subscription_ids);
            let id = entry.stored.id;
            // None if a commit that failed has left it there.
            let inserted = insert.execute(params![
                session.0,
                sequence,
                id,
                entry.qos as u8,
                entry.retain,
                ids,
                entry.stored.message.byte_count() as u64,
                entry.latest_only,
                entry.expires_at.map(row::timestamp),
            ])?;
            rows.inserted += inserted as u64;
            references.add(id, &entry.stored.message, inserted);
        }
        rows.deleted += references.remove(connection, &self.dequeued)?;
        self.apply_released(connection)?;
        references.apply(connection)
    }

    fn apply_retained(&self, connection: &Connection) -> Result<(), Error> {
        for (topic, message) in &self.retained {
            let Some(message) = message else {
                let mut delete =
                    connection.prepare_cached("DELETE FROM retained WHERE topic = ?1")?;
                delete.execute([topic.as_str()])?;
                continue;
            };
            let mut put = connection.prepare_cached(
                "INSERT OR REPLACE INTO retained VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            put.execute(params![
                topic.as_str(),
                &message.payload[..],
                &message.properties.as_bytes()[..],
                message.qos as u8,
                message.retain,
                message.expires_at.map(row::timestamp),
                checksum::of(topic, message),
            ])?;
        }
        Ok(())
    }

    fn apply_inbound(&self, connection: &Connection) -> Result<(), Error> {
        for ((session, packet_id), received) in &self.inbound {
            let sql = if *received {
                "INSERT OR IGNORE INTO inbound VALUES(?1, ?2)"
            } else {
                "DELETE FROM inbound WHERE session_id = ?1 AND packet_id = ?2"
            };
            connection
                .prepare_cached(sql)?
                .execute(params![session.0, packet_id])?;
        }
        Ok(())
    }

    fn apply_delayed(&self, connection: &Connection) -> Result<(), Error> {
        for (id, delayed) in &self.delayed {
            let Some(Delayed { due, message }) = delayed else {
                let mut delete = connection.prepare_cached("DELETE FROM delayed WHERE id = ?1")?;
                delete.execute([id])?;
                continue;
            };
            let mut put = connection.prepare_cached(
                "INSERT OR REPLACE INTO delayed VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            put.execute(params![
                id,
                row::timestamp(*due),
                message.topic.as_str(),
                &message.payload[..],
                &message.properties.as_bytes()[..],
                message.qos as u8,
                message.retain,
                message.expires_at.map(row::timestamp),
                checksum::of(&message.topic, message),
            ])?;
        }
        Ok(())
    }
}

/// Removes the front of a session's queue in one transaction; tells how many entries that is, 0 if
/// there was none.
pub(crate) fn remove_front(
    connection: &mut Connection,
    SessionId(session): SessionId,
) -> Result<u64, Error> {
    let transaction = connection.transaction()?;
    let mut select = transaction.prepare_cached(
        "SELECT sequence FROM queue WHERE session_id = ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let sequences = select.query_map([session, PART_ENTRIES as u64], |row| row.get(0))?;
    let entries = sequences.map(|it| Ok((SessionId(session), it?)));
    let entries = entries.collect::<Result<BTreeSet<_>, Error>>()?;
    let mut references = References::default();
    let removed = references.remove(&transaction, &entries)?;
    references.apply(&transaction)?;
    drop(select);
    transaction.commit()?;
    Ok(removed)
}

/// Tells how many queue entries are deleted.
fn apply_session(connection: &Connection, operation: &Operation) -> Result<u64, Error> {
    let mut deleted = 0;
    match operation {
        Operation::PutSession {
            session,
            client_id,
            expiry_seconds,
            expires_at,
        } => {
            // A client may begin its next session before the end of the last one is submitted,
            // which is still read then.
            let mut namesake = connection
                .prepare_cached("DELETE FROM session WHERE client_id = ?1 AND id <> ?2")?;
            namesake.execute(params![&**client_id, session.0])?;
            let mut put = connection.prepare_cached(
                "INSERT INTO session(id, client_id, expiry_seconds, expires_at)
                 VALUES(?1, ?2, ?3, ?4) ON CONFLICT(id) DO UPDATE SET
                     expiry_seconds = ?3, expires_at = ?4,
                     sent_sequence = iif(?4 IS NULL, NULL, sent_sequence)",
            )?;
            put.execute(params![
                session.0,
                &**client_id,
                row::integer(*expiry_seconds),
                expires_at.map(row::timestamp)
            ])?;
        }
        Operation::DeleteSession(session) => deleted = delete_session(connection, *session)?,
        Operation::Subscribe(session, subscription) => {
            let mut put = connection
                .prepare_cached("INSERT OR REPLACE INTO subscription VALUES(?1, ?2, ?3, ?4)")?;
            put.execute(params![
                session.0,
                subscription.filter.as_str(),
                subscription.options.to_u8(),
                subscription.identifier,
            ])?;
        }
        Operation::Unsubscribe(session, filter) => {
            let mut delete = connection
                .prepare_cached("DELETE FROM subscription WHERE session_id = ?1 AND filter = ?2")?;
            delete.execute(params![session.0, filter.as_str()])?;
        }
        Operation::Sent(session, sequence) => {
            let mut update =
                connection.prepare_cached("UPDATE session SET sent_sequence = ?2 WHERE id = ?1")?;
            update.execute(params![session.0, row::integer(*sequence)])?;
        }
        Operation::Enqueue { .. }
        | Operation::Pubrec(..)
        | Operation::Received(..)
        | Operation::Connecting(_)
        | Operation::Connected { .. }
        | Operation::Dequeue(..)
        | Operation::Retain(..)
        | Operation::Receive(..)
        | Operation::Release(..)
        | Operation::Delay { .. }
        | Operation::Undelay(_)
        | Operation::PutWill { .. }
        | Operation::DelayWill(..)
        | Operation::RemoveWill(_)
        | Operation::NoteName { .. }
        | Operation::NoteTime
        | Operation::Expire(_)
        | Operation::LoadPage(..)
        | Operation::Trim(..) => unreachable!("fold keeps only changes of sessions here"),
    }
    Ok(deleted)
}

/// Removes a session with all that belongs to it; tells how many queue entries that is.
fn delete_session(connection: &Connection, session: SessionId) -> Result<u64, Error> {
    let mut delete = connection.prepare_cached("DELETE FROM queue WHERE session_id = ?1")?;
    for sql in [
        "DELETE FROM message WHERE refs <= 1 AND id IN
             (SELECT message_id FROM queue WHERE session_id = ?1)",
        "UPDATE message SET refs = refs - 1 WHERE id IN
             (SELECT message_id FROM queue WHERE session_id = ?1)",
        "DELETE FROM subscription WHERE session_id = ?1",
        "DELETE FROM inbound WHERE session_id = ?1",
        "DELETE FROM outbound WHERE session_id = ?1",
        "DELETE FROM session WHERE id = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([session.0])?;
    }
    Ok(delete.execute([session.0])? as u64)
}
