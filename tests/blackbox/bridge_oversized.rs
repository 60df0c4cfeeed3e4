//! Messages that are too large for one side of a bridge to a hub of MQTT 3.1.1, where neither side
//! can tell the other its limit.

use std::ops::RangeInclusive;
use std::time::Duration;

use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::message::Message;
use tests::publisher::{Publisher, Stream};
use tests::sequence::{NO_REPEATS, Repeats, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::websocket_relay::WebSocketRelay;
use tests::wire::{Kept, Version, WireClient};

use crate::bridge_stream::{Crossing, numbers};

const PAUSE: Duration = Duration::from_millis(10);
/// Of each QoS, round four topics.
const GOOD: u64 = 2_000;
const BIG: u64 = 100;
/// More often no connection is to be lost: eight topics are too large.
const CLOSES_MAX: usize = 64;
const LIMIT: usize = 64 << 10;
/// More than one read brings.
const LARGE: usize = 16 * LIMIT;

fn join_at(port: u16, client_id: &str) -> WireClient {
    let joined = WireClient::connect(port, Version::V311, client_id, Kept::Nothing);
    joined.unwrap().0
}

/// Publishes a small message of each QoS, one of `large` bytes of each, and small ones again; the
/// payloads of the small ones begin with a number that goes on.
fn publish(client: &mut WireClient, large: usize, number: &mut u16) {
    for is_large in [false, true, false] {
        for qos in 0..3 {
            *number += 1;
            let mut payload = number.to_string();
            if is_large {
                payload = "x".repeat(large);
            }
            let topic = format!("line/{qos}");
            client.deliver(&Message::new(&topic, payload).qos(qos, *number));
        }
    }
}

#[test]
fn what_is_too_large_for_the_bridge_is_left_out_and_everything_behind_it_comes() {
    let hub = Hub::start();
    check_left_out(&hub, &format!("mqtt-tcp://127.0.0.1:{}", hub.port()), LARGE);
}

#[test]
fn so_it_is_if_it_is_one_frame_of_a_websocket() {
    /// More than most that read WebSockets take.
    const BYTES: usize = 20 << 20;
    let hub = Hub::start();
    let relay = WebSocketRelay::start(hub.port());
    check_left_out(&hub, &format!("ws://127.0.0.1:{}", relay.port()), BYTES);
}

/// Has the hub send messages of `large` bytes between others, and checks what comes.
#[track_caller]
fn check_left_out(hub: &Hub, server: &str, large: usize) {
    let mut daemon = Daemon::start(&format!(
        r#"
sys_topics.interval = 1s
bridges.mqtt.down {{
  server = "{server}"
  clientid = "edge"
  proto_ver = 4
  backoff_max = 200ms
  max_packet_size = 64KiB
  subscription = [{{ remote_topic = "line/#", qos = 2 }}]
}}
"#
    ));
    let all = Subscriber::start(daemon.port(), "all", "line/#");
    let mut client = join_at(hub.port(), "publisher");
    until("the hub has the bridge's subscription", || {
        client.publish_acknowledged("line/sync", b"").unwrap();
        all.count() > 0
    });
    // What waits at the hub goes before what is live.
    daemon.kill();
    let mut number = 100;
    publish(&mut client, large, &mut number);
    daemon.restart();
    let watcher = Subscriber::start(
        daemon.port(),
        "watcher",
        "$SYS/broker/gateway/bridge/down/#",
    );
    let has = |text: &str| all.has(|it| it.payload == text.as_bytes());
    until("what waited has come", || has("109"));
    publish(&mut client, large, &mut number);
    until("the last one has come", || has("118"));
    // QoS 0 does not wait at the hub.
    for number in [102, 103, 108, 109, 110, 111, 112, 116, 117, 118] {
        until("each small one has come", || has(&number.to_string()));
    }
    assert!(!all.has(|it| it.payload.len() > 3));
    let told = |name: &str, text: &str| {
        let topic = format!("$SYS/broker/gateway/bridge/down/{name}");
        let fits = |payload: &[u8]| String::from_utf8_lossy(payload).contains(text);
        until(text, || {
            watcher.has(|it| it.topic == topic && fits(&it.payload))
        });
    };
    told("dropped/too_large", "5");
    told("last_error", "`max_packet_size`");
    let log = daemon.process().log();
    assert!(
        log.contains("to `line/1` is larger than `max_packet_size`"),
        "{log}"
    );
    assert_eq!(hub.connections_of("edge"), 2, "it was restarted once");
}

/// A bridge that forwards by these rules.
fn uplink(port: u16, proto_ver: u8, rules: &str) -> String {
    format!(
        r#"
sys_topics.interval = 1s
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  proto_ver = {proto_ver}
  backoff_max = 200ms
  forwards = [{rules}]
}}
"#
    )
}

#[test]
fn topics_that_are_too_large_for_the_hub_do_not_stop_the_others() {
    // Mosquitto closes the connection once it has read the length.
    let hub = Hub::start_with("max_packet_size 2000");
    let rules = r#"{ local_topic = "line/#" }, { local_topic = "big/#" }"#;
    let daemon = Daemon::start(&uplink(hub.port(), 4, rules));
    let at_hub = Subscriber::start(hub.port(), "spy", "big/#");
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
    let crossing = Crossing::start(daemon.port(), hub.port(), GOOD, PAUSE);
    let publishers = [1, 2].map(|qos| {
        let stream = Stream::new(&format!("big/{qos}"), qos, BIG).padded(5_000);
        Publisher::start(daemon.port(), &format!("big-{qos}"), stream.paced(PAUSE))
    });
    publishers.iter().for_each(|it| it.wait(BIG));
    until("what is too large is kept aside", || {
        letters.count() >= 2 * usize::try_from(BIG).unwrap()
    });
    crossing.finish(CLOSES_MAX);
    let letters = numbers(&letters);
    for qos in [1, 2] {
        let of_qos = format!("big/{qos}/");
        let its = letters.iter().filter(|(topic, _)| topic.contains(&of_qos));
        let its: Vec<_> = its.cloned().collect();
        assert_complete(&format!("dead letters of {qos}"), &its, 1..=BIG, NO_REPEATS);
    }
    assert_eq!(at_hub.count(), 0);
}

