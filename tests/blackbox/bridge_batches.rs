//! A bridge that sends many messages in one compressed packet to a hub that is a Tidegate.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join, resume_with};
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;
use tests::message::Message;
use tests::property::Property;
use tests::scripted_hub::ScriptedHub;
use tests::sequence::{NO_REPEATS, assert_complete};
use tests::subscriber::Subscriber;
use tests::subscription::subscribe;
use tests::wait::{until, until_every};
use tests::wire::{Version, WireClient, packet};

use crate::bridge_stream::{Crossing, numbers};

const PAUSE: Duration = Duration::from_millis(10);
/// What a hub says that takes none.
const NO_BATCHES: &str = "the hub takes no batches: messages go to it one by one";

/// A bridge to this port that batches; `more` are keys of it.
fn bridge(port: u16, more: &str) -> String {
    format!(
        r#"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 200ms
  connect_timeout = 2s
  forwards = [{{ local_topic = "line/#" }}, {{ local_topic = "bad/+", remote_topic = "$SYS/bad/$1" }}]
  {more}
}}
"#
    )
}

/// Publishes with QoS 1, as fast as the daemon takes it, and waits for all answers.
fn publish_all(daemon: &Daemon, messages: impl Iterator<Item = (String, String)>) {
    let mut publisher = join(daemon, Version::V5, "publisher");
    let messages: Vec<_> = messages.collect();
    for window in messages.chunks(100) {
        for (topic, payload) in window {
            publisher.publish(topic, payload.as_bytes()).unwrap();
        }
        for _ in window {
            assert!(publisher.expect(PUBACK).unwrap().reason() < 0x80);
        }
    }
}

/// What a sensor might say.
fn telemetry(number: u64) -> (String, String) {
    let noise = |scale: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15 | 1) / scale % 1_000;
    let sensor = noise(7) % 40;
    let tenth = |it: u64| f64::from(u32::try_from(it).unwrap()) / 10.0;
    let payload = json!({
        "device": format!("sensor-{sensor:03}"),
        "n": number,
        "ts": 1_763_769_600_000_u64 + 61 * number + noise(11) % 50,
        "temperature": tenth(200 + noise(13)),
        "humidity": tenth(400 + noise(17) % 200),
        "pressure": tenth(10_000 + noise(19) % 300),
        "vibration": { "x": tenth(noise(23)), "y": tenth(noise(29)), "z": tenth(noise(31)) },
        "status": "ok",
    });
    let topic = format!("line/{}/sensor{sensor:03}/telemetry", sensor % 4);
    (topic, payload.to_string())
}

/// Bytes that 10,000 messages take to the hub after it was away.
fn drained_bytes(more: &str) -> u64 {
    const COUNT: u64 = 10_000;
    let hub = Daemon::start("");
    let at_hub = Subscriber::start(hub.port(), "cloud", "line/#");
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let daemon = Daemon::start(&bridge(proxy.port(), more));
    publish_all(&daemon, (1..=COUNT).map(telemetry));
    assert_eq!(proxy.carried(), [0, 0]);
    proxy.pass();
    until("all are at the hub", || at_hub.count() >= 10_000);
    assert_complete("hub", &numbers(&at_hub), 1..=COUNT, NO_REPEATS);
    proxy.carried()[0]
}

#[test]
fn telemetry_takes_a_fifth_of_the_bytes() {
    let [plain, packed] = ["", "batch {}"].map(drained_bytes);
    assert!(packed * 5 < plain, "{packed} bytes instead of {plain}");
}

#[test]
fn a_batch_brings_what_its_messages_would() {
    let hub = Daemon::start("");
    let mut cloud = join(&hub, Version::V5, "cloud");
    // QoS 2, Retain As Published.
    let filter = [("line/#", 0b1010)];
    cloud
        .send(&subscribe(Version::V5, 1, &[], &filter))
        .unwrap();
    assert_eq!(cloud.expect(0x90).unwrap().body.last(), Some(&2));
    let daemon = Daemon::start(&bridge(hub.port(), "batch { linger = 500ms }"));
    let mut publisher = join(&daemon, Version::V5, "publisher");
    // QoS 0 goes only while there is a connection.
    publisher.deliver(&Message::new("line/up", "").qos(1, 1));
    assert_eq!(cloud.take().topic, "line/up");
    let sent: Vec<Message> = (0..60_u16)
        .map(|number| {
            let qos = [1, 0, 1, 1, 2, 0][usize::from(number % 6)];
            let topic = format!("line/{}", u8::from(qos == 0));
            let mut message = Message::new(&topic, number.to_string()).qos(qos, number + 1);
            message.retain = number % 10 == 7;
            let message = message.with(Property::text(0x03, "text/plain"));
            let message = message.with(Property::text(0x08, format!("answer/{number}")));
            let message = message.with(Property::text(0x09, number.to_be_bytes()));
            message.with(Property::user("key", &format!("value {number}")))
        })
        .collect();
    sent.iter().for_each(|it| publisher.deliver(it));
    // One that expires has less time left, in whole seconds.
    let expires = Message::new("line/0", "last").qos(1, 100);
    publisher.deliver(&expires.with(Property::four_bytes(2, 1_000)));
    let mut received = cloud.take_many(sent.len() + 1);
    let at = received.iter().position(|it| it.text() == "last").unwrap();
    let left = received.remove(at).number(2).unwrap();
    assert!((990..=1_000).contains(&left), "{left}");
    let stripped = |messages: &[Message], topic: &str| -> Vec<Message> {
        let messages = messages.iter().filter(|it| it.topic == topic).cloned();
        messages
            .map(|it| Message {
                identifier: 0,
                ..it
            })
            .collect()
    };
    for topic in ["line/0", "line/1"] {
        assert_eq!(
            stripped(&received, topic),
            stripped(&sent, topic),
            "{topic}"
        );
    }
}

