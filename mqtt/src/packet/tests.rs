//! Byte tables: one line for each packet form, read and written back; malformed ones refused.

mod fields;
mod properties;
mod version_3_1;

use proptest::prelude::*;

use super::*;
use crate::ReasonCode;

const V3: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;
const SIZE_MAX: usize = 1 << 20;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn vectors(text: &str) -> Vec<(ProtocolVersion, &str, Vec<&str>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| {
        let mut columns = line.split(" | ");
        let version = match columns.next() {
            Some("3.1") => ProtocolVersion::V31,
            Some("3.1.1") => V3,
            Some("5") => V5,
            other => panic!("no version: {other:?}"),
        };
        (version, columns.next().expect("a name"), columns.collect())
    });
    rows.collect()
}

fn decode(input: &[u8], version: ProtocolVersion) -> Result<Packet<'_>, ProtocolViolation> {
    let (frame, len) = Frame::split(input, SIZE_MAX)?.expect("a whole packet");
    assert_eq!(len, input.len(), "the vector's length byte");
    Packet::decode(frame, version)
}

#[test]
fn well_formed_packets_survive_a_round_trip() {
    for (version, name, rest) in vectors(include_str!("../../vectors/well_formed.txt")) {
        let input = bytes(rest[0]);
        let packet = decode(&input, version).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut output = Vec::new();
        packet.encode(version, &mut output);
        assert_eq!(output, input, "{name}: {packet:?}");
    }
}

#[test]
fn malformed_packets_are_refused() {
    for (version, name, rest) in vectors(include_str!("../../vectors/malformed.txt")) {
        let input = bytes(rest[0]);
        let error = decode(&input, version).expect_err(name);
        assert_eq!(format!("{:?}", error.reason), rest[1], "{name}: {error}");
    }
}

#[test]
fn needless_bytes_of_a_length_are_malformed_in_mqtt_5_only() {
    let decode = |version| decode(&[0xC0, 0x80, 0x00], version).map_err(|it| it.reason);
    assert_eq!(decode(V3), Ok(Packet::Pingreq));
    assert_eq!(decode(ProtocolVersion::V31), Ok(Packet::Pingreq));
    assert_eq!(decode(V5), Err(ReasonCode::MalformedPacket));
}

#[test]
fn frames_are_cut_and_limited_by_the_header_alone() {
    assert_eq!(Frame::split(&[], 10), Ok(None));
    assert_eq!(Frame::split(&[0x30], 10), Ok(None));
    assert_eq!(Frame::split(&[0x30, 0x80], 10), Ok(None));
    assert_eq!(Frame::split(&[0x30, 5, 0], 10), Ok(None));
    let reason = |input: &[u8]| Frame::split(input, 10).expect_err("malformed").reason;
    assert_eq!(
        reason(&[0x30, 0x80, 0x80, 0x80, 0x80]),
        ReasonCode::MalformedPacket
    );
    assert_eq!(reason(&[0x00]), ReasonCode::MalformedPacket);
    assert_eq!(reason(&[0x30, 9]), ReasonCode::PacketTooLarge);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_accepted_packets_round_trip(
        input in prop::collection::vec(any::<u8>(), 0..80),
        v5 in any::<bool>(),
    ) {
        let version = if v5 { V5 } else { V3 };
        if let Ok(Some((frame, len))) = Frame::split(&input, SIZE_MAX)
            && let Ok(packet) = Packet::decode(frame, version)
        {
            let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
            let mut output = Vec::new();
            packet.encode(version, &mut output);
            let (frame, _) = Frame::split(&output, SIZE_MAX).unwrap().unwrap();
            let again = Packet::decode(frame, version).unwrap();
            prop_assert_eq!(packet, again);
            prop_assert!(output.len() <= len);
        }
    }

    #[test]
    fn mutated_packets_are_refused_or_round_trip(
        seed in any::<prop::sample::Index>(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let vectors = vectors(include_str!("../../vectors/well_formed.txt"));
        let (version, name, rest) = seed.get(&vectors);
        let mut input = bytes(rest[0]);
        for (at, value) in mutations {
            let index = at.index(input.len());
            input[index] = value;
        }
        if let Ok(Some((frame, _))) = Frame::split(&input, SIZE_MAX)
            && let Ok(packet) = Packet::decode(frame, *version)
        {
            let version = if let Packet::Connect(connect) = packet { connect.version } else { *version };
            let mut output = Vec::new();
            packet.encode(version, &mut output);
            prop_assert_eq!(decode(&output, version), Ok(packet), "{}", name);
        }
    }
}
