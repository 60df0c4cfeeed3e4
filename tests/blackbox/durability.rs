//! What an acknowledgement means is what the configuration says.

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient};

fn connect(daemon: &Daemon, client_id: &str, kept: Kept) -> (WireClient, bool) {
    WireClient::connect(daemon.port(), Version::V5, client_id, kept).unwrap()
}

/// Messages to these topics reach a session over a kill, or not.
fn survivors(more: &str, topics: &[&str]) -> Vec<String> {
    let mut daemon = Daemon::start(more);
    let (mut reader, _) = connect(&daemon, "reader", Kept::Session);
    reader.subscribe("#", 1).unwrap();
    reader.disconnect().unwrap();
    let (mut publisher, _) = connect(&daemon, "publisher", Kept::Nothing);
    for topic in topics {
        publisher.publish_acknowledged(topic, b"1").unwrap();
    }
    daemon.kill();
    daemon.restart();
    let (mut reader, is_resumed) = connect(&daemon, "reader", Kept::Session);
    assert!(is_resumed, "sessions survive at every level");
    let (mut publisher, _) = connect(&daemon, "publisher", Kept::Nothing);
    publisher.publish_acknowledged("end", b"1").unwrap();
    let mut survivors = Vec::new();
    loop {
        let publish = reader.receive_publish().unwrap();
        reader.acknowledge(publish.identifier).unwrap();
        if publish.topic == "end" {
            return survivors;
        }
        survivors.push(publish.topic);
    }
}

#[test]
fn memory_does_not_survive_the_process_and_the_others_do() {
    let topics = ["a", "b/1", "c"];
    assert_eq!(survivors("store.durability = memory", &topics), [""; 0]);
    assert_eq!(survivors("store.durability = normal", &topics), topics);
    assert_eq!(survivors("store.durability = full", &topics), topics);
    assert_eq!(survivors("", &topics), topics);
}

#[test]
fn topics_have_a_durability_of_their_own() {
    let rules = "store.topics = [\n\
         { filter = \"trace/kept\", durability = full }\n\
         { filter = \"trace/#\", durability = memory }\n\
         ]";
    let topics = ["trace/x", "trace/kept", "other", "trace/y/z"];
    assert_eq!(survivors(rules, &topics), ["trace/kept", "other"]);
}

#[test]
fn retained_messages_of_topics_in_memory_do_not_come_back() {
    let retained = |daemon: &Daemon| {
        let (mut reader, _) = connect(daemon, "other", Kept::Nothing);
        reader.subscribe("r", 0).unwrap();
        reader.send(&[0xc0, 0]).unwrap();
        let packet = reader.receive().unwrap().unwrap();
        packet.publish(Version::V5).map(|it| it.payload)
    };
    let retain = |daemon: &Daemon, payload: &[u8]| {
        let (mut publisher, _) = connect(daemon, "publisher", Kept::Nothing);
        let body = [b"\0\x01r\0\x01\0", payload].concat();
        let publish = tests::wire::packet(0x33, &body);
        publisher.send(&publish).unwrap();
        assert!(publisher.expect(0x40).unwrap().reason() < 0x80);
    };
    let mut daemon = Daemon::start("");
    retain(&daemon, b"stored");
    daemon.kill();
    daemon.reconfigure("store.durability = memory");
    assert_eq!(retained(&daemon).as_deref(), Some(&b"stored"[..]));
    retain(&daemon, b"in memory");
    assert_eq!(retained(&daemon).as_deref(), Some(&b"in memory"[..]));
    assert!(daemon.stop().0.success());
    daemon.restart();
    // Neither the last one nor, in its place, the one before it.
    assert_eq!(retained(&daemon), None);
}

#[test]
fn the_durability_is_announced() {
    let daemon = Daemon::start(
        "store { durability = full, topics = [{ filter = \"x/+\", durability = memory }] }\n\
         sys_topics.interval = 1s",
    );
    let (mut client, _) = connect(&daemon, "client", Kept::Nothing);
    client.subscribe("$SYS/broker/durability", 0).unwrap();
    let publish = client.receive_publish().unwrap();
    assert_eq!(publish.payload, b"full\nmemory x/+");

    let mut raw = WireClient::open(daemon.port(), Version::V5).unwrap();
    raw.send(&tests::wire::connect(Version::V5, "raw", Kept::Nothing))
        .unwrap();
    let connack = raw.expect(0x20).unwrap();
    let property = b"\x26\0\x0adurability\0\x04full";
    assert!(
        connack
            .body
            .windows(property.len())
            .any(|it| it == property)
    );
}
