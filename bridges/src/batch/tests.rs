//! What is packed comes out as it was, and what hostile peers send stays within the limits.

use mqtt::packet::{ForwardedProperties, Property, Publish, PublishHeader, encode_publish};
use mqtt::{ProtocolVersion, QoS};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PACKET_BYTES_MAX: usize = 1 << 20;

fn pack(packets: &[u8]) -> Vec<u8> {
    Packer::new(9).unwrap().pack(packets).unwrap()
}

/// Appends a message; the number says which.
fn put(out: &mut Vec<u8>, topic: &str, qos: QoS, number: u32, payload: &[u8]) {
    let header = PublishHeader {
        dup: false,
        qos,
        retain: number.is_multiple_of(2),
        topic,
        packet_id: PACKET_ID,
    };
    let mut own = Vec::new();
    Property::MessageExpiryInterval(number).encode(&mut own);
    let text = number.to_string();
    let forwarded = ForwardedProperties::from_properties([
        Property::ContentType("text"),
        Property::ResponseTopic("answer"),
        Property::CorrelationData(text.as_bytes()),
        Property::UserProperty("x-origin", &text),
    ]);
    let properties = [own.as_slice(), forwarded.as_bytes()];
    encode_publish(out, ProtocolVersion::V5, &header, &properties, payload);
}

/// Everything in a batch, encoded again.
fn taken_out(payload: &[u8], packet_bytes_max: usize) -> Result<Vec<u8>, ProtocolViolation> {
    let unpacked = Unpacked::new(payload)?;
    let mut out = Vec::new();
    for frame in unpacked.frames(packet_bytes_max) {
        let publish = Publish::decode(frame?, ProtocolVersion::V5)?;
        mqtt::packet::Packet::Publish(publish).encode(ProtocolVersion::V5, &mut out);
    }
    Ok(out)
}

fn refusal(payload: &[u8]) -> &'static str {
    taken_out(payload, PACKET_BYTES_MAX).unwrap_err().detail
}

#[test]
fn what_is_no_batch_is_refused_with_a_reason() {
    let mut packets = Vec::new();
    put(&mut packets, "a/b", QoS::AtLeastOnce, 1, b"x");
    let payload = pack(&packets);
    let not_one = "the payload of a batch is not one zstd frame";
    let table = [
        (Vec::new(), not_one),
        (b"{\"temperature\":21}".to_vec(), not_one),
        (payload[..payload.len() - 1].to_vec(), not_one),
        ([payload.as_slice(), &[0]].concat(), not_one),
        ([payload.as_slice(), &payload].concat(), not_one),
        (pack(&[]), "a batch is empty"),
        (
            pack(&packets[..packets.len() - 1]),
            "a batch ends inside a packet",
        ),
    ];
    for (payload, expected) in table {
        assert_eq!(refusal(&payload), expected, "{payload:?}");
    }
    // A skippable frame, which is one and holds nothing.
    let nothing = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3];
    assert!(Unpacked::new(&nothing).is_err());
}

#[test]
fn a_bomb_does_not_go_off() {
    let too_large = "a batch is larger than 256 KiB when it is decompressed";
    assert!(Unpacked::new(&pack(&vec![0; BYTES_MAX])).is_ok());
    for bytes in [BYTES_MAX + 1, 64 << 20] {
        let bomb = pack(&vec![0; bytes]);
        assert!(bomb.len() < 16 << 10, "{}", bomb.len());
        assert_eq!(refusal(&bomb), too_large);
    }
    // The same without its size.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    io::copy(&mut io::Read::take(io::repeat(0), 64 << 20), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    assert_eq!(refusal(&bomb), "a batch does not state its size");
    // The same with a false one, in the header's last four bytes.
    let mut bomb = pack(&vec![0; 64 << 20]);
    assert_eq!(bomb[4] >> 6, 2, "the size takes four bytes");
    let at = if bomb[4] & 0x20 == 0 { 6 } else { 5 };
    bomb[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    assert_eq!(refusal(&bomb), "a batch cannot be decompressed");
}

#[test]
fn a_batch_has_so_many_messages_and_no_more() {
    let mut packets = Vec::new();
    for _ in 0..MESSAGES_MAX {
        packets.extend([0x30, 4, 0, 1, b't', 0]);
    }
    assert_eq!(
        taken_out(&pack(&packets), PACKET_BYTES_MAX),
        Ok(packets.clone())
    );
    packets.extend([0x30, 4, 0, 1, b't', 0]);
    let expected = "a batch has more than 4,096 messages";
    assert_eq!(refusal(&pack(&packets)), expected);
    // Nothing follows.
    let unpacked = Unpacked::new(&pack(&packets)).unwrap();
    assert_eq!(unpacked.frames(PACKET_BYTES_MAX).count(), MESSAGES_MAX + 1);
}

#[test]
fn each_packet_keeps_to_the_limit_of_packets() {
    let mut packets = Vec::new();
    put(&mut packets, "t", QoS::AtMostOnce, 1, &[7; 1_000]);
    let payload = pack(&packets);
    assert!(taken_out(&payload, packets.len()).is_ok());
    let error = taken_out(&payload, packets.len() - 1).unwrap_err();
    assert_eq!(error.reason, ReasonCode::PacketTooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn messages_come_out_as_they_were(
        messages in vec(("[a-z]{1,9}(/[a-z]{0,9}){0,3}", any::<bool>(), any::<u32>(), vec(any::<u8>(), 0..300)), 1..100),
        level in 1..=19,
    ) {
        let mut packets = Vec::new();
        for (topic, is_kept, number, payload) in &messages {
            let qos = if *is_kept { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            put(&mut packets, topic, qos, *number, payload);
        }
        let payload = Packer::new(level).unwrap().pack(&packets).unwrap();
        prop_assert!(payload.len() <= Packer::bytes_max(packets.len()));
        prop_assert_eq!(taken_out(&payload, PACKET_BYTES_MAX), Ok(packets));
    }

    #[test]
    fn any_bytes_are_a_batch_or_refused(bytes in vec(any::<u8>(), 0..2_000)) {
        // As they are, as a frame of one block that is stored, and as packets.
        taken_out(&bytes, PACKET_BYTES_MAX).ok();
        let length = u32::try_from(bytes.len()).unwrap();
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0xA0];
        frame.extend(length.to_le_bytes());
        frame.extend(&(length << 3 | 1).to_le_bytes()[..3]);
        frame.extend(&bytes);
        if !bytes.is_empty() {
            prop_assert_eq!(Unpacked::new(&frame), Ok(Unpacked(bytes.clone())));
        }
        taken_out(&pack(&bytes), PACKET_BYTES_MAX).ok();
    }

    #[test]
    fn a_damaged_batch_is_within_the_limits(
        count in 1..60_u32,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut packets = Vec::new();
        for number in 0..count {
            put(&mut packets, "plant/line/7", QoS::AtLeastOnce, number, b"{\"temperature\":21.5}");
        }
        let mut payload = pack(&packets);
        for (place, byte) in damage {
            let place = place.index(payload.len());
            payload[place] = byte;
        }
        if let Ok(unpacked) = Unpacked::new(&payload) {
            prop_assert!(unpacked.0.len() <= BYTES_MAX);
            prop_assert!(unpacked.frames(PACKET_BYTES_MAX).count() <= MESSAGES_MAX + 1);
        }
    }
}
