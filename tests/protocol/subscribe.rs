//! SUBSCRIBE and SUBACK (§3.8, §3.9).

use std::collections::BTreeSet;

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::subscription::{string, subscribe, unsubscribe};
use tests::wire::{Version, packet};

/// A User Property `a` = `b`.
const USER_PROPERTY: &[u8] = b"\x26\0\x01a\0\x01b";
/// A filter of more levels than `mqtt.max_topic_levels` allows by default.
fn deep() -> String {
    vec!["d"; 65].join("/")
}

// Conforms: 5.0 [MQTT-2.1.3-1] [MQTT-3.8.1-1] [MQTT-4.13.1-1]
// Conforms: 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.8.1-1] [MQTT-4.8.0-1]
#[test]
fn other_flags_than_0010_close_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for flags in 0..=0b1111 {
            let is_right = flags == 0b0010 || version == Version::V31 && flags == 0b1010;
            let mut client = StrictClient::start(daemon.port(), version, "c");
            let mut bytes = subscribe(version, 1, &[], &[("a", 1)]);
            bytes[0] = 0x80 | flags;
            client.send(&bytes);
            if is_right {
                assert_eq!(client.answer(0x90).body.last(), Some(&1), "{flags:04b}");
            } else {
                client.expect_closed(0x81);
            }
        }
    }
}

// Conforms: 3.1 [MQTT31-5]
#[test]
fn dup_changes_nothing_in_3_1() {
    let daemon = Daemon::start("");
    let mut client = StrictClient::start(daemon.port(), Version::V31, "c");
    client.send(b"\x8a\x06\0\x01\0\x01a\x01");
    client.expect_bytes(b"\x90\x03\0\x01\x01");
    client.send(b"\x34\x06\0\x01a\0\x02x");
    client.expect_bytes(b"\x50\x02\0\x02");
    // What the client subscribes to comes now or behind the PUBCOMP.
    client.send(b"\x6a\x02\0\x02");
    assert_eq!(client.answer(0x70).body, [0, 2]);
    assert_eq!(client.message().payload, "x");
    client.send(b"\xaa\x05\0\x03\0\x01a");
    client.expect_bytes(b"\xb0\x02\0\x03");
    client.publish("a", "x", 1);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.8.3-2]; 3.1.1 [MQTT-3.8.3-3]
#[test]
fn no_filter_is_a_protocol_error() {
    let daemon = Daemon::start("");
    let none: [(&str, u8); 0] = [];
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        client.send(&subscribe(version, 1, &[], &none));
        client.expect_closed(0x82);
    }
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    client.send(&subscribe(Version::V5, 1, USER_PROPERTY, &none));
    client.expect_closed(0x82);
}

// Conforms: 5.0 [MQTT-3.8.3-5]; 3.1.1 [MQTT-3.8.3-4]
#[test]
fn values_of_the_options_that_do_not_exist_close_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for options in 0..=u8::MAX {
            let reason = match version {
                Version::V5 if options & 0b1100_0000 != 0 => Some(0x81),
                Version::V5 if options & 0b11 == 3 || options >> 4 == 3 => Some(0x82),
                Version::V31 | Version::V311 if options > 2 => Some(0x81),
                Version::V31 | Version::V311 | Version::V5 => None,
            };
            let mut client = StrictClient::start(daemon.port(), version, "c");
            client.send(&subscribe(version, 1, &[], &[("a", options)]));
            if let Some(reason) = reason {
                client.expect_closed(reason);
            } else {
                let granted = client.answer(0x90).body.last().copied();
                assert_eq!(granted, Some(options & 0b11), "{options:08b}");
            }
        }
    }
}

// Conforms: 5.0 [MQTT-2.2.1-3]; 3.1.1 [MQTT-2.3.1-1]
#[test]
fn packet_identifier_zero_closes_the_connection() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        client.send(&subscribe(version, 0, &[], &[("a", 0)]));
        client.expect_closed(0x81);
    }
}

