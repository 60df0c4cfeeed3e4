//! How a bridge takes its leave of the hub, and what is said of it then.

use std::time::Duration;

use serde_json::Value;
use tests::daemon::Daemon;
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;
use tests::reservation;
use tests::scripted_hub::ScriptedHub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

const WILL: &str = "site/hub/will";
const STATE: &str = "site/hub/state";
const STOPPED: &str = "it is stopped";

fn bridge(port: u16, more: &str) -> String {
    format!(
        r#"
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 200ms
  notification_topic = "site/${{gateway}}/state"
  will {{ topic = "site/${{gateway}}/will", payload = "lost", qos = 1 }}
  forwards = [{{ local_topic = "site/#" }}]
  {more}
}}
"#
    )
}

/// The states that were said, each with its reason.
fn states(watcher: &Subscriber) -> Vec<(String, Option<String>)> {
    let received = watcher.received().into_iter();
    let states = received.filter(|it| it.topic == STATE && !it.payload.is_empty());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let states = states.map(|it| {
        let state: Value = serde_json::from_slice(&it.payload).unwrap();
        (text(&state["state"]).unwrap(), text(&state["reason"]))
    });
    states.collect()
}

/// Waits until the bridge has said so often that it is up, or stopped.
#[track_caller]
fn until_said(watcher: &Subscriber, what: &str, times: usize) {
    until(&format!("{what} is said {times} times"), || {
        let states = states(watcher).into_iter();
        let said =
            states.filter(|(state, reason)| state == what || reason.as_deref() == Some(what));
        said.count() >= times
    });
}

/// Waits until the hub has seen the bridge go in order so often, and what it published then.
#[track_caller]
fn until_gone(hub: &Hub, cloud: &Subscriber, times: usize) {
    until(&format!("the bridge has gone {times} times"), || {
        hub.log().matches("Client edge disconnected.").count() >= times
    });
    let connected = WireClient::connect(hub.port(), Version::V5, "marker", Kept::Nothing);
    let payload = times.to_string();
    let (mut client, _) = connected.unwrap();
    client
        .publish_acknowledged("site/marker", payload.as_bytes())
        .unwrap();
    until("the marker is there", || {
        cloud.has(|it| it.topic == "site/marker" && it.payload == payload.as_bytes())
    });
}

fn wills(cloud: &Subscriber) -> usize {
    let received = cloud.received();
    received.iter().filter(|it| it.topic == WILL).count()
}

#[test]
fn the_hub_publishes_the_will_of_a_bridge_that_dies_and_of_no_other() {
    let hub = Hub::start();
    let port = hub.port();
    let cloud = Subscriber::start(port, "cloud", "site/#");
    let mut daemon = Daemon::start(&bridge(port, ""));
    until_said(&cloud, "up", 1);
    // It is changed, paused, and resumed,
    daemon.reload(&bridge(port, "keepalive = 7s"));
    until_gone(&hub, &cloud, 1);
    until_said(&cloud, "up", 2);
    daemon.reload(&bridge(port, "enable = false"));
    until_gone(&hub, &cloud, 2);
    daemon.reload(&bridge(port, ""));
    until_said(&cloud, "up", 3);
    // stopped with the daemon, and removed.
    let watcher = Subscriber::start(daemon.port(), "watcher", STATE);
    until_said(&watcher, "up", 1);
    daemon.stop();
    until_gone(&hub, &cloud, 3);
    until_said(&watcher, STOPPED, 1);
    daemon.restart();
    until_said(&cloud, "up", 4);
    daemon.reload("");
    until_gone(&hub, &cloud, 4);
    assert_eq!(wills(&cloud), 0);
    // Each time it told the hub before it went.
    let said: Vec<_> = states(&cloud);
    let stopped = ("down".to_owned(), Some(STOPPED.to_owned()));
    assert_eq!(
        said.iter().filter(|it| **it == stopped).count(),
        4,
        "{said:?}"
    );
    assert_eq!(said.last(), Some(&stopped), "{said:?}");

    daemon.reload(&bridge(port, ""));
    until_said(&cloud, "up", 5);
    daemon.kill();
    until("the will is there", || wills(&cloud) == 1);
}

#[test]
fn after_a_restart_nobody_is_told_that_the_bridge_is_up_before_it_is() {
    let mut hub = Hub::start();
    let mut daemon = Daemon::start(&bridge(hub.port(), ""));
    let watcher = Subscriber::start(daemon.port(), "watcher", STATE);
    until_said(&watcher, "up", 1);
    for is_killed in [false, true] {
        if is_killed {
            daemon.kill();
        } else {
            daemon.stop();
        }
        hub.stop();
        daemon.restart();
        let connected = WireClient::connect(daemon.port(), Version::V5, "late", Kept::Nothing);
        let (mut late, _) = connected.unwrap();
        late.subscribe(STATE, 0).unwrap();
        let state: Value =
            serde_json::from_slice(&late.receive_publish().unwrap().payload).unwrap();
        assert!(
            state["state"] == "starting" || state["state"] == "down",
            "{state}"
        );
        hub.resume();
        until("it is up", || {
            let publish = late.receive_publish().unwrap();
            let state: Value = serde_json::from_slice(&publish.payload).unwrap();
            state["state"] == "up"
        });
    }
}

