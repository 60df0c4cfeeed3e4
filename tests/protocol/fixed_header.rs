//! Fixed Header and Packet Identifiers (§2.1, §2.2.1).

use tests::bytes::{hex, subscribe, unsubscribe};
use tests::connect::{Connect, refused};
use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::message::Message;
use tests::wire::{Version, WireClient, packet};

/// Packets that a client may send, apart from CONNECT and PUBLISH, and whether MQTT 3.1 allows
/// DUP on them.
fn packets(version: Version) -> Vec<(Vec<u8>, bool)> {
    let mut packets = vec![
        (hex("40 02 0001"), false),
        (hex("50 02 0001"), false),
        (hex("62 02 0001"), true),
        (hex("70 02 0001"), false),
        (subscribe(version, 1, "t", 0), true),
        (unsubscribe(version, 1, "t"), true),
        (hex("c0 00"), false),
        (hex("e0 00"), false),
    ];
    if version == Version::V5 {
        packets.push((hex("f0 00"), false));
    }
    packets
}

// Conforms: 5.0 [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT-4.13.1-1]
// Conforms: 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-4.8.0-1]
// Conforms: 3.1 [MQTT31-5]
#[test]
fn reserved_flags_are_checked() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for (right, may_be_duplicate) in packets(version) {
            for flags in 0..16 {
                let mut bytes = right.clone();
                bytes[0] = bytes[0] & 0xf0 | flags;
                let is_duplicate = version == Version::V31 && may_be_duplicate;
                if bytes[0] == right[0] || is_duplicate && bytes[0] == right[0] | 0b1000 {
                    continue;
                }
                let (mut client, _) = Connect::new(version, "c").open(daemon.port());
                client.send(&bytes).unwrap();
                client.expect_closed(0x81);
            }
        }
        for flags in 1..16 {
            let mut bytes = Connect::new(version, "c").bytes();
            bytes[0] |= flags;
            let code = refused(daemon.port(), version, &bytes).map(|it| it.code);
            assert_eq!(code, (version == Version::V5).then_some(0x81), "{flags}");
        }
    }
}

// Conforms: 3.1 [MQTT31-5] [MQTT31-13]
#[test]
fn dup_changes_nothing_in_mqtt_31() {
    let daemon = Daemon::start("");
    let version = Version::V31;
    let (mut client, _) = Connect::new(version, "c").open(daemon.port());
    let mut packets = [
        (subscribe(version, 1, "t", 2), "90 03 0001 02"),
        (
            Message::new("t", b"").qos(2, 2).encode(version),
            "50 02 0002",
        ),
        (hex("62 02 0002"), "70 02 0002"),
        (unsubscribe(version, 3, "t"), "b0 02 0003"),
    ];
    for (bytes, _) in &mut packets {
        bytes[0] |= 0b1000;
    }
    for (bytes, answer) in packets {
        client.send(&bytes).unwrap();
        let mut found = client.receive().unwrap().unwrap();
        if found.head >> 4 == 3 {
            // The message itself; DUP says nothing about this delivery.
            assert_eq!(found.head, 0x34);
            found = client.receive().unwrap().unwrap();
        }
        assert_eq!(packet(found.head, &found.body), hex(answer));
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn packets_that_no_client_sends_close_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut table = vec![
            // Reserved.
            ("00 00", 0x81),
            // PINGREQ with a body, PUBACK with half an identifier.
            ("c0 01 00", 0x81),
            ("40 01 00", 0x81),
        ];
        match version {
            Version::V31 | Version::V311 => table.extend([
                // CONNACK, SUBACK, UNSUBACK, PINGRESP; AUTH.
                ("20 02 0000", 0),
                ("90 03 0001 00", 0),
                ("b0 02 0001", 0),
                ("d0 00", 0),
                ("f0 00", 0),
                // PUBACK and DISCONNECT of MQTT 5.
                ("40 03 0001 10", 0),
                ("e0 01 00", 0),
            ]),
            Version::V5 => table.extend([
                ("20 03 0000 00", 0x82),
                ("90 04 0001 00 00", 0x82),
                ("b0 04 0001 00 00", 0x82),
                ("d0 00", 0x82),
            ]),
        }
        for (bytes, reason) in table {
            let (mut client, _) = Connect::new(version, "c").open(daemon.port());
            client.send(&hex(bytes)).unwrap();
            client.expect_closed(reason);
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-3] [MQTT-4.13.1-1]; 3.1.1 [MQTT-2.3.1-1] [MQTT-4.8.0-1]
#[test]
fn a_packet_identifier_is_not_zero() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for bytes in [
            subscribe(version, 0, "t", 0),
            unsubscribe(version, 0, "t"),
            Message::new("t", b"").qos(1, 0).encode(version),
            Message::new("t", b"").qos(2, 0).encode(version),
            hex("40 02 0000"),
            hex("50 02 0000"),
            hex("62 02 0000"),
            hex("70 02 0000"),
        ] {
            let (mut client, _) = Connect::new(version, "c").open(daemon.port());
            client.send(&bytes).unwrap();
            client.expect_closed(0x81);
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-5] [MQTT-2.2.1-6] [MQTT-3.8.4-2] [MQTT-3.10.4-5]
// Conforms: 3.1.1 [MQTT-2.3.1-6] [MQTT-2.3.1-7] [MQTT-3.8.4-2] [MQTT-3.10.4-4]
#[test]
fn answers_repeat_the_packet_identifier() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        for identifier in [1, 255, 256, 65_535, 1] {
            let [high, low] = u16::to_be_bytes(identifier);
            for (sent, head) in [
                (subscribe(version, identifier, "other", 0), 0x90),
                (
                    Message::new("t", b"").qos(1, identifier).encode(version),
                    0x40,
                ),
                (
                    Message::new("t", b"").qos(2, identifier).encode(version),
                    0x50,
                ),
                (vec![0x62, 2, high, low], 0x70),
                (unsubscribe(version, identifier, "other"), 0xb0),
            ] {
                client.send(&sent).unwrap();
                let answer = client.expect(head).unwrap();
                assert_eq!(answer.body[..2], [high, low], "{sent:02x?}");
            }
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-2]; 3.1.1 [MQTT-2.3.1-5]
#[test]
fn qos_0_has_no_packet_identifier() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        client.subscribe("t", 2).unwrap();
        // What would be the identifier is the payload.
        let message = Message::new("t", [0, 1]).encode(version);
        client.send(&message).unwrap();
        client.expect_bytes(&message);
        client.expect_silence();
    }
}

