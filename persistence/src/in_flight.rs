//! Entries of QoS 2 that their receiver has, and whose messages stay in the queue until PUBCOMP: a
//! hub may forget that it has them. They have a row in `queue` and one in `outbound`.
//!
//! While a session lives they are no part of what waits, like all that is in flight. After a restart
//! that has to be so again, or a page or a trim would come upon them. What was sent before them in
//! their range is in flight too, since a range is sent in its order; and that is no more than was in
//! memory before. So all of it is loaded, and what waits begins behind it.

use std::collections::BTreeMap;

use mqtt::session::{PageRequest, number_of, range_of, sequence};
use rusqlite::{Connection, Error};

use crate::SessionId;
use crate::page::load_page;
use crate::recovery::Sessions;

/// The sequence, which no entry has, of the row in `outbound` that is there while a receiver is
/// asked whether it knows its session.
pub(crate) const CONNECTING: u64 = 0;

/// A receiver has forgotten what it had received: what has its message waits again.
pub(crate) fn forget(connection: &Connection, session: SessionId) -> Result<(), Error> {
    let mut forget = connection.prepare_cached(
        "DELETE FROM outbound WHERE session_id = ?1 AND EXISTS
             (SELECT 1 FROM queue WHERE session_id = ?1 AND sequence = outbound.sequence)",
    )?;
    forget.execute([session.0]).map(|_| ())
}

/// Receivers that were asked and whose answer nobody has noted may have begun new sessions. One that
/// has not recognises what is sent again, unless it was done with it.
pub(crate) fn settle_connecting(connection: &Connection) -> Result<(), Error> {
    let mut asked = connection.prepare("SELECT session_id FROM outbound WHERE sequence = ?1")?;
    let asked = asked.query_map([CONNECTING], |row| row.get(0).map(SessionId))?;
    for session in asked.collect::<Result<Vec<_>, Error>>()? {
        forget(connection, session)?;
    }
    connection
        .execute("DELETE FROM outbound WHERE sequence = ?1", [CONNECTING])
        .map(|_| ())
}

/// The last entry of each range that its receiver has and that is kept.
pub(crate) struct InFlight(BTreeMap<(SessionId, u8), u64>);

impl InFlight {
    pub(crate) fn find(connection: &Connection) -> Result<Self, Error> {
        let mut statement = connection.prepare(
            "SELECT session_id, sequence FROM outbound JOIN queue USING(session_id, sequence)",
        )?;
        let mut rows = statement.query([])?;
        let mut last = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (session, sequence) = (SessionId(row.get(0)?), row.get(1)?);
            let known = last.entry((session, range_of(sequence))).or_default();
            *known = sequence.max(*known);
        }
        Ok(Self(last))
    }

    /// True of an entry that was sent before one that is kept, and of that one.
    pub(crate) fn has(&self, session: SessionId, sequence: u64) -> bool {
        let last = self.0.get(&(session, range_of(sequence)));
        last.is_some_and(|last| sequence <= *last)
    }

    /// Loads them.
    pub(crate) fn load(
        &self,
        connection: &Connection,
        sessions: &mut Sessions,
    ) -> Result<(), Error> {
        for (&(id, range), last) in &self.0 {
            let Some(session) = sessions.get_mut(&id) else {
                continue;
            };
            let mut request = PageRequest {
                from: sequence(range, 0),
                to: last + 1,
                count: usize::MAX,
            };
            let mut is_complete = false;
            while !is_complete {
                let (page, complete, _) = load_page(connection, id, request)?;
                is_complete = complete;
                request.from = page.last().map_or(request.to, |it| it.sequence + 1);
                session.in_flight.extend(page);
            }
        }
        for session in sessions.values_mut() {
            session.in_flight.sort_by_key(|it| number_of(it.sequence));
        }
        Ok(())
    }
}
