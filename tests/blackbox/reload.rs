//! A configuration that is read anew while the daemon runs.

use std::ffi::OsStr;
use std::fs;

use tests::daemon::{Daemon, tidegate};
use tests::hub::Hub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

/// A bridge that forwards what is below its name, with one more rule as `more`.
fn bridge(hub: &Hub, name: &str, prefix: &str, more: &str) -> String {
    let port = hub.port();
    format!(
        "bridges.mqtt.{name} {{ server = \"mqtt-tcp://127.0.0.1:{port}\", clientid = {name}\n\
         backoff_max = 200ms\n\
         forwards = [{{ local_topic = \"{name}/#\", remote_topic = \"\", prefix = \"{prefix}\" }}]\n\
         {more} }}\n"
    )
}

fn client(port: u16, client_id: &str) -> WireClient {
    let connected = WireClient::connect(port, Version::V5, client_id, Kept::Nothing);
    connected.unwrap().0
}

/// Publishes these numbers below a topic.
fn publish(daemon: &Daemon, topic: &str, numbers: impl IntoIterator<Item = u64>) {
    let mut publisher = client(daemon.port(), "publisher");
    for number in numbers {
        let payload = number.to_string();
        publisher
            .publish_acknowledged(topic, payload.as_bytes())
            .unwrap();
    }
}

/// What has come, as topics and numbers.
fn received(subscriber: &Subscriber) -> Vec<(String, u64)> {
    let received = subscriber.received().into_iter();
    received
        .map(|it| {
            let number = it.number().unwrap();
            (it.topic, number)
        })
        .collect()
}

/// These numbers, each under this topic.
fn all(topic: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    let numbers = numbers.into_iter();
    numbers.map(|it| (topic.to_owned(), it)).collect()
}

#[track_caller]
fn assert_counts(said: &str, counts: &str) {
    assert!(said.contains(counts), "not {counts}: {said}");
}

/// Waits until the daemon says this below `$SYS/broker`.
#[track_caller]
fn until_said(daemon: &Daemon, topic: &str, expected: impl Fn(&str) -> bool) {
    let topic = format!("$SYS/broker/{topic}");
    let mut watcher = client(daemon.port(), "watcher");
    watcher.subscribe(&topic, 0).unwrap();
    loop {
        let publish = watcher.receive_publish().unwrap();
        if expected(&String::from_utf8(publish.payload).unwrap()) {
            return;
        }
    }
}

/// Waits until the daemon has logged this so often, over all its starts.
#[track_caller]
fn until_logged(daemon: &mut Daemon, words: &str, times: usize) {
    let what = format!("{words} is logged {times} times");
    until(&what, || {
        daemon.process().log().matches(words).count() >= times
    });
}

#[test]
fn a_bridge_comes_changes_and_goes_while_another_stays_connected() {
    let [stays, mut changes] = [Hub::start(), Hub::start()];
    let same = bridge(&stays, "same", "", "") + "sys_topics.interval = 1s\n";
    let mut daemon = Daemon::start(&same);
    until("it is connected", || stays.connections_of("same") == 1);
    let at_hub = Subscriber::start(changes.port(), "cloud", "#");

    // A new one is started.
    let said = daemon.reload(&(same.clone() + &bridge(&changes, "new", "", "")));
    assert_counts(&said, "added=1 changed=0 paused=0 removed=0 unchanged=1");
    publish(&daemon, "new/t", [1]);
    until("it forwards", || received(&at_hub) == all("new/t", [1]));
    // What is not acknowledged would come twice.
    until_said(&daemon, "gateway/bridge/new/sent", |it| it == "1");

    // It is changed while messages wait in its outbox: none is lost, and they go by the new rule.
    changes.stop();
    publish(&daemon, "new/t", 2..=100);
    let more = ", { local_topic = more, remote_topic = \"\" }";
    let changed = bridge(&changes, "new", "site/", "").replace(" }]", &format!(" }}{more}]"));
    let said = daemon.reload(&(same.clone() + &changed));
    assert_counts(&said, "added=0 changed=1 paused=0 removed=0 unchanged=1");
    publish(&daemon, "more", [7]);
    changes.resume();
    let mut expected = all("new/t", [1]);
    expected.extend(all("site/new/t", 2..=100));
    expected.extend(all("more", [7]));
    until("what waited has come", || {
        received(&at_hub).len() >= expected.len()
    });
    assert_eq!(received(&at_hub), expected);

    until_said(&daemon, "gateway/bridge/new/sent", |it| it == "101");

    // It is paused: what is published waits, over a restart too, until it is resumed.
    let off = bridge(&changes, "new", "", "enable = false");
    let said = daemon.reload(&(same.clone() + &off));
    assert_counts(&said, "added=0 changed=0 paused=1 removed=0 unchanged=1");
    until_said(&daemon, "gateway/bridge/new/state", |it| {
        it.starts_with("down: paused")
    });
    publish(&daemon, "new/t", [101]);
    let connections = stays.connections_of("same");
    assert_eq!(connections, 1, "the other bridge has lost its connection");
    daemon.stop();
    daemon.restart();
    until_logged(&mut daemon, "its queue goes on collecting", 2);
    publish(&daemon, "new/t", [102]);
    let said = daemon.reload(&(same.clone() + &bridge(&changes, "new", "", "")));
    assert_counts(&said, "added=1 changed=0 paused=0 removed=0 unchanged=1");
    expected.extend(all("new/t", 101..=102));
    until("what waited has come", || {
        received(&at_hub).len() >= expected.len()
    });
    assert_eq!(received(&at_hub), expected);

    // It is deleted: nothing is left of it when nothing waits.
    until_said(&daemon, "gateway/bridge/new/sent", |it| it == "2");
    let mut witness = client(daemon.port(), "witness");
    let state = "$SYS/broker/gateway/bridge/new/state";
    witness.subscribe(state, 0).unwrap();
    let said = daemon.reload(&same);
    assert_counts(&said, "added=0 changed=0 paused=0 removed=1 unchanged=1");
    assert!(!said.contains("its queue is kept"), "{said}");
    while !witness.receive_publish().unwrap().payload.is_empty() {}
    until_said(&daemon, "gateway/bridge/same/state", |it| it == "up");
    let mut watcher = client(daemon.port(), "watcher");
    watcher
        .subscribe("$SYS/broker/gateway/bridge/new/#", 0)
        .unwrap();
    watcher
        .subscribe("$SYS/broker/gateway/bridge/same/state", 0)
        .unwrap();
    let first = watcher.receive_publish().unwrap();
    assert!(first.topic.ends_with("same/state"), "{first:?}");
}

