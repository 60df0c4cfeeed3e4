//! Messages that are too large for one side of a bridge to a hub of MQTT 3.1.1, where neither side
//! can tell the other its limit.

use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::message::Message;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

const LIMIT: usize = 64 << 10;
/// More than one read brings.
const LARGE: usize = 16 * LIMIT;

fn join_at(port: u16, client_id: &str) -> WireClient {
    let joined = WireClient::connect(port, Version::V311, client_id, Kept::Nothing);
    joined.unwrap().0
}

/// Publishes a small message of each QoS, a large one of each, and small ones again; the payloads of
/// the small ones begin with a number that goes on.
fn publish(client: &mut WireClient, number: &mut u16) {
    for is_large in [false, true, false] {
        for qos in 0..3 {
            *number += 1;
            let mut payload = number.to_string();
            if is_large {
                payload = "x".repeat(LARGE);
            }
            let topic = format!("line/{qos}");
            client.deliver(&Message::new(&topic, payload).qos(qos, *number));
        }
    }
}

#[test]
fn what_is_too_large_for_the_bridge_is_left_out_and_everything_behind_it_comes() {
    let hub = Hub::start();
    let mut daemon = Daemon::start(&format!(
        r#"
sys_topics.interval = 1s
bridges.mqtt.down {{
  server = "mqtt-tcp://127.0.0.1:{}"
  clientid = "edge"
  proto_ver = 4
  backoff_max = 200ms
  max_packet_size = 64KiB
  subscription = [{{ remote_topic = "line/#", qos = 2 }}]
}}
"#,
        hub.port()
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
    publish(&mut client, &mut number);
    daemon.restart();
    let watcher = Subscriber::start(
        daemon.port(),
        "watcher",
        "$SYS/broker/gateway/bridge/down/#",
    );
    let has = |text: &str| all.has(|it| it.payload == text.as_bytes());
    until("what waited has come", || has("109"));
    publish(&mut client, &mut number);
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
