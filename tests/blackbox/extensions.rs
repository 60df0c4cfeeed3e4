//! What the daemon does beyond MQTT, from outside.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient, packet};

fn client(daemon: &Daemon, client_id: &str) -> WireClient {
    let connected = WireClient::connect(daemon.port(), Version::V5, client_id, Kept::Nothing);
    connected.unwrap().0
}

fn subscriber(daemon: &Daemon, client_id: &str, filter: &str) -> WireClient {
    let mut client = client(daemon, client_id);
    client.subscribe(filter, 1).unwrap();
    client
}

/// The topic and payload of the next message.
fn next(client: &mut WireClient) -> (String, String) {
    let publish = client.receive_publish().unwrap();
    if publish.identifier > 0 {
        client.acknowledge(publish.identifier).unwrap();
    }
    let payload = String::from_utf8(publish.payload).unwrap();
    (publish.topic, payload)
}

/// The Reason Code of the PUBACK for a message.
fn publish(client: &mut WireClient, topic: &str, payload: &str) -> u8 {
    client.publish(topic, payload.as_bytes()).unwrap();
    let puback = client.expect(0x40).unwrap();
    puback.body.get(2).copied().unwrap_or(0)
}

#[test]
fn a_delayed_message_comes_when_it_is_due_and_survives_a_kill() {
    let mut daemon = Daemon::start("delayed { enable = true, max_delayed_messages = 3 }");
    let mut publisher = client(&daemon, "publisher");
    let start = Instant::now();
    assert_eq!(publish(&mut publisher, "$delayed/3/d/t", "late"), 0);
    assert_eq!(publish(&mut publisher, "$delayed/1/d/t", "soon"), 0);
    assert_eq!(publish(&mut publisher, "$delayed/x/d/t", "x"), 0x90);
    assert_eq!(publish(&mut publisher, "$delayed/1/$SYS/t", "x"), 0x87);
    assert_eq!(publish(&mut publisher, "$delayed/99/d/t", "never"), 0);
    assert_eq!(publish(&mut publisher, "$delayed/1/d/t", "full"), 0x97);
    let mut reader = subscriber(&daemon, "reader", "d/#");
    assert_eq!(next(&mut reader), ("d/t".to_owned(), "soon".to_owned()));
    assert!(start.elapsed() >= Duration::from_secs(1));
    daemon.kill();
    daemon.restart();
    let mut reader = subscriber(&daemon, "reader", "d/#");
    // A crash may repeat what was published just before it.
    while next(&mut reader).1 == "soon" {}
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[test]
fn delayed_messages_are_off_by_default() {
    let daemon = Daemon::start("");
    let mut reader = subscriber(&daemon, "reader", "$delayed/#");
    let mut publisher = client(&daemon, "publisher");
    publish(&mut publisher, "$delayed/5/t", "now");
    assert_eq!(next(&mut reader).0, "$delayed/5/t");
}

#[test]
fn topics_are_rewritten() {
    let daemon = Daemon::start(
        r#"rewrite = [
            { source_topic = "old/+/#", dest_topic = "new/$2/$1" }
            { action = publish, source_topic = "x/#", re = "^x/(.+)/y$", dest_topic = "z/${clientid}/$1" }
        ]"#,
    );
    let mut reader = subscriber(&daemon, "reader", "old/+/b");
    // Becomes new/#/+, which is no filter; the client is told and stays connected.
    reader
        .send(&packet(0x82, b"\0\x09\0\0\x07old/+/#\x01"))
        .unwrap();
    let suback = reader.expect(0x90).unwrap();
    assert_eq!(suback.body.last(), Some(&0x8f));
    reader.subscribe("z/#", 1).unwrap();
    let mut publisher = client(&daemon, "publisher");
    assert_eq!(publish(&mut publisher, "old/a/b", "1"), 0);
    assert_eq!(publish(&mut publisher, "x/1/2/y", "2"), 0);
    assert_eq!(publish(&mut publisher, "x/1/2", "nobody"), 0x10);
    assert_eq!(next(&mut reader), ("new/b/a".to_owned(), "1".to_owned()));
    let second = ("z/publisher/1/2".to_owned(), "2".to_owned());
    assert_eq!(next(&mut reader), second);
}