#[test]
fn what_waits_for_a_deleted_bridge_is_kept_until_it_is_forgotten() {
    let mut hub = Hub::start();
    let at_hub = Subscriber::start(hub.port(), "cloud", "b/#");
    let with = bridge(&hub, "b", "", "") + "sys_topics.interval = 1s\n";
    let without = "sys_topics.interval = 1s\n";
    let mut daemon = Daemon::start(&with);
    hub.stop();
    publish(&daemon, "b/t", 1..=3);
    let said = daemon.reload(without);
    assert_counts(&said, "waiting=3 ");
    assert_counts(&said, "added=0 changed=0 paused=0 removed=1 unchanged=0");
    until_said(&daemon, "gateway/bridge/b/state", |it| {
        it.starts_with("down: no longer configured")
    });
    // Nothing joins it.
    publish(&daemon, "b/t", [4]);
    daemon.stop();
    daemon.restart();
    until_logged(&mut daemon, "its queue is kept", 2);
    // It goes on where it was when it comes back.
    let said = daemon.reload(&with);
    assert_counts(&said, "added=1 changed=0 paused=0 removed=0 unchanged=0");
    publish(&daemon, "b/t", [5]);
    hub.resume();
    until("what waited has come", || at_hub.count() >= 4);
    assert_eq!(received(&at_hub), all("b/t", [1, 2, 3, 5]));
}

#[test]
fn a_deleted_bridge_is_forgotten_on_request() {
    let hub = Hub::start();
    let with = bridge(&hub, "b", "", "");
    let mut daemon = Daemon::start(&with);
    drop(hub);
    publish(&daemon, "b/t", 1..=3);
    daemon.reload("");
    let data = daemon.data();
    let forget = |client: &str| {
        let mut command = tidegate(["store", "forget", "--client-id", client, "--path"]);
        command.arg(&data).output().unwrap()
    };
    let client = "$gateway/bridge/b";
    let output = forget(client);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("stop the daemon first\n"), "{said}");
    daemon.stop();
    let output = forget("nobody");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = forget(client);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("with 3 messages"), "{output:?}");
    assert_eq!(forget(client).status.code(), Some(1), "it is gone");
    daemon.restart();
    // One that comes under its name has nothing of it.
    let said = daemon.reload(&with);
    assert_eq!(
        daemon.process().log().matches("its queue is kept").count(),
        1
    );
    assert!(!said.contains("resumes"), "{said}");
}

