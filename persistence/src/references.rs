//! The bodies of messages, which are stored once and go with the last queue entry that refers to
//! them; and the entries that are done with. Most are done with in their order, so they are
//! removed by ranges: what SQLite does once for each statement is most of the work.

use std::collections::{BTreeMap, BTreeSet};

use mqtt::Message;
use rusqlite::{Connection, Error, params};

use crate::{SessionId, checksum, row};

/// How the references to messages change in one transaction.
#[derive(Default)]
pub(crate) struct References<'a>(BTreeMap<u64, Change<'a>>);

#[derive(Clone, Copy, Default)]
struct Change<'a> {
    count: i64,
    /// The body, if it may be new.
    body: Option<&'a Message>,
}

impl<'a> References<'a> {
    /// A number of new queue entries refer to a message.
    pub(crate) fn add(&mut self, id: u64, body: &'a Message, entries: usize) {
        let change = self.0.entry(id).or_default();
        change.count += i64::try_from(entries).unwrap_or(i64::MAX);
        change.body = Some(body);
    }

    /// Removes entries of queues and of `outbound`, with their references; returns how many there
    /// were in queues.
    pub(crate) fn remove(
        &mut self,
        connection: &Connection,
        entries: &BTreeSet<(SessionId, u64)>,
    ) -> Result<u64, Error> {
        let mut select = connection.prepare_cached(
            "SELECT message_id FROM queue WHERE session_id = ?1 AND sequence BETWEEN ?2 AND ?3",
        )?;
        let mut delete = connection.prepare_cached(
            "DELETE FROM queue WHERE session_id = ?1 AND sequence BETWEEN ?2 AND ?3",
        )?;
        let mut forget = connection.prepare_cached(
            "DELETE FROM outbound WHERE session_id = ?1 AND sequence BETWEEN ?2 AND ?3",
        )?;
        // As a rule there are none, and each statement counts.
        let is_any_released: bool = connection
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM outbound)")?
            .query_row([], |row| row.get(0))?;
        let mut removed = 0;
        let entries: Vec<_> = entries.iter().copied().collect();
        for run in entries.chunk_by(|a, b| a.0 == b.0 && a.1 + 1 == b.1) {
            let ((session, first), (_, last)) = (run[0], run[run.len() - 1]);
            let range = params![session.0, first, last];
            let mut found = 0;
            let mut rows = select.query(range)?;
            while let Some(row) = rows.next()? {
                self.0.entry(row.get(0)?).or_default().count -= 1;
                found += 1;
            }
            if found > 0 {
                delete.execute(range)?;
            }
            if is_any_released {
                forget.execute(range)?;
            }
            removed += found;
        }
        Ok(removed)
    }

    /// Writes the bodies that are new and removes those that no queue has any more.
    pub(crate) fn apply(&self, connection: &Connection) -> Result<(), Error> {
        // A message whose enqueues fall into two batches is there already.
        let mut put = connection.prepare_cached(
            "INSERT INTO message VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT(id) DO UPDATE SET refs = refs + ?8",
        )?;
        for (id, change) in &self.0 {
            let Some(message) = change.body else {
                continue;
            };
            put.execute(params![
                id,
                message.topic.as_str(),
                &message.payload[..],
                &message.properties.as_bytes()[..],
                message.qos as u8,
                message.retain,
                message.expires_at.map(row::timestamp),
                change.count,
                checksum::of(&message.topic, message),
            ])?;
        }
        let without = self.0.iter().filter(|(_, change)| change.body.is_none());
        let without: Vec<_> = without.map(|(id, change)| (*id, -change.count)).collect();
        // Most messages stand in one queue, so most often this is all.
        let mut last = connection
            .prepare_cached("DELETE FROM message WHERE id BETWEEN ?1 AND ?2 AND refs <= ?3")?;
        let mut update = connection
            .prepare_cached("UPDATE message SET refs = refs - ?3 WHERE id BETWEEN ?1 AND ?2")?;
        for run in without.chunk_by(|a, b| a.0 + 1 == b.0 && a.1 == b.1) {
            let ((first, count), (end, _)) = (run[0], run[run.len() - 1]);
            let range = params![first, end, count];
            if last.execute(range)? < run.len() {
                update.execute(range)?;
            }
        }
        Ok(())
    }
}