// Conforms: 5.0 [MQTT-2.2.1-6] [MQTT-2.2.2-1] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6]
// Conforms: 5.0 [MQTT-3.8.4-7] [MQTT-3.9.3-1]
// Conforms: 3.1.1 [MQTT-2.3.1-7] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-4] [MQTT-3.8.4-5] [MQTT-3.9.3-1]
// Conforms: 3.1 [MQTT31-13]
#[test]
fn one_suback_answers_all_filters_in_their_order() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        let filters = [("a", 2), ("b/+", 0), ("a/#", 1), ("b", 2)];
        client.send(&subscribe(version, 0xfffe, &[], &filters));
        let suback: &[u8] = match version {
            Version::V5 => b"\x90\x07\xff\xfe\0\x02\0\x01\x02",
            Version::V31 | Version::V311 => b"\x90\x06\xff\xfe\x02\0\x01\x02",
        };
        client.expect_bytes(suback);
        for (topic, qos) in [("a", 2), ("b/x", 0), ("a/x", 1), ("b", 2)] {
            client.publish(topic, "x", 2);
            let message = client.message();
            assert_eq!((message.topic.as_str(), message.qos), (topic, qos));
        }
    }
}

// Conforms: 5.0 [MQTT-3.8.4-1] [MQTT-3.8.4-2]; 3.1.1 [MQTT-3.8.4-1] [MQTT-3.8.4-2]
#[test]
fn many_at_once_are_all_answered() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        let identifiers = [1, 300, 2, 0xffff, 0x8000];
        let packets = identifiers.map(|it| subscribe(version, it, &[], &[(it.to_string(), 1)]));
        client.send(&packets.concat());
        for identifier in identifiers {
            let suback = client.receive();
            assert_eq!((suback.head, suback.body.last()), (0x90, Some(&1)));
            assert_eq!(suback.body[..2], identifier.to_be_bytes());
        }
    }
}

// Conforms: 5.0 [MQTT-3.9.3-1] [MQTT-3.9.3-2]; 3.1.1 [MQTT-3.9.3-1] [MQTT-3.9.3-2]; 3.1 [MQTT31-12]
#[test]
fn refused_filters_do_not_hinder_the_others() {
    let daemon = Daemon::start("");
    let deep = deep();
    let long = "l".repeat(1_025);
    let filters = [
        ("a", 1),
        (&deep, 1),
        ("b", 2),
        (&long, 2),
        ("$exclusive/e", 2),
        ("c", 0),
    ];
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        let refused = match version {
            Version::V5 => 0x8f,
            Version::V311 => 0x80,
            // MQTT 3.1 has a positive answer only: section 3.8 of its specification.
            Version::V31 => 0,
        };
        let expected = [1, refused, 2, refused, refused, 0];
        assert_eq!(client.subscribe_all(&filters), expected, "{version:?}");
        for topic in ["a", "b", "c"] {
            client.publish(topic, "x", 1);
            assert_eq!(client.message().topic, topic);
        }
        for topic in ["e", "$exclusive/e"] {
            client.publish(topic, "x", 1);
        }
        client.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-3.1.2-29] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
#[test]
fn a_reason_string_comes_if_it_is_wanted_and_fits() {
    let daemon = Daemon::start("");
    let refused = [(deep(), 1)];
    let subscribed = subscribe(Version::V5, 1, USER_PROPERTY, &refused);
    let bare = b"\x90\x04\0\x01\0\x8f";
    // Request Problem Information 1 and 0.
    let mut client = StrictClient::start_with(daemon.port(), "wants", b"\x17\x01");
    client.send(&subscribed);
    let suback = client.answer(0x90);
    assert_eq!(suback.body[3], 0x1f, "a Reason String: {suback:02x?}");
    assert_eq!(suback.body.len(), 4 + usize::from(suback.body[2]));
    let mut client = StrictClient::start_with(daemon.port(), "wants not", b"\x17\0");
    client.send(&subscribed);
    client.expect_bytes(bare);
    // A Maximum Packet Size of 20 bytes.
    let mut client = StrictClient::start_with(daemon.port(), "small", b"\x27\0\0\0\x14");
    client.send(&subscribed);
    client.expect_bytes(bare);
}

