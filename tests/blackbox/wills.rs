//! Wills over SIGKILL and SIGTERM.

use std::time::{Duration, Instant};

use tests::connect::{Connect, Will};
use tests::daemon::Daemon;
use tests::dialogue::{join, leave_session, resume};
use tests::message::Message;
use tests::wait;
use tests::wire::{Version, WireClient};

/// A client whose session is kept, with a will on a topic of its own that is delayed by so many
/// seconds.
fn connect(daemon: &Daemon, client_id: &str, delay: u32) -> WireClient {
    let will = Will::new(&format!("will/{client_id}"), b"gone").qos(1);
    let connect = Connect::new(Version::V5, client_id).resuming(600);
    connect.will(will.delay(delay)).open(daemon.port()).0
}

/// A session that is told every will.
fn leave_watcher(daemon: &Daemon) {
    leave_session(daemon, Version::V5, "watcher", "will/#", 1);
}

fn watch(daemon: &Daemon) -> WireClient {
    let (watcher, is_resumed) = resume(daemon, Version::V5, "watcher");
    assert!(is_resumed);
    watcher
}

/// Waits until all that has happened is in the store, which it is before this is acknowledged.
#[track_caller]
fn settle(daemon: &Daemon) {
    let mut client = join(daemon, Version::V5, "settler");
    client.deliver(&Message::new("will/settled", "").qos(1, 1));
}

/// The wills that have come, in the order of their topics, and no other message before the last
/// one of [`settle`].
#[track_caller]
fn expect_wills(watcher: &mut WireClient, settled: usize, client_ids: &[&str]) {
    let mut found: Vec<String> = Vec::new();
    for _ in 0..settled + client_ids.len() {
        found.push(watcher.take().topic);
    }
    assert_eq!(found.last().map(String::as_str), Some("will/settled"));
    found.retain(|it| it != "will/settled");
    found.sort();
    let expected: Vec<_> = client_ids.iter().map(|it| format!("will/{it}")).collect();
    assert_eq!(found, expected);
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.3-9]; 3.1.1 [MQTT-3.1.2-8]
#[test]
fn a_will_comes_once_after_sigkill() {
    const DELAY: u32 = 4;
    let mut daemon = Daemon::start("");
    leave_watcher(&daemon);
    let clients = [
        connect(&daemon, "now", 0),
        connect(&daemon, "later", DELAY),
        connect(&daemon, "never", 600),
        Connect::new(Version::V311, "311")
            .resuming(0)
            .will(Will::new("will/311", b"gone").qos(1))
            .open(daemon.port())
            .0,
    ];
    // Its session does not outlive it.
    let lost = Connect::new(Version::V311, "lost").will(Will::new("will/lost", b"").qos(1));
    let lost = lost.open(daemon.port());
    connect(&daemon, "left", 0).disconnect().unwrap();
    settle(&daemon);
    daemon.kill();
    drop((clients, lost));
    let restarted = Instant::now();
    daemon.restart();
    settle(&daemon);
    let mut watcher = watch(&daemon);
    expect_wills(&mut watcher, 2, &["311", "now"]);
    assert_eq!(watcher.take().topic, "will/later");
    assert!(restarted.elapsed() >= Duration::from_secs(DELAY.into()));
    // The client has acknowledged them, and that is in the store too.
    settle(&daemon);
    expect_wills(&mut watcher, 1, &[]);
    for _ in 0..2 {
        settle(&daemon);
        daemon.kill();
        daemon.restart();
    }
    settle(&daemon);
    let mut watcher = watch(&daemon);
    expect_wills(&mut watcher, 3, &[]);
}

// Conforms: 5.0 [MQTT-3.1.2-8]
#[test]
fn a_daemon_that_dies_again_and_again_repeats_no_will() {
    const ROUNDS: usize = 5;
    let mut daemon = Daemon::start("");
    leave_watcher(&daemon);
    let _client = connect(&daemon, "c", 0);
    settle(&daemon);
    for _ in 0..ROUNDS {
        daemon.kill();
        daemon.restart();
    }
    settle(&daemon);
    let mut watcher = watch(&daemon);
    let mut wills = 0;
    let mut settled = 0;
    while settled < 2 {
        match watcher.take().topic.as_str() {
            "will/c" => wills += 1,
            _ => settled += 1,
        }
    }
    assert_eq!(wills, 1);
}

