//! Control packets as bytes, read no further than the load needs.

use std::io;

/// Bytes with which a payload begins: the number of its publisher (four), its own (four), and when
/// it was sent, in nanoseconds (eight).
pub(crate) const MARK_BYTES: usize = 16;
/// What an error shows of a packet.
const SHOWN_BYTES: usize = 40;

/// A whole control packet.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The first byte: type and flags.
    pub(crate) head: u8,
    /// What follows the length.
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first one, and how many bytes it has altogether.
    pub(crate) fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let head = *bytes.first()?;
        let mut length = 0;
        for place in 1..=4 {
            let byte = *bytes.get(place)?;
            length |= usize::from(byte & 0x7f) << (7 * (place - 1));
            if byte < 0x80 {
                let end = place + 1 + length;
                let body = bytes.get(place + 1..end)?;
                return Some((Self { head, body }, end));
            }
        }
        None
    }

    /// The type of the packet: 3 for PUBLISH.
    pub(crate) fn kind(self) -> u8 {
        self.head >> 4
    }

    /// The Packet Identifier of a PUBLISH with QoS 1 or 2.
    pub(crate) fn publish_identifier(self) -> Option<[u8; 2]> {
        let topic = usize::from(self.number(0)?);
        Some(self.number(2 + topic)?.to_be_bytes())
    }

    /// The Packet Identifier of an acknowledgement; none if that is a refusal.
    pub(crate) fn acknowledged(self) -> Option<[u8; 2]> {
        let reason = self.body.get(2).copied().unwrap_or(0);
        let identifier = self.number(0)?;
        (reason < 0x80).then(|| identifier.to_be_bytes())
    }

    pub(crate) fn number(self, at: usize) -> Option<u16> {
        let bytes = self.body.get(at..at + 2)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    }
}

/// Takes all whole packets; returns where they end.
pub(crate) fn take(
    bytes: &[u8],
    mut each: impl FnMut(Frame<'_>) -> io::Result<()>,
) -> io::Result<usize> {
    let mut end = 0;
    while let Some((frame, length)) = Frame::first(&bytes[end..]) {
        each(frame)?;
        end += length;
    }
    Ok(end)
}

/// That a packet is not what it should be.
pub(crate) fn unexpected(frame: Frame<'_>) -> io::Error {
    let Frame { head, body } = frame;
    let start = body.get(..body.len().min(SHOWN_BYTES)).unwrap_or_default();
    io::Error::other(format!("unexpected packet: {head:#x} {start:?}"))
}
