//! Bytes that are not MQTT cost their own connection, and nobody else notices.

use std::fs;

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient, connect, packet};

/// What is sent, and how it has to be refused.
#[derive(Debug)]
struct Vector {
    name: String,
    version: Version,
    bytes: Vec<u8>,
    /// The reason code, where the protocol version has a packet for it.
    reason: u8,
}

/// The vectors of the codec's own tests.
fn vectors() -> Vec<Vector> {
    let path = tests::workspace().join("mqtt/vectors/malformed.txt");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(parse).collect()
}

fn parse(line: &str) -> Vector {
    let [version, name, bytes, reason] = line
        .split(" | ")
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|parts| panic!("{line}: {parts:?}"));
    let reason = match reason {
        "MalformedPacket" => 0x81,
        "ProtocolError" => 0x82,
        "UnsupportedProtocolVersion" => 0x84,
        "TopicNameInvalid" => 0x90,
        "TopicAliasInvalid" => 0x94,
        other => panic!("an unknown reason: {other}"),
    };
    let version = match version {
        "3.1" => Version::V31,
        "3.1.1" => Version::V311,
        "5" => Version::V5,
        other => panic!("an unknown version: {other}"),
    };
    let digits: Vec<u8> = bytes.bytes().filter(|it| *it != b' ').collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap());
    Vector {
        name: name.to_owned(),
        version,
        bytes: bytes.collect(),
        reason,
    }
}

/// What a codec alone cannot know to be wrong.
fn more_vectors() -> Vec<Vector> {
    let vector = |name: &str, version, bytes: &[u8], reason| Vector {
        name: name.to_owned(),
        version,
        bytes: bytes.to_owned(),
        reason,
    };
    let second = |version| connect(version, "second", Kept::Nothing);
    let large = packet(0x30, &[0; 2 << 20]);
    let mut vectors = vec![
        vector("second CONNECT", Version::V5, &second(Version::V5), 0x82),
        vector(
            "second CONNECT, 3.1.1",
            Version::V311,
            &second(Version::V311),
            0x82,
        ),
        vector(
            "CONNACK from a client",
            Version::V5,
            b"\x20\x03\x00\x00\x00",
            0x82,
        ),
        vector("larger than allowed", Version::V5, &large[..100_000], 0x95),
        vector(
            "Subscription Identifier from a client",
            Version::V5,
            b"\x30\x06\x00\x01a\x02\x0b\x01",
            0x82,
        ),
        vector(
            "neither a topic nor an alias",
            Version::V5,
            b"\x30\x03\x00\x00\x00",
            0x82,
        ),
    ];
    for filter in ["", "#/a", "a/#/b", "a#", "##", "a+", "+a/b", "a/++"] {
        let name = format!("filter {filter:?}");
        let length = u8::try_from(filter.len()).unwrap();
        let payload = [&[0, length], filter.as_bytes(), &[1]].concat();
        let body = [&[0, 1], &payload[..]].concat();
        vectors.push(vector(&name, Version::V311, &packet(0x82, &body), 0x8f));
        let body = [&[0, 1, 0], &payload[..]].concat();
        vectors.push(vector(&name, Version::V5, &packet(0x82, &body), 0x8f));
    }
    vectors
}

/// Sends the vector, behind a CONNECT unless it is one or comes too early, and returns the packet
/// that the broker closes the connection with, if it sends one.
fn refusal(port: u16, vector: &Vector, is_first: bool) -> Option<(u8, Vec<u8>)> {
    let mut client = if is_first {
        WireClient::open(port, vector.version).unwrap()
    } else {
        let client = WireClient::connect(port, vector.version, "bad", Kept::Nothing);
        client.unwrap().0
    };
    // The broker may close before it has read all.
    client.send(&vector.bytes).ok();
    let mut last = None;
    loop {
        match client.receive() {
            Ok(Some(packet)) => {
                assert_eq!(last, None, "{}: {packet:?} came too", vector.name);
                last = Some((packet.head, packet.body));
            }
            Ok(None) => return last,
            // With bytes of ours unread a close becomes a reset.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return last,
            Err(error) => panic!("{}: the connection is not closed: {error}", vector.name),
        }
    }
}