#[test]
fn what_the_hub_has_not_answered_yet_is_not_sent_twice_because_of_a_reload() {
    let hub = ScriptedHub::start();
    let port = hub.port();
    let bridge = |max_inflight| {
        format!(
            "bridges.mqtt.hub {{ server = \"mqtt-tcp://127.0.0.1:{port}\"
             max_inflight = {max_inflight}
             notification_topic = \"{STATE}\"
             forwards = [{{ local_topic = \"t/#\" }}] }}"
        )
    };
    let mut daemon = Daemon::start(&bridge(10));
    let watcher = Subscriber::start(daemon.port(), "watcher", STATE);
    let publisher = WireClient::connect(daemon.port(), Version::V5, "p", Kept::Nothing);
    let (mut publisher, _) = publisher.unwrap();
    let mut wire = hub.next().accept();
    publisher.publish_acknowledged("t/1", b"1").unwrap();
    let sent = wire.receive_publish().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| daemon.reload(&bridge(20)));
        until_said(&watcher, STOPPED, 1);
        wire.acknowledge(sent.identifier).unwrap();
        wire.expect(0xE0).unwrap();
        drop(wire);
    });
    let mut wire = hub.next().accept();
    publisher.publish_acknowledged("t/2", b"2").unwrap();
    assert_eq!(wire.receive_publish().unwrap().topic, "t/2");
}

#[test]
fn a_backlog_comes_once_in_batches_although_the_bridge_is_changed_amid_it() {
    const MESSAGES: u64 = 5_000;
    let hub = Daemon::start("");
    let cloud = Subscriber::start_with(hub.port(), "cloud", "t", 1);
    let bridge = |port, max_inflight| {
        format!(
            "bridges.mqtt.hub {{ server = \"mqtt-tcp://127.0.0.1:{port}\"
             max_inflight = {max_inflight}
             batch {{ max_messages = 100, linger = 0s }}
             forwards = [{{ local_topic = t }}] }}"
        )
    };
    let nobody = reservation::port();
    let mut daemon = Daemon::start(&bridge(nobody, 1));
    let publisher = WireClient::connect(daemon.port(), Version::V5, "p", Kept::Nothing);
    let (mut publisher, _) = publisher.unwrap();
    for number in 0..MESSAGES {
        let payload = format!("{{\"n\": {number}}}");
        publisher.publish("t", payload.as_bytes()).unwrap();
        if number >= 100 {
            publisher.expect(0x40).unwrap();
        }
    }
    for max_inflight in 2..7 {
        let before = cloud.count();
        daemon.reload(&bridge(hub.port(), max_inflight));
        let is_over = || cloud.count() as u64 >= MESSAGES;
        until("something comes", || cloud.count() > before || is_over());
    }
    until("all have come", || {
        cloud.has(|it| it.number() == Some(MESSAGES - 1))
    });
    let received = cloud.received().into_iter();
    let numbers: Vec<_> = received.filter_map(|it| it.number()).collect();
    assert_eq!(numbers.len() as u64, MESSAGES);
    assert!(numbers.is_sorted());
}

#[test]
fn a_hub_that_is_silent_does_not_keep_the_daemon_from_stopping() {
    const BRIDGES: usize = 8;
    let hub = Hub::start();
    let cloud = Subscriber::start(hub.port(), "cloud", "up/#");
    let proxy = FaultProxy::start(hub.port());
    let port = proxy.port();
    let bridges: String = (0..BRIDGES)
        .map(|it| {
            format!(
                "bridges.mqtt.b{it} {{ server = \"mqtt-tcp://127.0.0.1:{port}\", clientid = b{it}\n\
                 forwards = [{{ local_topic = \"up/b{it}\" }}]\n\
                 notification_topic = \"up/${{gateway}}\"\n }}\n"
            )
        })
        .collect();
    let mut daemon = Daemon::start(&bridges);
    until("all are up", || {
        let received = cloud.received();
        let up = received
            .iter()
            .filter(|it| it.payload.windows(4).any(|it| it == b"\"up\""));
        up.count() >= BRIDGES
    });
    proxy.black_hole();
    let (status, time) = daemon.stop();
    assert!(status.success(), "{status}");
    // A second for all of them, and as much for a machine that is busy.
    assert!(time < Duration::from_secs(5), "{time:?}");
    let log = daemon.process().log();
    assert_eq!(
        log.matches("did not say goodbye in time").count(),
        BRIDGES,
        "{log}"
    );
}
