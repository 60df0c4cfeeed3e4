//! Removing the oldest entries of a queue.

use mqtt::session::{Amount, TrimRequest, Trimmed};
use rusqlite::{Connection, Error, params};

use crate::{SessionId, TrimReply};

/// Entries that are removed at a time.
const ENTRIES_MAX: u64 = 10_000;

/// Entries of a queue that are to be removed.
pub(crate) struct Trim(
    pub(crate) SessionId,
    pub(crate) TrimRequest,
    pub(crate) TrimReply,
);

/// The sequences of the entries that a request means, and the answer to it once they are removed.
pub(crate) fn oldest(
    connection: &Connection,
    session: SessionId,
    request: &TrimRequest,
) -> Result<(Vec<u64>, Trimmed), Error> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, bytes FROM queue
         WHERE session_id = ?1 AND sequence >= ?2 AND sequence < ?3
         ORDER BY sequence LIMIT ?4 OFFSET ?5",
    )?;
    let TrimRequest {
        from, to, wanted, ..
    } = *request;
    let range = params![session.0, from, to, ENTRIES_MAX, request.skip];
    let mut rows = statement.query(range)?;
    let mut sequences = Vec::new();
    let mut removed = Amount::default();
    let mut complete = false;
    while removed.messages < wanted.messages || removed.bytes < wanted.bytes {
        let Some(row) = rows.next()? else {
            complete = removed.messages < ENTRIES_MAX;
            break;
        };
        sequences.push(row.get(0)?);
        removed.messages += 1;
        removed.bytes += row.get::<_, u64>(1)?;
    }
    let trimmed = Trimmed {
        removed,
        next: sequences.last().map_or(0, |last| last + 1),
        complete,
    };
    Ok((sequences, trimmed))
}
