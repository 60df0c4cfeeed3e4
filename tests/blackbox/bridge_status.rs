//! What the daemon says of a bridge: its state, its outbox, the alarm.

use serde_json::Value;
use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

const STATUS: &str = "$SYS/brokers/bridges/hub/status";
const CONNECTION: &str = "$SYS/broker/connection/hub/state";
const CLIENT: &str = "$SYS/brokers/client_status/edge";

fn start(hub: &Hub, more: &str, rest: &str) -> Daemon {
    Daemon::start(&bridge(hub, more, rest))
}

/// A bridge to this hub; `more` is appended to its keys.
fn bridge(hub: &Hub, more: &str, rest: &str) -> String {
    let port = hub.port();
    format!(
        r#"
sys_topics.interval = 1s
{rest}
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 200ms
  forwards = [{{ local_topic = "plant/#" }}, {{ local_topic = "site/#" }}]
  {more}
}}
"#
    )
}

/// What was said last on a topic.
fn last(watcher: &Subscriber, topic: &str) -> Option<String> {
    let received = watcher.received();
    let publish = received.iter().rev().find(|it| it.topic == topic)?;
    Some(String::from_utf8(publish.payload.clone()).unwrap())
}

fn is_said(watcher: &Subscriber, topic: &str, payload: &str) -> bool {
    last(watcher, topic).as_deref() == Some(payload)
}

/// What is said of the bridge below `$SYS/broker/gateway`.
#[track_caller]
fn until_said(watcher: &Subscriber, name: &str, payload: &str) {
    let topic = format!("$SYS/broker/gateway/bridge/hub/{name}");
    until(&format!("{name} is {payload}"), || {
        is_said(watcher, &topic, payload)
    });
}

/// Waits for this state; returns the notification that has it.
#[track_caller]
fn until_state(watcher: &Subscriber, topic: &str, state: &str) -> Value {
    let notification = || {
        let payload = last(watcher, topic)?;
        let value: Value = serde_json::from_str(&payload).unwrap();
        (value["state"] == state).then_some(value)
    };
    until(&format!("the bridge is {state}"), || {
        notification().is_some()
    });
    notification().unwrap()
}

fn publish(daemon: &Daemon, count: usize) {
    let (mut client, _) =
        WireClient::connect(daemon.port(), Version::V5, "press", Kept::Nothing).unwrap();
    for _ in 0..count {
        client
            .publish_acknowledged("plant/a", b"0123456789")
            .unwrap();
    }
}