/// Takes PUBLISHs above QoS 0 without an answer and returns their identifiers.
fn identifiers(client: &mut WireClient, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.hear().identifier).collect()
}

// Conforms: 5.0 [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1]
// Conforms: 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1]
#[test]
fn deliveries_have_free_packet_identifiers_and_keep_them() {
    const COUNT: usize = 100;
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let connect = Connect::new(version, "c").resuming(60);
        let (mut client, _) = connect.open(daemon.port());
        client.subscribe("t", 2).unwrap();
        let mut publisher = join(&daemon, version, "p");
        for number in 1..=u16::try_from(COUNT).unwrap() {
            let qos = if number % 2 == 0 { 2 } else { 1 };
            publisher.say(&Message::new("t", b"").qos(qos, number));
        }
        let found = identifiers(&mut client, COUNT);
        let mut unique = found.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), COUNT, "{found:?}");
        assert_ne!(unique[0], 0);
        // Sent again on the next connection, with the same identifiers and in the same order.
        drop(client);
        let (mut client, _) = connect.open(daemon.port());
        assert_eq!(identifiers(&mut client, COUNT), found);
        client.expect_silence();
        Connect::new(version, "c").open(daemon.port());
    }
}

// Conforms: 5.0 [MQTT-4.2.0-1]; 3.1.1 [MQTT-7.1.1-1]
#[test]
fn packets_come_in_pieces_and_several_at_a_time() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut all = Connect::new(version, "c").bytes();
        all.extend(subscribe(version, 7, "t", 0));
        all.extend(Message::new("t", "payload").encode(version));
        all.extend(hex("c0 00"));
        let check = |client: &mut WireClient| {
            assert_eq!(client.expect(0x20).unwrap().body[1], 0);
            // What is published right behind a SUBSCRIBE may overtake its SUBACK.
            let mut heads: Vec<_> = (0..3)
                .map(|_| client.receive().unwrap().unwrap().head)
                .collect();
            heads.sort_unstable();
            assert_eq!(heads, [0x30, 0x90, 0xd0]);
            client.expect_silence();
        };
        let mut at_once = WireClient::open(daemon.port(), version).unwrap();
        at_once.send(&all).unwrap();
        check(&mut at_once);
        let mut in_pieces = WireClient::open(daemon.port(), version).unwrap();
        for byte in &all {
            in_pieces.send(&[*byte]).unwrap();
        }
        check(&mut in_pieces);
    }
}

// Conforms: 5.0 [MQTT-3.2.2-15] [MQTT-4.13.1-1]
#[test]
fn a_packet_larger_than_allowed_is_refused_by_its_header() {
    let daemon = Daemon::start("mqtt { max_packet_size = 1KiB }");
    for version in Version::ALL {
        let (mut client, _) = Connect::new(version, "c").open(daemon.port());
        client.subscribe("t", 0).unwrap();
        let around = Message::new("t", b"").encode(version).len() + 1;
        let largest = Message::new("t", vec![b'x'; 1024 - around]).encode(version);
        assert_eq!(largest.len(), 1024);
        client.send(&largest).unwrap();
        client.expect_bytes(&largest);
        // One byte more: 1,025 with the header, of which only that is sent.
        client.send(&packet(0x30, &[0; 1022])[..3]).unwrap();
        client.expect_closed(0x95);
    }
}
