//! What becomes of entries that were sent.

use rusqlite::{Connection, Error, params};

use super::Batch;
use crate::{SessionId, in_flight};

/// An entry of a queue.
type Entry = (SessionId, u64);

impl Batch {
    pub(super) fn pubrec(&mut self, entry: Entry) {
        self.dequeue(entry);
        self.released.insert(entry);
    }

    pub(super) fn received(&mut self, entry: Entry) {
        self.released.insert(entry);
    }

    pub(super) fn connecting(&mut self, session: SessionId) {
        self.released.insert((session, in_flight::CONNECTING));
    }

    pub(super) fn connected(&mut self, session: SessionId, is_kept: bool) {
        self.complete((session, in_flight::CONNECTING));
        if !is_kept {
            self.released.retain(|(owner, _)| *owner != session);
            self.forgotten.insert(session);
        }
    }

    pub(super) fn complete(&mut self, entry: Entry) {
        self.released.remove(&entry);
        self.dequeue(entry);
    }

    fn dequeue(&mut self, entry: Entry) {
        if self.enqueued.remove(&entry).is_none() {
            self.dequeued.insert(entry);
        }
    }

    /// What was dequeued is removed before this.
    pub(super) fn apply_released(&self, connection: &Connection) -> Result<(), Error> {
        for session in &self.forgotten {
            in_flight::forget(connection, *session)?;
        }
        let mut remember =
            connection.prepare_cached("INSERT OR IGNORE INTO outbound VALUES(?1, ?2)")?;
        for (session, sequence) in &self.released {
            remember.execute(params![session.0, sequence])?;
        }
        Ok(())
    }
}
