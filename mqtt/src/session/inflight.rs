//! The sender's side of QoS 1 and 2: what was sent and is not yet acknowledged (§4.3, §4.9).
//!
//! The Packet Identifier of a delivery follows from its place in the queue. So a delivery keeps
//! its identifier over a restart without any record of it, which lets a QoS 2 receiver recognise
//! a message it has had already.

mod received;

use std::collections::{BTreeSet, VecDeque};

use super::{Amount, Delivery, Outgoing, StoredQueue, number_of};
use crate::{Message, QoS};

/// Deliveries that were sent, in the order in which they were sent first.
#[derive(Clone, Debug)]
pub struct Inflight {
    entries: VecDeque<Entry>,
    /// Bytes of the messages among them.
    bytes: usize,
    /// Entries from here on are to be sent again.
    resend_from: u32,
    window: u16,
    /// So many messages and bytes of the entries count neither for the window nor for the bytes.
    kept_back: (u16, u32),
    /// The greatest number that was sent, as far as it is known.
    sent: u64,
    /// What it was when this began: up to here a delivery may have been sent before.
    sent_before: u64,
    /// The numbers of the entries are among these, as long as there are entries.
    numbers: Numbers,
}

/// From the least to the greatest.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    first: u64,
    last: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    packet_id: u16,
    sequence: u64,
    state: State,
    /// Sent on a connection before this one.
    sent: bool,
    /// Known from before a restart.
    recovered: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// PUBACK or PUBREC is awaited.
    Published(Box<Delivery>),
    /// PUBACK or PUBREC is awaited of what was encoded when it was put in, with this QoS. It is
    /// never sent again.
    Encoded(QoS),
    /// PUBREC came, so the message is not needed any more; PUBCOMP is awaited.
    Released,
    /// The same, but the receiver may forget that it has the message.
    Received(Box<Delivery>),
}

/// What an acknowledgement means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The delivery with this sequence is done; the store forgets it.
    Done(u64),
    /// The receiver has the delivery with this sequence: the store forgets its message and
    /// remembers that, then the PUBREC is answered with a PUBREL.
    Release(u64),
    /// No such delivery awaits this acknowledgement.
    Unknown,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            resend_from: 0,
            window: u16::MAX,
            kept_back: (0, 0),
            sent: 0,
            sent_before: 0,
            numbers: Numbers::default(),
        }
    }
}

impl Inflight {
    /// After a restart.
    pub(super) fn recovered(stored: &StoredQueue) -> Self {
        let entry = |sequence, state| Entry {
            packet_id: packet_id(sequence),
            sequence,
            state,
            sent: true,
            recovered: true,
        };
        let mut without: BTreeSet<u64> = stored.released.iter().copied().collect();
        let mut entries = Vec::new();
        for delivery in &stored.in_flight {
            let content = Box::new(delivery.clone());
            let state = if without.remove(&delivery.sequence) {
                State::Received(content)
            } else {
                State::Published(content)
            };
            entries.push(entry(delivery.sequence, state));
        }
        let without = without.into_iter();
        entries.extend(without.map(|it| entry(it, State::Released)));
        entries.sort_by_key(|it| number_of(it.sequence));
        let mut inflight = Self {
            bytes: entries.iter().map(|it| it.state.bytes()).sum(),
            entries: entries.into(),
            sent: stored.sent,
            sent_before: stored.sent,
            ..Self::default()
        };
        inflight.numbers = inflight.span();
        inflight
    }

    /// The least and the greatest number among the entries.
    fn span(&self) -> Numbers {
        let numbers = || self.entries.iter().map(|it| number_of(it.sequence));
        Numbers {
            first: numbers().min().unwrap_or(0),
            last: numbers().max().unwrap_or(0),
        }
    }

    /// The least number among what was sent and is not acknowledged.
    pub(super) fn oldest(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.span().first)
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// True if the receiver may know the Packet Identifier of this waiting delivery: it was perhaps
    /// sent before a restart.
    pub(super) const fn may_know(&self, sequence: u64) -> bool {
        number_of(sequence) <= self.sent_before
    }

    /// Sent and unacknowledged deliveries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Deliveries that may be unacknowledged.
    pub(super) const fn window(&self) -> usize {
        self.window as usize
    }

    /// Deliveries that may be unacknowledged, with those that are kept back.
    fn places(&self) -> usize {
        self.window() + usize::from(self.kept_back.0)
    }

