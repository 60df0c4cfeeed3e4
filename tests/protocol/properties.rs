//! Which packet may have which property, and how often (§2.2.2, §3.1.2.11, §3.1.3.2).

use tests::bytes::{hex, property, string};
use tests::connect::{Connect, Will, refused};
use tests::daemon::Daemon;
use tests::property::{self, Property};
use tests::wire::{Version, WireClient, packet};

/// Which part of which packet a property stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack(u8),
    Disconnect,
    Auth,
}

use Place::{Ack, Auth, Disconnect, Publish, Subscribe, Unsubscribe};

const PLACES: [Place; 11] = [
    Place::Connect,
    Place::Will,
    Publish,
    Subscribe,
    Unsubscribe,
    Ack(0x40),
    Ack(0x50),
    Ack(0x62),
    Ack(0x70),
    Disconnect,
    Auth,
];

const ACKS: [Place; 4] = [Ack(0x40), Ack(0x50), Ack(0x62), Ack(0x70)];

/// Every property that there is with a value, and where a client may send it (table 2-4).
fn table() -> Vec<(&'static str, Vec<Place>)> {
    let message = || vec![Publish, Place::Will];
    let reason = || [ACKS.as_slice(), &[Disconnect, Auth]].concat();
    vec![
        ("01 01", message()),
        ("02 0000000a", message()),
        ("03 0001 61", message()),
        ("08 0001 61", message()),
        ("09 0001 61", message()),
        ("0b 01", vec![Subscribe, Publish]),
        ("11 0000000a", vec![Place::Connect, Disconnect]),
        ("12 0001 61", vec![]),
        ("13 000a", vec![]),
        ("15 0001 61", vec![Place::Connect, Auth]),
        ("16 0001 61", vec![Place::Connect, Auth]),
        ("17 01", vec![Place::Connect]),
        ("18 0000000a", vec![Place::Will]),
        ("19 01", vec![Place::Connect]),
        ("1a 0001 61", vec![]),
        // Only a server sends it, but the table allows it in DISCONNECT.
        ("1c 0001 61", vec![Disconnect]),
        ("1f 0001 61", reason()),
        ("21 000a", vec![Place::Connect]),
        ("22 000a", vec![Place::Connect]),
        ("23 0001", vec![Publish]),
        ("24 01", vec![]),
        ("25 01", vec![]),
        ("26 0001 61 0001 62", PLACES.to_vec()),
        ("27 00000400", vec![Place::Connect]),
        ("28 01", vec![]),
        ("29 01", vec![]),
        ("2a 01", vec![]),
    ]
}

/// A packet with these properties, which would be right with others.
fn with(place: Place, properties: &[Property]) -> Vec<u8> {
    let block = property::encode(properties);
    let mut connect = Connect::new(Version::V5, "c");
    match place {
        Place::Connect => {
            connect.properties = properties.to_vec();
            connect.bytes()
        }
        Place::Will => {
            let mut will = Will::new("t", b"");
            will.properties = properties.to_vec();
            connect.will(will).bytes()
        }
        Publish => packet(0x30, &[string("t"), block].concat()),
        Subscribe => packet(0x82, &[vec![0, 1], block, string("t"), vec![0]].concat()),
        Unsubscribe => packet(0xa2, &[vec![0, 1], block, string("t")].concat()),
        Ack(head) => packet(head, &[vec![0, 1, 0], block].concat()),
        Disconnect => packet(0xe0, &[vec![0], block].concat()),
        Auth => packet(0xf0, &[vec![0x18], block].concat()),
    }
}

/// What the broker says to a packet; 0 if nothing is wrong with it.
fn reason(port: u16, place: Place, properties: &[Property]) -> u8 {
    let bytes = with(place, properties);
    // A session that could live on, so that DISCONNECT may change its expiry.
    let connect = Connect::new(Version::V5, "c").expiring(1);
    let (mut client, _) = match place {
        Place::Connect | Place::Will => {
            let mut client = WireClient::open(port, Version::V5).unwrap();
            client.send(&bytes).unwrap();
            let code = client.expect(0x20).unwrap().body[1];
            if code > 0 {
                assert_eq!(
                    refused(port, Version::V5, &bytes).map(|it| it.code),
                    Some(code)
                );
                return code;
            }
            client.expect_silence();
            return 0;
        }
        Publish | Subscribe | Unsubscribe | Ack(_) | Disconnect | Auth => connect.open(port),
    };
    client.send(&bytes).unwrap();
    // Behind a DISCONNECT it is ignored.
    client.send(&hex("c0 00")).ok();
    loop {
        match client.receive() {
            Ok(Some(packet)) if packet.head == 0xe0 => return packet.body[0],
            Ok(Some(packet)) if packet.head == 0xd0 => return 0,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) if place == Disconnect => return 0,
            other => panic!("{place:?} with {properties:02x?}: {other:?}"),
        }
    }
}

