//! Will Messages (§3.1.2.5, §3.1.3.2): when they are published, and what they look like.

use tests::bytes::{hex, subscribe};
use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::dialogue::{join, leave_session, resume};
use tests::message::Message;
use tests::property::Property;
use tests::wire::{Version, WireClient, packet};

/// A client that is told every will, and one that has left one.
fn watch(daemon: &Daemon) -> WireClient {
    let mut watcher = join(daemon, Version::V5, "watcher");
    watcher.subscribe("will/#", 2).unwrap();
    watcher
}

fn will() -> Will {
    Will::new("will/c", b"gone")
}

/// The next message is that will.
#[track_caller]
fn expect_will(watcher: &mut WireClient) {
    let message = watcher.take();
    let found = (message.topic.as_str(), message.payload.as_slice());
    assert_eq!(found, ("will/c", b"gone".as_slice()));
}

/// No will has been published.
#[track_caller]
fn expect_none(watcher: &mut WireClient) {
    watcher.say(&Message::new("will/end", ""));
    assert_eq!(watcher.take().topic, "will/end");
}

/// A way in which a connection ends, and whether MQTT 3 and MQTT 5 publish the will then. What is
/// sent is in hexadecimal; nothing is the end of the stream.
const ENDINGS: [(&str, bool, bool); 14] = [
    ("e0 00", false, false),
    ("", true, true),
    // Amid a packet.
    ("30 7f 00", true, true),
    // Reserved type; PINGREQ with a body; DISCONNECT with flags.
    ("00 00", true, true),
    ("c0 01 00", true, true),
    ("e1 00", true, true),
    // Too large.
    ("30 ff ff ff 7f", true, true),
    // Normal disconnection, and with will.
    ("e0 01 00", true, false),
    ("e0 01 04", true, true),
    ("e0 02 00 00", true, false),
    // Any other reason is no normal one.
    ("e0 01 80", true, true),
    ("e0 01 81", true, true),
    ("e0 01 98", true, true),
    // One that is none.
    ("e0 01 01", true, true),
];

// Conforms: 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.1-1] [MQTT-3.14.2-1] [MQTT-3.14.4-3]
// Conforms: 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.1-1] [MQTT-3.14.4-3]; 3.1 [MQTT31-13]
#[test]
fn it_is_published_unless_the_connection_ends_in_order() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    for version in Version::ALL {
        for (ending, in_v3, in_v5) in ENDINGS {
            let (mut client, _) = Connect::new(version, "c").will(will()).open(daemon.port());
            if ending.is_empty() {
                client.finish().unwrap();
            } else {
                client.send(&hex(ending)).unwrap();
                // What is cut off ends here.
                client.finish().ok();
            }
            while let Ok(Some(_)) = client.receive() {}
            if if version == Version::V5 { in_v5 } else { in_v3 } {
                expect_will(&mut watcher);
            }
            expect_none(&mut watcher);
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.4-3] [MQTT-4.13.1-1]
// Conforms: 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-24] [MQTT-3.1.4-2]; 3.1 [MQTT31-13]
#[test]
fn it_is_published_when_the_broker_ends_the_connection() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    for version in Version::ALL {
        let connect = Connect::new(version, "c").will(will());
        // A second CONNECT.
        let (mut client, _) = connect.open(daemon.port());
        client.send(&connect.bytes()).unwrap();
        client.expect_closed(0x82);
        expect_will(&mut watcher);
        // A takeover; the second one has no will.
        let (mut client, _) = connect.open(daemon.port());
        let (second, _) = Connect::new(version, "c").open(daemon.port());
        client.expect_closed(0x8e);
        expect_will(&mut watcher);
        drop(second);
        // Silence.
        let (mut client, _) = connect.clone().keep_alive(1).open(daemon.port());
        client.expect_closed(0x8d);
        expect_will(&mut watcher);
        expect_none(&mut watcher);
    }
}

// Conforms: 5.0 [MQTT-3.1.2-8]; 3.1.1 [MQTT-3.1.2-8]
#[test]
fn it_is_published_when_the_broker_stops() {
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        leave_session(&daemon, version, "watcher", "will/#", 1);
        let (mut client, _) = Connect::new(version, "c")
            .will(will().qos(1))
            .open(daemon.port());
        daemon.stop();
        client.expect_closed(0x8b);
        daemon.restart();
        let (mut watcher, _) = resume(&daemon, version, "watcher");
        expect_will(&mut watcher);
        join(&daemon, version, "watcher").disconnect().unwrap();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-10]; 3.1.1 [MQTT-3.1.2-10] [MQTT-3.1.2-12]; 3.1 [MQTT31-13]
