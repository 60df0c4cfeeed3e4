//! The Will Delay Interval (§3.1.3.2.2).

use std::time::{Duration, Instant};

use tests::bytes::hex;
use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::message::Message;
use tests::property::Property;
use tests::wait;
use tests::wire::{Version, WireClient};

fn watch(daemon: &Daemon) -> WireClient {
    let mut watcher = join(daemon, Version::V5, "watcher");
    watcher.subscribe("will/#", 1).unwrap();
    watcher
}

/// A CONNECT of a client whose session outlives it, and its will, by these seconds.
fn connect(client_id: &str, expiry: u32, delay: u32) -> Connect {
    let will = Will::new(&format!("will/{client_id}"), b"gone").delay(delay);
    Connect::new(Version::V5, client_id)
        .expiring(expiry)
        .will(will)
}

/// The same client again, without a will.
fn back(client_id: &str, is_clean: bool, expiry: u32) -> Connect {
    let mut connect = Connect::new(Version::V5, client_id).expiring(expiry);
    connect.is_clean = is_clean;
    connect
}

/// Loses the connection, and waits until the broker knows.
fn lose(mut client: WireClient) {
    client.finish().unwrap();
    client.expect_end();
}

/// The next messages are these wills, in any order, and no other one has come.
#[track_caller]
fn expect_wills(watcher: &mut WireClient, client_ids: &[&str]) {
    let mut found: Vec<_> = client_ids.iter().map(|_| watcher.take().topic).collect();
    let mut expected: Vec<_> = client_ids.iter().map(|it| format!("will/{it}")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    watcher.say(&Message::new("will/end", ""));
    assert_eq!(watcher.take().topic, "will/end");
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn it_passes_before_the_will_is_published() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    let lost = Instant::now();
    lose(connect("two", 60, 2).open(daemon.port()).0);
    lose(connect("one", 60, 1).open(daemon.port()).0);
    for (client_id, seconds) in [("one", 1), ("two", 2)] {
        assert_eq!(watcher.take().topic, format!("will/{client_id}"));
        assert!(
            lost.elapsed() >= Duration::from_secs(seconds),
            "{client_id}"
        );
    }
    // Once only, although the session goes on.
    let (client, connack) = back("one", false, 0).open(daemon.port());
    assert!(connack.is_present());
    client.disconnect().unwrap();
    lose(back("two", true, 0).open(daemon.port()).0);
    expect_wills(&mut watcher, &[]);
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-4.1.0-2]
#[test]
fn it_ends_with_the_session() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    // There is no session to wait for.
    lose(connect("none", 0, 600).open(daemon.port()).0);
    expect_wills(&mut watcher, &["none"]);
    // It expires.
    let lost = Instant::now();
    lose(connect("expires", 1, 600).open(daemon.port()).0);
    assert_eq!(watcher.take().topic, "will/expires");
    assert!(lost.elapsed() >= Duration::from_secs(1));
    // Another one begins, after the loss and by a takeover.
    lose(connect("anew", 600, 600).open(daemon.port()).0);
    let (anew, _) = back("anew", true, 600).open(daemon.port());
    expect_wills(&mut watcher, &["anew"]);
    anew.disconnect().unwrap();
    let (mut earlier, _) = connect("taken", 600, 600).open(daemon.port());
    let (mut later, _) = back("taken", true, 600).open(daemon.port());
    earlier.expect_closed(0x8e);
    expect_wills(&mut watcher, &["taken"]);
    later.expect_silence();
    // The client ends it.
    let (mut client, _) = connect("ended", 600, 600).open(daemon.port());
    client.send(&hex("e0 07 04 05 11 00000000")).unwrap();
    client.expect_end();
    expect_wills(&mut watcher, &["ended"]);
}

// Conforms: 5.0 [MQTT-3.1.3-9]
#[test]
fn a_client_that_comes_back_in_time_prevents_the_will() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    for expiry in [0, 600] {
        lose(connect("lost", 600, 600).open(daemon.port()).0);
        let (client, connack) = back("lost", false, expiry).open(daemon.port());
        assert!(connack.is_present());
        client.disconnect().unwrap();
        let (mut earlier, _) = connect("taken", 600, 600).open(daemon.port());
        let (later, connack) = back("taken", false, expiry).open(daemon.port());
        assert!(connack.is_present());
        earlier.expect_closed(0x8e);
        later.disconnect().unwrap();
        expect_wills(&mut watcher, &[]);
    }
    // Not even if it is lost again, without a will.
    lose(connect("lost", 600, 1).open(daemon.port()).0);
    lose(back("lost", false, 600).open(daemon.port()).0);
    let lost = Instant::now();
    wait::until_passed(lost, 2);
    expect_wills(&mut watcher, &[]);
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn a_client_that_comes_back_late_does_not_prevent_it() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    lose(connect("late", 600, 1).open(daemon.port()).0);
    let lost = Instant::now();
    wait::until_passed(lost, 1);
    let (client, connack) = back("late", false, 600).open(daemon.port());
    assert!(connack.is_present());
    expect_wills(&mut watcher, &["late"]);
    client.disconnect().unwrap();
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.14.4-3]
#[test]
fn a_disconnect_deletes_the_will_or_begins_the_delay() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    let (client, _) = connect("normal", 600, 1).open(daemon.port());
    client.disconnect().unwrap();
    let (mut client, _) = connect("with", 600, 2).open(daemon.port());
    let left = Instant::now();
    client.send(&hex("e0 01 04")).unwrap();
    client.expect_end();
    assert_eq!(watcher.take().topic, "will/with");
    assert!(left.elapsed() >= Duration::from_secs(2));
    expect_wills(&mut watcher, &[]);
}

// Conforms: 5.0 [MQTT-3.1.2-8]
#[test]
fn the_expiry_of_the_will_begins_with_its_publication() {
    let daemon = Daemon::start("");
    let mut watcher = watch(&daemon);
    let mut connect = connect("c", 600, 4);
    let will = connect.will.take().unwrap();
    let connect = connect.will(will.property(Property::four_bytes(0x02, 3)));
    lose(connect.open(daemon.port()).0);
    let message = watcher.take();
    assert_eq!(message.topic, "will/c");
    assert!(
        message.number(0x02).is_some_and(|it| it <= 3),
        "{message:?}"
    );
}