#[test]
fn an_outage_is_told_with_its_reason_and_what_waits_with_its_size() {
    let mut hub = Hub::start();
    hub.stop();
    let daemon = start(&hub, "", "");
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    let server = format!("mqtt-tcp://127.0.0.1:{}", hub.port());

    let down = until_state(&watcher, STATUS, "down");
    let reason = down["reason"].as_str().unwrap();
    let expected = format!("not connected to {server}: ");
    assert!(reason.starts_with(&expected), "{reason}");
    assert_eq!(down["bridge"], "hub");
    assert_eq!(down["last_error"], down["reason"]);
    assert_eq!(down["server"], Value::Null);
    until("both trees say so", || {
        is_said(&watcher, CONNECTION, "0") && last(&watcher, CLIENT).is_some()
    });
    let client: Value = serde_json::from_str(&last(&watcher, CLIENT).unwrap()).unwrap();
    assert_eq!(
        (&client["status"], &client["client_id"], &client["ts"]),
        (&"offline".into(), &"edge".into(), &down["since"])
    );
    until_said(&watcher, "state", &format!("down: {reason}"));

    publish(&daemon, 50);
    until_said(&watcher, "outbox/messages", "50");
    // Topic and payload.
    until_said(&watcher, "outbox/bytes", "850");
    let age = || {
        let age = last(&watcher, "$SYS/broker/gateway/bridge/hub/outbox/oldest_s")?;
        age.parse::<u64>().ok()
    };
    until("the oldest grows older", || age().is_some_and(|it| it >= 3));
    let younger = age().unwrap();
    publish(&daemon, 1);
    until_said(&watcher, "outbox/messages", "51");
    until("it still does", || age().is_some_and(|it| it > younger));

    hub.resume();
    let up = until_state(&watcher, STATUS, "up");
    assert_eq!(up["server"], server);
    assert_eq!(up["reason"], Value::Null);
    assert_eq!(up["last_error"], reason);
    assert!(
        up["since"].as_u64() >= down["since"].as_u64(),
        "{up} {down}"
    );
    until("both trees say so", || {
        is_said(&watcher, CONNECTION, "1")
            && last(&watcher, CLIENT).is_some_and(|it| it.contains(r#""status":"online""#))
    });
    until_said(&watcher, "state", "up");
    until_said(&watcher, "address", &server);
    until_said(&watcher, "last_error", reason);
    until_said(&watcher, "since", &up["since"].to_string());
    until_said(&watcher, "sent", "51");
    until_said(&watcher, "outbox/messages", "0");
    until_said(&watcher, "outbox/oldest_s", "0");
    until_said(&watcher, "outbox/bytes", "0");

    // Who comes later is told too.
    let (mut late, _) =
        WireClient::connect(daemon.port(), Version::V5, "late", Kept::Nothing).unwrap();
    late.subscribe(STATUS, 1).unwrap();
    let retained: Value = serde_json::from_slice(&late.receive_publish().unwrap().payload).unwrap();
    assert_eq!(retained, up);

    hub.stop();
    let again = until_state(&watcher, STATUS, "down");
    assert!(again["since"].as_u64() >= up["since"].as_u64());
    until_said(&watcher, "address", "");
}

#[test]
fn an_outbox_that_is_nearly_full_is_told_once_and_again_when_it_is_not() {
    let mut hub = Hub::start();
    hub.stop();
    let mut daemon = start(&hub, "", "store.max_messages = 100");
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/broker/gateway/#");
    publish(&daemon, 79);
    until_said(&watcher, "outbox/messages", "79");
    until_said(&watcher, "outbox/alarm", "0");
    publish(&daemon, 1);
    until_said(&watcher, "outbox/alarm", "1");
    publish(&daemon, 10);
    until_said(&watcher, "outbox/messages", "90");
    hub.resume();
    until_said(&watcher, "outbox/alarm", "0");
    let log = daemon.process().log();
    let count = |line| log.matches(line).count();
    assert_eq!(count("the outbox is nearly full"), 1, "{log}");
    assert_eq!(count("the outbox has room again"), 1, "{log}");
}

#[test]
fn a_notification_on_a_topic_that_is_forwarded_tells_the_hub_too() {
    let hub = Hub::start();
    let cloud = Subscriber::start(hub.port(), "cloud", "site/#");
    let more = r#"
  notification_topic = "site/${gateway}/state"
  will { topic = "site/${gateway}/state", payload = "{\"state\":\"lost\"}", retain = true }
"#;
    let mut daemon = start(&hub, more, "");
    let topic = "site/hub/state";
    let watcher = Subscriber::start(daemon.port(), "watcher", topic);
    let up = until_state(&watcher, topic, "up");
    assert_eq!(until_state(&cloud, topic, "up"), up);
    daemon.kill();
    until_state(&cloud, topic, "lost");
}

#[test]
fn a_bridge_that_is_changed_paused_and_resumed_goes_on_counting_and_tells_no_error() {
    let hub = Hub::start();
    let rule = r#"subscription = [{ remote_topic = "cmd/#" }]"#;
    let mut daemon = start(&hub, rule, "");
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    let (mut cloud, _) =
        WireClient::connect(hub.port(), Version::V5, "cloud", Kept::Nothing).unwrap();
    let steps = ["", "keepalive = 7s", "enable = false", "keepalive = 8s"];
    let mut transferred = 0;
    for (place, step) in steps.into_iter().enumerate() {
        if place > 0 {
            daemon.reload(&bridge(&hub, &format!("{rule}\n{step}"), ""));
        }
        if step == "enable = false" {
            until_said(&watcher, "state", "down: paused, `enable` is off");
            continue;
        }
        transferred += 1;
        publish(&daemon, 1);
        until_said(&watcher, "sent", &transferred.to_string());
        // What the hub has acknowledged came behind SUBSCRIBE.
        cloud.publish_acknowledged("cmd/a", b"1").unwrap();
        until_said(&watcher, "received", &transferred.to_string());
    }
    let states = watcher.received().into_iter();
    let states = states.filter(|it| it.topic == STATUS);
    let states: Vec<Value> = states
        .map(|it| serde_json::from_slice(&it.payload).unwrap())
        .collect();
    let stopped = states.iter().filter(|it| it["reason"] == "it is stopped");
    assert_eq!(stopped.count(), 2, "{states:?}");
    let errors = states.iter().filter(|it| it["last_error"] != Value::Null);
    assert_eq!(errors.count(), 0, "{states:?}");
    let topic = "$SYS/broker/gateway/bridge/hub/last_error";
    assert_eq!(last(&watcher, topic), None);
}

#[test]
fn a_bridge_without_notification_tells_nobody() {
    let hub = Hub::start();
    let daemon = start(&hub, "notification = false", "");
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    until_said(&watcher, "state", "up");
    for topic in [STATUS, CONNECTION, CLIENT] {
        assert_eq!(last(&watcher, topic), None, "{topic}");
    }
}