// Conforms: 5.0 [MQTT-3.1.3-9]
#[test]
fn a_client_that_comes_back_after_sigkill_prevents_its_will() {
    const DELAY: u32 = 5;
    let mut daemon = Daemon::start("");
    leave_watcher(&daemon);
    let clients = ["away", "back"].map(|it| connect(&daemon, it, DELAY));
    settle(&daemon);
    daemon.kill();
    drop(clients);
    daemon.restart();
    let (_back, is_resumed) = resume(&daemon, Version::V5, "back");
    assert!(is_resumed);
    let mut watcher = watch(&daemon);
    expect_wills(&mut watcher, 1, &[]);
    assert_eq!(watcher.take().topic, "will/away");
    // Nor is it in the store any more.
    settle(&daemon);
    daemon.kill();
    let restarted = Instant::now();
    daemon.restart();
    wait::until_passed(restarted, u64::from(DELAY) + 2);
    settle(&daemon);
    let mut watcher = watch(&daemon);
    expect_wills(&mut watcher, 2, &[]);
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.3-9]
#[test]
fn a_delayed_will_waits_over_an_orderly_stop() {
    const DELAY: u32 = 2;
    let mut daemon = Daemon::start("");
    leave_watcher(&daemon);
    let mut lost = connect(&daemon, "lost", DELAY);
    let mut stopped = connect(&daemon, "stopped", DELAY);
    let mut returns = connect(&daemon, "returns", 600);
    let mut now = connect(&daemon, "now", 0);
    lost.finish().unwrap();
    lost.expect_end();
    let begun = Instant::now();
    daemon.stop();
    for client in [&mut stopped, &mut returns, &mut now] {
        client.expect_closed(0x8b);
    }
    daemon.restart();
    resume(&daemon, Version::V5, "returns")
        .0
        .disconnect()
        .unwrap();
    let mut watcher = watch(&daemon);
    let topics: Vec<_> = (0..3).map(|_| watcher.take().topic).collect();
    assert_eq!(topics, ["will/now", "will/lost", "will/stopped"]);
    assert!(begun.elapsed() >= Duration::from_secs(DELAY.into()));
    settle(&daemon);
    expect_wills(&mut watcher, 1, &[]);
    daemon.stop();
    daemon.restart();
    settle(&daemon);
    expect_wills(&mut watch(&daemon), 1, &[]);
}

// Conforms: 5.0 [MQTT-3.1.2-8] [MQTT-3.1.2-15]; 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-17]
#[test]
fn a_retained_will_is_there_after_sigkill() {
    let mut daemon = Daemon::start("");
    for version in Version::ALL {
        let mut client = join(&daemon, version, "online");
        client.deliver(&Message::new("status/c", "online").retained().qos(1, 1));
        let will = Will::new("status/c", b"offline").retained();
        let connect = Connect::new(version, "c").resuming(600).will(will);
        let client = connect.open(daemon.port());
        settle_retained(&daemon);
        daemon.kill();
        drop(client);
        daemon.restart();
        let mut client = join(&daemon, version, "later");
        client.subscribe("status/#", 1).unwrap();
        assert_eq!(client.take().text(), "offline", "{version:?}");
        // The client is back, and says so; its next connection has no will.
        let mut client = Connect::new(version, "c").open(daemon.port()).0;
        client.deliver(&Message::new("status/c", "online").retained().qos(1, 1));
        daemon.kill();
        daemon.restart();
        let mut client = join(&daemon, version, "later");
        client.subscribe("status/#", 1).unwrap();
        assert_eq!(client.take().text(), "online", "{version:?}");
    }
}

/// What has happened is in the store when a retained message is.
fn settle_retained(daemon: &Daemon) {
    let mut client = join(daemon, Version::V5, "settler");
    client.deliver(&Message::new("settled", "x").retained().qos(1, 1));
}

/// Publishes until nothing more is taken; returns how many messages were.
fn fill(daemon: &Daemon) -> usize {
    let mut client = join(daemon, Version::V5, "filler");
    for number in 0..1_000 {
        client.say(&Message::new("will/filled", "").qos(1, 1));
        if client.answer().2 == 0x97 {
            return number;
        }
    }
    panic!("never full");
}

#[test]
fn a_will_that_was_accepted_is_published_although_the_store_is_full() {
    let mut daemon = Daemon::start("store.max_total_messages = 5");
    leave_watcher(&daemon);
    let client = connect(&daemon, "before", 0);
    let mut lost = connect(&daemon, "lost", 0);
    let filled = fill(&daemon);
    lost.finish().unwrap();
    lost.expect_end();
    daemon.kill();
    drop(client);
    daemon.restart();
    let mut watcher = watch(&daemon);
    let mut topics: Vec<_> = (0..filled + 2).map(|_| watcher.take().topic).collect();
    // The crash may have come before the first one was stored, which is published again then.
    topics[filled..].sort();
    assert_eq!(&topics[filled..], ["will/before", "will/lost"]);
}