#[test]
fn what_is_too_large_by_the_limit_of_the_bridge_is_kept_aside_at_once() {
    for proto_ver in [4, 5] {
        let hub = Hub::start();
        let rules = r#"{ local_topic = "line/#" }"#;
        let uplink = uplink(hub.port(), proto_ver, rules);
        let daemon = Daemon::start(&format!(
            "{uplink}bridges.mqtt.up.max_packet_size = 64KiB\n"
        ));
        let at_hub = Subscriber::start(hub.port(), "all", "line/#");
        let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
        let dropped = "$SYS/broker/gateway/bridge/up/dropped/#";
        let dropped = Subscriber::start(daemon.port(), "dropped", dropped);
        let mut client = join_at(daemon.port(), "c");
        for (topic, bytes) in [("line/large", LIMIT), ("line/fits", LIMIT - 1_000)] {
            client.publish_acknowledged(topic, &vec![1; bytes]).unwrap();
        }
        until("the other one has come", || at_hub.count() == 1);
        until("it is kept aside", || letters.count() == 1);
        until("it is counted", || {
            dropped.has(|it| it.topic.ends_with("/too_large") && it.payload == b"1")
        });
        assert!(at_hub.has(|it| it.topic == "line/fits"));
        assert_eq!(hub.connections_of("edge"), 1);
    }
}

/// Publishes small messages to these topics and two large ones to each, and checks where they arrive.
#[track_caller]
fn check_sizes(topics: &[&str]) {
    const SMALL: u64 = 10;
    // Where the hub closed the connection before its answers were read.
    const REPEATS: Repeats = Repeats {
        steps_max: CLOSES_MAX,
        messages_max: 20,
    };
    let hub = Hub::start_with("max_packet_size 2000");
    let daemon = Daemon::start(&uplink(hub.port(), 4, r#"{ local_topic = "f/#" }"#));
    let at_hub = Subscriber::start(hub.port(), "all", "f/#");
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
    let said = "$SYS/broker/gateway/bridge/up/last_error";
    let errors = Subscriber::start(daemon.port(), "errors", said);
    let mut client = join_at(daemon.port(), "c");
    let mut publish = |numbers: RangeInclusive<u64>| {
        let small = numbers.map(|it| it.to_string().into_bytes());
        for payload in small.chain([vec![b'x'; 4_000]]) {
            for topic in topics {
                client.publish_acknowledged(topic, &payload).unwrap();
            }
        }
    };
    publish(1..=SMALL);
    publish(SMALL + 1..=2 * SMALL);
    let of_hub = |topic: &str| {
        let mut all = numbers(&at_hub);
        all.retain(|it| it.0 == topic);
        all
    };
    for topic in topics {
        until("all small ones have come", || {
            of_hub(topic).iter().any(|it| it.1 == 2 * SMALL)
        });
    }
    until("the large ones are kept aside", || {
        letters.count() == 2 * topics.len()
    });
    let says = |text: &str| errors.has(|it| String::from_utf8_lossy(&it.payload).contains(text));
    for text in [
        "perhaps because of a message",
        "`: the hub closes the connection when it gets a message of 4003 bytes",
    ] {
        until("it is told why", || says(text));
    }
    for topic in topics {
        assert_complete("small ones", &of_hub(topic), 1..=2 * SMALL, REPEATS);
    }
}

#[test]
fn a_message_that_is_too_large_for_the_hub_is_kept_aside_and_its_topic_goes_on() {
    check_sizes(&["f/a"]);
}

#[test]
fn messages_that_are_too_large_for_the_hub_are_kept_aside_if_there_is_no_topic_without_them() {
    check_sizes(&["f/a", "f/b", "f/c"]);
}

#[test]
fn after_a_restart_a_message_that_is_too_large_for_the_hub_is_found_although_only_its_like_wait() {
    let hub = Hub::start_with("max_packet_size 2000");
    let mut daemon = Daemon::start(&uplink(hub.port(), 4, r#"{ local_topic = "f/#" }"#));
    let at_hub = Subscriber::start(hub.port(), "all", "f/#");
    let publish = |daemon: &Daemon, topics: &[&str], payload: &[u8]| {
        let mut client = join_at(daemon.port(), "c");
        for topic in topics {
            client.publish_acknowledged(topic, payload).unwrap();
        }
    };
    publish(&daemon, &["f/a"], b"1");
    until("the hub has taken something", || at_hub.count() == 1);
    // The bridge waits for the answers of the hub.
    daemon.stop();
    daemon.restart();
    let letters = Subscriber::start(daemon.port(), "letters", "$dead_letter/up/#");
    publish(&daemon, &["f/a", "f/b", "f/a"], &[b'x'; 4_000]);
    until("they are kept aside", || letters.count() == 3);
    publish(&daemon, &["f/a", "f/b"], b"2");
    until("smaller ones go on", || at_hub.count() == 3);
    let numbers = numbers(&at_hub);
    let expected = [("f/a", 1), ("f/a", 2), ("f/b", 2)].map(|(topic, it)| (topic.to_owned(), it));
    assert_eq!(numbers, expected);
}