fn check(port: u16, vector: &Vector) {
    let is_connect = vector.bytes.starts_with(&[0x10]) && !vector.name.starts_with("second");
    let refusal = refusal(port, vector, is_connect);
    let name = &vector.name;
    match (is_connect, vector.version, refusal) {
        // 3.1.1 has a code for this one only. Another protocol may also be closed without a word.
        (true, Version::V31 | Version::V311, refusal) if vector.reason == 0x84 => {
            let names = [&b"\0\x04MQTT"[..], b"\0\x06MQIsdp"];
            let is_mqtt = names.iter().any(|it| vector.bytes[2..].starts_with(it));
            let closed_silently = refusal.is_none() && !is_mqtt;
            let has_code = refusal == Some((0x20, vec![0, 1]));
            assert!(has_code || closed_silently, "{name}: {refusal:?}");
        }
        (_, Version::V31 | Version::V311, refusal) => assert_eq!(refusal, None, "{name}"),
        (is_connect, Version::V5, Some((head, body))) => {
            assert_eq!(head, if is_connect { 0x20 } else { 0xe0 }, "{name}");
            if is_connect {
                assert_eq!(body[0], 0, "{name}: no session is present");
            }
            let reason = body[usize::from(is_connect)];
            assert_eq!(reason, vector.reason, "{name}: {reason:#x}");
        }
        (_, Version::V5, None) => {
            // The reason may be lost when a reset overtakes it, which only large packets cause.
            assert!(
                vector.bytes.len() > 10_000,
                "{name}: closed without a reason"
            );
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.0-2] [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.1.4-1] [MQTT-3.2.0-2]
// Conforms: 5.0 [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-3.2.2-15] [MQTT-3.3.4-6]
// Conforms: 5.0 [MQTT-3.14.0-1] [MQTT-3.14.2-1] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.7.1-1]
// Conforms: 5.0 [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.13.1-1] [MQTT-4.13.2-1]
// Conforms: 3.1.1 [MQTT-2.2.2-2] [MQTT-3.1.0-2] [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.1.2-3]
// Conforms: 3.1.1 [MQTT-3.1.4-1] [MQTT-3.2.2-4] [MQTT-3.2.2-5] [MQTT-3.2.2-6] [MQTT-3.14.1-1]
// Conforms: 3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] [MQTT-4.8.0-1]
#[test]
fn malformed_packets_close_their_connection_with_a_reason_and_no_other() {
    let mut daemon = Daemon::start("");
    let port = daemon.port();
    let (mut healthy, _) =
        WireClient::connect(port, Version::V5, "healthy", Kept::Nothing).unwrap();
    healthy.subscribe("healthy/#", 1).unwrap();
    let vectors: Vec<_> = vectors().into_iter().chain(more_vectors()).collect();
    assert!(vectors.len() > 40, "{} vectors", vectors.len());
    for (number, vector) in vectors.iter().enumerate() {
        check(port, vector);
        let payload = number.to_string();
        round_trip(&mut healthy, payload.as_bytes());
    }
    assert_eq!(daemon.process().status(), None);
    let log = daemon.process().log();
    assert!(!log.contains("panicked"), "{log}");
}

/// A QoS 1 round trip to itself.
fn round_trip(client: &mut WireClient, payload: &[u8]) {
    let identifier = client.publish("healthy/a", payload).unwrap();
    let (mut is_acknowledged, mut is_received) = (false, false);
    while !(is_acknowledged && is_received) {
        let packet = client.receive().unwrap().unwrap();
        if let Some(publish) = packet.publish(Version::V5) {
            assert_eq!(publish.payload, payload);
            assert!(!publish.is_duplicate && !is_received, "{publish:?}");
            is_received = true;
            client.acknowledge(publish.identifier).unwrap();
        } else {
            assert_eq!(packet.head, 0x40, "{packet:?}");
            assert!(
                packet.body.starts_with(&identifier.to_be_bytes()),
                "{packet:?}"
            );
            is_acknowledged = true;
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.0-1] [MQTT-3.14.0-1]; 3.1.1 [MQTT-3.1.0-1]
#[test]
fn what_comes_before_connect_closes_the_connection() {
    let daemon = Daemon::start("");
    for bytes in [
        packet(0x30, b"\x00\x01a"),
        packet(0xc0, b""),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        vec![0xff; 64],
    ] {
        let mut client = WireClient::open(daemon.port(), Version::V311).unwrap();
        client.send(&bytes).unwrap();
        match client.receive() {
            Ok(None) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
    // One that is cut off amid a packet does not disturb either.
    let (mut cut, _) =
        WireClient::connect(daemon.port(), Version::V311, "cut", Kept::Nothing).unwrap();
    cut.send(b"\x30\x7f\x00\x01a").unwrap();
    drop(cut);
    let healthy = WireClient::connect(daemon.port(), Version::V5, "healthy", Kept::Nothing);
    let mut healthy = healthy.unwrap().0;
    healthy.subscribe("healthy/#", 1).unwrap();
    round_trip(&mut healthy, b"1");
}