/// What has to be said to a property that may stand there.
fn accepted(place: Place, property: &str) -> u8 {
    match (place, property) {
        // There is no such method, or none at all.
        (Place::Connect, "15 0001 61") => 0x8c,
        (Place::Connect, "16 0001 61") | (Auth, _) => 0x82,
        // Only a server may send it [MQTT-3.3.4-6].
        (Publish, "0b 01") => 0x82,
        _ => 0,
    }
}

// Conforms: 5.0 [MQTT-3.1.4-1] [MQTT-3.3.4-6] [MQTT-4.13.1-1]
#[test]
fn properties_stand_only_where_they_belong() {
    let daemon = Daemon::start("");
    for (encoded, allowed) in table() {
        for place in PLACES {
            let expected = if allowed.contains(&place) {
                accepted(place, encoded)
            } else {
                0x81
            };
            let found = reason(daemon.port(), place, &[property(encoded)]);
            assert_eq!(found, expected, "{encoded} in {place:?}: {found:#x}");
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.4-1] [MQTT-4.13.1-1]
#[test]
fn only_user_properties_stand_more_than_once() {
    let daemon = Daemon::start("");
    for (encoded, allowed) in table() {
        for place in allowed {
            let expected = if encoded.starts_with("26") {
                accepted(place, encoded)
            } else {
                0x82
            };
            let found = reason(
                daemon.port(),
                place,
                &[property(encoded), property(encoded)],
            );
            assert_eq!(found, expected, "{encoded} twice in {place:?}: {found:#x}");
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.4-1] [MQTT-4.13.1-1] [MQTT-3.3.2-8] [MQTT-3.3.2-14]
#[test]
fn values_that_must_not_be_are_refused() {
    let daemon = Daemon::start("");
    for (place, encoded, expected) in [
        // Receive Maximum, Maximum Packet Size, the two Requests.
        (Place::Connect, "21 0000", 0x82),
        (Place::Connect, "27 00000000", 0x82),
        (Place::Connect, "17 02", 0x82),
        (Place::Connect, "19 02", 0x82),
        // Payload Format Indicator and Response Topic.
        (Place::Will, "01 02", 0x82),
        (Place::Will, "08 0001 23", 0x82),
        (Publish, "01 02", 0x82),
        (Publish, "08 0003 612f2b", 0x82),
        (Publish, "23 0000", 0x94),
        // Subscription Identifiers.
        (Subscribe, "0b 00", 0x82),
        // Unknown identifiers, one of them too long for a byte.
        (Place::Connect, "04 00", 0x81),
        (Place::Will, "7f 00", 0x81),
        (Publish, "2b 00", 0x81),
        (Subscribe, "8101 00", 0x81),
        (Disconnect, "00", 0x81),
        // Values that are cut off.
        (Place::Connect, "11 000000", 0x81),
        (Place::Will, "03 0002 61", 0x81),
        (Publish, "26 0001 61", 0x81),
        (Publish, "23 00", 0x81),
        (Unsubscribe, "26 0001 61 0002 61", 0x81),
        (Ack(0x40), "1f 00", 0x81),
    ] {
        let found = reason(daemon.port(), place, &[property(encoded)]);
        assert_eq!(found, expected, "{encoded} in {place:?}: {found:#x}");
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]
#[test]
fn more_user_properties_than_allowed_are_refused() {
    let daemon = Daemon::start("mqtt { max_user_properties = 3 }");
    let pairs = |count| vec![Property::user("a", "b"); count];
    for place in [Place::Connect, Place::Will, Publish, Subscribe, Unsubscribe] {
        assert_eq!(reason(daemon.port(), place, &pairs(3)), 0, "{place:?}");
        let found = reason(daemon.port(), place, &pairs(4));
        assert_eq!(found, 0x97, "{place:?}: {found:#x}");
    }
}
