//! Client Identifiers (§3.1.3.1): which are accepted, which are given.

use std::collections::BTreeSet;

use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::message::Message;
use tests::wire::Version;

/// The code of each version for a Client Identifier that is not valid.
const fn not_valid(version: Version) -> u8 {
    match version {
        Version::V31 | Version::V311 => 2,
        Version::V5 => 0x85,
    }
}

/// Asserts that a CONNECT is refused for its Client Identifier.
#[track_caller]
fn expect_not_valid(port: u16, connect: &Connect) {
    let refusal = connect.refused(port).unwrap();
    assert_eq!(refusal.code, not_valid(connect.version), "{connect:?}");
    if connect.version == Version::V5 {
        let reason = refusal.properties.text(0x1f).unwrap();
        assert!(reason.contains("client identifier"), "{reason}");
    }
}

// Conforms: 5.0 [MQTT-3.1.3-3] [MQTT-3.1.3-5]; 3.1.1 [MQTT-3.1.3-3] [MQTT-3.1.3-5]; 3.1 [MQTT31-3]
#[test]
fn letters_and_digits_up_to_23_are_accepted() {
    const CHARACTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for length in 1..=23 {
            let (client_id, _) = CHARACTERS.split_at(length);
            Connect::new(version, client_id).open(daemon.port());
        }
        for start in (0..CHARACTERS.len() - 23)
            .step_by(13)
            .chain([CHARACTERS.len() - 23])
        {
            let client_id: String = CHARACTERS.chars().skip(start).take(23).collect();
            Connect::new(version, &client_id).open(daemon.port());
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.3-8] [MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7]
// Conforms: 3.1.1 [MQTT-3.1.3-9] [MQTT-3.2.2-4] [MQTT-3.2.2-5]; 3.1 [MQTT31-3] [MQTT31-10]
#[test]
fn long_ones_and_those_of_the_broker_are_refused() {
    let daemon = Daemon::start("mqtt { max_clientid_len = 30 }");
    for version in Version::ALL {
        // Bytes count, but in MQTT 3.1 characters too.
        let longest = if version == Version::V31 { 23 } else { 30 };
        Connect::new(version, &"x".repeat(longest)).open(daemon.port());
        for refused in [
            "x".repeat(longest + 1),
            "\u{20ac}".repeat(11),
            "x".repeat(65_535),
            "$".to_owned(),
            "$bridge/hub".to_owned(),
        ] {
            for connect in [
                Connect::new(version, &refused),
                Connect::new(version, &refused).resuming(60),
            ] {
                expect_not_valid(daemon.port(), &connect);
            }
        }
        // Ten characters of three bytes.
        Connect::new(version, &"\u{20ac}".repeat(10)).open(daemon.port());
    }
}

// Conforms: 3.1.1 [MQTT-3.1.3-8] [MQTT-3.2.2-4] [MQTT-3.2.2-5]; 3.1 [MQTT31-4] [MQTT31-10]
#[test]
fn an_empty_one_needs_a_session_that_nobody_looks_for_later() {
    let daemon = Daemon::start("");
    for version in [Version::V31, Version::V311] {
        expect_not_valid(daemon.port(), &Connect::new(version, "").resuming(60));
    }
    expect_not_valid(daemon.port(), &Connect::new(Version::V31, ""));
}

// Conforms: 5.0 [MQTT-3.1.3-6] [MQTT-3.2.2-16]; 3.1.1 [MQTT-3.1.3-6]
#[test]
fn empty_ones_are_replaced_by_unique_ones() {
    let daemon = Daemon::start("");
    for version in [Version::V311, Version::V5] {
        let mut assigned = BTreeSet::new();
        let mut clients: Vec<_> = (0..20)
            .map(|_| Connect::new(version, "").open(daemon.port()))
            .collect();
        for (client, connack) in &mut clients {
            // Nobody was taken over.
            client.expect_silence();
            if let Some(client_id) = connack.properties.text(0x12) {
                assigned.insert(client_id.to_owned());
            }
        }
        let expected = if version == Version::V5 { 20 } else { 0 };
        assert_eq!(assigned.len(), expected, "{assigned:?}");
    }
    let given = Connect::new(Version::V5, "c").open(daemon.port());
    assert_eq!(given.1.properties.find(0x12), None, "the client has one");
}

// Conforms: 5.0 [MQTT-3.1.3-2] [MQTT-3.1.3-7]
#[test]
fn an_assigned_one_is_used_like_a_given_one() {
    let mut daemon = Daemon::start("");
    for is_clean in [true, false] {
        let mut connect = Connect::new(Version::V5, "").expiring(60);
        connect.is_clean = is_clean;
        let (mut client, connack) = connect.open(daemon.port());
        let client_id = connack.properties.text(0x12).unwrap().to_owned();
        client.subscribe("t", 1).unwrap();
        drop(client);
        let back = Connect::new(Version::V5, &client_id).resuming(60);
        let (mut client, connack) = back.open(daemon.port());
        assert!(connack.is_present());
        assert_eq!(connack.properties.find(0x12), None);
        let message = Message::new("t", b"x").encode(Version::V5);
        client.send(&message).unwrap();
        client.expect_bytes(&message);
        // Nor is it given to somebody else after a restart.
        daemon.stop();
        daemon.restart();
        let (_, other) = Connect::new(Version::V5, "").open(daemon.port());
        assert_ne!(other.properties.text(0x12), Some(client_id.as_str()));
    }
}

// Conforms: 5.0 [MQTT-3.1.3-2]; 3.1.1 [MQTT-3.1.3-2]; 3.1 [MQTT31-13]
#[test]
fn it_is_the_key_of_the_session() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        // Case counts, and so does every form of a character.
        let client_ids = ["key", "Key", "key ", "ke\u{301}y", "k\u{e9}y"];
        for client_id in client_ids {
            let (mut client, connack) = Connect::new(version, client_id)
                .resuming(60)
                .open(daemon.port());
            assert!(!connack.is_present(), "{client_id}");
            client.subscribe(&format!("t/{client_id}"), 1).unwrap();
        }
        for client_id in client_ids {
            let connect = Connect::new(version, client_id).resuming(60);
            let (mut client, connack) = connect.open(daemon.port());
            assert_eq!(connack.is_present(), version != Version::V31, "{client_id}");
            let topic = format!("t/{client_id}");
            // Its subscription, and no other one.
            let message = Message::new(&topic, b"x").encode(version);
            client.send(&message).unwrap();
            client.expect_bytes(&message);
            client.expect_silence();
            Connect::new(version, client_id).open(daemon.port());
        }
    }
}
