//! CONNECT (§3.1): which ones are let in.

use tests::bytes::{hex, string, subscribe};
use tests::connect::{Connack, Connect, Will, refused};
use tests::daemon::Daemon;
use tests::message::Message;
use tests::wait;
use tests::wire::{Kept, Version, WireClient, packet};

// Conforms: 5.0 [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.0-2] [MQTT-3.2.2-1] [MQTT-3.2.2-8]
// Conforms: 3.1.1 [MQTT-3.1.4-4] [MQTT-3.2.0-1] [MQTT-3.2.2-1]; 3.1 [MQTT31-1]
#[test]
fn every_version_is_let_in() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let client = WireClient::connect(daemon.port(), version, "c", Kept::Nothing);
        let (mut client, is_present) = client.unwrap();
        assert!(!is_present, "{version:?}: there was no session");
        // Nothing comes but one CONNACK.
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.1.0-1] [MQTT-3.14.0-1]; 3.1.1 [MQTT-3.1.0-1]
#[test]
fn the_first_packet_is_connect() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for first in [
            Message::new("first", b"x").retained().encode(version),
            subscribe(version, 1, "t", 0),
            hex("c0 00"),
            hex("e0 00"),
            hex("f0 00"),
            hex("20 02 00 00"),
            hex("00 00"),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ] {
            // With a CONNECT behind it: that is not handled either.
            let bytes = [first, Connect::new(version, "c").bytes()].concat();
            assert_eq!(
                refused(daemon.port(), version, &bytes),
                None,
                "{bytes:02x?}"
            );
        }
        let (mut client, _) = Connect::new(version, "watcher").open(daemon.port());
        client.subscribe("first", 0).unwrap();
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.1.0-2] [MQTT-4.13.1-1]; 3.1.1 [MQTT-3.1.0-2] [MQTT-4.8.0-1]
#[test]
fn a_second_connect_closes_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for second in [
            Connect::new(version, "c"),
            Connect::new(version, "d"),
            // One that would have been refused.
            Connect::new(version, "$d"),
        ] {
            let (mut client, _) = Connect::new(version, "c").open(daemon.port());
            client.send(&second.bytes()).unwrap();
            client.expect_closed(0x82);
        }
    }
}

/// The bytes of a CONNECT that begins with this name and level.
fn named(name: &str, level: u8) -> Vec<u8> {
    let no_properties: &[u8] = if level & 0x7f >= 5 { &[0] } else { &[] };
    let head = [string(name), vec![level, 2, 0, 60]].concat();
    packet(0x10, &[&head, no_properties, &string("c")].concat())
}

// Conforms: 5.0 [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.2.2-7]
// Conforms: 3.1.1 [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.2.2-5]; 3.1 [MQTT31-2] [MQTT31-10]; bridge [BRIDGE-1]
#[test]
fn other_protocols_and_versions_are_refused() {
    let daemon = Daemon::start("");
    for (name, level) in [
        ("MQTT", 0),
        ("MQTT", 3),
        ("MQIsdp", 0),
        ("MQIsdp", 2),
        ("MQIsdp", 4),
        ("MQIsdp", 5),
        ("MQIsdp", 0x84),
        ("mqtt", 4),
        ("MQTT ", 4),
        ("MQTX", 4),
        ("", 4),
    ] {
        let refusal = refused(daemon.port(), Version::V311, &named(name, level));
        assert_eq!(refusal.map(|it| it.code), Some(1), "{name} {level}");
    }
    // What calls itself a later MQTT is answered in MQTT 5.
    for level in [6, 7, 0x7f, 0x85, 0x86, 0xff] {
        let refusal = refused(daemon.port(), Version::V5, &named("MQTT", level)).unwrap();
        assert_eq!(refusal.code, 0x84, "{level}");
        assert!(refusal.properties.text(0x1f).is_some(), "a Reason String");
    }
}

/// What refuses a CONNECT that breaks the format: 0x81 in MQTT 5, the close alone in MQTT 3.
#[track_caller]
fn expect_malformed(port: u16, version: Version, body: &[u8]) {
    let code = refused(port, version, &packet(0x10, body)).map(|it| it.code);
    let expected = (version == Version::V5).then_some(0x81);
    assert_eq!(code, expected, "{version:?} {body:02x?}");
}

// Conforms: 5.0 [MQTT-3.1.2-3] [MQTT-3.1.4-1]; 3.1.1 [MQTT-3.1.2-3] [MQTT-3.1.4-1]; 3.1 [MQTT31-9]
#[test]
fn the_reserved_connect_flag_is_zero() {
    let daemon = Daemon::start("");
    for version in [Version::V311, Version::V5] {
        let body = Connect::new(version, "c").body_with_flags(0b11);
        expect_malformed(daemon.port(), version, &body);
    }
    let body = Connect::new(Version::V31, "c").body_with_flags(0b11);
    let mut client = WireClient::open(daemon.port(), Version::V31).unwrap();
    client.send(&packet(0x10, &body)).unwrap();
    client.expect_bytes(&hex("20 02 00 00"));
}

