//! Data types on the wire (§1.5).

use tests::bytes::{binary, hex, string, subscribe, unsubscribe};
use tests::connect::{Connect, Will, refused};
use tests::daemon::Daemon;
use tests::message::Message;
use tests::property::{self, Property};
use tests::wire::{Packet, Version, WireClient, packet};

/// What is no string: cut off, a surrogate, too long a form, beyond U+10FFFF, no UTF-8, null.
const ILL_FORMED: [&str; 9] = [
    "c3",
    "e282",
    "61 c328",
    "61 eda080 62",
    "edbfbf",
    "c080",
    "f4908080",
    "fe",
    "61 00 62",
];

/// These properties with these bytes in place of a string, and two User Properties with them as
/// their name and as their value.
fn properties(bad: &[u8], strings: &[u8]) -> impl Iterator<Item = Property> {
    let strings = strings.iter().map(|it| Property::raw(*it, bad));
    let name = Property::raw(0x26, &[bad, &string("v")].concat());
    let value = Property::raw(0x26, &[&string("n"), bad].concat());
    let all: Vec<_> = strings.chain([name, value]).collect();
    all.into_iter()
}

/// Packets with these bytes in place of a string.
fn packets(version: Version, bad: &[u8]) -> Vec<Vec<u8>> {
    let bad = binary(bad);
    let with = |property| Message::new("t", "").with(property).encode(version);
    let no_properties = version.no_properties();
    let mut packets = vec![
        packet(0x30, &[&bad, no_properties].concat()),
        packet(0x82, &[&[0, 1], no_properties, &bad, &[0]].concat()),
        packet(0xa2, &[&[0, 1], no_properties, &bad].concat()),
    ];
    if version == Version::V5 {
        // Content Type, Response Topic, the name and the value of a User Property.
        packets.extend(properties(&bad, &[0x03, 0x08]).map(with));
        // A Reason String in a DISCONNECT.
        let reason = property::encode(&[Property::raw(0x1f, &bad)]);
        packets.push(packet(0xe0, &[&[0], reason.as_slice()].concat()));
    }
    packets
}

/// CONNECTs with these bytes in place of a string.
fn connects(version: Version, bad: &[u8]) -> Vec<Vec<u8>> {
    let bad = binary(bad);
    let connect = |flags, rest: &[&[u8]]| {
        let head = [version.name_and_level(), &[flags, 0, 60]].concat();
        packet(
            0x10,
            &[&head, version.no_properties(), &rest.concat()].concat(),
        )
    };
    let id = string("c");
    let mut connects = vec![
        connect(0x02, &[&bad]),
        connect(0x06, &[&id, version.no_properties(), &bad, &string("")]),
        connect(0x82, &[&id, &bad]),
    ];
    if version == Version::V5 {
        let plain = Connect::new(version, "c");
        let will = |property| plain.clone().will(Will::new("t", b"").property(property));
        let with = |property| plain.clone().property(property).bytes();
        // Authentication Method; Content Type and Response Topic of the will.
        connects.extend(properties(&bad, &[0x15]).map(with));
        connects.extend(properties(&bad, &[0x03, 0x08]).map(|it| will(it).bytes()));
    }
    connects
}

// Conforms: 5.0 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.3-2]
// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-4.8.0-1]
#[test]
fn ill_formed_strings_close_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for bad in ILL_FORMED.map(hex) {
            for packet in packets(version, &bad) {
                let (mut client, _) = Connect::new(version, "c").open(daemon.port());
                client.send(&packet).unwrap();
                client.expect_closed(0x81);
            }
        }
    }
}

// Conforms: 5.0 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.1.4-1]
// Conforms: 3.1.1 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-3.1.3-4] [MQTT-3.1.3-10] [MQTT-3.1.3-11] [MQTT-3.1.4-1]
#[test]
fn ill_formed_strings_refuse_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for bad in ILL_FORMED.map(hex) {
            for connect in connects(version, &bad) {
                let code = refused(daemon.port(), version, &connect).map(|it| it.code);
                // MQTT 3 has no code for it.
                let expected = (version == Version::V5).then_some(0x81);
                assert_eq!(code, expected, "{connect:02x?}");
            }
        }
    }
}

// Conforms: 5.0 [MQTT-1.5.4-3] [MQTT-4.7.3-4]; 3.1.1 [MQTT-1.5.3-3] [MQTT-4.7.3-4]
#[test]
fn a_byte_order_mark_is_a_character() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "\u{feff}c").open(daemon.port());
        // Another Client Identifier: nobody is taken over.
        let (mut other, _) = Connect::new(version, "c").open(daemon.port());
        client.expect_silence();
        client.subscribe("\u{feff}t\u{feff}", 0).unwrap();
        other.subscribe("t", 0).unwrap();
        let message = Message::new("\u{feff}t\u{feff}", "\u{feff}".as_bytes()).encode(version);
        client.send(&message).unwrap();
        client.expect_bytes(&message);
        client.expect_silence();
        other.expect_silence();
    }
}

/// Well-formed strings from one byte to four for a character, and what must not be touched:
/// control characters, unassigned ones, what only looks the same in another form.
const WELL_FORMED: [&str; 8] = [
    "a",
    "\u{7f}\u{80}",
    "\u{7ff}\u{800}",
    "\u{d7ff}\u{e000}",
    "\u{ffff}\u{10000}",
    "\u{10ffff}",
    "A\u{30a}\u{c5}",
    "\u{1}\u{fdd0}",
];

