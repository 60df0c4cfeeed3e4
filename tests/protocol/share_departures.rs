//! Shared Subscriptions whose members die, are away, do not read, come and go (§4.8.2).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::wait::until;
use tests::wire::Version;

const SHARE: &str = "$share/g/t";
/// More than a member is sent before it acknowledges.
const MORE_THAN_A_WINDOW: usize = 300;

fn start(port: u16, version: Version, client_id: &str, qos: u8) -> StrictClient {
    let mut member = StrictClient::start(port, version, client_id);
    member.subscribe(SHARE, qos);
    member
}

fn publish_numbers(publisher: &mut StrictClient, count: usize, qos: u8) {
    for number in 0..count {
        publisher.publish("t", &number.to_string(), qos);
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|it| it.to_string()).collect()
}

// Conforms: 5.0 [MQTT-3.3.1-3] [MQTT-4.3.2-2]; 3.1.1 [MQTT-3.3.1-3] [MQTT-4.3.2-1]
#[test]
fn what_a_dead_member_has_not_acknowledged_goes_to_another() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let mut dying = start(daemon.port(), version, "dying", 1);
        publish_numbers(&mut publisher, MORE_THAN_A_WINDOW, 1);
        assert_eq!(dying.unacknowledged().payload, "0");
        let mut heir = start(daemon.port(), version, "heir", 1);
        heir.expect_silence();
        dying.die();
        let messages = heir.messages(MORE_THAN_A_WINDOW);
        assert!(messages.iter().all(|it| !it.is_duplicate && it.qos == 1));
        let mut payloads: Vec<_> = messages.into_iter().map(|it| it.payload).collect();
        payloads.sort_by_key(|it| it.parse::<usize>().unwrap());
        assert_eq!(payloads, numbers(MORE_THAN_A_WINDOW));
        heir.expect_silence();
    }
}

#[test]
fn what_a_member_that_left_has_not_acknowledged_goes_to_another() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let mut leaver = start(daemon.port(), version, "leaver", 1);
        publish_numbers(&mut publisher, MORE_THAN_A_WINDOW, 1);
        let first = leaver.unacknowledged();
        leaver.acknowledge(&first);
        leaver.unsubscribe(&[SHARE]);
        let mut heir = start(daemon.port(), version, "heir", 1);
        // It may still take all of them.
        heir.expect_silence();
        leaver.disconnect();
        let payloads = heir.payloads(MORE_THAN_A_WINDOW - 1);
        let payloads: BTreeSet<_> = payloads.into_iter().collect();
        assert_eq!(payloads, numbers(MORE_THAN_A_WINDOW).drain(1..).collect());
        heir.expect_silence();
    }
}

#[test]
fn what_was_acknowledged_goes_to_nobody_else() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V311, "p");
    let mut dying = start(daemon.port(), Version::V311, "dying", 2);
    publish_numbers(&mut publisher, 10, 1);
    publish_numbers(&mut publisher, 10, 2);
    assert_eq!(dying.drain().len(), 20);
    let mut heir = start(daemon.port(), Version::V311, "heir", 2);
    dying.vanish();
    heir.expect_silence();
}

#[test]
fn a_session_that_is_taken_over_anew_leaves_its_messages_to_the_others() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let (mut member, _) = StrictClient::resume(daemon.port(), version, "m");
        member.subscribe(SHARE, 1);
        publish_numbers(&mut publisher, 5, 1);
        member.unacknowledged();
        let mut heir = start(daemon.port(), version, "heir", 1);
        // With Clean Start the session and with it the membership end.
        let mut anew = StrictClient::start(daemon.port(), version, "m");
        assert_eq!(heir.payloads(5), numbers(5));
        anew.expect_silence();
    }
}

// Conforms: 5.0 [MQTT-4.8.2-5]
#[test]
fn a_qos_2_message_is_given_to_no_second_client() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        for has_received in [false, true] {
            let mut publisher = StrictClient::start(daemon.port(), version, "p");
            let mut dying = start(daemon.port(), version, "dying", 2);
            publisher.publish("t", "x", 2);
            let message = dying.unacknowledged();
            if has_received {
                let [high, low] = message.identifier.to_be_bytes();
                dying.send(&[0x50, 2, high, low]);
                dying.answer(0x62);
            }
            let mut heir = start(daemon.port(), version, "heir", 2);
            dying.vanish();
            heir.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-4.8.2-4] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.4.0-1]
