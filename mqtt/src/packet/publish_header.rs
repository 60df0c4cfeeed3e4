//! The header of a PUBLISH of which not all has come.

use super::frame::Frame;
use super::publish::{Publish, PublishHeader};
use crate::{ProtocolVersion, ProtocolViolation};

impl<'a> PublishHeader<'a> {
    /// Reads it from the front of a PUBLISH of MQTT 3, where nothing but the payload follows it.
    /// Returns it with the bytes that the whole packet takes; none if more are needed, which are
    /// 65,544 at most.
    ///
    /// # Errors
    /// The rule that the packet breaks.
    pub fn begun(
        bytes: &'a [u8],
        version: ProtocolVersion,
    ) -> Result<Option<(Self, usize)>, ProtocolViolation> {
        let Some((frame, length)) = Frame::begun(bytes)? else {
            return Ok(None);
        };
        let is_whole = frame.packet().len() == length;
        if !is_whole && !is_complete(frame.body()) {
            return Ok(None);
        }
        let publish = Publish::decode(frame, version)?;
        Ok(Some((publish.header, length)))
    }
}

/// True if the topic has come and two bytes behind it, which are the Packet Identifier if there is
/// one.
fn is_complete(body: &[u8]) -> bool {
    body.first_chunk()
        .is_some_and(|it| body.len() >= 4 + usize::from(u16::from_be_bytes(*it)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProtocolVersion::V311;
    use crate::QoS;

    /// A PUBLISH that says that it takes 200,000 bytes behind its Fixed Header, of which so much has
    /// come.
    fn front(first: u8, body: &[u8]) -> Vec<u8> {
        [&[first, 0xC0, 0x9A, 0x0C], body].concat()
    }

    #[test]
    fn it_is_known_as_soon_as_it_has_come() {
        let bytes = front(0x3D, b"\0\x03a/b\0\x07payload");
        for count in 0..11 {
            let found = PublishHeader::begun(&bytes[..count], V311);
            assert_eq!(found, Ok(None), "{count}");
        }
        let expected = PublishHeader {
            dup: true,
            qos: QoS::ExactlyOnce,
            retain: true,
            topic: "a/b",
            packet_id: 7,
        };
        for count in 11..bytes.len() {
            let found = PublishHeader::begun(&bytes[..count], V311);
            assert_eq!(found, Ok(Some((expected, 200_004))), "{count}");
        }
        let bytes = front(0x30, b"\0\x03a/bxy");
        let (found, _) = PublishHeader::begun(&bytes, V311).unwrap().unwrap();
        assert_eq!((found.topic, found.packet_id), ("a/b", 0));
        // One that is nothing but its topic.
        let whole = [0x30, 5, 0, 3, b'a', b'/', b'b'];
        assert_eq!(PublishHeader::begun(&whole[..6], V311), Ok(None));
        let (_, length) = PublishHeader::begun(&whole, V311).unwrap().unwrap();
        assert_eq!(length, 7);
    }

    #[test]
    fn what_no_publish_may_have_is_found() {
        let bad: [(u8, &[u8]); 4] = [
            (0x36, b"\0\x01a\0\x01"),
            (0x32, b"\0\x01a\0\0"),
            (0x32, b"\0\x01#\0\x01"),
            (0x32, b"\0\x01\xFF\0\x01"),
        ];
        for (first, body) in bad {
            let bytes = front(first, body);
            let found = PublishHeader::begun(&bytes, V311);
            assert!(found.is_err(), "{first:x} {body:?}: {found:?}");
        }
        assert!(PublishHeader::begun(&[0x32, 4, 0, 3, b'a', b'b'], V311).is_err());
    }
}
