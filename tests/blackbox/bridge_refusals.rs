//! Hubs that refuse some topics, with an answer or by closing the connection: the other topics go
//! on, and what is refused is kept aside.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::hub::Hub;
use tests::message::Message;
use tests::publisher::{Publisher, Stream};
use tests::sequence::{NO_REPEATS, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

use crate::bridge_stream::{Crossing, numbers};

const PAUSE: Duration = Duration::from_millis(10);
/// Of each QoS, round four topics.
const GOOD: u64 = 2_000;
const BAD: u64 = 400;
/// More often no connection is to be lost: eight topics are bad.
const CLOSES_MAX: usize = 64;

/// Sends what this hub takes and what it refuses, and checks where either arrives.
#[track_caller]
fn check(hub: u16, bad: &str, closes_max: usize) {
    let daemon = Daemon::start(&format!(
        r#"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{hub}"
  clientid = "edge"
  backoff_max = 200ms
  forwards = [{{ local_topic = "line/#" }}, {{ local_topic = "bad/#" }}]
}}
"#
    ));
    let at_hub = Subscriber::start(hub, "spy", "bad/#");
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
    let crossing = Crossing::start(daemon.port(), hub, GOOD, PAUSE);
    let publishers = [1, 2].map(|qos| {
        let stream = Stream::new(&format!("{bad}/{qos}"), qos, BAD).paced(PAUSE);
        Publisher::start(daemon.port(), &format!("bad-{qos}"), stream)
    });
    for publisher in &publishers {
        publisher.wait(BAD);
    }
    until("what is refused is kept aside", || {
        letters.count() >= 2 * usize::try_from(BAD).unwrap()
    });
    crossing.finish(closes_max);
    let letters = numbers(&letters);
    for qos in [1, 2] {
        let of_qos = format!("{bad}/{qos}/");
        let its = letters.iter().filter(|(topic, _)| topic.contains(&of_qos));
        let its: Vec<_> = its.cloned().collect();
        assert_complete(&format!("dead letters of {qos}"), &its, 1..=BAD, NO_REPEATS);
    }
    assert_eq!(at_hub.count(), 0);
}

/// A hub that lets nobody publish below `bad`.
fn refusing_hub(more: &str) -> (Hub, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acl");
    fs::write(&path, "topic readwrite line/#\ntopic read bad/#\n").unwrap();
    let hub = Hub::start_with(&format!("acl_file {}\n{more}", path.display()));
    (hub, folder)
}

#[test]
fn topics_that_the_hub_refuses_do_not_stop_the_others() {
    // Mosquitto without a limit takes any refusal for an overflow, see below.
    let (hub, _folder) = refusing_hub("max_queued_messages 10000000");
    check(hub.port(), "bad", 0);
    assert_eq!(hub.connections_of("edge"), 1);
}

#[test]
fn topics_that_the_hub_refuses_and_closes_the_connection_for_do_not_stop_the_others() {
    let (hub, _folder) = refusing_hub("max_queued_messages 0");
    check(hub.port(), "bad", CLOSES_MAX);
    assert!(hub.connections_of("edge") > 1);
}

#[test]
fn topics_that_the_hub_closes_the_connection_for_without_an_answer_do_not_stop_the_others() {
    let hub = Daemon::start("mqtt.max_topic_levels = 6");
    check(hub.port(), "bad/a/b/c/d", CLOSES_MAX);
}

/// Publishes what this hub does not take, then something else, and checks where either arrives.
#[track_caller]
fn check_one(hub: &Hub, topic: &str, bytes: usize) {
    let daemon = Daemon::start(&format!(
        r#"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{}"
  backoff_max = 200ms
  forwards = [{{ local_topic = "line/#" }}]
}}
"#,
        hub.port()
    ));
    let at_hub = Subscriber::start(hub.port(), "all", "line/#");
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
    let (mut client, _) =
        WireClient::connect(daemon.port(), Version::V5, "c", Kept::Nothing).unwrap();
    client.publish_acknowledged(topic, &vec![1; bytes]).unwrap();
    client.publish_acknowledged("line/good", b"1").unwrap();
    until("the other one has come", || {
        at_hub.has(|it| it.topic == "line/good")
    });
    let letter = format!("$dead_letter/up/{topic}");
    until("it is kept aside", || letters.has(|it| it.topic == letter));
    assert_eq!(at_hub.count(), 1);
}

#[test]
fn a_message_that_is_too_large_for_mosquitto_is_kept_aside() {
    // It answers with a code that a PUBACK may not have.
    check_one(
        &Hub::start_with("message_size_limit 2000"),
        "line/big",
        5_000,
    );
}

#[test]
fn a_topic_that_mosquitto_takes_for_malformed_is_kept_aside() {
    check_one(&Hub::start(), "line/\u{1}x", 1);
}

#[test]
fn what_a_tidegate_never_retains_is_kept_aside_and_the_rest_comes() {
    for batch in ["", "batch {}"] {
        let hub = Daemon::start("retain { max_payload_size = 100 }");
        let daemon = Daemon::start(&format!(
            r#"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{}"
  clientid = "edge"
  {batch}
  forwards = [{{ local_topic = "line/#" }}]
}}
"#,
            hub.port()
        ));
        let at_hub = Subscriber::start(hub.port(), "all", "line/#");
        let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
        let mut client = join(&daemon, Version::V5, "c");
        for qos in 1..=2 {
            for (topic, bytes) in [("line/large", 101), ("line/fits", 100)] {
                let message = Message::new(topic, vec![b'x'; bytes]).qos(qos, 1);
                client.deliver(&message.retained());
            }
        }
        until("the rest has come", || at_hub.count() == 2);
        until("it is kept aside", || letters.count() == 2);
        assert!(!at_hub.has(|it| it.topic == "line/large"));
        assert!(
            letters
                .received()
                .iter()
                .all(|it| it.topic.ends_with("/line/large"))
        );
    }
}