#[test]
fn a_qos_2_delivery_is_completed_with_the_client_that_comes_back() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let (mut member, _) = StrictClient::resume(daemon.port(), version, "m");
        member.subscribe(SHARE, 2);
        publish_numbers(&mut publisher, 2, 2);
        let [first, second] = [member.unacknowledged(), member.unacknowledged()];
        let [high, low] = first.identifier.to_be_bytes();
        member.send(&[0x50, 2, high, low]);
        member.answer(0x62);
        let mut other = start(daemon.port(), version, "other", 2);
        member.vanish();
        other.expect_silence();
        let (mut member, _) = StrictClient::resume(daemon.port(), version, "m");
        // Of the first only the PUBREL is repeated.
        assert_eq!(member.answer(0x62).body[..2], [high, low]);
        member.send(&[0x70, 2, high, low]);
        let again = member.message();
        let (identifier, is_duplicate) = (again.identifier, again.is_duplicate);
        assert_eq!((identifier, is_duplicate), (second.identifier, true));
        member.expect_silence();
        other.expect_silence();
        // The name is taken over with a new session.
        drop(start(daemon.port(), version, "m", 2));
    }
}

// Conforms: 5.0 [MQTT-3.1.2-23]; 3.1.1 [MQTT-3.1.2-5]
#[test]
fn members_that_are_away_get_only_what_nobody_else_can_take() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut publisher = StrictClient::start(daemon.port(), version, "p");
        let (mut away, _) = StrictClient::resume(daemon.port(), version, "away");
        away.subscribe(SHARE, 1);
        away.disconnect();
        let mut there = start(daemon.port(), version, "there", 1);
        publish_numbers(&mut publisher, 10, 1);
        assert_eq!(there.payloads(10), numbers(10));
        there.disconnect();
        // Nobody is online.
        publish_numbers(&mut publisher, 10, 1);
        let mut late = start(daemon.port(), version, "late", 1);
        late.expect_silence();
        let (mut away, _) = StrictClient::resume(daemon.port(), version, "away");
        assert_eq!(away.payloads(10), numbers(10));
        late.expect_silence();
        // Both take part again.
        publish_numbers(&mut publisher, 10, 1);
        assert_eq!((away.drain().len(), late.drain().len()), (5, 5));
        away.unsubscribe(&[SHARE]);
    }
}

// Conforms: 5.0 [MQTT-4.1.0-2]
#[test]
fn what_waits_for_a_member_goes_to_another_when_its_session_expires() {
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    // A Session Expiry Interval of one second.
    let mut away = StrictClient::start_with(daemon.port(), "away", b"\x11\0\0\0\x01");
    away.subscribe(SHARE, 1);
    publish_numbers(&mut publisher, 5, 1);
    away.unacknowledged();
    away.vanish();
    let mut heir = start(daemon.port(), Version::V5, "heir", 1);
    assert_eq!(heir.payloads(5), numbers(5));
}

#[test]
fn a_member_that_does_not_read_does_not_hold_up_the_others() {
    const MESSAGES: usize = 2_000;
    /// What waits for a member: a window of sent ones and as many behind it, and the one that
    /// makes it too many.
    const HELD_MAX: usize = 2 * 128 + 1;
    let daemon = Daemon::start("");
    let mut publisher = StrictClient::start(daemon.port(), Version::V311, "p");
    let slow = start(daemon.port(), Version::V311, "slow", 1);
    let mut quick = start(daemon.port(), Version::V311, "quick", 1);
    let mut received = BTreeSet::new();
    for number in 0..MESSAGES {
        publisher.publish("t", &format!("{number:01024}"), 1);
        // What is not there yet comes later.
        if number % 20 == 0 {
            received.extend(quick.drain().into_iter().map(|it| it.payload));
        }
    }
    received.extend(quick.drain().into_iter().map(|it| it.payload));
    let held = MESSAGES - received.len();
    assert!((1..=HELD_MAX).contains(&held), "{held} are held up");
    // Nothing is lost when it is given up.
    slow.die();
    until("the others have got what it held", || {
        received.extend(quick.drain().into_iter().map(|it| it.payload));
        received.len() == MESSAGES
    });
}

/// What all members together have received.
#[derive(Debug, Default)]
struct Received {
    numbers: Mutex<BTreeSet<u64>>,
    is_over: AtomicBool,
}

impl Received {
    /// Takes what a member has; says how much that is.
    fn collect(&self, member: &mut StrictClient) -> usize {
        let messages = member.drain();
        let numbers = messages.iter().map(|it| it.payload.parse::<u64>().unwrap());
        self.numbers.lock().unwrap().extend(numbers);
        messages.len()
    }

    /// Takes so many at least, unless it is over.
    fn collect_some(&self, member: &mut StrictClient, count: usize) {
        let mut collected = 0;
        while collected < count && !self.is_over.load(Ordering::SeqCst) {
            collected += self.collect(member);
        }
    }
}

