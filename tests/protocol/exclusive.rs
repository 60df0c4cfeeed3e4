//! Exclusive subscriptions, `$exclusive/{filter}`: an addition to MQTT that one client has alone.

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::wire::Version;

const ON: &str = "mqtt { exclusive_subscription = true }";
const FILTER: &str = "$exclusive/t/+";

/// The code for a filter that another client has, and for one that is switched off.
fn refusals(version: Version) -> (u8, u8) {
    match version {
        Version::V5 => (0x97, 0x8f),
        Version::V311 => (0x80, 0x80),
        Version::V31 => (0, 0),
    }
}

#[track_caller]
fn expect_taken(client: &mut StrictClient) {
    let (taken, _) = refusals(client.version());
    assert_eq!(client.subscribe_all(&[(FILTER, 1)]), [taken]);
    client.publish("t/x", "x", 1);
    client.expect_silence();
}

#[track_caller]
fn expect_own(client: &mut StrictClient) {
    client.publish("t/x", "x", 1);
    let topics: Vec<_> = client.drain().into_iter().map(|it| it.topic).collect();
    assert_eq!(topics, ["t/x"]);
}

#[test]
fn they_are_off_by_default() {
    let daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = StrictClient::start(daemon.port(), version, "c");
        let (_, off) = refusals(version);
        assert_eq!(client.subscribe_all(&[(FILTER, 1)]), [off]);
        client.publish("t/x", "x", 1);
        client.expect_silence();
    }
}

#[test]
fn a_second_client_is_refused_until_the_first_lets_go() {
    let daemon = Daemon::start(ON);
    for version in Version::ALL {
        let mut first = StrictClient::start(daemon.port(), version, "first");
        let mut second = StrictClient::start(daemon.port(), version, "second");
        first.subscribe(FILTER, 1);
        expect_taken(&mut second);
        first.drain();
        // Its own it may replace.
        first.subscribe(FILTER, 2);
        first.publish("t/x", "x", 2);
        assert_eq!(first.message().qos, 2);
        expect_taken(&mut second);
        first.drain();
        // Freed by UNSUBSCRIBE.
        first.unsubscribe(&[FILTER]);
        second.subscribe(FILTER, 1);
        expect_own(&mut second);
        expect_taken(&mut first);
        // Freed by the end of the session.
        second.vanish();
        first.subscribe(FILTER, 1);
        expect_own(&mut first);
    }
}

#[test]
fn other_filters_and_other_kinds_of_subscription_are_not_affected() {
    let daemon = Daemon::start(ON);
    let mut first = StrictClient::start(daemon.port(), Version::V5, "first");
    let mut second = StrictClient::start(daemon.port(), Version::V5, "second");
    first.subscribe(FILTER, 1);
    // The same names through another filter, and the filter without its prefix and in a group.
    let filters = [
        ("$exclusive/t/#", 1),
        ("$exclusive/t/x", 1),
        ("t/+", 1),
        ("$share/g/t/+", 1),
    ];
    assert_eq!(second.subscribe_all(&filters), [1; 4]);
    first.publish("t/x", "x", 1);
    assert_eq!(first.drain().len(), 1);
    assert!(!second.drain().is_empty());
    // Nor is the filter taken by those who have it without its prefix.
    first.subscribe("$exclusive/u", 1);
    second.subscribe("u", 1);
    first.publish("u", "x", 1);
    assert_eq!((first.drain().len(), second.drain().len()), (1, 1));
}

#[test]
fn retained_messages_and_options_are_as_in_a_plain_subscription() {
    let daemon = Daemon::start(ON);
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.retain("t/x", "retained", 1);
    let mut client = StrictClient::start(daemon.port(), Version::V5, "c");
    // No Local is allowed.
    client.subscribe_identified(FILTER, 0b101, 9);
    let message = client.message();
    assert!(message.is_retained);
    assert_eq!(message.subscription_identifiers, [9]);
    client.publish("t/x", "own", 1);
    client.expect_silence();
    // Retain Handling 1: the subscription is there already.
    client.subscribe(FILTER, 0b1_0001);
    client.expect_silence();
}

#[test]
fn a_holder_that_is_away_keeps_it_also_across_sigkill() {
    for version in Version::ALL {
        let mut daemon = Daemon::start(ON);
        let (mut holder, _) = StrictClient::resume(daemon.port(), version, "holder");
        holder.subscribe(FILTER, 1);
        holder.disconnect();
        let mut other = StrictClient::start(daemon.port(), version, "other");
        expect_taken(&mut other);
        daemon.kill();
        daemon.restart();
        let mut other = StrictClient::start(daemon.port(), version, "other");
        expect_taken(&mut other);
        // What was published meanwhile has waited for it.
        let (mut holder, _) = StrictClient::resume(daemon.port(), version, "holder");
        assert_eq!(holder.payloads(2), ["x", "x"]);
        holder.unsubscribe(&[FILTER]);
        // From here on it is free, also after the next one.
        daemon.kill();
        daemon.restart();
        let mut other = StrictClient::start(daemon.port(), version, "other");
        other.subscribe(FILTER, 1);
        expect_own(&mut other);
    }
}

// Conforms: 5.0 [MQTT-4.1.0-2]
#[test]
fn the_end_of_a_session_that_is_away_frees_it() {
    let daemon = Daemon::start(ON);
    // A Session Expiry Interval of one second.
    let mut holder = StrictClient::start_with(daemon.port(), "holder", b"\x11\0\0\0\x01");
    holder.subscribe(FILTER, 1);
    holder.vanish();
    let mut other = StrictClient::start(daemon.port(), Version::V5, "other");
    tests::wait::until("the session has expired", || {
        other.subscribe_all(&[(FILTER, 1)]) == [1]
    });
    expect_own(&mut other);
}
