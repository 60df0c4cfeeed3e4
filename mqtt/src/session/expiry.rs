//! What has waited too long.

use super::{Delivery, Session};
use crate::{QoS, Timestamp};

impl Delivery {
    /// True once it, or its message, is not worth sending any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.message.is_expired(now) || self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Session {
    /// The same as [`Session::give_up`] for a delivery that has expired. One that was perhaps sent
    /// before a restart stays only if it is of QoS 2.
    pub fn expire(&mut self, sequence: u64, qos: QoS, bytes: u64) -> bool {
        let is_unsettled = self.inflight.may_know(sequence);
        self.may_expire(sequence, qos) && self.queue.give_up(sequence, bytes, is_unsettled)
    }

    /// The receiver of QoS 2 may know the Packet Identifier of what was perhaps sent, and would
    /// take the next message under it for a repetition [MQTT-4.3.3-1].
    pub(super) fn may_expire(&self, sequence: u64, qos: QoS) -> bool {
        qos == QoS::AtLeastOnce || !self.inflight.may_know(sequence)
    }
}