/// A member that comes and goes until it is over.
fn come_and_go(
    received: &Arc<Received>,
    cycle: impl Fn(&Received, u32) + Send + 'static,
) -> JoinHandle<()> {
    let received = Arc::clone(received);
    thread::spawn(move || {
        for round in 0.. {
            if received.is_over.load(Ordering::SeqCst) {
                return;
            }
            cycle(&received, round);
        }
    })
}

// Conforms: 5.0 [MQTT-4.5.0-1]
#[test]
fn nothing_is_lost_while_members_come_and_go() {
    const MESSAGES: u64 = 10_000;
    const WINDOW: u64 = 100;
    let daemon = Daemon::start("");
    let port = daemon.port();
    let received = Arc::new(Received::default());
    let mut steady = start(port, Version::V5, "steady", 1);
    let members = [
        come_and_go(&received, move |received, round| {
            let version = Version::ALL[round as usize % 3];
            let mut member = start(port, version, "dies", 1);
            received.collect_some(&mut member, 30);
            // With messages that it has not even looked at.
            member.die();
        }),
        come_and_go(&received, move |received, _| {
            let mut member = start(port, Version::V311, "disconnects", 1);
            received.collect_some(&mut member, 30);
            member.disconnect();
        }),
        come_and_go(&received, move |received, _| {
            let mut member = start(port, Version::V5, "unsubscribes", 1);
            for _ in 0..3 {
                received.collect_some(&mut member, 30);
                member.unsubscribe(&[SHARE]);
                member.subscribe(SHARE, 1);
            }
            member.unsubscribe(&[SHARE]);
            member.disconnect();
        }),
        come_and_go(&received, move |received, _| {
            let (mut member, _) = StrictClient::resume(port, Version::V5, "durable");
            member.subscribe(SHARE, 1);
            received.collect_some(&mut member, 30);
            member.die();
        }),
    ];
    let mut publisher = StrictClient::start(port, Version::V311, "p");
    for number in 0..MESSAGES {
        publisher.send_publish("t", &number.to_string(), 0b010);
        if number % WINDOW == WINDOW - 1 {
            (0..WINDOW).for_each(|_| drop(publisher.answer(0x40)));
            received.collect(&mut steady);
        }
    }
    received.is_over.store(true, Ordering::SeqCst);
    for member in members {
        member.join().unwrap();
    }
    let (mut durable, _) = StrictClient::resume(port, Version::V5, "durable");
    until("all have come", || {
        received.collect(&mut steady);
        received.collect(&mut durable);
        received.numbers.lock().unwrap().len() as u64 == MESSAGES
    });
}

// Conforms: 5.0 [MQTT-3.1.2-23]; 3.1.1 [MQTT-3.1.2-4] [MQTT-4.1.0-1]
#[test]
fn groups_survive_sigkill() {
    let mut daemon = Daemon::start("");
    let resume = |port, version: Version| {
        let (member, _) = StrictClient::resume(port, version, &format!("{version:?}"));
        member
    };
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut members = Version::ALL.map(|version| {
        let mut member = resume(daemon.port(), version);
        member.subscribe(SHARE, 1);
        member
    });
    publish_numbers(&mut publisher, 9, 1);
    // One acknowledges all, one nothing, one has not read any.
    assert_eq!(members[0].drain().len(), 3);
    members[1].unacknowledged();
    daemon.kill();
    daemon.restart();
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.publish("t", "waits", 1);
    let mut members = Version::ALL.map(|version| resume(daemon.port(), version));
    let mut found = [const { BTreeSet::new() }; 3];
    until("what was not acknowledged and what waits has come", || {
        for (member, found) in members.iter_mut().zip(&mut found) {
            found.extend(member.drain().into_iter().map(|it| it.payload));
        }
        let all = found.iter().flatten();
        let waits = all.filter(|it| *it == "waits").count();
        let unacknowledged = found[1].len() + found[2].len();
        waits == 1 && unacknowledged >= 6 + usize::from(!found[0].contains("waits"))
    });
    // What the first member acknowledged may have come again, but nothing to two of them.
    let together: BTreeSet<_> = found.iter().flatten().collect();
    let apart: usize = found.iter().map(BTreeSet::len).sum();
    assert_eq!(together.len(), apart);
    (0..30).for_each(|_| publisher.publish("t", "new", 1));
    let counts = members.map(|mut member| {
        let messages = member.drain();
        messages.iter().filter(|it| it.payload == "new").count()
    });
    assert_eq!(counts, [10, 10, 10]);
}
