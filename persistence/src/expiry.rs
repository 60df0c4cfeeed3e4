//! Entries of queues whose time has passed, and that leave the disk although nobody reads them.
//!
//! Only the session knows whether an entry still waits or was sent meanwhile. So the writer asks
//! before it removes anything, in its own thread: a page that it reads before was taken in by then,
//! and one that it reads later has nothing of what was given up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqtt::{QoS, Timestamp};
use rusqlite::{Connection, Error, params};

use crate::damage::is_damage;
use crate::store::{Shared, lock};
use crate::{Durability, Operation, QueueEntry, SessionId, Store, row};

/// Entries that are looked at in one step; what was submitted meanwhile comes before the next one.
const ENTRIES_MAX: usize = 1_000;

const FIND: &str = "
SELECT expires_at, session_id, sequence, qos, bytes FROM queue
WHERE expires_at IS NOT NULL AND expires_at >= ?1
    AND (expires_at, session_id, sequence) > (?1, ?2, ?3)
ORDER BY expires_at, session_id, sequence";

/// An entry of a queue and when it ends. In their order the first one that ends comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When it ends.
    pub at: Timestamp,
    /// Which.
    pub entry: QueueEntry,
}

/// Takes entries whose time has passed and leaves those that are given up; they are removed.
pub type GiveUp = Box<dyn FnMut(&mut Vec<Deadline>) + Send>;

/// A way through the entries whose time has passed.
pub struct Sweep {
    /// Those up to here were looked at.
    after: Deadline,
    until: Timestamp,
    give_up: GiveUp,
}

impl Store {
    /// Removes what has expired from all queues, as far as `give_up` agrees. Does nothing unless
    /// there may be such entries. Entries that were not given up are not asked for again while
    /// this store is open.
    pub fn expire(&self, now: Timestamp, give_up: GiveUp) {
        let Some(shared) = &self.shared else {
            return;
        };
        if shared.next_deadline.load(Ordering::Acquire) > now.as_millis() {
            return;
        }
        // What is submitted from here on notes its own, and the sweep comes behind what was
        // submitted before.
        let from = shared.next_deadline.swap(u64::MAX, Ordering::AcqRel);
        let after = Deadline {
            at: Timestamp::from_millis(from),
            // Before all that there are.
            entry: QueueEntry {
                session: SessionId(0),
                sequence: 0,
                qos: QoS::AtMostOnce,
                bytes: 0,
            },
        };
        self.submit(Operation::Expire(Sweep {
            after,
            until: now,
            give_up,
        }));
    }
}

impl Shared {
    /// Something ends then.
    pub(crate) fn note_deadline(&self, at: Timestamp) {
        self.next_deadline
            .fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    fn is_closing(&self) -> bool {
        lock(&self.submitted).closing
    }
}

impl Sweep {
    /// Takes one step; returns what is to be removed.
    pub(crate) fn step(
        mut self,
        connection: Result<&Connection, Error>,
        shared: &Arc<Shared>,
    ) -> Result<Vec<Deadline>, Error> {
        let (mut entries, next) = match connection.and_then(|it| self.find(it)) {
            Ok(found) => found,
            Err(error) => {
                if !is_damage(&error) {
                    shared.note_deadline(self.after.at);
                }
                return Err(error);
            }
        };
        let last = entries.last().copied();
        (self.give_up)(&mut entries);
        match (next, last) {
            (Some(next), Some(last)) if next <= self.until && !shared.is_closing() => {
                self.after = last;
                let shared = Some(Arc::clone(shared));
                Store { shared }.submit_as(Operation::Expire(self), Durability::Memory);
            }
            (Some(next), _) => shared.note_deadline(next),
            (None, _) => {}
        }
        Ok(entries)
    }

    /// The next entries, and when the one behind them ends.
    fn find(&self, connection: &Connection) -> Result<(Vec<Deadline>, Option<Timestamp>), Error> {
        let mut statement = connection.prepare_cached(FIND)?;
        let Deadline { at, entry } = self.after;
        let after = params![row::timestamp(at), entry.session.0, entry.sequence];
        let mut rows = statement.query(after)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let at = Timestamp::from_millis(row.get(0)?);
            if at > self.until || entries.len() == ENTRIES_MAX {
                return Ok((entries, Some(at)));
            }
            let entry = QueueEntry::read(row, 1)?;
            entries.push(Deadline { at, entry });
        }
        Ok((entries, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn what_has_expired_is_found_without_a_look_at_the_rest() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, 0).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {FIND}");
        let mut plan = connection.prepare(&sql).unwrap();
        let steps = plan.query_map([1, 2, 3], |row| row.get::<_, String>(3));
        let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert!(
            steps[0].starts_with("SEARCH queue USING INDEX queue_expiry"),
            "{steps:?}"
        );
    }
}
