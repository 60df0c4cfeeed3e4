//! Frames and packets of every version: whatever is accepted means the same when it is written
//! and read again.
//!
//! The first byte of the input chooses the version, the rest is a stream of packets.

use mqtt::packet::{Connect, ForwardedProperties, Frame, Packet, Properties};
use mqtt::{ProtocolVersion, ProtocolViolation, TopicName};

const PACKET_BYTES_MAX: usize = 1 << 20;

pub(crate) fn run(data: &[u8]) {
    let Some((&level, mut stream)) = data.split_first() else {
        return;
    };
    let version = match level {
        3 => ProtocolVersion::V31,
        4 => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    };
    check_split(stream);
    while let Ok(Some((frame, len))) = Frame::split(stream, PACKET_BYTES_MAX) {
        assert!((2..=stream.len()).contains(&len));
        check_packet(frame, len, version);
        stream = &stream[len..];
    }
}

/// The outcome for the front of a stream does not depend on how much of it has come.
fn check_split(stream: &[u8]) {
    let whole = Frame::split(stream, PACKET_BYTES_MAX);
    let fronts = (0..stream.len().min(8)).chain([stream.len().saturating_sub(1)]);
    for front in fronts.map(|len| &stream[..len]) {
        match Frame::split(front, PACKET_BYTES_MAX) {
            Ok(None) => {}
            outcome => assert_eq!(outcome, whole, "after {} bytes", front.len()),
        }
    }
    let Ok(Some((frame, len))) = whole else {
        return;
    };
    assert_eq!(Frame::split(&stream[..len], len), Ok(Some((frame, len))));
    assert_eq!(Frame::split(&stream[..len - 1], len), Ok(None));
    let too_large = Frame::split(stream, len - 1).map_err(|error| error.reason);
    assert_eq!(too_large, Err(mqtt::ReasonCode::PacketTooLarge));
}

fn check_packet(frame: Frame<'_>, len: usize, version: ProtocolVersion) {
    let packet = match Packet::decode(frame, version) {
        Ok(packet) => packet,
        Err(error) => return check_refusal(&error),
    };
    let version = match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded);
    // DISCONNECT and AUTH may come without the length of their properties.
    assert!(encoded.len() <= len + 1, "{packet:?} grows");
    let (frame, len) = Frame::split(&encoded, PACKET_BYTES_MAX)
        .expect("a frame")
        .expect("a whole frame");
    assert_eq!(len, encoded.len(), "one packet");
    assert_eq!(Packet::decode(frame, version), Ok(packet));
    let mut again = Vec::new();
    packet.encode(version, &mut again);
    assert_eq!(again, encoded);
    check_contents(frame, &packet);
}

/// A refusal can be told to the peer.
fn check_refusal(error: &ProtocolViolation) {
    assert!(error.reason.is_error());
    assert!(!error.detail.is_empty());
}

/// What a packet promises about its parts holds.
fn check_contents(frame: Frame<'_>, packet: &Packet<'_>) {
    match packet {
        Packet::Connect(connect) => {
            assert_eq!(Connect::stated_version(frame), Some(connect.version));
            check_properties(connect.properties);
            if let Some(will) = connect.will {
                assert_eq!(TopicName::check(will.topic), Ok(()));
                check_properties(will.properties);
            }
        }
        Packet::Publish(publish) => {
            let header = publish.header;
            assert_eq!(header.packet_id > 0, header.qos.is_acknowledged());
            assert!(!header.dup || header.qos.is_acknowledged());
            assert!(header.topic.is_empty() || TopicName::check(header.topic).is_ok());
            check_properties(publish.properties);
        }
        Packet::Ack(ack) => assert!(ack.packet_id > 0),
        Packet::Subscribe(subscribe) => {
            assert!(subscribe.packet_id > 0);
            assert!(subscribe.filters().count() > 0);
            assert_ne!(subscribe.identifier(), Some(0));
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert!(unsubscribe.packet_id > 0);
            assert!(unsubscribe.filters().count() > 0);
        }
        Packet::Connack(_)
        | Packet::Suback(_)
        | Packet::Unsuback(_)
        | Packet::Pingreq
        | Packet::Pingresp
        | Packet::Disconnect(_)
        | Packet::Auth(_) => {}
    }
}

/// The properties that travel with a message come back from a store as they went in.
fn check_properties(properties: Properties<'_>) {
    let forwarded = properties.forwarded();
    let stored = forwarded.as_bytes().clone();
    assert_eq!(
        ForwardedProperties::from_bytes(stored),
        Ok(forwarded.clone())
    );
    assert_eq!(
        ForwardedProperties::from_properties(properties.iter()),
        forwarded
    );
    assert!(forwarded.iter().count() <= properties.iter().count());
}
