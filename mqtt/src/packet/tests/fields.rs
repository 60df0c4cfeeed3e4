//! Fields of packets at their places, and the codes that each packet may have.

use super::*;
use crate::QoS;
use crate::packet::primitive::{Reader, put_variable_byte_integer, variable_byte_integer_len};

// Conforms: 5.0 [MQTT-3.1.3-1] [MQTT-3.1.3-3]; 3.1.1 [MQTT-3.1.3-1] [MQTT-3.1.3-3]
#[test]
fn the_payload_of_connect_is_read_in_its_order() {
    let versions = [
        (
            V3,
            "10 1e 0004 4d515454 04 f6 003c 0002 6964 0002 7774 0002 776d 0002 756e 0002 7077",
        ),
        (
            V5,
            "10 20 0004 4d515454 05 f6 003c 00 0002 6964 00 0002 7774 0002 776d 0002 756e 0002 7077",
        ),
    ];
    for (version, hex) in versions {
        let input = bytes(hex);
        let Ok(Packet::Connect(connect)) = decode(&input, version) else {
            panic!("{hex}");
        };
        assert_eq!((connect.version, connect.client_id), (version, "id"));
        assert_eq!((connect.clean_start, connect.keep_alive), (true, 60));
        let will = connect.will.expect("a will");
        assert_eq!((will.topic, will.payload), ("wt", &b"wm"[..]));
        assert_eq!((will.qos, will.retain), (QoS::ExactlyOnce, true));
        assert_eq!(connect.user_name, Some("un"));
        assert_eq!(connect.password, Some(&b"pw"[..]));
    }
}

// Conforms: 5.0 [MQTT-3.3.2-1]; 3.1.1 [MQTT-3.3.2-1]
#[test]
fn the_topic_of_publish_is_its_first_field() {
    for (version, hex) in [
        (V3, "34 08 0003 612f62 0007 78"),
        (V5, "34 09 0003 612f62 0007 00 78"),
    ] {
        let input = bytes(hex);
        let Ok(Packet::Publish(publish)) = decode(&input, version) else {
            panic!("{hex}");
        };
        assert_eq!((publish.header.topic, publish.header.packet_id), ("a/b", 7));
        assert_eq!(publish.payload, b"x");
    }
}

// Conforms: 5.0 [MQTT-2.2.1-2]; 3.1.1 [MQTT-2.3.1-5]
#[test]
fn a_qos_0_publish_has_no_packet_identifier() {
    for (version, head) in [(V3, "30 06 0001 61"), (V5, "30 07 0001 61 00")] {
        let input = bytes(&format!("{head} 0007 78"));
        let Ok(Packet::Publish(mut publish)) = decode(&input, version) else {
            panic!("{head}");
        };
        assert_eq!(
            (publish.header.packet_id, publish.payload),
            (0, &b"\0\x07x"[..])
        );
        // Whatever the caller has put there.
        publish.header.packet_id = 9;
        let mut output = Vec::new();
        Packet::Publish(publish).encode(version, &mut output);
        assert_eq!(output, input);
    }
}

// Conforms: 5.0 [MQTT-3.2.2-1]
#[test]
fn connack_has_no_flag_but_session_present() {
    for version in [V3, V5] {
        for session_present in [false, true] {
            let connack = Connack {
                session_present,
                reason: ReasonCode::Success,
                properties: Properties::default(),
            };
            let mut output = Vec::new();
            Packet::Connack(connack).encode(version, &mut output);
            assert_eq!(output[2], u8::from(session_present));
        }
        for flags in 2..=u8::MAX {
            let input = if version.is_v5() {
                vec![0x20, 3, flags, 0, 0]
            } else {
                vec![0x20, 2, flags, 0]
            };
            assert!(decode(&input, version).is_err(), "{flags:#x}");
        }
    }
}

// Conforms: 5.0 [MQTT-1.5.5-1]
#[test]
fn a_variable_byte_integer_takes_as_few_bytes_as_it_can() {
    let table = [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ];
    for (value, hex) in table {
        let mut output = Vec::new();
        put_variable_byte_integer(&mut output, value);
        assert_eq!(output, bytes(hex), "{value}");
        assert_eq!(variable_byte_integer_len(value), output.len(), "{value}");
        assert_eq!(Reader::new(&output).variable_byte_integer(), Ok(value));
        // With a byte more it is malformed, or goes on behind its four bytes.
        let last = output.len() - 1;
        output[last] |= 0x80;
        output.push(0);
        assert!(
            Reader::new(&output).variable_byte_integer().is_err(),
            "{value}"
        );
    }
}

