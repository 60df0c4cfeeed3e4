//! AUTH and Authentication Method where no mechanism is configured (§3.15, §4.12).

use tests::bytes::{hex, property};
use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::wire::{Version, packet};

// Conforms: 5.0 [MQTT-3.2.2-7] [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-4.12.0-6]
#[test]
fn a_method_that_is_not_offered_is_refused() {
    let daemon = Daemon::start("");
    let method = property("15 000b 534352414d2d5348412d31");
    let data = property("16 0002 0102");
    for (properties, code) in [
        (vec![method.clone()], 0x8c),
        (vec![method, data.clone()], 0x8c),
        (vec![property("15 0000")], 0x8c),
        // Data for no method.
        (vec![data], 0x82),
        (vec![property("16 0000")], 0x82),
    ] {
        let mut connect = Connect::new(Version::V5, "c");
        connect.properties = properties;
        connect.user_name = Some("user".to_owned());
        for connect in [connect.clone(), connect.will(Will::new("t", b""))] {
            let refusal = connect.refused(daemon.port()).unwrap();
            assert_eq!(refusal.code, code, "{connect:?}");
            assert!(refusal.properties.text(0x1f).is_some(), "a Reason String");
            assert_eq!(refusal.properties.find(0x15), None);
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-29] [MQTT-4.12.0-6]
#[test]
fn a_client_without_a_method_hears_of_none() {
    let daemon = Daemon::start("");
    let (mut client, connack) = Connect::new(Version::V5, "c").open(daemon.port());
    assert_eq!(connack.properties.find(0x15), None);
    assert_eq!(connack.properties.find(0x16), None);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.15.1-1] [MQTT-3.15.2-1] [MQTT-4.12.0-7] [MQTT-4.12.1-1] [MQTT-4.13.1-1]
#[test]
fn auth_without_a_method_is_a_protocol_error() {
    let daemon = Daemon::start("");
    for (bytes, reason) in [
        ("f0 00", 0x82),
        ("f0 02 00 00", 0x82),
        ("f0 02 18 00", 0x82),
        ("f0 02 19 00", 0x82),
        ("f0 06 18 04 15 0001 61", 0x82),
        ("f0 06 19 04 15 0001 61", 0x82),
        ("f0 0a 18 08 15 0001 61 16 0001 62", 0x82),
        // Malformed: codes that AUTH has not, flags, properties that it has not, its end.
        ("f0 02 01 00", 0x81),
        ("f0 02 80 00", 0x81),
        ("f0 02 1a 00", 0x81),
        ("f1 00", 0x81),
        ("f2 02 18 00", 0x81),
        ("f0 05 18 03 21 000a", 0x81),
        ("f0 03 18 00 00", 0x81),
    ] {
        let mut client = join(&daemon, Version::V5, "c");
        client.send(&hex(bytes)).unwrap();
        client.expect_closed(reason);
    }
    // There is no such packet in MQTT 3.
    for version in [Version::V31, Version::V311] {
        let mut client = join(&daemon, version, "c");
        client.send(&packet(0xf0, &[])).unwrap();
        client.expect_closed(0x81);
    }
}
