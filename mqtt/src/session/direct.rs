//! Packets that are encoded when they are put in: those for a client that is connected.
//!
//! They go before everything else, so they are taken in only while nothing else waits. What has
//! to be kept, because it may be sent again, and what is not plain is put in as a delivery.

use std::collections::VecDeque;

use super::{Amount, Session};
use crate::packet::{EncodedPacket, EncodedRun};
use crate::{ProtocolVersion, QoS};

/// Bytes that a buffer has room for when it is made.
const ROOM_BYTES: usize = 1 << 10;

/// What the client of the present connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectTerms {
    /// How its packets are encoded.
    pub version: ProtocolVersion,
    /// Bytes of its largest packet.
    pub packet_bytes_max: u32,
    /// The session ends with the connection, so nothing is ever sent again.
    pub is_transient: bool,
}

/// How much is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Packets, each of them a PUBLISH.
    pub packets: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Direct {
    terms: Option<DirectTerms>,
    /// May be sent at once.
    bytes: Vec<u8>,
    /// So many packets, with so many bytes of payloads.
    packets: u32,
    payload_bytes: u64,
    /// Waits for the window.
    held: Option<Box<Held>>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Bytes at the front that are not held any more.
    released: usize,
    packets: VecDeque<HeldPacket>,
}

#[derive(Clone, Copy, Debug)]
struct HeldPacket {
    length: usize,
    /// From its beginning.
    packet_id_at: usize,
    payload_bytes: usize,
    qos: QoS,
}

impl Held {
    /// The first of the bytes that are held.
    fn take(&mut self, count: usize) -> &[u8] {
        // What stays moves up once for as many bytes as it has.
        if self.released > self.bytes.len() / 2 {
            self.bytes.drain(..self.released);
            self.released = 0;
        }
        let start = self.released;
        self.released += count;
        &self.bytes[start..self.released]
    }
}

impl Direct {
    /// Makes room for more bytes: at first for several packets, because they come in numbers.
    fn make_room(&mut self, more: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(more.max(ROOM_BYTES));
        }
    }

    /// Bytes that may be sent at once.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing is encoded.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.holds_nothing()
    }

    /// True if nothing encoded waits for the window.
    pub(super) fn holds_nothing(&self) -> bool {
        self.held.as_ref().is_none_or(|it| it.packets.is_empty())
    }

    fn count(&mut self, packets: &[EncodedPacket]) {
        let payloads = packets.iter().map(|it| it.payload_bytes as u64);
        self.packets += u32::try_from(packets.len()).unwrap_or(u32::MAX);
        self.payload_bytes += payloads.sum::<u64>();
    }

    fn set_packet_id(&mut self, at: usize, packet_id: u16) {
        self.bytes[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
    }
}

impl Session {
    /// The client of the present connection takes packets that are encoded in advance. They are
    /// lost with this connection.
    pub fn encode_for(&mut self, terms: DirectTerms) {
        self.direct.terms = Some(terms);
    }

    /// The version in which packets are encoded for [`Session::put_encoded`], if it may take some.
    #[must_use]
    pub fn encoded_version(&self, qos: QoS) -> Option<ProtocolVersion> {
        let terms = self.direct.terms.as_ref()?;
        let is_open = if qos.is_acknowledged() {
            terms.is_transient && self.queue.has_empty_lanes()
        } else {
            self.live.is_empty()
        };
        is_open.then_some(terms.version)
    }

    /// Takes in the first packets of a run, as many as can be; returns how many. The others are to
    /// be put in as deliveries. [`Session::encoded_version`] was asked before.
    pub fn put_encoded(&mut self, run: &EncodedRun) -> usize {
        let Some(terms) = &self.direct.terms else {
            return 0;
        };
        let accepted = run.shorter_than(terms.packet_bytes_max as usize);
        let room = self.encoded_room();
        let packets = &run.packets()[..accepted];
        let fitting = packets.partition_point(|it| it.end <= room);
        if run.qos().is_acknowledged() {
            let begun = self.begin_encoded(run, fitting);
            return begun + self.hold(run, begun, accepted);
        }
        let bytes = run.slice(0, fitting);
        self.direct.make_room(bytes.len());
        self.direct.bytes.extend_from_slice(bytes);
        self.direct.count(&packets[..fitting]);
        fitting
    }