    /// Of what was sent and is not acknowledged, its receiver keeps so many messages with so many
    /// bytes of memory back for a time. Others have their places in the window and in memory until
    /// this is called again, or a connection begins.
    pub const fn keep_back(&mut self, messages: u16, bytes: u32) {
        self.kept_back = (messages, bytes);
    }

    /// True if everything sent is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True if the delivery with this sequence may be sent now.
    pub(super) fn has_room(&mut self, sequence: u64) -> bool {
        if self.entries.len() >= self.places() {
            return false;
        }
        // Identifiers come round after 65,535 numbers. One that is still in use holds up the
        // queue until its acknowledgement comes.
        if self.entries.is_empty() || self.widened(sequence).is_short() {
            return true;
        }
        // Some at the ends may be acknowledged by now.
        self.numbers = self.span();
        let packet_id = packet_id(sequence);
        let mut entries = self.entries.iter();
        self.widened(sequence).is_short() || entries.all(|entry| entry.packet_id != packet_id)
    }

    /// The numbers of the entries with one more.
    fn widened(&self, sequence: u64) -> Numbers {
        let number = number_of(sequence);
        if self.entries.is_empty() {
            return Numbers {
                first: number,
                last: number,
            };
        }
        Numbers {
            first: number.min(self.numbers.first),
            last: number.max(self.numbers.last),
        }
    }

    /// What was sent and is not acknowledged, with the content that may have to be sent again.
    pub(super) fn amount(&self) -> Amount {
        let none = Amount {
            messages: self.entries.len() as u64,
            bytes: 0,
        };
        self.entries.iter().fold(none, |mut sum, it| {
            if let State::Published(delivery) | State::Received(delivery) = &it.state {
                sum.bytes += delivery.message.byte_count() as u64;
            }
            sum
        })
    }

    /// Bytes of what may have to be sent again.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if a message can be kept until its acknowledgement in so many bytes; the first always
    /// can.
    pub(super) fn has_room_for(&self, message: &Message, bytes_max: usize) -> bool {
        let bytes = self.bytes.saturating_sub(self.kept_back.1 as usize);
        bytes == 0 || bytes + message.memory_bytes() <= bytes_max
    }

    /// Notes that a packet was encoded whose session ends with its connection; returns its Packet
    /// Identifier.
    pub(super) fn begin_encoded(&mut self, sequence: u64, qos: QoS) -> u16 {
        let packet_id = packet_id(sequence);
        self.sent = self.sent.max(number_of(sequence));
        self.numbers = self.widened(sequence);
        self.entries.push_back(Entry {
            packet_id,
            sequence,
            state: State::Encoded(qos),
            sent: true,
            recovered: false,
        });
        self.skip_resending();
        packet_id
    }

    pub(super) fn begin(&mut self, delivery: Delivery) -> Outgoing {
        let sequence = delivery.sequence;
        let packet_id = packet_id(sequence);
        let number = number_of(sequence);
        let outgoing = Outgoing::Publish {
            delivery: delivery.clone(),
            packet_id,
            dup: number <= self.sent_before,
        };
        self.sent = self.sent.max(number);
        self.numbers = self.widened(sequence);
        self.bytes += delivery.message.memory_bytes();
        let entry = Entry {
            packet_id,
            sequence,
            state: State::Published(Box::new(delivery)),
            sent: false,
            recovered: false,
        };
        // After a restart those that are released may be here before what was sent before them.
        let is_later = |it: &Entry| it.recovered && number_of(it.sequence) > number;
        let before = self.entries.iter().rposition(|it| !is_later(it));
        self.entries.insert(before.map_or(0, |it| it + 1), entry);
        self.skip_resending();
        outgoing
    }

    /// Everything was sent on this connection.
    fn skip_resending(&mut self) {
        // No more than there are Packet Identifiers.
        self.resend_from = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
    }

    /// The next packet that has to be repeated on this connection.
    pub(super) fn resend(&mut self) -> Option<Outgoing> {
        let entry = loop {
            let next = self.resend_from as usize;
            if next >= self.places() {
                return None;
            }
            let entry = self.entries.get(next)?;
            self.resend_from += 1;
            if !matches!(entry.state, State::Encoded(_)) {
                break entry;
            }
        };
        Some(match &entry.state {
            State::Published(delivery) => Outgoing::Publish {
                delivery: (**delivery).clone(),
                packet_id: entry.packet_id,
                dup: entry.sent,
            },
            State::Released | State::Received(_) | State::Encoded(_) => {
                Outgoing::Release(entry.packet_id)
            }
        })
    }

