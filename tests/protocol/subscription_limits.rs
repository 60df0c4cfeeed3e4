//! What the configuration takes away from subscriptions.

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::subscription::{subscribe, subscription_identifier};
use tests::wire::{Packet, Version};

/// The codes of a filter that is refused.
fn refused(version: Version, reason: u8) -> u8 {
    match version {
        Version::V5 => reason,
        Version::V311 => 0x80,
        Version::V31 => 0,
    }
}

/// Whether a CONNACK has this property, one byte long, with the value 0.
fn says_no(connack: &Packet, property: u8) -> bool {
    let mut properties = &connack.body[3..];
    while let [identifier, rest @ ..] = properties {
        let length = match identifier {
            0x21 | 0x22 => 2,
            0x27 => 4,
            0x24 | 0x25 | 0x28..=0x2a => 1,
            // A User Property: the name and the value, each behind its length.
            0x26 => {
                let name = usize::from(rest[1]);
                4 + name + usize::from(rest[3 + name])
            }
            other => panic!("a property that is not expected: {other:#x}"),
        };
        if *identifier == property {
            assert_eq!(rest[0], 0, "what is there need not be said");
            return true;
        }
        properties = &rest[length..];
    }
    false
}

/// A switch, its property in CONNACK, and a SUBSCRIBE that it forbids.
struct Feature {
    key: &'static str,
    property: u8,
    reason: u8,
    filter: &'static str,
    has_identifier: bool,
}

const FEATURES: [Feature; 3] = [
    Feature {
        key: "wildcard_subscription",
        property: 0x28,
        reason: 0xa2,
        filter: "t/+",
        has_identifier: false,
    },
    Feature {
        key: "subscription_identifier",
        property: 0x29,
        reason: 0xa1,
        filter: "t/x",
        has_identifier: true,
    },
    Feature {
        key: "shared_subscription",
        property: 0x2a,
        reason: 0x9e,
        filter: "$share/g/t/x",
        has_identifier: false,
    },
];

// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-3.8.3-2]
#[test]
fn what_is_switched_off_is_announced_and_refused() {
    for feature in &FEATURES {
        let daemon = Daemon::start(&format!("mqtt {{ {} = false }}", feature.key));
        let mut client = StrictClient::open(daemon.port(), Version::V5);
        client.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c");
        let connack = client.answer(0x20);
        for other in &FEATURES {
            let is_off = other.key == feature.key;
            assert_eq!(says_no(&connack, other.property), is_off, "{}", other.key);
        }
        // It ends the connection, and the good filter before it counts for nothing.
        let properties = if feature.has_identifier {
            subscription_identifier(1)
        } else {
            Vec::new()
        };
        let filters = [("good", 1), (feature.filter, 1)];
        let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, "c");
        client.send(&subscribe(Version::V5, 1, &properties, &filters));
        client.expect_closed(feature.reason);
        let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, "c");
        client.publish("good", "x", 1);
        client.publish("t/x", "x", 1);
        client.expect_silence();
        // MQTT 3 clients were not told. They have no identifiers either.
        for version in [Version::V31, Version::V311] {
            let mut client = StrictClient::start(daemon.port(), version, "d");
            let code = if feature.has_identifier {
                1
            } else {
                refused(version, 0)
            };
            assert_eq!(client.subscribe_all(&filters), [1, code]);
            client.publish("t/x", "x", 1);
            assert_eq!(client.drain().len(), usize::from(feature.has_identifier));
        }
    }
}

#[test]
fn what_is_there_is_not_announced() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::open(daemon.port(), Version::V5);
    client.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c");
    let connack = client.answer(0x20);
    for feature in &FEATURES {
        assert!(!says_no(&connack, feature.property), "{}", feature.key);
    }
}

// Conforms: 5.0 [MQTT-3.8.4-3] [MQTT-3.8.4-7] [MQTT-3.9.3-2]; 3.1.1 [MQTT-3.8.4-3] [MQTT-3.9.3-2]
#[test]
fn a_client_has_so_many_subscriptions_and_may_replace_them() {
    let daemon = Daemon::start("mqtt { max_subscriptions = 3 }");
    for version in Version::ALL {
        let full = refused(version, 0x97);
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        let filters = [
            ("a", 1),
            ("b/+", 1),
            ("b/+", 2),
            ("$share/g/c", 1),
            ("d", 1),
        ];
        assert_eq!(client.subscribe_all(&filters), [1, 1, 2, 1, full]);
        assert_eq!(client.subscribe_all(&[("d", 1), ("a", 0)]), [full, 0]);
        client.publish("d", "x", 1);
        client.expect_silence();
        client.publish("a", "x", 1);
        assert_eq!(client.message().qos, 0);
        // Others have their own, and one that ends makes room.
        let mut other = StrictClient::start(daemon.port(), version, "other");
        other.subscribe("d", 1);
        client.disconnect();
        let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
        assert_eq!(client.subscribe_all(&[("d", 1)]), [full]);
        client.unsubscribe(&["a"]);
        client.subscribe("d", 1);
        client.unsubscribe(&["b/+", "$share/g/c", "d"]);
    }
}

/// A bomb: as many filters as may be, each of them with wildcards in other levels than the rest.
#[test]
fn fifty_thousand_wildcard_filters_do_not_hinder_publishing() {
    const FILTERS: u32 = 50_000;
    const MESSAGES: usize = 20;
    let daemon = Daemon::start(&format!("mqtt {{ max_subscriptions = {FILTERS} }}"));
    // Sixteen levels, each of them `+` or the name's; with and without a last one that does not
    // match, so that the whole tree has to be walked for nothing or for everything.
    let filter = |number: u32, last: &str| {
        let level = |bit: u32| if number >> bit & 1 == 0 { "+" } else { "a" };
        let levels: Vec<_> = (0..16).map(level).collect();
        levels.join("/") + last
    };
    let topic = vec!["a"; 16].join("/");
    for last in ["", "/b"] {
        let mut bomber = StrictClient::start(daemon.port(), Version::V5, "bomber");
        for start in (0..FILTERS).step_by(500) {
            let filters: Vec<_> = (start..start + 500)
                .map(|it| (filter(it, last), 1))
                .collect();
            assert_eq!(bomber.subscribe_all(&filters), [1; 500]);
        }
        let mut client = StrictClient::start(daemon.port(), Version::V311, "c");
        client.subscribe(&topic, 1);
        for _ in 0..MESSAGES {
            client.publish(&topic, "x", 1);
            client.message();
        }
        let expected = if last.is_empty() { MESSAGES } else { 0 };
        assert_eq!(bomber.drain().len(), expected);
        // A name that matches none is not touched by them.
        client.subscribe("b", 1);
        for _ in 0..10 * MESSAGES {
            client.publish("b", "x", 1);
            client.message();
        }
    }
}
