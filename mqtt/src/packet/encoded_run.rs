//! Several PUBLISH packets, encoded once for everybody who receives them alike.

use super::frame::DUP;
use super::property::Property;
use super::publish::{PublishHeader, encode_publish};
use crate::{ProtocolVersion, QoS};

/// Bytes of an encoding buffer that is kept for the next run.
const KEEP_BYTES: usize = 256 << 10;

/// Packets to one topic in one QoS, in their order. Receivers fill in their own Packet
/// Identifiers.
#[derive(Clone, Debug, Default)]
pub struct EncodedRun {
    bytes: Vec<u8>,
    packets: Vec<EncodedPacket>,
    qos: QoS,
}

/// Where one packet of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedPacket {
    /// Where it ends; it begins where the one before it ends.
    pub end: usize,
    /// Where its Packet Identifier is, if it has one.
    pub packet_id_at: usize,
    /// Bytes of its payload.
    pub payload_bytes: usize,
}

impl EncodedRun {
    /// Forgets everything but, within bounds, its memory.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
    }

    /// True if nothing is encoded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Begins a run of packets in this QoS.
    pub fn begin(&mut self, qos: QoS) {
        self.clear();
        self.qos = qos;
    }

    /// Appends a packet: a message with its encoded properties that travel, as this version of
    /// MQTT has it, with the Subscription Identifiers of its receiver.
    pub fn push(
        &mut self,
        version: ProtocolVersion,
        topic: &str,
        subscription_ids: &[u32],
        properties: &[u8],
        payload: &[u8],
    ) {
        let header = PublishHeader {
            dup: false,
            qos: self.qos,
            retain: false,
            topic,
            packet_id: 0,
        };
        let mut own = Vec::new();
        for &identifier in subscription_ids {
            Property::SubscriptionIdentifier(identifier).encode(&mut own);
        }
        let bytes = &mut self.bytes;
        let packet_id_at = encode_publish(bytes, version, &header, &[&own, properties], payload);
        self.packets.push(EncodedPacket {
            end: bytes.len(),
            packet_id_at,
            payload_bytes: payload.len(),
        });
    }

    /// Appends a copy of a packet that came in the same encoding: to the same topic, in the same
    /// QoS, with nothing in it that is not for its receivers.
    pub fn push_copy(&mut self, packet: &[u8], packet_id_at: usize, payload_bytes: usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        self.bytes[start] &= !DUP;
        self.packets.push(EncodedPacket {
            end: self.bytes.len(),
            packet_id_at: start + packet_id_at,
            payload_bytes,
        });
    }

    /// Where the packet with this index begins; the end, behind the last.
    #[must_use]
    pub fn start(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .and_then(|before| self.packets.get(before))
            .map_or(0, |it| it.end)
    }

    /// The packets from one index to below another, one behind the other.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    /// How many packets come before the first that has more bytes than these.
    #[must_use]
    pub fn shorter_than(&self, packet_bytes_max: usize) -> usize {
        if self.bytes.len() <= packet_bytes_max {
            return self.packets.len();
        }
        let is_longer = |index: usize| self.slice(index, index + 1).len() > packet_bytes_max;
        let first = (0..self.packets.len()).find(|&index| is_longer(index));
        first.unwrap_or(self.packets.len())
    }

    /// Where they are.
    #[must_use]
    pub fn packets(&self) -> &[EncodedPacket] {
        &self.packets
    }

    /// Their QoS.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }
}