#[test]
fn clients_get_automatic_subscriptions() {
    let daemon = Daemon::start(
        r#"auto_subscribe.topics = [
            { topic = "cmd/${clientid}/#", qos = 1 }
            { topic = "of/${username}/#", qos = 1 }
        ]"#,
    );
    let mut reader = client(&daemon, "reader");
    let mut publisher = client(&daemon, "publisher");
    // Names that would widen the filter get none.
    let _curious = ["+", "#", "other/1"].map(|client_id| client(&daemon, client_id));
    assert_eq!(publish(&mut publisher, "cmd/other/1", "x"), 0x10);
    assert_eq!(publish(&mut publisher, "cmd/reader/1", "x"), 0);
    assert_eq!(next(&mut reader).0, "cmd/reader/1");
}

#[test]
fn a_preset_session_collects_for_a_client_that_has_not_come_yet() {
    let mut daemon = Daemon::start(
        r#"preset.session.logger { clientid = "logger", topic = [{ remote_topic = "plant/#", qos = 1 }] }"#,
    );
    let mut publisher = client(&daemon, "publisher");
    assert_eq!(publish(&mut publisher, "plant/1", "before"), 0);
    daemon.kill();
    daemon.restart();
    let mut publisher = client(&daemon, "publisher");
    assert_eq!(publish(&mut publisher, "plant/2", "after"), 0);
    let connected =
        WireClient::connect(daemon.port(), Version::V5, "logger", Kept::Session).unwrap();
    let (mut logger, session_present) = connected;
    assert!(session_present);
    assert_eq!(
        next(&mut logger),
        ("plant/1".to_owned(), "before".to_owned())
    );
    assert_eq!(
        next(&mut logger),
        ("plant/2".to_owned(), "after".to_owned())
    );
}

#[test]
fn clients_that_come_and_go_are_announced() {
    let daemon = Daemon::start("");
    let mut watcher = subscriber(&daemon, "watcher", "$SYS/brokers/client_status/device");
    watcher.subscribe("$SYS/brokers/disconnected", 1).unwrap();
    let device = client(&daemon, "device");
    let (_, online) = next(&mut watcher);
    let online: Value = serde_json::from_str(&online).unwrap();
    assert_eq!(online["status"], "online");
    assert_eq!(online["client_id"], "device");
    assert_eq!(online["proto_ver"], 5);
    assert_eq!(online["keepalive"], 60);
    assert_eq!(online["IPv4"], "127.0.0.1");
    device.disconnect().unwrap();
    let mut topics = Vec::new();
    for _ in 0..2 {
        let (topic, offline) = next(&mut watcher);
        let offline: Value = serde_json::from_str(&offline).unwrap();
        assert_eq!(offline["status"], "offline");
        assert_eq!(offline["reason_code"], "00");
        topics.push(topic);
    }
    topics.sort();
    let expected = [
        "$SYS/brokers/client_status/device",
        "$SYS/brokers/disconnected",
    ];
    assert_eq!(topics, expected);
}

#[test]
fn the_tree_of_mosquitto_is_announced() {
    let daemon = Daemon::start("sys_topics.interval = 1s");
    let mut device = subscriber(&daemon, "device", "$share/g/t");
    assert_eq!(publish(&mut device, "t", "x"), 0);
    next(&mut device);
    let mut watcher = subscriber(&daemon, "watcher", "$SYS/broker/#");
    let mut wanted = vec![
        ("clients/connected", "2"),
        ("clients/total", "2"),
        ("publish/messages/received", "1"),
        ("publish/bytes/received", "1"),
        ("shared_subscriptions/count", "1"),
        ("subscriptions/count", "2"),
        ("load/connections/1min", ""),
        ("version", "Tidegate version 0.1.0"),
    ];
    while !wanted.is_empty() {
        let (topic, payload) = next(&mut watcher);
        let name = topic.strip_prefix("$SYS/broker/").unwrap();
        wanted.retain(|(it, value)| *it != name || !(value.is_empty() || payload == *value));
    }
}
