//! Messages that are too large to be taken in, of a hub of MQTT 3, which cannot be told: it would send
//! one that ends the connection again and again. So they are thrown away as they come.

use gateway::{DropReason, Receipt};
use mqtt::connection::PendingAck;

use super::Service;
use crate::hub::HubError;

/// A message that is thrown away.
#[derive(Debug)]
pub(super) struct Skipped {
    /// Bytes that have not come.
    left: usize,
    /// What it is acknowledged with when all of it has come.
    ack: Option<PendingAck>,
}

impl Service<'_> {
    /// Counts the message at the front, which is too large, and throws away what has come of it;
    /// returns how much that is.
    pub(super) fn begin_skipping(&mut self, input: &[u8]) -> Result<usize, HubError> {
        let Some(oversized) = self.hub.oversized(input)? else {
            return Ok(0);
        };
        let error = format!(
            "a message of {} bytes to `{}` is larger than `max_packet_size` of the bridge",
            oversized.length, oversized.topic
        );
        self.status
            .report_drop(self.label, DropReason::TooLarge, &error);
        self.status.note_problem(error);
        self.skipped = Some(Skipped {
            left: oversized.length,
            ack: oversized.ack,
        });
        Ok(self.skip(input))
    }

    /// Throws away what has come of a message; returns how much that is.
    pub(super) fn skip(&mut self, input: &[u8]) -> usize {
        let Some(skipped) = &mut self.skipped else {
            return 0;
        };
        let count = skipped.left.min(input.len());
        skipped.left -= count;
        if skipped.left == 0 {
            let ack = skipped.ack;
            self.unstored.extend(ack.map(|it| (Receipt::default(), it)));
            self.skipped = None;
        }
        count
    }
}
