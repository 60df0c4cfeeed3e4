//! A hub that sends what exceeds a limit of the daemon.

use tests::daemon::Daemon;
use tests::scripted_hub::ScriptedHub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::packet;

/// A bridge that takes everything, and a daemon that does not.
fn start(hub: &ScriptedHub) -> Daemon {
    let port = hub.port();
    Daemon::start(&format!(
        r##"
sys_topics.interval = 1s
mqtt {{
  max_packet_size = 8KiB
  max_topic_len = 600
  max_topic_levels = 64
  max_user_properties = 4
}}
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 20ms
  max_packet_size = 64KiB
  subscription = [{{ remote_topic = "#", qos = 2 }}]
}}
"##
    ))
}

/// A PUBLISH with so many user properties `a` = `b`.
fn publish(topic: &str, identifier: u16, qos: u8, user_properties: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(topic.len()).unwrap();
    let mut body = [&length.to_be_bytes(), topic.as_bytes()].concat();
    body.extend(identifier.to_be_bytes());
    body.push(7 * user_properties);
    for _ in 0..user_properties {
        body.extend(b"\x26\0\x01a\0\x01b");
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

#[test]
fn what_exceeds_a_limit_is_refused_by_itself_and_the_bridge_goes_on() {
    let hub = ScriptedHub::start();
    let daemon = start(&hub);
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/broker/gateway/#");
    let all = Subscriber::start(daemon.port(), "all", "#");
    let mut wire = hub.next().accept();
    let subscribe = wire.expect(0x82).unwrap();
    wire.send(&[0x90, 4, subscribe.body[0], subscribe.body[1], 0, 2])
        .unwrap();
    let deep = |levels: usize| vec!["x"; levels].join("/");
    let bad = [
        publish(&deep(129), 1, 1, 0, b""),
        publish(&deep(65), 2, 1, 0, b""),
        publish(&"x".repeat(601), 3, 1, 0, b""),
        publish("t", 4, 1, 5, b""),
        publish("t", 5, 1, 0, &[b'x'; 9_000]),
        publish("$SYS/x", 6, 1, 0, b""),
    ];
    let good = [
        publish(&deep(64), 7, 1, 0, b"7"),
        publish(&"x".repeat(600), 8, 1, 4, b"8"),
        publish("t", 9, 1, 0, &[b'x'; 7_000]),
    ];
    for publish in bad.iter().chain(&good) {
        wire.send(publish).unwrap();
    }
    for identifier in 1..=9 {
        assert_eq!(wire.expect(0x40).unwrap().body[..2], [0, identifier]);
    }
    // QoS 2 is done with in the same way.
    wire.send(&publish(&deep(129), 10, 2, 0, b"")).unwrap();
    assert_eq!(wire.expect(0x50).unwrap().body[..2], [0, 10]);
    wire.send(&packet(0x62, &[0, 10])).unwrap();
    assert_eq!(wire.expect(0x70).unwrap().body[..2], [0, 10]);
    until("the others have come", || all.count() == 3);
    for (reason, count) in [("unmapped", "3"), ("refused", "4")] {
        let topic = format!("$SYS/broker/gateway/bridge/hub/dropped/{reason}");
        until("they are counted", || {
            watcher.has(|it| it.topic == topic && it.payload == count.as_bytes())
        });
    }
}

#[test]
fn a_packet_beyond_the_limit_of_the_bridge_ends_the_connection_with_a_reason() {
    let hub = ScriptedHub::start();
    let daemon = start(&hub);
    let status = "$SYS/brokers/bridges/hub/status";
    let watcher = Subscriber::start(daemon.port(), "watcher", status);
    let mut wire = hub.next().accept();
    wire.expect(0x82).unwrap();
    wire.send(&publish("t", 1, 1, 0, &[b'x'; 70_000])).unwrap();
    let reason = "a packet is larger than `max_packet_size` of the bridge";
    let disconnect = wire.expect(0xe0).unwrap();
    assert_eq!(disconnect.body.first(), Some(&0x95), "too large");
    until("the reason is told", || {
        watcher.has(|it| String::from_utf8_lossy(&it.payload).contains(reason))
    });
}
