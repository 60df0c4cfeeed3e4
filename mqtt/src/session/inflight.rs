//! The sender's side of QoS 1 and 2: what was sent and is not yet acknowledged (§4.3, §4.9).
//!
//! The Packet Identifier of a delivery follows from its place in the queue. So a delivery keeps
//! its identifier over a restart without any record of it, which lets a QoS 2 receiver recognise
//! a message it has had already.

use std::collections::VecDeque;

use super::{Delivery, Outgoing};
use crate::QoS;

/// Deliveries that were sent, in the order in which they were sent first.
#[derive(Clone, Debug)]
pub struct Inflight {
    entries: VecDeque<Entry>,
    /// Entries from here on are to be sent again.
    resend_from: usize,
    window: usize,
    /// The greatest sequence that was sent, as far as it is known.
    sent: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    packet_id: u16,
    delivery: Delivery,
    awaits: Awaits,
    /// Sent on a connection before this one.
    sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Puback,
    Pubrec,
    Pubcomp,
}

/// What an acknowledgement means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The delivery with this sequence is done; the store forgets it.
    Done(u64),
    /// The PUBREC is to be answered with a PUBREL.
    Release,
    /// No such delivery awaits this acknowledgement.
    Unknown,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            resend_from: 0,
            window: usize::from(u16::MAX),
            sent: 0,
        }
    }
}

impl Inflight {
    /// After a restart, when deliveries up to this sequence may have been sent.
    pub(super) fn recovered(sent: u64) -> Self {
        Self {
            sent,
            ..Self::default()
        }
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Sent and unacknowledged deliveries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Deliveries that may be unacknowledged.
    pub(super) const fn window(&self) -> usize {
        self.window
    }

    /// True if everything sent is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True if the delivery with this sequence may be sent now.
    pub(super) fn has_room(&self, sequence: u64) -> bool {
        if self.entries.len() >= self.window {
            return false;
        }
        // Identifiers come round after 65,535 deliveries. One that is still in use holds up the
        // queue until its acknowledgement comes.
        let Some(oldest) = self.entries.front() else {
            return true;
        };
        let packet_id = packet_id(sequence);
        sequence - oldest.delivery.sequence < u64::from(u16::MAX)
            || self
                .entries
                .iter()
                .all(|entry| entry.packet_id != packet_id)
    }

    pub(super) fn begin(&mut self, delivery: Delivery) -> Outgoing {
        let packet_id = packet_id(delivery.sequence);
        let awaits = match delivery.qos {
            QoS::ExactlyOnce => Awaits::Pubrec,
            QoS::AtMostOnce | QoS::AtLeastOnce => Awaits::Puback,
        };
        let outgoing = Outgoing::Publish {
            delivery: delivery.clone(),
            packet_id,
            dup: delivery.sequence <= self.sent,
        };
        self.sent = self.sent.max(delivery.sequence);
        self.entries.push_back(Entry {
            packet_id,
            delivery,
            awaits,
            sent: false,
        });
        self.resend_from = self.entries.len();
        outgoing
    }

    /// The next packet that has to be repeated on this connection.
    pub(super) fn resend(&mut self) -> Option<Outgoing> {
        if self.resend_from >= self.window {
            return None;
        }
        let entry = self.entries.get(self.resend_from)?;
        self.resend_from += 1;
        if entry.awaits == Awaits::Pubcomp {
            return Some(Outgoing::Release(entry.packet_id));
        }
        Some(Outgoing::Publish {
            delivery: entry.delivery.clone(),
            packet_id: entry.packet_id,
            dup: entry.sent,
        })
    }

    pub(super) fn resume(&mut self, receive_maximum: u16) {
        self.window = usize::from(receive_maximum.max(1));
        self.resend_from = 0;
        for entry in &mut self.entries {
            entry.sent = true;
        }
    }

    /// A PUBACK came.
    pub fn puback(&mut self, packet_id: u16) -> Acknowledged {
        self.finish(packet_id, Awaits::Puback)
    }

    /// A PUBREC came. A refusal ends the delivery [MQTT-4.3.3-4].
    pub fn pubrec(&mut self, packet_id: u16, refused: bool) -> Acknowledged {
        if refused {
            return self.finish(packet_id, Awaits::Pubrec);
        }
        match self
            .entries
            .iter_mut()
            .find(|entry| entry.packet_id == packet_id)
        {
            Some(entry) if entry.awaits != Awaits::Puback => {
                entry.awaits = Awaits::Pubcomp;
                Acknowledged::Release
            }
            Some(_) | None => Acknowledged::Unknown,
        }
    }

    /// A PUBCOMP came.
    pub fn pubcomp(&mut self, packet_id: u16) -> Acknowledged {
        self.finish(packet_id, Awaits::Pubcomp)
    }

    /// The delivery is over, whatever was awaited: it cannot be sent, or its receiver
    /// acknowledges in one step.
    pub fn abandon(&mut self, packet_id: u16) -> Acknowledged {
        self.remove(|entry| entry.packet_id == packet_id)
    }

    /// Forgets everything; returns what was not acknowledged.
    pub(super) fn take(&mut self) -> Vec<Delivery> {
        self.resend_from = 0;
        let entries = self.entries.drain(..);
        entries.map(|entry| entry.delivery).collect()
    }

    fn finish(&mut self, packet_id: u16, awaits: Awaits) -> Acknowledged {
        self.remove(|entry| entry.packet_id == packet_id && entry.awaits == awaits)
    }

    fn remove(&mut self, wanted: impl Fn(&Entry) -> bool) -> Acknowledged {
        // Acknowledgements come in order, so this looks at the front entry as a rule.
        let Some(index) = self.entries.iter().position(wanted) else {
            return Acknowledged::Unknown;
        };
        if index < self.resend_from {
            self.resend_from -= 1;
        }
        match self.entries.remove(index) {
            Some(entry) => Acknowledged::Done(entry.delivery.sequence),
            None => Acknowledged::Unknown,
        }
    }
}

/// 1 to 65,535, then from 1 again: zero is no Packet Identifier [MQTT-2.2.1-3].
fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence.saturating_sub(1) % u64::from(u16::MAX)).unwrap_or(0) + 1
}