#[test]
fn an_uplink_with_batches_that_is_cut_again_and_again_loses_nothing() {
    const CUTS: usize = 8;
    let hub = Daemon::start("");
    let proxy = FaultProxy::start(hub.port());
    let daemon = Daemon::start(&bridge(proxy.port(), "batch { linger = 20ms }"));
    let crossing = Crossing::start(daemon.port(), hub.port(), 8_000, PAUSE);
    for cut in 0..CUTS {
        crossing.wait_more(100);
        if cut % 2 == 0 {
            proxy.cut();
        } else {
            proxy.refuse();
            crossing.wait_published(1_000 * (cut as u64 + 1) / 2);
            proxy.pass();
        }
    }
    crossing.finish(CUTS);
    assert!(proxy.accepted() > CUTS, "{}", proxy.accepted());
}

#[test]
fn a_hub_that_is_killed_amid_batches_gets_everything() {
    let mut hub = Daemon::start("");
    let daemon = Daemon::start(&bridge(hub.port(), "batch { linger = 20ms }"));
    let crossing = Crossing::start(daemon.port(), hub.port(), 6_000, PAUSE);
    crossing.finish_over_kills(&mut hub);
}

#[test]
fn a_daemon_that_is_killed_amid_batches_goes_on_where_it_was() {
    let hub = Daemon::start("");
    let mut daemon = Daemon::start(&bridge(hub.port(), "batch { linger = 20ms }"));
    let crossing = Crossing::start(daemon.port(), hub.port(), 6_000, PAUSE);
    crossing.finish_over_kills(&mut daemon);
}

#[test]
fn a_mosquitto_as_hub_gets_messages_one_by_one() {
    let hub = Hub::start();
    let mut daemon = Daemon::start(&bridge(hub.port(), "batch {}"));
    let crossing = Crossing::start(daemon.port(), hub.port(), 500, Duration::ZERO);
    crossing.finish(0);
    let said = daemon.process().log().matches(NO_BATCHES).count();
    assert_eq!(said, 1, "once for each connection");
}

#[test]
fn a_bridge_of_mqtt_3_sends_messages_one_by_one() {
    let hub = Daemon::start("");
    let mut daemon = Daemon::start(&bridge(hub.port(), "proto_ver = 4, batch {}"));
    let crossing = Crossing::start(daemon.port(), hub.port(), 500, Duration::ZERO);
    crossing.finish(0);
    assert!(daemon.process().log().contains(NO_BATCHES));
}

#[test]
fn what_the_hub_refuses_of_a_batch_is_a_dead_letter_and_the_others_come_once() {
    const COUNT: u64 = 500;
    let hub = Daemon::start("");
    let at_hub = Subscriber::start(hub.port(), "cloud", "line/#");
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let daemon = Daemon::start(&bridge(proxy.port(), "batch { linger = 100ms }"));
    let refused = Subscriber::start(daemon.port(), "refused", "$dead_letter/#");
    // More than one answer can name, in the first batch.
    let messages = (1..=COUNT).flat_map(|number| {
        let bad = (number % 4 == 0).then(|| (format!("bad/{}", number % 3), number.to_string()));
        let good = (format!("line/{}", number % 4), number.to_string());
        bad.into_iter().chain([good])
    });
    publish_all(&daemon, messages);
    proxy.pass();
    until("all are at the hub", || at_hub.count() >= 500);
    until("the others are kept aside", || refused.count() >= 125);
    assert_complete("hub", &numbers(&at_hub), 1..=COUNT, NO_REPEATS);
    assert_eq!(refused.count(), 125);
}

