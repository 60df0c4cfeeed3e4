//! Many messages in one PUBLISH, compressed, between two Tidegates: pure.
//!
//! The payload is one zstd frame (RFC 8878) of MQTT 5 PUBLISH packets, one behind the other. They
//! are as they would be by themselves, but for three things: their QoS is 0 or 1, those of QoS 1
//! have Packet Identifier 1, which stands for nothing, and none has a Topic Alias. The PUBLISH
//! around them has QoS 1, or 0 if all of them have it. Its PUBACK answers all of those of QoS 1; which
//! it refuses is said in [`Refusals`].
//!
//! A bridge asks for it with the User Property [`OFFER`] in CONNECT, and may do it if CONNACK has
//! that too.

mod refusals;

pub use refusals::{REFUSALS_MAX, Refusals};

use std::io;

use mqtt::packet::Frame;
use mqtt::{ProtocolViolation, ReasonCode};

/// The User Property of CONNECT and CONNACK.
pub const OFFER: (&str, &str) = ("x-batch", "zstd");
/// The topic of all batches. Nobody else can publish there, and what is published there is not
/// routed.
pub const TOPIC: &str = "$tidegate/batch";
/// Bytes of the packets in a batch, decompressed; more end the connection with 0x97. What unpacks
/// them takes no more memory than this and 160 KiB.
pub const BYTES_MAX: usize = 256 << 10;
/// Messages in a batch; more end the connection with 0x97.
pub const MESSAGES_MAX: usize = 4_096;
/// The Packet Identifier of packets inside.
pub const PACKET_ID: u16 = 1;

/// Compresses batches, one after the other.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    /// One of this level, 1 (fast) to 19 (small).
    ///
    /// # Errors
    /// There is no such level.
    pub fn new(level: i32) -> io::Result<Self> {
        zstd::bulk::Compressor::new(level).map(Self)
    }

    /// The payload with these packets.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn pack(&mut self, packets: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(packets)
    }

    /// Bytes that the payload with so many bytes of packets has at most.
    #[must_use]
    pub const fn bytes_max(packets: usize) -> usize {
        // As `ZSTD_COMPRESSBOUND` has it, for what is shorter than 128 KiB too.
        packets + packets / 256 + 64
    }
}

/// The packets of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked(Vec<u8>);

impl Unpacked {
    /// Decompresses a payload.
    ///
    /// # Errors
    /// It is no batch, it does not state its size, or it is larger than [`BYTES_MAX`]: its sender's connection is closed.
    pub fn new(payload: &[u8]) -> Result<Self, ProtocolViolation> {
        let whole = zstd::zstd_safe::find_frame_compressed_size(payload);
        if whole != Ok(payload.len()) {
            let detail = "the payload of a batch is not one zstd frame";
            return Err(ProtocolViolation::malformed(detail));
        }
        let Some(bytes) = zstd::bulk::Decompressor::upper_bound(payload) else {
            let detail = "a batch does not state its size";
            return Err(ProtocolViolation::malformed(detail));
        };
        if bytes > BYTES_MAX {
            let detail = "a batch is larger than 256 KiB when it is decompressed";
            return Err(ProtocolViolation::new(ReasonCode::QuotaExceeded, detail));
        }
        let packets = zstd::bulk::decompress(payload, BYTES_MAX);
        let packets = packets.map_err(|_| {
            let detail = "a batch cannot be decompressed";
            ProtocolViolation::malformed(detail)
        })?;
        if packets.is_empty() {
            return Err(ProtocolViolation::malformed("a batch is empty"));
        }
        Ok(Self(packets))
    }

    /// The packets in their order, each of at most so many bytes. Nothing follows an error.
    pub fn frames(
        &self,
        packet_bytes_max: usize,
    ) -> impl Iterator<Item = Result<Frame<'_>, ProtocolViolation>> {
        let (mut rest, mut count) = (self.0.as_slice(), 0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            count += 1;
            let frame = next(&mut rest, count, packet_bytes_max);
            if frame.is_err() {
                rest = &[];
            }
            Some(frame)
        })
    }
}

fn next<'a>(
    rest: &mut &'a [u8],
    count: usize,
    packet_bytes_max: usize,
) -> Result<Frame<'a>, ProtocolViolation> {
    if count > MESSAGES_MAX {
        let detail = "a batch has more than 4,096 messages";
        return Err(ProtocolViolation::new(ReasonCode::QuotaExceeded, detail));
    }
    let Some((frame, length)) = Frame::split(rest, packet_bytes_max)? else {
        let detail = "a batch ends inside a packet";
        return Err(ProtocolViolation::malformed(detail));
    };
    *rest = rest.get(length..).unwrap_or_default();
    Ok(frame)
}

#[cfg(test)]
mod tests;
