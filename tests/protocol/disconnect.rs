//! DISCONNECT (§3.14), of either side.

use std::time::{Duration, Instant};

use tests::bytes::{hex, property, subscribe};
use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::message::Message;
use tests::property::{self, Property};
use tests::wait;
use tests::wire::{Version, WireClient, packet};

/// The DISCONNECTs of MQTT 5 that end a connection in order.
const NORMAL: [&str; 5] = [
    "e0 00",
    "e0 01 00",
    "e0 02 00 00",
    // A Reason String; two User Properties.
    "e0 06 00 04 1f 0001 61",
    "e0 10 00 0e 26 0001 61 0001 62 26 0001 61 0001 62",
];

// Conforms: 5.0 [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-3.14.2-1]; 3.1 [MQTT31-13]
#[test]
fn nothing_is_handled_behind_it_and_nothing_is_sent() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut watcher = join(&daemon, version, "watcher");
        watcher.subscribe("#", 0).unwrap();
        let forms = if version == Version::V5 {
            NORMAL.as_slice()
        } else {
            &NORMAL[..1]
        };
        for form in forms {
            for behind in [
                Vec::new(),
                Message::new("behind", "x").retained().encode(version),
                hex("c0 00"),
                hex("e0 00"),
                Connect::new(version, "d").bytes(),
                // Malformed, too large, cut off.
                hex("00 00"),
                hex("ff ff ff ff ff ff"),
                hex("30 ff ff ff 7f"),
                hex("30 7f 00"),
            ] {
                let mut client = join(&daemon, version, "c");
                client.send(&[hex(form), behind].concat()).unwrap();
                client.expect_end();
            }
        }
        watcher.expect_silence();
    }
}

/// Leaves with these properties in the DISCONNECT.
fn leave(mut client: WireClient, properties: &[Property]) {
    let body = [vec![0], property::encode(properties)].concat();
    client.send(&packet(0xe0, &body)).unwrap();
    client.expect_end();
}

fn expiry(seconds: u32) -> Property {
    Property::four_bytes(0x11, seconds)
}

/// Whether the session of `c` is there so many seconds later; it is gone after this.
fn is_there_after(daemon: &Daemon, seconds: u64) -> bool {
    let left = Instant::now();
    wait::until("time has passed", || {
        left.elapsed() >= Duration::from_secs(seconds)
    });
    let (client, connack) = Connect::new(Version::V5, "c")
        .resuming(0)
        .open(daemon.port());
    client.disconnect().unwrap();
    connack.is_present()
}

// Conforms: 5.0 [MQTT-3.1.2-23] [MQTT-4.1.0-2]
#[test]
fn it_may_change_the_session_expiry() {
    let daemon = Daemon::start("mqtt { max_session_expiry_interval = 1h }");
    // At CONNECT, at DISCONNECT, and what of it is left after how many seconds.
    for (first, last, seconds, is_left) in [
        (600, None, 0, true),
        (600, Some(0), 0, false),
        (600, Some(1), 1, false),
        (600, Some(600), 0, true),
        (1, Some(600), 2, true),
        (1, Some(u32::MAX), 2, true),
        (0, Some(0), 0, false),
        (0, None, 0, false),
    ] {
        let (client, _) = Connect::new(Version::V5, "c")
            .expiring(first)
            .open(daemon.port());
        leave(client, &last.map(expiry).into_iter().collect::<Vec<_>>());
        let found = is_there_after(&daemon, seconds);
        assert_eq!(found, is_left, "{first}, then {last:?}");
    }
    // Not beyond what the daemon grants.
    let daemon = Daemon::start("mqtt { max_session_expiry_interval = 1s }");
    let (client, _) = Connect::new(Version::V5, "c")
        .expiring(1)
        .open(daemon.port());
    leave(client, &[expiry(600)]);
    assert!(!is_there_after(&daemon, 1));
}

// Conforms: 5.0 [MQTT-4.13.1-1]
#[test]
fn a_session_expiry_of_zero_cannot_be_raised() {
    let daemon = Daemon::start("");
    for connect in [
        Connect::new(Version::V5, "c"),
        Connect::new(Version::V5, "c").expiring(0),
    ] {
        for seconds in [1, u32::MAX] {
            let (mut client, _) = connect.open(daemon.port());
            let body = [vec![0], property::encode(&[expiry(seconds)])].concat();
            client.send(&packet(0xe0, &body)).unwrap();
            client.expect_closed(0x82);
            assert!(!is_there_after(&daemon, 0));
        }
    }
}

/// What is sent to be told why, and the reason.
fn faults() -> Vec<(Vec<u8>, u8)> {
    let message = |topic: &str| Message::new(topic, "");
    let encode = |message: Message| message.encode(Version::V5);
    let alias = |alias| Property::two_bytes(0x23, alias);
    let many = || (0..5).fold(message("t"), |it, _| it.with(Property::user("a", "b")));
    vec![
        (hex("00 00"), 0x81),
        (encode(message("")), 0x82),
        (Connect::new(Version::V5, "c").bytes(), 0x82),
        (encode(message("a/#")), 0x90),
        (encode(message(&"long".repeat(10))), 0x90),
        (encode(message("t").with(alias(3))), 0x94),
        (hex("30 ff ff ff 7f"), 0x95),
        (encode(many()), 0x97),
        (encode(message("t").retained()), 0x9a),
        (encode(message("t").qos(2, 1)), 0x9b),
        (hex("f0 00"), 0x82),
        (subscribe(Version::V5, 1, "a#", 0), 0x8f),
    ]
}

