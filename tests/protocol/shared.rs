//! Shared Subscriptions whose members are there (§4.8.2).

use std::collections::BTreeSet;

use tests::daemon::Daemon;
use tests::strict::{Message, StrictClient};
use tests::subscription::subscribe;
use tests::wire::{Version, packet};

/// Clients that are called `m0`, `m1` and so on and share `t`.
fn members(port: u16, version: Version, count: usize, qos: u8) -> Vec<StrictClient> {
    let member = |number| {
        let mut member = StrictClient::start(port, version, &format!("m{number}"));
        member.subscribe("$share/g/t", qos);
        member
    };
    (0..count).map(member).collect()
}

fn payloads(messages: Vec<Message>) -> Vec<String> {
    messages.into_iter().map(|it| it.payload).collect()
}

// Conforms: 5.0 [MQTT-4.8.2-1]
#[test]
fn each_message_goes_to_exactly_one_member() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for qos in 0..=2 {
            let mut publisher = StrictClient::start(daemon.port(), version, "p");
            let mut members = members(daemon.port(), version, 3, 2);
            for number in 0..30 {
                publisher.publish("t", &number.to_string(), qos);
            }
            let mut all = Vec::new();
            for member in &mut members {
                let messages = member.drain();
                assert_eq!(messages.len(), 10, "the turn of each is as often");
                assert!(messages.iter().all(|it| it.qos == qos));
                all.extend(payloads(messages));
            }
            all.sort_by_key(|it| it.parse::<u32>().unwrap());
            let expected: Vec<_> = (0..30).map(|it| it.to_string()).collect();
            assert_eq!(all, expected);
        }
    }
}

// Conforms: 5.0 [MQTT-4.5.0-1] [MQTT-3.3.4-5]
#[test]
fn groups_and_plain_subscriptions_of_one_client_stand_side_by_side() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut other = StrictClient::start(daemon.port(), Version::V5, "other");
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    // The same group with another filter is another Shared Subscription.
    let filters = ["$share/g/t", "$share/h/t", "$share/g/+", "t", "#"];
    for (identifier, filter) in (1..).zip(filters) {
        client.subscribe_identified(filter, 1, identifier);
    }
    other.subscribe("$share/g/t", 1);
    for number in 0..6 {
        publisher.publish("t", &number.to_string(), 1);
    }
    let messages = client.drain();
    let count = |identifiers: &[u32]| {
        let same = messages
            .iter()
            .filter(|it| it.subscription_identifiers == identifiers);
        same.map(|it| &it.payload).collect::<BTreeSet<_>>().len()
    };
    // Every second of the first group, all of the other two, all of the plain ones together.
    let counts = [count(&[1]), count(&[2]), count(&[3])];
    assert_eq!(counts, [3, 6, 6]);
    assert_eq!(count(&[4, 5]) + count(&[5, 4]), 6);
    assert_eq!(messages.len(), 21);
    assert_eq!(other.drain().len(), 3);
}

#[test]
fn share_names_are_compared_character_by_character() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let names = ["g", "G", " g", "g ", "\u{e9}", "e\u{301}", "$share", "g$"];
    let mut members: Vec<_> = (0..)
        .zip(names)
        .map(|(number, name)| {
            let client_id = format!("m{number}");
            let mut member = StrictClient::start(daemon.port(), Version::V5, &client_id);
            member.subscribe(&format!("$share/{name}/t"), 1);
            member
        })
        .collect();
    publisher.publish("t", "x", 1);
    for (member, name) in members.iter_mut().zip(names) {
        assert_eq!(member.drain().len(), 1, "{name:?}");
    }
}

// Conforms: 5.0 [MQTT-3.8.3-4]
#[test]
fn no_local_is_a_protocol_error() {
    let daemon = Daemon::start("");
    for qos in 0..=2 {
        let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
        client.send(&subscribe(
            Version::V5,
            1,
            &[],
            &[("$share/g/t", 0b100 | qos)],
        ));
        client.expect_closed(0x82);
    }
}