// Conforms: 5.0 [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.3-1]
// Conforms: 3.1.1 [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.1.3-1]
#[test]
fn will_flags_and_fields_belong_together() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let without = Connect::new(version, "c");
        // QoS or RETAIN without a will; the flag without the fields.
        for flags in [0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x06, 0x0e] {
            let body = without.body_with_flags(flags);
            expect_malformed(daemon.port(), version, &body);
        }
        let with = without.clone().will(Will::new("t", b"x"));
        // QoS 3; the fields without the flag.
        for flags in [0x1e, 0x3e, 0x02] {
            let body = with.body_with_flags(flags);
            expect_malformed(daemon.port(), version, &body);
        }
        for flags in [0x06, 0x0e, 0x16, 0x26, 0x2e, 0x36] {
            let mut client = WireClient::open(daemon.port(), version).unwrap();
            let body = with.body_with_flags(flags);
            client.send(&packet(0x10, &body)).unwrap();
            let connack = client.expect(0x20).unwrap();
            assert_eq!(Connack::read(&connack, version).code, 0, "{flags}");
            client.send(&hex("e0 00")).unwrap();
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.3-1]
// Conforms: 3.1.1 [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.2-20] [MQTT-3.1.2-21] [MQTT-3.1.2-22] [MQTT-3.1.3-1]
// Conforms: 3.1 [MQTT31-7] [MQTT31-8] [MQTT31-11]
#[test]
fn user_name_and_password_flags_and_fields_belong_together() {
    /// Flags, fields, and whether each version accepts it.
    const TABLE: [(u8, &str, [bool; 3]); 12] = [
        (0x82, "0001 75", [true, true, true]),
        (0xc2, "0001 75 0002 0070", [true, true, true]),
        (0xc2, "0000 0000", [true, true, true]),
        // A password alone is for MQTT 5.
        (0x42, "0001 70", [false, false, true]),
        // Flags without fields; in MQTT 3.1 the length has precedence.
        (0x82, "", [true, false, false]),
        (0xc2, "", [true, false, false]),
        (0xc2, "0001 75", [true, false, false]),
        (0x42, "", [false, false, false]),
        // Fields without flags, or cut off.
        (0x02, "0001 75", [false, false, false]),
        (0x82, "0001 75 0001 70", [false, false, false]),
        (0x82, "0002 75", [false, false, false]),
        (0xc2, "0001 75 00", [false, false, false]),
    ];
    let daemon = Daemon::start("");
    for (flags, fields, accepted) in TABLE {
        for (version, is_accepted) in Version::ALL.into_iter().zip(accepted) {
            let mut body = Connect::new(version, "c").body_with_flags(flags);
            body.extend(hex(fields));
            if !is_accepted {
                expect_malformed(daemon.port(), version, &body);
                continue;
            }
            let mut client = WireClient::open(daemon.port(), version).unwrap();
            client.send(&packet(0x10, &body)).unwrap();
            let connack = client.expect(0x20).unwrap();
            assert_eq!(
                Connack::read(&connack, version).code,
                0,
                "{version:?} {fields}"
            );
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.4-1]; 3.1.1 [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.4-1]
#[test]
fn a_connect_that_is_cut_off_is_malformed() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut connect = Connect::new(version, "client")
            .will(Will::new("topic", b"payload"))
            .keep_alive(9);
        connect.user_name = Some("user".to_owned());
        connect.password = Some(b"password".to_vec());
        let body = connect.body();
        // Up to where the version can be told; in MQTT 3.1 it may end before user name and
        // password.
        let fields = [string("user").len(), string("password").len()];
        let optional = [body.len() - fields[0] - fields[1], body.len() - fields[1]];
        for length in version.name_and_level().len()..body.len() {
            if version == Version::V31 && optional.contains(&length) {
                continue;
            }
            expect_malformed(daemon.port(), version, &body[..length]);
        }
        expect_malformed(daemon.port(), version, &[&body, b"x".as_slice()].concat());
        // Without even a version there is no way to answer.
        for length in 0..version.name_and_level().len() {
            let bytes = packet(0x10, &body[..length]);
            assert_eq!(refused(daemon.port(), version, &bytes), None);
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.4-6] [MQTT-3.2.2-7]; 3.1.1 [MQTT-3.1.4-5] [MQTT-3.2.2-5]
#[test]
fn nothing_behind_a_refused_connect_is_handled() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let refused_ones = [
            // An answer, and none in MQTT 3.
            Connect::new(version, "$c"),
            Connect::new(version, "c").will(Will::new("#", b"")),
        ];
        for connect in refused_ones {
            let behind = Message::new("behind", b"x").retained().encode(version);
            let bytes = [connect.bytes(), behind, hex("c0 00")].concat();
            refused(daemon.port(), version, &bytes);
        }
        let (mut client, _) = Connect::new(version, "watcher").open(daemon.port());
        client.subscribe("behind", 0).unwrap();
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.1.4-5]; 3.1.1 [MQTT-3.1.4-4]
#[test]
fn packets_right_behind_a_connect_are_handled() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let (mut watcher, _) = Connect::new(version, "watcher").open(daemon.port());
        watcher.subscribe("behind", 1).unwrap();
        let message = Message::new("behind", b"x").qos(1, 1).encode(version);
        let all = [Connect::new(version, "c").bytes(), message, hex("e0 00")];
        let mut client = WireClient::open(daemon.port(), version).unwrap();
        client.send(&all.concat()).unwrap();
        assert_eq!(watcher.receive_publish().unwrap().payload, b"x");
        client.expect(0x20).unwrap();
        // Whether the PUBACK comes first is open: the client has left.
        while client.receive().unwrap().is_some() {}
    }
}

#[test]
fn a_client_that_does_not_finish_its_connect_is_closed() {
    let daemon = Daemon::start("mqtt { connect_timeout = 1s }");
    let connect = Connect::new(Version::V5, "c").bytes();
    let half = connect.len() / 2;
    for bytes in [&[], &connect[..1], &connect[..half]] {
        let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
        client.send(bytes).unwrap();
        client.expect_end();
    }
    // Nor does a byte now and then help.
    let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
    let mut bytes = [0x10, 0xff, 0x7f].into_iter().chain(std::iter::repeat(0));
    wait::until("the trickle is closed", || {
        client.send(&[bytes.next().unwrap()]).is_err()
    });
}
