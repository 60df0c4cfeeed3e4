//! PUBLISH packets that are like the one before them, which is how publishers mostly send.

use super::forwarded::PublishProperties;
use super::frame::{DUP, Frame, PacketType};
use super::primitive::Reader;
use super::property::{Properties, PropertyOwner};
use crate::{ProtocolVersion, QoS};

/// What is new in a PUBLISH to the same topic in the same QoS, of a message that is not retained
/// and has no property that is meant for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor<'a> {
    /// The whole packet: what a receiver gets, but for its flags and the Packet Identifier.
    pub packet: &'a [u8],
    /// Where the Packet Identifier is in it, or would be.
    pub packet_id_at: usize,
    /// Zero for QoS 0, which has none.
    pub packet_id: u16,
    /// Encoded.
    pub properties: &'a [u8],
    /// The Application Message.
    pub payload: &'a [u8],
}

impl<'a> Successor<'a> {
    /// The topic that a PUBLISH states, unchecked.
    #[inline]
    #[must_use]
    pub fn topic_of(frame: Frame<'a>) -> Option<&'a [u8]> {
        let (length, rest) = frame.body().split_first_chunk()?;
        rest.get(..u16::from_be_bytes(*length).into())
    }

    /// Decodes a packet that is like one before it, which had these encoded properties that
    /// travel, at little cost. Its topic, see [`Successor::topic_of`], is a Topic Name that is
    /// known. None if it differs, or if anything is wrong with it, which decoding it as a
    /// [`super::Publish`] then tells.
    #[must_use]
    pub fn decode(
        frame: Frame<'a>,
        version: ProtocolVersion,
        topic: &[u8],
        qos: QoS,
        before: &[u8],
        user_properties_max: usize,
    ) -> Option<Self> {
        let flags = frame.flags();
        let is_like = frame.packet_type() == PacketType::Publish
            && !frame.is_padded()
            && (flags & !DUP) == (qos as u8) << 1
            && (flags & DUP == 0 || qos.is_acknowledged());
        if !is_like {
            return None;
        }
        let mut rest = frame.body().get(size_of::<u16>() + topic.len()..)?;
        let packet_id_at = frame.packet().len() - rest.len();
        let mut packet_id = 0;
        if qos.is_acknowledged() {
            let (id, behind) = rest.split_first_chunk()?;
            packet_id = u16::from_be_bytes(*id);
            rest = behind;
            if packet_id == 0 {
                return None;
            }
        }
        let mut properties: &[u8] = &[];
        if version.is_v5() {
            (properties, rest) = match rest.split_first()? {
                (0, rest) => (properties, rest),
                _ => read_properties(rest, before, user_properties_max)?,
            };
        }
        Some(Self {
            packet: frame.packet(),
            packet_id_at,
            packet_id,
            properties,
            payload: rest,
        })
    }
}

/// The properties at the front and what is behind them, if all of them travel.
fn read_properties<'a>(
    bytes: &'a [u8],
    before: &[u8],
    user_properties_max: usize,
) -> Option<(&'a [u8], &'a [u8])> {
    let mut reader = Reader::new(bytes);
    // What was checked once need not be checked again.
    let length = reader.variable_byte_integer().ok()?;
    let raw = reader.take(length as usize).ok()?;
    if raw == before {
        return Some((raw, reader.rest()));
    }
    let mut reader = Reader::new(bytes);
    let block = Properties::read(&mut reader, PropertyOwner::Publish).ok()?;
    let found = PublishProperties::of(block);
    let travel = found
        .forwarded
        .filter(|it| it.len() == block.as_bytes().len());
    let travel = travel.filter(|_| found.user_properties <= user_properties_max)?;
    Some((travel, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::super::{ForwardedProperties, Packet, Property, Publish, PublishHeader};
    use super::*;

    fn decode(bytes: &[u8], version: ProtocolVersion) -> Option<Successor<'_>> {
        let (frame, _) = Frame::split(bytes, 1_000).unwrap().unwrap();
        let topic = Successor::topic_of(frame).filter(|it| it == b"a/b")?;
        let plain = Successor::decode(frame, version, topic, QoS::AtLeastOnce, b"", 2);
        // Whatever came before makes no difference.
        if let Some(found) = plain {
            let before = found.properties;
            let again = Successor::decode(frame, version, topic, QoS::AtLeastOnce, before, 2);
            assert_eq!(again, plain);
        }
        plain
    }

    const HEADER: PublishHeader<'_> = PublishHeader {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "a/b",
        packet_id: 7,
    };

    /// Compares with what decoding says.
    fn check(publish: &Publish<'_>, version: ProtocolVersion, is_like: bool) {
        let mut bytes = Vec::new();
        Packet::Publish(*publish).encode(version, &mut bytes);
        let found = decode(&bytes, version);
        assert_eq!(found.is_some(), is_like, "{publish:?} {version:?}");
        if let Some(found) = found {
            assert_eq!(found.packet, bytes);
            assert_eq!(bytes[found.packet_id_at..][..2], [0, 7]);
            assert_eq!((found.packet_id, found.payload), (7, publish.payload));
            let kept = ForwardedProperties::copied(found.properties);
            let (frame, _) = Frame::split(&bytes, 1_000).unwrap().unwrap();
            let expected = Publish::decode(frame, version).unwrap().properties;
            assert_eq!(kept, expected.forwarded());
        }
    }

    #[test]
    fn it_is_what_decoding_says_or_nothing() {
        let user = Property::UserProperty("name", "value");
        let blocks: [(&[Property<'_>], bool); 6] = [
            (&[], true),
            (&[user, Property::ContentType("text")], true),
            (&[user, user, user], false),
            (&[Property::TopicAlias(1)], false),
            (&[user, Property::MessageExpiryInterval(1)], false),
            (&[Property::SubscriptionIdentifier(1)], false),
        ];
        let topic = |topic| PublishHeader { topic, ..HEADER };
        let qos = |qos, packet_id| PublishHeader {
            qos,
            packet_id,
            ..HEADER
        };
        let [mut repeated, mut retained] = [HEADER; 2];
        repeated.dup = true;
        retained.retain = true;
        let headers = [
            (HEADER, true),
            (repeated, true),
            (retained, false),
            (topic("a/c"), false),
            (topic("a/bc"), false),
            (topic("a"), false),
            (qos(QoS::ExactlyOnce, 7), false),
            (qos(QoS::AtMostOnce, 0), false),
        ];
        for (properties, block_is_like) in blocks {
            let mut raw = Vec::new();
            properties.iter().for_each(|it| it.encode(&mut raw));
            for (header, header_is_like) in headers {
                let publish = Publish {
                    header,
                    properties: Properties::trusted(&raw),
                    payload: b"payload",
                };
                check(&publish, ProtocolVersion::V311, header_is_like);
                let is_like = header_is_like && block_is_like;
                check(&publish, ProtocolVersion::V5, is_like);
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_malformed_is_left_to_decoding() {
        let mut bytes = Vec::new();
        let raw = [0x26, 0, 1, b'n', 0, 1, b'v'];
        let publish = Publish {
            header: PublishHeader {
                dup: false,
                qos: QoS::AtLeastOnce,
                retain: false,
                topic: "a/b",
                packet_id: 1,
            },
            properties: Properties::trusted(&raw),
            payload: b"",
        };
        Packet::Publish(publish).encode(ProtocolVersion::V5, &mut bytes);
        assert!(decode(&bytes, ProtocolVersion::V5).is_some());
        for length in 2..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            cut[1] = u8::try_from(length - 2).unwrap();
            assert_eq!(decode(&cut, ProtocolVersion::V5), None, "{length}");
        }
        let mut zero = bytes.clone();
        zero[7..9].fill(0);
        assert_eq!(decode(&zero, ProtocolVersion::V5), None);
        let mut wrong = bytes;
        *wrong.last_mut().unwrap() = 0xFF;
        assert_eq!(decode(&wrong, ProtocolVersion::V5), None);
    }
}
