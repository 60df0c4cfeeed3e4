//! Who of a group receives: `mqtt.shared_subscription_strategy`.

use std::collections::BTreeMap;

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::wire::Version;

/// Members of each group.
const MEMBERS: usize = 4;
/// So many topics or publishers that one member for all of them means that there is no choice: a
/// fair hash would do that once in 10^18 times.
const KEYS: usize = 32;

fn start(strategy: &str) -> Daemon {
    Daemon::start(&format!(
        "mqtt {{ shared_subscription_strategy = {strategy} }}"
    ))
}

fn members(port: u16) -> Vec<StrictClient> {
    let member = |number| {
        let mut member = StrictClient::start(port, Version::V5, &format!("m{number}"));
        member.subscribe("$share/g/t/#", 1);
        member
    };
    (0..MEMBERS).map(member).collect()
}

/// How many messages each member has got.
fn counts(members: &mut [StrictClient]) -> Vec<usize> {
    members.iter_mut().map(|it| it.drain().len()).collect()
}

#[test]
fn round_robin_gives_to_one_after_the_other() {
    let daemon = start("round_robin");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut members = members(daemon.port());
    let mut order = Vec::new();
    for _ in 0..3 * MEMBERS {
        publisher.publish("t", "x", 1);
        let counts = counts(&mut members);
        assert_eq!(counts.iter().sum::<usize>(), 1);
        order.push(counts.iter().position(|it| *it == 1).unwrap());
    }
    for pair in order.windows(2) {
        assert_eq!(pair[1], (pair[0] + 1) % MEMBERS, "{order:?}");
    }
}

#[test]
fn random_gives_to_all() {
    let daemon = start("random");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut members = members(daemon.port());
    for _ in 0..50 * MEMBERS {
        publisher.publish("t", "x", 1);
    }
    let counts = counts(&mut members);
    assert_eq!(counts.iter().sum::<usize>(), 50 * MEMBERS);
    // That one gets none of 200 happens once in 10^25 times.
    assert!(counts.iter().all(|it| *it > 0), "{counts:?}");
    assert_ne!(counts, [50; MEMBERS], "that is round robin");
}

#[test]
fn sticky_gives_to_the_same_until_it_is_gone() {
    let daemon = start("sticky");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut members = members(daemon.port());
    while !members.is_empty() {
        for _ in 0..20 {
            publisher.publish("t", "x", 1);
        }
        let counts = counts(&mut members);
        let chosen = counts.iter().position(|it| *it == 20);
        assert_eq!(counts.iter().sum::<usize>(), 20, "{counts:?}");
        let chosen = chosen.unwrap_or_else(|| panic!("nobody got all: {counts:?}"));
        members.remove(chosen).vanish();
    }
}

#[test]
fn hash_topic_gives_a_topic_to_the_same() {
    let daemon = start("hash_topic");
    let mut publishers =
        ["p", "q"].map(|client_id| StrictClient::start(daemon.port(), Version::V5, client_id));
    let mut members = members(daemon.port());
    for round in 0..4 {
        for topic in 0..KEYS {
            publishers[round % 2].publish(&format!("t/{topic}"), "x", 1);
        }
    }
    expect_own_keys(&mut members, 4, |message| message.topic);
}

#[test]
fn hash_clientid_gives_the_messages_of_a_publisher_to_the_same() {
    for strategy in ["hash_clientid", "hash"] {
        let daemon = start(strategy);
        let mut members = members(daemon.port());
        for round in 0..4 {
            for number in 0..KEYS {
                let client_id = format!("p{number}");
                let mut publisher = StrictClient::start(daemon.port(), Version::V5, &client_id);
                publisher.publish(&format!("t/{round}"), &client_id, 1);
                publisher.disconnect();
            }
        }
        expect_own_keys(&mut members, 4, |message| message.payload);
    }
}

/// Every key has to have come so often and always to the same member, but not all to one.
#[track_caller]
fn expect_own_keys(
    members: &mut [StrictClient],
    times: usize,
    key: impl Fn(tests::strict::Message) -> String,
) {
    let mut found = BTreeMap::new();
    let mut takers = 0;
    for member in members {
        let messages = member.drain();
        takers += usize::from(!messages.is_empty());
        let mut own = BTreeMap::new();
        for message in messages {
            *own.entry(key(message)).or_insert(0) += 1;
        }
        for (key, count) in own {
            assert_eq!(count, times, "{key} came to several members");
            assert_eq!(found.insert(key, count), None);
        }
    }
    assert_eq!(found.len(), KEYS);
    assert!(takers > 1, "all keys go to one member");
}