#[test]
fn reload_finds_the_daemon_by_its_store() {
    let hub = Hub::start();
    let mut daemon = Daemon::start("");
    let (conf, data, pid) = (daemon.conf(), daemon.data(), daemon.process().id());
    let reload = |arguments: &[&OsStr]| {
        let mut command = tidegate(["reload"]);
        command.args(arguments).output().unwrap()
    };
    let pid = pid.to_string();
    let ways: [[&OsStr; 2]; 3] = [
        ["--conf".as_ref(), conf.as_ref()],
        ["--path".as_ref(), data.as_ref()],
        ["--pid".as_ref(), pid.as_ref()],
    ];
    for way in ways {
        let said = daemon.reload_with(|_| {
            let output = reload(&way);
            assert!(output.status.success(), "{way:?}: {output:?}");
        });
        assert_counts(&said, "added=0 changed=0 paused=0 removed=0 unchanged=0");
    }
    // What is wrong is said here, and the daemon is not asked.
    fs::write(&conf, bridge(&hub, "b", "", "keepalife = 7s")).unwrap();
    let output = reload(&ways[0]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    daemon.stop();
    let output = reload(&ways[1]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no daemon runs"), "{said}");
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let hub = Hub::start();
    let right = bridge(&hub, "same", "", "");
    let mut daemon = Daemon::start(&right);
    until("it is connected", || hub.connections_of("same") == 1);
    // The first section is fine and would be a change, the last has the mistake.
    let wrong =
        bridge(&hub, "new", "", "") + "bridges.mqtt.last {\n server = hub\n keepalife = 7s }";
    let said = daemon.reload(&wrong);
    assert_counts(&said, "tidegate.conf:10:");
    assert_counts(&said, "keepalife");
    // Nor does one that an editor has emptied before it writes it.
    fs::write(daemon.conf(), "\n").unwrap();
    let said = daemon.reload_with(|process| process.signal("HUP"));
    assert_counts(&said, "the configuration file is empty");
    let said = daemon.reload(&right);
    assert_counts(&said, "added=0 changed=0 paused=0 removed=0 unchanged=1");
    assert_eq!(hub.connections_of("new"), 0);
    assert_eq!(hub.connections_of("same"), 1);
}

#[test]
fn what_cannot_change_is_named() {
    let mut daemon = Daemon::start("");
    let said = daemon.reload("mqtt.receive_maximum = 7\nretain.max_messages = 9");
    let lines: Vec<_> = said
        .lines()
        .filter(|it| it.contains("next start"))
        .collect();
    assert_eq!(lines.len(), 2, "{said}");
    for (line, section) in lines.iter().zip(["mqtt", "retain"]) {
        assert_counts(line, &format!("section=\"{section}\""));
    }
    // What has not been taken over is still a change.
    let said = daemon.reload("mqtt.receive_maximum = 7");
    assert_eq!(said.matches("next start").count(), 1, "{said}");
    assert!(!daemon.reload("").contains("next start"));
}

#[test]
fn what_was_said_of_a_bridge_that_is_gone_is_taken_back() {
    let hub = Hub::start();
    let with = |name| bridge(&hub, name, "", "") + "sys_topics.interval = 1s\n";
    let mut daemon = Daemon::start(&with("old"));
    let topics = [
        "$SYS/brokers/bridges/old/status",
        "$SYS/broker/connection/old/state",
        "$SYS/brokers/client_status/old",
        "$SYS/broker/gateway/bridge/old/state",
    ];
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    let is_empty = |topic: &str| {
        let received = watcher.received();
        let last = received.iter().rfind(|it| it.topic == topic);
        last.map(|it| it.payload.is_empty())
    };
    for topic in topics {
        until(&format!("{topic} is said"), || {
            is_empty(topic) == Some(false)
        });
    }
    daemon.reload(&with("new"));
    for topic in topics {
        until(&format!("{topic} is empty"), || {
            is_empty(topic) == Some(true)
        });
    }
    // Whatever else is retained comes to who is late.
    let mut late = client(daemon.port(), "late");
    let status = "$SYS/brokers/bridges/+/status";
    late.subscribe(status, 0).unwrap();
    let first = late.receive_publish().unwrap();
    assert_eq!(first.topic, "$SYS/brokers/bridges/new/status");

    // Another place is another topic.
    let elsewhere = bridge(&hub, "new", "", "notification_topic = elsewhere");
    daemon.reload(&elsewhere);
    until("the old place is empty", || {
        is_empty(&first.topic) == Some(true)
    });
}

#[test]
fn messages_are_guarded_while_the_configuration_makes_a_circle_possible() {
    let hub = Hub::start();
    let mut daemon = Daemon::start(&bridge(&hub, "b", "", ""));
    let mut at_hub = client(hub.port(), "cloud");
    at_hub.subscribe("b/#", 0).unwrap();
    let mut is_named = |daemon: &Daemon| {
        publish(daemon, "b/t", [1]);
        let body = at_hub.receive().unwrap().unwrap().body;
        body.windows(8).any(|it| it == b"x-origin")
    };
    assert!(!is_named(&daemon));
    let back = "subscription = [{ remote_topic = \"b/#\" }]";
    let said = daemon.reload(&bridge(&hub, "b", "", back));
    assert!(!said.contains("next start"), "{said}");
    assert!(is_named(&daemon));
    let said = daemon.reload(&bridge(&hub, "b", "", ""));
    assert!(!said.contains("next start"), "{said}");
    assert!(!is_named(&daemon));
}