// Conforms: 5.0 [MQTT-3.1.2-24]
#[test]
fn no_answer_is_larger_than_the_client_accepts() {
    let daemon = Daemon::start("");
    // A Maximum Packet Size of 20 bytes: five and one for each filter.
    let start = || StrictClient::start_with(daemon.port(), "c", b"\x27\0\0\0\x14");
    let filters = [("a", 1); 16];
    let mut client = start();
    assert_eq!(client.subscribe_all(&filters[..15]), [1; 15]);
    let unsuback = client.unsubscribe(&["a"; 15]);
    assert_eq!((unsuback[0], &unsuback[1..]), (0, &[0x11; 14][..]));
    let too_many = [
        subscribe(Version::V5, 9, &[], &filters),
        unsubscribe(Version::V5, 9, &[], &["a"; 16]),
    ];
    for bytes in too_many {
        let mut client = start();
        client.send(&bytes);
        client.expect_closed(0x95);
    }
}

// Conforms: 5.0 [MQTT-3.8.4-3] [MQTT-3.8.4-5]; 3.1.1 [MQTT-3.8.4-3] [MQTT-3.8.4-4]
#[test]
fn a_second_subscription_to_a_filter_replaces_the_first() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for filter in ["a/b", "a/+", "#"] {
            let mut client = StrictClient::start(daemon.port(), version, "c");
            client.subscribe(filter, 0);
            client.subscribe(filter, 2);
            client.publish("a/b", "x", 2);
            assert_eq!(client.message().qos, 2);
            let both = [(filter, 2), (filter, 1)];
            assert_eq!(client.subscribe_all(&both), [2, 1]);
            client.publish("a/b", "x", 2);
            assert_eq!(client.message().qos, 1);
            client.unsubscribe(&[filter]);
            client.publish("a/b", "x", 2);
            client.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-3.8.4-4]; 3.1.1 [MQTT-3.8.4-3]
#[test]
fn replacing_loses_no_message_and_repeats_retained_ones() {
    const MESSAGES: usize = 500;
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        publisher.retain("t/retained", "r", 1);
        let mut client = StrictClient::start(daemon.port(), version, "c");
        client.subscribe("t/+", 1);
        let (mut payloads, mut retained) = (Vec::new(), 0);
        for number in 0..MESSAGES {
            publisher.send_publish("t/n", &number.to_string(), 0b010);
            if number % 25 == 0 {
                client.subscribe("t/+", u8::from(number % 2 == 0));
            }
        }
        while payloads.len() < MESSAGES || retained <= MESSAGES / 25 {
            let message = client.message();
            if message.is_retained {
                retained += 1;
            } else {
                payloads.push(message.payload);
            }
        }
        // Those of QoS 0 may overtake the others.
        payloads.sort_by_key(|it| it.parse::<usize>().unwrap());
        let all: Vec<_> = (0..MESSAGES).map(|it| it.to_string()).collect();
        assert_eq!(payloads, all, "{version:?}");
        client.expect_silence();
    }
}

/// What is due is one note for each filter, however often a client subscribes, and none of it has
/// to be looked through for each filter of a packet.
#[test]
fn a_client_that_subscribes_without_reading_gets_all_and_holds_up_nobody() {
    const COUNTS: [usize; 2] = [100, 80_000];
    let config = "mqtt { max_packet_size = 2MiB, max_subscriptions = 100000 }";
    let daemon = Daemon::start(config);
    let mut publisher = StrictClient::start(daemon.port(), Version::V311, "p");
    publisher.retain("t", "x", 1);
    let mut client = StrictClient::start(daemon.port(), Version::V311, "c");
    let mut others: Vec<_> = (0..80_000).map(|it| (format!("o/{it}"), 0)).collect();
    others.push(("t".to_owned(), 0));
    client.send(&subscribe(Version::V311, 1, &[], &others));
    for count in COUNTS {
        client.send(&subscribe(Version::V311, 1, &[], &vec![("t", 0); count]));
    }
    client.send(&unsubscribe(Version::V311, 2, &[], &vec!["u"; 300_000]));
    for answer in [0x90, 0x90, 0x90, 0xb0] {
        client.answer(answer);
    }
    let retained = client.drain();
    assert_eq!(retained.len(), 1 + COUNTS.iter().sum::<usize>());
    assert!(retained.iter().all(|it| it.is_retained));
}