#[test]
fn it_belongs_to_its_connection_only() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    for version in Version::ALL {
        let connect = Connect::new(version, "c").resuming(60);
        // Published, then a connection without one is lost.
        drop(connect.clone().will(will()).open(daemon.port()));
        expect_will(&mut watcher);
        let (mut client, _) = connect.open(daemon.port());
        client.finish().unwrap();
        client.expect_end();
        // Deleted, then the same.
        let (client, _) = connect.clone().will(will()).open(daemon.port());
        client.disconnect().unwrap();
        let (mut client, _) = connect.open(daemon.port());
        client.finish().unwrap();
        client.expect_end();
        expect_none(&mut watcher);
    }
}

/// The retained will, as somebody gets it who comes later.
fn retained(daemon: &Daemon, version: Version) -> Option<Message> {
    let mut later = join(daemon, version, "later");
    let mut found = None;
    // The answers to what is sent; the message comes before or behind the SUBACK.
    let steps = [
        (subscribe(version, 9, "will/c", 2), 0x90),
        (hex("c0 00"), 0xd0),
        (hex("c0 00"), 0xd0),
    ];
    for (bytes, answer) in steps {
        later.send(&bytes).unwrap();
        let mut packet = later.receive().unwrap().unwrap();
        if packet.head != answer {
            found = Message::decode(&packet, version);
            packet = later.receive().unwrap().unwrap();
        }
        assert_eq!(packet.head, answer, "{packet:?}");
    }
    found
}

// Conforms: 5.0 [MQTT-3.1.2-14] [MQTT-3.1.2-15]; 3.1.1 [MQTT-3.1.2-16] [MQTT-3.1.2-17]; 3.1 [MQTT31-13]
#[test]
fn it_has_its_qos_and_is_retained_if_it_shall_be() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    for version in Version::ALL {
        for (qos, retain) in [0, 1, 2].map(|qos| [(qos, false), (qos, true)]).concat() {
            let mut will = will().qos(qos);
            will.retain = retain;
            drop(Connect::new(version, "c").will(will).open(daemon.port()));
            let message = watcher.take();
            assert_eq!((message.qos, message.retain), (qos, false));
            let kept = retained(&daemon, version).map(|it| (it.qos, it.retain));
            assert_eq!(kept, retain.then_some((qos, true)));
            watcher.say(&Message::new("will/c", "").retained());
            assert!(watcher.take().payload.is_empty());
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.3-1] [MQTT-3.1.3-10] [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn its_properties_and_payload_are_passed_on_as_they_are() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    let pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("c", "3")];
    let mut properties = vec![
        Property::byte(0x01, 1),
        Property::text(0x03, "text/plain"),
        Property::text(0x08, "answer/to"),
        Property::text(0x09, [0, 255, 1]),
    ];
    properties.extend(pairs.map(|(name, value)| Property::user(name, value)));
    let mut will = Will::new("will/c", "\u{20ac}\0".as_bytes()).qos(1).delay(0);
    will.properties.extend(properties.iter().cloned());
    let connect = Connect::new(Version::V5, "c").will(will);
    drop(connect.open(daemon.port()));
    let message = watcher.take();
    assert_eq!(message.payload, "\u{20ac}\0".as_bytes());
    assert_eq!(message.properties, properties);
    // Nothing, and as much as there can be.
    for payload in [vec![], vec![b'x'; 65_535]] {
        for version in Version::ALL {
            let connect = Connect::new(version, "c").will(Will::new("will/c", &payload));
            drop(connect.open(daemon.port()));
            let message = watcher.take();
            assert_eq!(message.payload, payload);
            assert_eq!(message.properties, []);
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.3-1] [MQTT-3.1.3-11]; 3.1.1 [MQTT-3.1.3-1]
#[test]
fn it_stands_between_client_identifier_and_user_name() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    for version in Version::ALL {
        let no_properties = version.no_properties();
        let head = [version.name_and_level(), &[0b1100_0110, 0, 0]].concat();
        let rest = hex("0001 63 0006 77696c6c2f63 0004 676f6e65 0004 75736572 0004 70617373");
        let (client_id, rest) = rest.split_at(3);
        let body = [&head, no_properties, client_id, no_properties, rest].concat();
        let mut client = WireClient::open(daemon.port(), version).unwrap();
        client.send(&packet(0x10, &body)).unwrap();
        assert_eq!(client.expect(0x20).unwrap().body[1], 0);
        drop(client);
        expect_will(&mut watcher);
    }
}