// Conforms: 5.0 [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[test]
fn retained_messages_are_not_sent_to_new_members() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        publisher.retain("t", "before", 1);
        let mut member = StrictClient::start(daemon.port(), version, "m");
        for handling in [0, 1, 2] {
            let handling = if version == Version::V5 {
                handling << 4
            } else {
                0
            };
            member.subscribe("$share/g/t", 1 | handling);
            member.expect_silence();
        }
        // What is published now is delivered like any other message.
        publisher.retain("t", "after", 1);
        let message = member.message();
        assert_eq!(
            (message.payload.as_str(), message.is_retained),
            ("after", false)
        );
        if version == Version::V5 {
            // Retain As Published.
            member.subscribe("$share/g/t", 0b1001);
            publisher.retain("t", "after", 1);
            assert!(member.message().is_retained);
        }
    }
}

// Conforms: 5.0 [MQTT-4.8.2-3] [MQTT-3.8.4-8]
#[test]
fn members_have_their_own_qos_and_identifiers() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut members: Vec<_> = (0..=2)
        .map(|qos| {
            let client_id = format!("m{qos}");
            let mut member = StrictClient::start(daemon.port(), Version::V5, &client_id);
            member.subscribe_identified("$share/g/t", qos, 10 + u32::from(qos));
            member
        })
        .collect();
    for published in 0..=2 {
        for number in 0..9 {
            publisher.publish("t", &number.to_string(), published);
        }
        for (granted, member) in (0..=2).zip(&mut members) {
            let messages = member.drain();
            assert_eq!(messages.len(), 3);
            for message in messages {
                assert_eq!(message.qos, published.min(granted));
                let identifier = 10 + u32::from(granted);
                assert_eq!(message.subscription_identifiers, [identifier]);
            }
        }
    }
}

// Conforms: 5.0 [MQTT-3.8.4-3] [MQTT-3.10.4-2]; 3.1.1 [MQTT-3.8.4-3] [MQTT-3.10.4-2]
#[test]
fn a_member_counts_once_and_leaves_with_unsubscribe() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let mut members = members(daemon.port(), version, 2, 1);
        // Three more times changes nothing but the QoS.
        for qos in [0, 1, 2] {
            members[0].subscribe("$share/g/t", qos);
        }
        for number in 0..10 {
            publisher.publish("t", &number.to_string(), 2);
        }
        let messages = members[0].drain();
        assert_eq!(messages.len(), 5);
        assert!(messages.iter().all(|it| it.qos == 2));
        assert_eq!(members[1].drain().len(), 5);
        members[0].unsubscribe(&["$share/g/t"]);
        for number in 0..10 {
            publisher.publish("t", &number.to_string(), 2);
        }
        members[0].expect_silence();
        assert_eq!(members[1].drain().len(), 10);
        members[1].unsubscribe(&["$share/g/t"]);
        publisher.publish("t", "nobody's", 2);
        members[1].expect_silence();
    }
}

#[test]
fn clients_of_all_versions_are_in_one_group() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut members = Version::ALL.map(|version| {
        let mut member = StrictClient::start(daemon.port(), version, &format!("{version:?}"));
        member.subscribe("$share/g/t/+", 1);
        member
    });
    for number in 0..9 {
        publisher.publish("t/x", &number.to_string(), 1);
    }
    for member in &mut members {
        assert_eq!(member.drain().len(), 3);
    }
}

// Conforms: 5.0 [MQTT-4.4.0-2] [MQTT-4.8.2-6]
#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    for (qos, head) in [(1, 0x40), (2, 0x50)] {
        let (mut member, _) = StrictClient::resume(daemon.port(), Version::V5, "m");
        member.subscribe("$share/g/t", qos);
        publisher.publish("t", "refused", qos);
        let message = member.unacknowledged();
        let [high, low] = message.identifier.to_be_bytes();
        // Unspecified error.
        member.send(&packet(head, &[high, low, 0x80]));
        member.expect_silence();
        let mut other = StrictClient::start(daemon.port(), Version::V5, "other");
        other.subscribe("$share/g/t", qos);
        member.vanish();
        other.expect_silence();
        let (mut member, _) = StrictClient::resume(daemon.port(), Version::V5, "m");
        member.expect_silence();
        // The end of the session gives back what was not acknowledged; this was.
        member.send(b"\xe0\x07\0\x05\x11\0\0\0\0");
        member.vanish();
        other.expect_silence();
    }
}
