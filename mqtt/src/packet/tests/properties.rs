//! Every property in every packet, as table 2-4 of MQTT 5.0 has it.

use super::*;

/// The places for a property block: name, first byte, what is before the block and behind it.
const PLACES: [(&str, &str, &str, &str); 14] = [
    ("CONNECT", "10", "0004 4d515454 05 02 003c", "0001 61"),
    (
        "will",
        "10",
        "0004 4d515454 05 06 003c 00 0001 61",
        "0001 74 0000",
    ),
    ("CONNACK", "20", "00 00", ""),
    ("PUBLISH", "30", "0001 61", "70"),
    ("PUBACK", "40", "0001 00", ""),
    ("PUBREC", "50", "0001 00", ""),
    ("PUBREL", "62", "0001 00", ""),
    ("PUBCOMP", "70", "0001 00", ""),
    ("SUBSCRIBE", "82", "0001", "0001 61 00"),
    ("SUBACK", "90", "0001", "00"),
    ("UNSUBSCRIBE", "a2", "0001", "0001 61"),
    ("UNSUBACK", "b0", "0001", "00"),
    ("DISCONNECT", "e0", "00", ""),
    ("AUTH", "f0", "18", ""),
];
const MESSAGE: &[&str] = &["PUBLISH", "will"];
const CONNACK: &[&str] = &["CONNACK"];
const BOTH_ENDS: &[&str] = &["CONNECT", "CONNACK"];
const AUTHENTICATION: &[&str] = &["CONNECT", "CONNACK", "AUTH"];
const ANSWERS: &[&str] = &[
    "CONNACK",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBACK",
    "UNSUBACK",
    "DISCONNECT",
    "AUTH",
];
const USER_PROPERTY: &str = "26 0001 6e 0001 76";
const SUBSCRIPTION_IDENTIFIER: &str = "0b 8001";
/// Each property with a value, and where it may stand; the User Property may stand everywhere.
const PROPERTIES: [(&str, &[&str]); 26] = [
    ("01 01", MESSAGE),
    ("02 00000001", MESSAGE),
    ("03 0001 74", MESSAGE),
    ("08 0001 72", MESSAGE),
    ("09 0001 ff", MESSAGE),
    (SUBSCRIPTION_IDENTIFIER, &["PUBLISH", "SUBSCRIBE"]),
    ("11 00000001", &["CONNECT", "CONNACK", "DISCONNECT"]),
    ("12 0001 63", CONNACK),
    ("13 0001", CONNACK),
    ("15 0001 6d", AUTHENTICATION),
    ("16 0001 ff", AUTHENTICATION),
    ("17 01", &["CONNECT"]),
    ("18 00000001", &["will"]),
    ("19 01", &["CONNECT"]),
    ("1a 0001 69", CONNACK),
    ("1c 0001 73", &["CONNACK", "DISCONNECT"]),
    ("1f 0001 72", ANSWERS),
    ("21 0001", BOTH_ENDS),
    ("22 0001", BOTH_ENDS),
    ("23 0001", &["PUBLISH"]),
    ("24 01", CONNACK),
    ("25 01", CONNACK),
    ("27 00000001", BOTH_ENDS),
    ("28 01", CONNACK),
    ("29 01", CONNACK),
    ("2a 01", CONNACK),
];

/// What becomes of a packet with these bytes as its property block.
fn outcome(place: (&str, &str, &str, &str), block: &[u8]) -> Result<(), ReasonCode> {
    let (_, head, before, behind) = place;
    let block_len = u8::try_from(block.len()).expect("a short block");
    let body = [&bytes(before), &[block_len][..], block, &bytes(behind)].concat();
    let body_len = u8::try_from(body.len()).expect("a short body");
    let packet = [bytes(head), vec![body_len], body].concat();
    decode(&packet, V5).map(drop).map_err(|error| error.reason)
}

fn all() -> impl Iterator<
    Item = (
        &'static str,
        (&'static str, &'static str, &'static str, &'static str),
        bool,
    ),
> {
    let everywhere = PLACES.map(|place| (USER_PROPERTY, place, true));
    let others = PROPERTIES.into_iter().flat_map(|(property, allowed)| {
        PLACES.map(|place| (property, place, allowed.contains(&place.0)))
    });
    everywhere.into_iter().chain(others)
}

#[test]
fn a_property_stands_only_where_it_is_allowed() {
    for (property, place, is_allowed) in all() {
        let expected = if is_allowed {
            Ok(())
        } else {
            Err(ReasonCode::MalformedPacket)
        };
        let found = outcome(place, &bytes(property));
        assert_eq!(found, expected, "{property} in {}", place.0);
    }
}

#[test]
fn a_property_stands_once_unless_it_may_repeat() {
    for (property, place, is_allowed) in all() {
        let may_repeat = property == USER_PROPERTY
            || (property, place.0) == (SUBSCRIPTION_IDENTIFIER, "PUBLISH");
        let expected = match (is_allowed, may_repeat) {
            (true, true) => Ok(()),
            (true, false) => Err(ReasonCode::ProtocolError),
            (false, _) => Err(ReasonCode::MalformedPacket),
        };
        let found = outcome(place, &bytes(property).repeat(2));
        assert_eq!(found, expected, "{property} in {}", place.0);
    }
}

#[test]
fn a_property_that_is_cut_is_malformed() {
    for (property, place, _) in all() {
        let whole = bytes(property);
        for len in 1..whole.len() {
            let found = outcome(place, &whole[..len]);
            let expected = Err(ReasonCode::MalformedPacket);
            assert_eq!(found, expected, "{len} bytes of {property} in {}", place.0);
        }
    }
}

#[test]
fn other_identifiers_are_unknown() {
    let known = |identifier: u8| {
        let mut known = all().map(|(property, ..)| bytes(property)[0]);
        known.any(|it| it == identifier)
    };
    for identifier in (0..0x80).filter(|it| !known(*it)) {
        for place in PLACES {
            let found = outcome(place, &[identifier, 0, 0, 0, 0]);
            let expected = Err(ReasonCode::MalformedPacket);
            assert_eq!(found, expected, "{identifier:#x} in {}", place.0);
        }
    }
}

#[test]
fn properties_are_checked_where_they_are_made() {
    let mut block = Vec::new();
    Property::SessionExpiryInterval(60).encode(&mut block);
    let checked = Properties::checked(&block, PropertyOwner::Connect).unwrap();
    let expected = [Property::SessionExpiryInterval(60)];
    assert!(checked.iter().eq(expected));
    let refused = Properties::checked(&block, PropertyOwner::Publish).unwrap_err();
    assert_eq!(refused.reason, ReasonCode::MalformedPacket);
}