#[test]
fn a_hub_without_room_gets_all_of_a_batch_in_order_later() {
    const COUNT: u64 = 1_000;
    let hub = Daemon::start("store { max_messages = 100, when_full = reject_new }");
    drop(Subscriber::start(hub.port(), "cloud", "line/#"));
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let mut daemon = Daemon::start(&bridge(proxy.port(), "batch { linger = 100ms }"));
    let message = |number: u64| (format!("line/{}", number % 4), number.to_string());
    publish_all(&daemon, (1..=COUNT).map(message));
    proxy.pass();
    until("it is tried again and again", || proxy.carried()[1] > 200);
    assert!(daemon.process().status().is_none());
    let at_hub = Subscriber::start(hub.port(), "cloud", "line/#");
    until_every(PAUSE, "all are at the hub", || at_hub.count() >= 1_000);
    assert_complete("hub", &numbers(&at_hub), 1..=COUNT, NO_REPEATS);
}

#[test]
fn caps_count_what_is_on_the_wire_and_each_message() {
    const COUNT: u64 = 200;
    let hub = Daemon::start("");
    let at_hub = Subscriber::start(hub.port(), "cloud", "line/#");
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let caps = "daily_bytes = 20000, max_messages_per_second = 100, batch { linger = 100ms }";
    let daemon = Daemon::start(&bridge(proxy.port(), caps));
    let message = |number: u64| ("line/0".to_owned(), format!("{number:1000}"));
    publish_all(&daemon, (1..=COUNT).map(message));
    let resumed = Instant::now();
    proxy.pass();
    // Ten times the bytes of a day.
    until("all are at the hub", || at_hub.count() >= 200);
    let time = resumed.elapsed();
    assert!(time >= Duration::from_millis(950), "{time:?}");
    assert_complete("hub", &numbers(&at_hub), 1..=COUNT, NO_REPEATS);
}

#[test]
fn the_topic_of_batches_is_for_those_who_have_asked() {
    let hub = Daemon::start("");
    let mut spy = join(&hub, Version::V5, "spy");
    spy.subscribe("$tidegate/#", 1).unwrap();
    let garbage = || Message::new("$tidegate/batch", "garbage").qos(1, 7);
    let mut client = join(&hub, Version::V5, "client");
    client.say(&garbage());
    assert_eq!(client.answer(), (PUBACK, 7, 0x87));
    // It goes on; MQTT 3 has no such answer.
    let mut old = join(&hub, Version::V311, "old");
    for client in [&mut client, &mut old] {
        client.deliver(&garbage());
        client.deliver(&Message::new("$tidegate", "").qos(1, 8));
    }
    let asks = [Property::user("x-batch", "zstd")];
    let bridge = || -> WireClient { resume_with(&hub, "bridge", &asks).0 };
    for (payload, reason) in [("garbage", 0x81), ("", 0x81)] {
        let mut bridge = bridge();
        bridge.say(&Message::new("$tidegate/batch", payload).qos(1, 7));
        bridge.expect_disconnect(reason);
    }
    // Nobody has heard of it.
    spy.deliver(&Message::new("$tidegate/x", "").qos(1, 9));
    spy.disconnect().unwrap();
}

#[test]
fn what_is_packed_with_qos_0_when_the_connection_ends_is_counted_as_dropped() {
    const COUNT: usize = 5;
    let hub = ScriptedHub::start();
    let more = "batch { linger = 30s }";
    let daemon = Daemon::start(&format!(
        "sys_topics.interval = 1s\n{}",
        bridge(hub.port(), more)
    ));
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/broker/gateway/#");
    let said = |name: &str, value: &str| {
        let topic = format!("$SYS/broker/gateway/bridge/up/{name}");
        let received = watcher.received();
        let last = received.iter().rev().find(|it| it.topic == topic);
        last.is_some_and(|it| it.payload == value.as_bytes())
    };
    let mut publisher = join(&daemon, Version::V5, "publisher");
    let caller = hub.next();
    for number in 0..COUNT {
        publisher.deliver(&Message::new("line/1", number.to_string()).qos(0, 0));
    }
    // What came before this is where it belongs.
    publisher.deliver(&Message::new("elsewhere", "").qos(1, 1));
    let mut wire = caller.wire;
    // Batches are agreed on, and the Keep Alive is a second.
    let agreed = b"\x26\0\x07x-batch\0\x04zstd";
    let body = [&[0, 0, 19, 0x13, 0, 1], &agreed[..]].concat();
    wire.send(&packet(0x20, &body)).unwrap();
    // All of them are packed long before it pings.
    wire.expect(0xc0).unwrap();
    drop(wire);
    until("they are counted", || {
        said("dropped/link_down", &COUNT.to_string())
    });
    assert!(said("sent", "0"));
    // Nothing is left of them.
    let _wire = hub.next().accept();
    until("it is up again", || said("state", "up"));
    assert!(said("dropped/link_down", &COUNT.to_string()));
}
