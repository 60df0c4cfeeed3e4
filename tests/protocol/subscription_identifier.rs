//! Subscription Identifiers, and subscriptions of one client that overlap (§3.3.4, §3.8.2.1.2).

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::subscription::{subscribe, subscription_identifier};
use tests::wire::Version;

/// Some whose encodings have all four lengths.
const IDENTIFIERS: [u32; 8] = [
    1,
    127,
    128,
    16_383,
    16_384,
    2_097_151,
    2_097_152,
    268_435_455,
];

// Conforms: 5.0 [MQTT-3.3.4-3]
#[test]
fn every_identifier_comes_back() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.retain("r", "x", 1);
    for (qos, identifier) in (0..=2).cycle().zip(IDENTIFIERS) {
        client.subscribe_identified("t", qos, identifier);
        publisher.publish("t", "x", 2);
        let message = client.message();
        assert_eq!(message.subscription_identifiers, [identifier]);
        client.subscribe_identified("r", qos, identifier);
        let retained = client.message();
        assert_eq!(retained.subscription_identifiers, [identifier]);
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]
#[test]
fn identifiers_that_do_not_exist_close_the_connection() {
    let daemon = Daemon::start("");
    let twice = [subscription_identifier(1), subscription_identifier(2)].concat();
    let cases: [(&[u8], u8); 5] = [
        (b"\x0b\0", 0x82),
        (&twice, 0x82),
        // 268,435,456, and 1 with needless bytes.
        (b"\x0b\x80\x80\x80\x80\x01", 0x81),
        (b"\x0b\x81\x00", 0x81),
        (b"\x0b\xff", 0x81),
    ];
    for (properties, reason) in cases {
        let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, "c");
        client.send(&subscribe(Version::V5, 1, properties, &[("t", 1)]));
        client.expect_closed(reason);
    }
    let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, "c");
    client.publish("t", "x", 1);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.8.4-3]
#[test]
fn a_new_subscription_to_the_filter_replaces_the_identifier() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    let expect = |client: &mut StrictClient, identifiers: &[u32]| {
        client.publish("t", "x", 1);
        assert_eq!(client.message().subscription_identifiers, identifiers);
        client.expect_silence();
    };
    client.subscribe("t", 1);
    expect(&mut client, &[]);
    client.subscribe_identified("t", 1, 7);
    expect(&mut client, &[7]);
    client.subscribe_identified("t", 1, 8);
    expect(&mut client, &[8]);
    client.subscribe("t", 1);
    expect(&mut client, &[]);
    client.subscribe_identified("t", 1, 9);
    client.unsubscribe(&["t"]);
    client.subscribe("t", 1);
    expect(&mut client, &[]);
}

// Conforms: 5.0 [MQTT-3.3.4-3]
#[test]
fn an_identifier_belongs_to_all_filters_of_its_packet() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    let properties = subscription_identifier(5);
    client.subscribe_with(&properties, &[("a", 1), ("b/+", 1), ("$share/g/c", 1)]);
    client.subscribe("d", 1);
    for (topic, identifiers) in [("a", &[5][..]), ("b/x", &[5]), ("c", &[5]), ("d", &[])] {
        client.publish(topic, "x", 1);
        let message = client.message();
        assert_eq!(message.subscription_identifiers, identifiers, "{topic}");
    }
}

// Conforms: 5.0 [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]; 3.1.1 [MQTT-3.3.5-1]; 3.1 [MQTT31-13]
#[test]
fn overlapping_subscriptions_deliver_once_with_the_highest_qos_and_all_identifiers() {
    let daemon = Daemon::start("");
    let filters = ["t/a", "t/+", "t/#", "+/a", "#"];
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        for highest in 0..filters.len() {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            for (index, filter) in filters.into_iter().enumerate() {
                let qos = if index == highest {
                    2
                } else {
                    u8::from(index > highest)
                };
                match u32::try_from(index) {
                    Ok(identifier @ 1..) if version == Version::V5 => {
                        client.subscribe_identified(filter, qos, identifier);
                    }
                    _ => client.subscribe(filter, qos),
                }
            }
            for qos in 0..=2 {
                publisher.publish("t/a", "x", qos);
                let mut message = client.message();
                message.subscription_identifiers.sort_unstable();
                let identifiers: &[u32] = match version {
                    Version::V5 => &[1, 2, 3, 4],
                    Version::V31 | Version::V311 => &[],
                };
                assert_eq!(message.subscription_identifiers, identifiers);
                assert_eq!(message.qos, qos);
                client.expect_silence();
            }
        }
    }
}

// Conforms: 5.0 [MQTT-3.3.4-4]
#[test]
fn an_identifier_that_matches_twice_comes_twice() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    client.subscribe_identified("t", 1, 5);
    client.subscribe_identified("#", 1, 5);
    client.publish("t", "x", 1);
    assert_eq!(client.message().subscription_identifiers, [5, 5]);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.3.4-2] [MQTT-3.3.4-4]; 3.1.1 [MQTT-3.3.5-1]
#[test]
fn a_thousand_matching_filters_deliver_once() {
    let daemon = Daemon::start("");
    // Ten levels, each of them the name's or any.
    let filter = |number: usize| {
        let level = |bit: usize| if number >> bit & 1 == 0 { "a" } else { "+" };
        (0..10).map(level).collect::<Vec<_>>().join("/")
    };
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        for number in 0..1_000 {
            let qos = if number == 777 { 2 } else { 0 };
            match version {
                Version::V5 => {
                    let identifier = 268_435_455 - u32::try_from(number).unwrap();
                    client.subscribe_identified(&filter(number), qos, identifier);
                }
                Version::V31 | Version::V311 => client.subscribe(&filter(number), qos),
            }
        }
        for qos in 0..=2 {
            client.publish(&filter(0), "x", qos);
            let mut message = client.message();
            assert_eq!(message.qos, qos);
            message.subscription_identifiers.sort_unstable();
            let expected = match version {
                Version::V5 => (268_434_456..=268_435_455).collect(),
                Version::V31 | Version::V311 => Vec::new(),
            };
            assert_eq!(message.subscription_identifiers, expected);
            client.expect_silence();
        }
    }
}
