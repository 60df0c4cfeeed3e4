//! Reading a part of a queue.

use mqtt::session::{Delivery, PageRequest};
use rusqlite::{Connection, Error, params};

use crate::damage::is_damage;
use crate::{PageReply, SessionId, row};

/// Bytes of message bodies in one page of a queue; a page has at least one entry.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A part of a queue that is wanted.
pub(crate) struct Page {
    pub(crate) session: SessionId,
    pub(crate) request: PageRequest,
    pub(crate) reply: PageReply,
}

/// Reads a page of a queue; true if nothing is left in the requested range that can be read.
/// Damaged entries are left out, and logged; how many is the third value.
pub(crate) fn load_page(
    connection: &Connection,
    session: SessionId,
    request: PageRequest,
) -> Result<(Vec<Delivery>, bool, u64), Error> {
    // An entry whose message is missing is damaged too.
    let mut statement = connection.prepare_cached(
        "SELECT q.sequence, q.qos, q.retain, q.subscription_ids,
                m.topic, m.payload, m.properties, m.qos, m.retain, m.expires_at, q.latest_only,
                q.expires_at, m.checksum
         FROM queue q LEFT JOIN message m ON m.id = q.message_id
         WHERE q.session_id = ?1 AND q.sequence >= ?2 AND q.sequence < ?3
         ORDER BY q.sequence",
    )?;
    let mut rows = statement.query(params![session.0, request.from, request.to])?;
    let (mut page, mut bytes, mut left_out) = (Vec::new(), 0, 0);
    let mut complete = true;
    loop {
        let found = match rows.next() {
            Ok(None) => break,
            Ok(Some(row)) => row::expiring_delivery(row),
            Err(error) if is_damage(&error) => {
                // Nothing behind it can be reached either.
                left_out += 1;
                break;
            }
            Err(error) => return Err(error),
        };
        let Ok(delivery) = found else {
            left_out += 1;
            continue;
        };
        bytes += delivery.message.byte_count();
        page.push(delivery);
        if bytes >= PAGE_BYTES_MAX || page.len() >= request.count {
            complete = false;
            break;
        }
    }
    if left_out > 0 {
        let session = session.0;
        tracing::error!(
            session,
            left_out,
            "damaged entries of a queue are left out, they stay in the file"
        );
    }
    Ok((page, complete, left_out))
}
