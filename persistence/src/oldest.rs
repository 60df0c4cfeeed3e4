//! The entries of all queues by the age of their messages, for those that make way.

use rusqlite::{Connection, Error, params};

use crate::QueueEntry;

/// Entries that are dropped in one transaction.
const ENTRIES_MAX: usize = 1_000;
/// Bytes that an entry takes beside its message, roughly.
const ENTRY_BYTES: u64 = 64;

/// Takes entries that are to make way, the oldest first, and leaves those that do; they are
/// removed. It is asked in the writer's thread: what was read from a queue before was taken in by
/// then, and what is read later is without them.
pub type MakeWay = Box<dyn FnMut(&mut Vec<QueueEntry>) + Send>;

/// By how much a bound is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// A way through the entries. Those that do not make way are passed over.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Message, session and sequence of the last one.
    after: (u64, u64, u64),
}

impl Way {
    pub(crate) fn is_at_start(&self) -> bool {
        self.after == (0, 0, 0)
    }

    /// The next entries, not many more than would do. None at the end, where it begins anew.
    pub(crate) fn next(
        &mut self,
        connection: &Connection,
        excess: Excess,
    ) -> Result<Vec<QueueEntry>, Error> {
        // The number of a message grows with time.
        let mut statement = connection.prepare_cached(
            "SELECT message_id, session_id, sequence, qos, bytes FROM queue
             WHERE (message_id, session_id, sequence) > (?1, ?2, ?3)
             ORDER BY message_id, session_id, sequence",
        )?;
        let (message, session, sequence) = self.after;
        let mut rows = statement.query(params![message, session, sequence])?;
        let (mut found, mut freed) = (Vec::new(), 0);
        while found.len() < ENTRIES_MAX
            && (freed < excess.bytes || (found.len() as u64) < excess.entries)
            && let Some(row) = rows.next()?
        {
            let message = row.get(0)?;
            let entry = QueueEntry::read(row, 1)?;
            // A body is stored once.
            let is_first = message != self.after.0;
            freed += ENTRY_BYTES + if is_first { entry.bytes } else { 0 };
            self.after = (message, entry.session.0, entry.sequence);
            found.push(entry);
        }
        if found.is_empty() {
            self.after = (0, 0, 0);
        }
        Ok(found)
    }
}

/// Makes the index that the way needs, or removes it: it costs something with every entry.
pub(crate) fn keep_index(connection: &Connection, is_needed: bool) -> Result<(), Error> {
    connection.execute_batch(if is_needed {
        "CREATE INDEX IF NOT EXISTS queue_by_age ON queue(message_id)"
    } else {
        "DROP INDEX IF EXISTS queue_by_age"
    })
}