/// Each packet with a Reason Code, up to that code; what follows it; and the codes that its table
/// has (MQTT 5.0 §3, 0x8C of DISCONNECT §4.12.1).
const CODES: [(&str, &str, &str); 9] = [
    (
        "20 03 00",
        "00",
        "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f",
    ),
    ("40 03 0001", "", "00 10 80 83 87 90 91 97 99"),
    ("50 03 0001", "", "00 10 80 83 87 90 91 97 99"),
    ("62 03 0001", "", "00 92"),
    ("70 03 0001", "", "00 92"),
    ("90 04 0001 00", "", "00 01 02 80 83 87 8f 91 97 9e a1 a2"),
    ("b0 04 0001 00", "", "00 11 80 83 87 8f 91"),
    (
        "e0 01",
        "",
        "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
    ),
    ("f0 06", "04 15 0001 6d", "00 18 19"),
];

// Conforms: 5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.14.2-1]
// Conforms: 5.0 [MQTT-3.15.2-1]
#[test]
fn a_packet_has_one_of_its_reason_codes() {
    for (before, behind, codes) in CODES {
        let allowed = bytes(codes);
        for code in 0..=u8::MAX {
            let input = [bytes(before), vec![code], bytes(behind)].concat();
            let outcome = decode(&input, V5).map(drop).map_err(|error| error.reason);
            let expected = if allowed.contains(&code) {
                Ok(())
            } else {
                Err(ReasonCode::MalformedPacket)
            };
            assert_eq!(outcome, expected, "{before}: {code:#x}");
        }
    }
}

// Conforms: 3.1.1 [MQTT-3.9.3-2]
#[test]
fn suback_of_3_1_1_has_one_code_for_every_failure() {
    let granted = [0, 1, 2];
    let refused: Vec<u8> = (0x80..=u8::MAX).collect();
    let suback = Suback {
        packet_id: 1,
        properties: Properties::default(),
        codes: &[&granted[..], &refused].concat(),
    };
    let mut output = Vec::new();
    Packet::Suback(suback).encode(V3, &mut output);
    let header_len = output.len() - suback.codes.len();
    assert_eq!(output[header_len..][..3], granted);
    assert_eq!(output[header_len + 3..], vec![0x80; refused.len()]);
}

#[test]
fn a_packet_that_is_cut_is_refused_or_another_whole_packet() {
    let mut refused = 0;
    for (version, name, rest) in vectors(include_str!("../../../vectors/well_formed.txt")) {
        let input = bytes(rest[0]);
        let (frame, _) = Frame::split(&input, SIZE_MAX).unwrap().unwrap();
        let header_len = input.len() - frame.body().len();
        for len in header_len..input.len() - 1 {
            let mut cut = vec![input[0]];
            put_variable_byte_integer(&mut cut, u32::try_from(len - header_len).unwrap());
            cut.extend_from_slice(&input[header_len..len]);
            let Ok(packet) = decode(&cut, version) else {
                refused += 1;
                continue;
            };
            let mut output = Vec::new();
            packet.encode(version, &mut output);
            assert_eq!(
                decode(&output, version),
                Ok(packet),
                "{name} of {len} bytes"
            );
        }
    }
    assert!(refused > 500, "only {refused}");
}

#[test]
fn a_subscribe_has_the_filters_that_it_is_made_of() {
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        retain_handling: RetainHandling::DoNotSend,
        ..SubscriptionOptions::default()
    };
    let long = "x".repeat(300);
    let filters = [("a/+", SubscriptionOptions::default()), (&long, options)];
    for version in [ProtocolVersion::V31, V3] {
        // MQTT 3 has no options but the QoS.
        let filters = filters.map(|(filter, options)| {
            let retain_handling = RetainHandling::Send;
            (
                filter,
                SubscriptionOptions {
                    retain_handling,
                    ..options
                },
            )
        });
        assert_made_of(version, &filters);
    }
    assert_made_of(V5, &filters);
}

#[track_caller]
fn assert_made_of(version: ProtocolVersion, filters: &[(&str, SubscriptionOptions)]) {
    let mut out = Vec::new();
    encode_subscribe(&mut out, version, 7, filters);
    let Packet::Subscribe(subscribe) = decode(&out, version).unwrap() else {
        panic!("{out:?}");
    };
    assert_eq!(subscribe.packet_id, 7);
    assert!(subscribe.filters().eq(filters.iter().copied()));
}