const FAULTY: &str = "mqtt {
    max_topic_len = 32, max_topic_alias = 2, max_user_properties = 4
    retain_available = false, max_qos_allowed = 1, receive_maximum = 2
}";

// Conforms: 5.0 [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.3.2-9] [MQTT-3.2.2-15] [MQTT-3.2.2-17]
#[test]
fn the_broker_says_why_it_closes() {
    let daemon = Daemon::start(FAULTY);
    for (fault, reason) in faults() {
        let mut client = join(&daemon, Version::V5, "c");
        client.send(&fault).unwrap();
        client.expect_closed(reason);
    }
    // MQTT 3 has no packet for it.
    for version in [Version::V31, Version::V311] {
        let mut client = join(&daemon, version, "c");
        client.send(&hex("00 00")).unwrap();
        client.expect_closed(0x81);
    }
}

// Conforms: 5.0 [MQTT-3.3.4-7] [MQTT-3.14.2-1]
#[test]
fn more_than_the_receive_maximum_is_told() {
    let daemon = Daemon::start("mqtt { receive_maximum = 2 }");
    let mut client = join(&daemon, Version::V5, "c");
    // The third of those that wait for a PUBREL.
    let messages = [1, 2, 3].map(|it| Message::new("t", "").qos(2, it).encode(Version::V5));
    client.send(&messages.concat()).unwrap();
    let mut last = None;
    while let Some(packet) = client.receive().unwrap() {
        assert_eq!(last, None, "nothing comes behind a DISCONNECT");
        last = (packet.head == 0xe0).then(|| packet.body[0]);
    }
    assert_eq!(last, Some(0x93));
}

// Conforms: 5.0 [MQTT-3.14.2-2] [MQTT-3.14.4-2]
#[test]
fn a_broker_that_stops_says_so_and_may_name_another() {
    for (configuration, reason, reference) in [
        ("", 0x8b, None),
        (
            "mqtt { server_reference = \"other:1883\" }",
            0x9c,
            Some("other:1883"),
        ),
    ] {
        let mut daemon = Daemon::start(configuration);
        let mut clients = Version::ALL.map(|it| join(&daemon, it, &format!("{it:?}")));
        daemon.stop();
        for client in &mut clients {
            if client.version() == Version::V5 {
                let properties = client.expect_disconnect(reason);
                assert_eq!(properties.text(0x1c), reference);
            } else {
                client.expect_end();
            }
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-24] [MQTT-3.14.2-3]
#[test]
fn no_disconnect_is_larger_than_the_client_accepts() {
    let mut daemon = Daemon::start("mqtt { server_reference = \"other:1883\" }");
    let connect = |number: u8| {
        // From as little as the CONNACK takes.
        let size = Property::four_bytes(0x27, 16 + u32::from(number));
        Connect::new(Version::V5, &format!("c{number}")).property(size)
    };
    let expect = |client: &mut WireClient, number: u8, reason: u8| {
        let answer = client.expect(0xe0).unwrap();
        assert_eq!(answer.body[0], reason);
        let length = packet(answer.head, &answer.body).len();
        assert!(length <= 16 + usize::from(number), "{length}: {answer:?}");
        client.expect_end();
        length
    };
    let mut lengths = Vec::new();
    for number in 0..80 {
        let (mut client, _) = connect(number).open(daemon.port());
        client.send(&hex("00 00")).unwrap();
        lengths.push(expect(&mut client, number, 0x81));
    }
    // It says why where there is room, and nothing where there is none.
    assert!(lengths[0] <= 4 && lengths[79] > 10, "{lengths:?}");
    let mut clients: Vec<_> = (0..80)
        .map(|it| connect(it).open(daemon.port()).0)
        .collect();
    daemon.stop();
    for (client, number) in clients.iter_mut().zip(0..) {
        expect(client, number, 0x9c);
    }
}

// Conforms: 5.0 [MQTT-3.14.2-1]
#[test]
fn only_reasons_of_a_disconnect_are_accepted() {
    let daemon = Daemon::start("");
    for reason in [
        0x01, 0x02, 0x03, 0x10, 0x11, 0x18, 0x19, 0x7f, 0x84, 0x85, 0x86, 0x91, 0x92, 0xa3, 0xff,
    ] {
        let mut client = join(&daemon, Version::V5, "c");
        client.send(&packet(0xe0, &[reason])).unwrap();
        client.expect_closed(0x81);
    }
    for reason in [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ] {
        let mut client = join(&daemon, Version::V5, "c");
        client.send(&packet(0xe0, &[reason, 0])).unwrap();
        client.expect_end();
    }
}

// Conforms: 5.0 [MQTT-3.14.0-1] [MQTT-3.2.0-1]
#[test]
fn no_disconnect_comes_before_a_connack() {
    let mut daemon = Daemon::start("");
    let mut client = WireClient::open(daemon.port(), Version::V5).unwrap();
    // Half a CONNECT; the refusal of a whole one is a CONNACK, see elsewhere.
    let bytes = Connect::new(Version::V5, "c")
        .property(property("21 000a"))
        .bytes();
    client.send(&bytes[..bytes.len() / 2]).unwrap();
    daemon.stop();
    client.expect_end();
}