// Conforms: 5.0 [MQTT-3.3.1-9] [MQTT-3.8.4-4]
#[test]
fn a_client_that_subscribes_during_a_long_replay_gets_all_of_it() {
    const RETAINED: usize = 500;
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    for number in 0..RETAINED {
        publisher.retain(&format!("t/{number}"), "x", 1);
    }
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    client.subscribe_identified("t/+", 1, 1);
    let (mut topics, mut identifier) = (BTreeSet::new(), 1);
    // It subscribes more often than the messages take, so one that began anew each time would
    // never reach the end.
    while topics.len() < RETAINED {
        topics.extend(client.messages(10).into_iter().map(|it| it.topic));
        identifier += 1;
        assert!(identifier < 1_000, "only {} came", topics.len());
        client.subscribe_identified("t/+", 1, identifier);
    }
    // All of them for the last time.
    let mut last = BTreeSet::new();
    while last.len() < RETAINED {
        let message = client.message();
        if message.subscription_identifiers == [identifier] {
            last.insert(message.topic);
        }
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn a_truncated_packet_subscribes_to_nothing() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let whole = subscribe(version, 1, &[], &[("good", 1), ("also/+", 1)]);
        let (head, body) = whole.split_at(2);
        // Where a filter with its options ends, the packet is whole.
        let after_the_first = body.len() - 9;
        for end in (0..body.len()).filter(|end| *end != after_the_first) {
            let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
            client.send(&packet(head[0], &body[..end]));
            let no_filter = 2 + version.no_properties().len();
            client.expect_closed(if end == no_filter { 0x82 } else { 0x81 });
            // The rest never comes.
            let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
            client.send(&whole[..2 + end]);
            client.vanish();
        }
        expect_no_subscription(daemon.port(), version);
    }
}

// Conforms: 5.0 [MQTT-4.13.1-1]; 3.1.1 [MQTT-4.8.0-1]
#[test]
fn what_is_wrong_behind_good_filters_undoes_them() {
    let daemon = Daemon::start("");
    let table: [(&[u8], u8, u8); 6] = [
        (b"a#", 1, 0x8f),
        (b"", 1, 0x8f),
        (b"\xff", 1, 0x81),
        (b"a", 0x83, 0x81),
        (b"$share/g", 1, 0x8f),
        (b"$share//good", 1, 0x8f),
    ];
    for version in Version::ALL {
        for (filter, options, reason) in table {
            let (mut client, _) = StrictClient::resume(daemon.port(), version, "c");
            let filters: [(&[u8], u8); 3] = [(b"good", 1), (b"also/+", 1), (filter, options)];
            client.send(&subscribe(version, 1, &[], &filters));
            client.expect_closed(reason);
        }
        expect_no_subscription(daemon.port(), version);
    }
    let (mut client, _) = StrictClient::resume(daemon.port(), Version::V5, "c");
    let filters = [("good", 1), ("also/+", 1), ("$share/g/a", 0b101)];
    client.send(&subscribe(Version::V5, 1, &[], &filters));
    client.expect_closed(0x82);
    expect_no_subscription(daemon.port(), Version::V5);
}

/// The session of `c` must have none that matches `good` or `also/x`.
#[track_caller]
fn expect_no_subscription(port: u16, version: Version) {
    let mut publisher = StrictClient::start(port, version, "p");
    publisher.publish("good", "x", 1);
    publisher.publish("also/x", "x", 1);
    let (mut client, _) = StrictClient::resume(port, version, "c");
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-4.13.1-1]
#[test]
fn properties_are_checked() {
    let daemon = Daemon::start("");
    let cases: [(&[u8], u8); 6] = [
        (USER_PROPERTY, 0),
        (&[USER_PROPERTY, USER_PROPERTY].concat(), 0),
        // A property of CONNECT, one that does not exist, one cut short, User Properties without
        // value.
        (b"\x11\0\0\0\x01", 0x81),
        (b"\x00", 0x81),
        (b"\x0b", 0x81),
        (b"\x26\0\x01a", 0x81),
    ];
    for (properties, reason) in cases {
        let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
        if reason == 0 {
            assert_eq!(client.subscribe_with(properties, &[("a", 1)]), [1]);
        } else {
            client.send(&subscribe(Version::V5, 1, properties, &[("a", 1)]));
            client.expect_closed(reason);
        }
    }
    // A Property Length that reaches beyond the packet.
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    let body = [b"\0\x01\x7f".as_slice(), &string("a"), b"\x01"].concat();
    client.send(&packet(0x82, &body));
    client.expect_closed(0x81);
}
