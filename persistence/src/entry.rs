//! An entry of a queue as its session is asked about it.

use mqtt::QoS;
use rusqlite::{Error, Row};

use crate::{SessionId, row};

/// An entry of a queue that a session may let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueEntry {
    /// Whose queue.
    pub session: SessionId,
    /// Its place there.
    pub sequence: u64,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// Bytes of the topic, payload and properties.
    pub bytes: u64,
}

impl QueueEntry {
    /// Reads session, sequence, qos and bytes from `first` on.
    pub(crate) fn read(row: &Row<'_>, first: usize) -> Result<Self, Error> {
        Ok(Self {
            session: SessionId(row.get(first)?),
            sequence: row.get(first + 1)?,
            // If it cannot be read, the one that is let go of least readily.
            qos: row::qos(row, first + 2).unwrap_or(QoS::ExactlyOnce),
            bytes: row.get(first + 3)?,
        })
    }
}