// Conforms: 5.0 [MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT-4.7.3-4]; 3.1.1 [MQTT-1.5.3-1] [MQTT-4.7.3-4]
#[test]
fn well_formed_strings_come_back_as_they_are() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        for text in WELL_FORMED {
            client.subscribe(text, 0).unwrap();
            let message = Message::new(text, text).with(Property::user(text, text));
            let message = message.encode(version);
            client.send(&message).unwrap();
            client.expect_bytes(&message);
            client.send(&unsubscribe(version, 9, text)).unwrap();
            client.expect(0xb0).unwrap();
        }
    }
}

// Conforms: 5.0 [MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT-4.7.3-3]; 3.1.1 [MQTT-4.7.3-3]
#[test]
fn strings_and_binary_data_have_up_to_65_535_bytes() {
    let daemon = Daemon::start("mqtt { max_topic_len = 65535 }");
    let long = "x".repeat(65_535);
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        client.subscribe(&long, 0).unwrap();
        // Content Type and Correlation Data, and a User Property that is empty.
        let message = Message::new(&long, "payload")
            .with(Property::text(0x03, &long))
            .with(Property::text(0x09, &long))
            .with(Property::user("", ""))
            .encode(version);
        client.send(&message).unwrap();
        client.expect_bytes(&message);
        client.expect_silence();
    }
}

/// A PUBLISH with QoS 0 whose Remaining Length is this.
fn publish_of_length(version: Version, length: usize) -> Vec<u8> {
    let around = Message::new("t", b"").encode(version).len() - 2;
    Message::new("t", vec![b'x'; length - around]).encode(version)
}

// Conforms: 5.0 [MQTT-1.5.5-1]
#[test]
fn lengths_are_written_in_as_few_bytes_as_they_need() {
    let daemon = Daemon::start("mqtt { max_packet_size = 4MiB }");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        client.subscribe("t", 0).unwrap();
        for length in [127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
            let message = publish_of_length(version, length);
            client.send(&message).unwrap();
            // Byte by byte, so with the same length.
            client.expect_bytes(&message);
        }
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-1.5.5-1] [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn lengths_with_needless_or_too_many_bytes_close_the_connection() {
    let daemon = Daemon::start("");
    let too_long = ["c08080808000", "c0ffffffff"];
    // Which MQTT 3 does not forbid.
    let needless = ["c08000", "c0808000", "c080808000"];
    let in_properties = [
        // Property Length, in two and in five bytes.
        "30 05 0001 61 8000",
        "30 08 0001 61 8080808000",
        // Subscription Identifier 1 in two bytes, and one of five.
        "82 0a 0001 03 0b 8100 0001 61 00",
        "82 0d 0001 06 0b 8080808001 0001 61 00",
        // An identifier in two bytes: 0x01 must be in one.
        "30 08 0001 61 04 8100 01 00",
    ];
    for version in Version::ALL {
        let more = needless.iter().chain(&in_properties);
        let more = more.filter(|_| version == Version::V5);
        for bytes in too_long.iter().chain(more) {
            let (mut client, _) = Connect::new(version, "c").open(daemon.port());
            client.send(&hex(bytes)).unwrap();
            client.expect_closed(0x81);
        }
    }
}

// Conforms: 5.0 [MQTT-1.5.5-1] [MQTT-3.3.4-3]
#[test]
fn subscription_identifiers_are_variable_byte_integers() {
    let daemon = Daemon::start("");
    let (mut client, _) = Connect::new(Version::V5, "c").open(daemon.port());
    for (number, bytes) in ["01", "7f", "8001", "ff7f", "808001", "ffffff7f"]
        .iter()
        .enumerate()
    {
        let topic = format!("t/{number}");
        let identifier = Property::raw(0x0b, &hex(bytes));
        let body = [
            vec![0, 1],
            property::encode(std::slice::from_ref(&identifier)),
            string(&topic),
            vec![0],
        ];
        client.send(&packet(0x82, &body.concat())).unwrap();
        client.expect(0x90).unwrap();
        client
            .send(&Message::new(&topic, b"").encode(Version::V5))
            .unwrap();
        let message = Message::new(&topic, b"").with(identifier);
        client.expect_bytes(&message.encode(Version::V5));
    }
}

/// The next packet as its bytes.
fn next(client: &mut WireClient) -> Vec<u8> {
    let Packet { head, body } = client.receive().unwrap().unwrap();
    packet(head, &body)
}

// Conforms: 5.0 [MQTT-2.2.2-1]
#[test]
fn no_properties_are_a_length_of_zero() {
    let daemon = Daemon::start("");
    let version = Version::V5;
    let (mut client, _) = Connect::new(version, "c").open(daemon.port());
    client.send(&subscribe(version, 1, "t", 2)).unwrap();
    assert_eq!(next(&mut client), hex("90 04 0001 00 02"));
    for (sent, answers) in [
        ("30 04 0001 74 00", vec!["30 04 0001 74 00"]),
        (
            "32 06 0001 74 0002 00",
            vec!["32 06 0001 74 0001 00", "40 02 0002"],
        ),
        ("a2 06 0003 00 0001 74", vec!["b0 04 0003 00 00"]),
    ] {
        client.send(&hex(sent)).unwrap();
        let mut found: Vec<_> = answers.iter().map(|_| next(&mut client)).collect();
        found.sort();
        assert_eq!(found, answers.into_iter().map(hex).collect::<Vec<_>>());
    }
    // Nor can a client leave the length out.
    for sent in [
        "30 03 0001 74",
        "82 06 0001 0001 74 00",
        "a2 05 0001 0001 74",
    ] {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        client.send(&hex(sent)).unwrap();
        client.expect_closed(0x81);
    }
}