    /// Takes out what is encoded and may be sent now, and puts it behind what is in `out`.
    pub fn take_encoded(&mut self, out: &mut Vec<u8>) -> Encoded {
        self.release_held();
        if out.is_empty() {
            *out = std::mem::take(&mut self.direct.bytes);
        } else {
            out.append(&mut self.direct.bytes);
            self.direct.bytes = Vec::new();
        }
        Encoded {
            packets: std::mem::take(&mut self.direct.packets).into(),
            payload_bytes: std::mem::take(&mut self.direct.payload_bytes),
        }
    }

    /// The connection is over.
    pub(super) fn forget_direct(&mut self) {
        self.direct = Direct::default();
        self.queue.held = Amount::ZERO;
    }

    /// Bytes that may be encoded in advance.
    fn encoded_room(&self) -> usize {
        let bytes_max = self.queue.live_bytes_max();
        bytes_max.saturating_sub(self.direct.len())
    }

    /// Takes in what the window has room for, of the first `fitting` packets; returns how many.
    fn begin_encoded(&mut self, run: &EncodedRun, fitting: usize) -> usize {
        if !self.direct.holds_nothing() {
            return 0;
        }
        let base = self.direct.len();
        let bytes = run.slice(0, fitting);
        self.direct.make_room(bytes.len());
        self.direct.bytes.extend_from_slice(bytes);
        let mut begun = 0;
        for packet in &run.packets()[..fitting] {
            let sequence = self.queue.next_sequence();
            if !self.inflight.has_room(sequence) {
                break;
            }
            self.queue.pass(sequence);
            let packet_id = self.inflight.begin_encoded(sequence, run.qos());
            let at = base + packet.packet_id_at;
            self.direct.set_packet_id(at, packet_id);
            begun += 1;
        }
        self.direct.bytes.truncate(base + run.start(begun));
        self.direct.count(&run.packets()[..begun]);
        begun
    }

    /// Keeps packets from the one with index `from` on until the window has room, as many of those
    /// before `to` as can be; returns how many.
    fn hold(&mut self, run: &EncodedRun, from: usize, to: usize) -> usize {
        let mut held = 0;
        for index in from..to {
            let amount = Amount {
                messages: 1,
                bytes: run.slice(index, index + 1).len() as u64,
            };
            if !self.queue.may_hold(amount) {
                break;
            }
            self.queue.held = self.queue.held.plus(amount);
            let packet = run.packets()[index];
            let holder = self.direct.held.get_or_insert_default();
            holder.bytes.extend_from_slice(run.slice(index, index + 1));
            holder.packets.push_back(HeldPacket {
                length: packet.end - run.start(index),
                packet_id_at: packet.packet_id_at - run.start(index),
                payload_bytes: packet.payload_bytes,
                qos: run.qos(),
            });
            held += 1;
        }
        held
    }

    /// Lets packets go that were held, as far as the window has room.
    fn release_held(&mut self) {
        let Some(mut held) = self.direct.held.take() else {
            return;
        };
        while let Some(packet) = held.packets.front().copied() {
            let sequence = self.queue.next_sequence();
            if packet.length > self.encoded_room() && !self.direct.bytes.is_empty()
                || !self.inflight.has_room(sequence)
            {
                self.direct.held = Some(held);
                return;
            }
            held.packets.pop_front();
            self.queue.pass(sequence);
            let packet_id = self.inflight.begin_encoded(sequence, packet.qos);
            let base = self.direct.len();
            self.direct.make_room(packet.length);
            self.direct
                .bytes
                .extend_from_slice(held.take(packet.length));
            self.direct
                .set_packet_id(base + packet.packet_id_at, packet_id);
            self.direct.packets += 1;
            self.direct.payload_bytes += packet.payload_bytes as u64;
            self.queue.held = self.queue.held.minus(Amount {
                messages: 1,
                bytes: packet.length as u64,
            });
        }
    }
}