    pub(super) fn resume(&mut self, receive_maximum: u16) {
        self.window = receive_maximum.max(1);
        self.kept_back = (0, 0);
        self.resend_from = 0;
        for entry in &mut self.entries {
            entry.sent = true;
        }
    }

    /// A PUBACK came.
    pub fn puback(&mut self, packet_id: u16) -> Acknowledged {
        self.remove(packet_id, |state| state.awaits(QoS::AtLeastOnce))
    }

    /// A PUBREC came. A refusal ends the delivery [MQTT-4.3.3-4].
    pub fn pubrec(&mut self, packet_id: u16, refused: bool) -> Acknowledged {
        if refused {
            return self.remove(packet_id, |state| state.awaits(QoS::ExactlyOnce));
        }
        let index = self.position(packet_id, |state| !state.awaits(QoS::AtLeastOnce));
        match index.and_then(|it| self.entries.get_mut(it)) {
            Some(entry) => {
                self.bytes -= entry.state.bytes();
                entry.state = State::Released;
                Acknowledged::Release(entry.sequence)
            }
            None => Acknowledged::Unknown,
        }
    }

    /// A PUBCOMP came.
    pub fn pubcomp(&mut self, packet_id: u16) -> Acknowledged {
        self.remove(packet_id, |state| {
            matches!(state, State::Released | State::Received(_))
        })
    }

    /// The delivery is over, whatever was awaited: it cannot be sent, or its receiver
    /// acknowledges in one step.
    pub fn abandon(&mut self, packet_id: u16) -> Acknowledged {
        self.remove(packet_id, |_| true)
    }

    /// Forgets everything; returns what was not acknowledged.
    pub(super) fn take(&mut self) -> Vec<Delivery> {
        self.bytes = 0;
        self.resend_from = 0;
        let entries = self.entries.drain(..);
        let deliveries = entries.filter_map(|entry| match entry.state {
            State::Published(delivery) => Some(*delivery),
            State::Encoded(_) | State::Released | State::Received(_) => None,
        });
        deliveries.collect()
    }

    fn position(&self, packet_id: u16, wanted: impl Fn(&State) -> bool) -> Option<usize> {
        let is_it = |it: &Entry| it.packet_id == packet_id && wanted(&it.state);
        let first = self.entries.front()?.packet_id;
        // As a rule identifiers follow each other without gaps.
        let steps = u32::from(packet_id) + u32::from(u16::MAX) - u32::from(first);
        let guess = (steps % u32::from(u16::MAX)) as usize;
        if self.entries.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        self.entries.iter().position(is_it)
    }

    fn remove(&mut self, packet_id: u16, wanted: impl Fn(&State) -> bool) -> Acknowledged {
        let Some(index) = self.position(packet_id, wanted) else {
            return Acknowledged::Unknown;
        };
        if index < self.resend_from as usize {
            self.resend_from -= 1;
        }
        match self.entries.remove(index) {
            Some(entry) => {
                self.bytes -= entry.state.bytes();
                Acknowledged::Done(entry.sequence)
            }
            None => Acknowledged::Unknown,
        }
    }
}

impl State {
    /// Bytes of the message, if it is kept.
    fn bytes(&self) -> usize {
        match self {
            Self::Published(delivery) | Self::Received(delivery) => delivery.message.memory_bytes(),
            Self::Encoded(_) | Self::Released => 0,
        }
    }

    /// True if the first answer to a PUBLISH of this QoS is awaited.
    fn awaits(&self, qos: QoS) -> bool {
        match self {
            Self::Published(delivery) => delivery.qos == qos,
            Self::Encoded(own) => *own == qos,
            Self::Released | Self::Received(_) => false,
        }
    }
}

/// 1 to 65,535, then from 1 again: zero is no Packet Identifier [MQTT-2.2.1-3].
fn packet_id(sequence: u64) -> u16 {
    let number = number_of(sequence);
    u16::try_from(number.saturating_sub(1) % u64::from(u16::MAX)).unwrap_or(0) + 1
}

impl Numbers {
    /// True if no two of them have the same Packet Identifier.
    const fn is_short(self) -> bool {
        self.last - self.first < u16::MAX as u64
    }
}
