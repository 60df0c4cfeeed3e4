//! What an operator is told of a hub that does not do what it is asked for.

use serde_json::Value;
use tests::daemon::Daemon;
use tests::scripted_hub::ScriptedHub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{WireClient, packet};

const STATUS: &str = "$SYS/brokers/bridges/hub/status";
const SUBACK: u8 = 0x90;
const SUBSCRIBE: u8 = 0x82;

/// A bridge to this hub.
fn start(hub: &ScriptedHub, more: &str) -> Daemon {
    let port = hub.port();
    Daemon::start(&format!(
        r#"
sys_topics.interval = 1s
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 20ms
  {more}
}}
"#
    ))
}

/// The states of the bridge that were said.
fn states(watcher: &Subscriber) -> Vec<Value> {
    let received = watcher.received().into_iter();
    let states = received.filter(|it| it.topic == STATUS);
    states
        .map(|it| serde_json::from_slice(&it.payload).unwrap())
        .collect()
}

/// Waits until the bridge is in this state with this as its last error.
#[track_caller]
fn until_told(watcher: &Subscriber, state: &str, error: &str) {
    until(&format!("{state} with {error}"), || {
        states(watcher).iter().any(|it| {
            let last_error = it["last_error"].as_str();
            it["state"] == state && last_error.is_some_and(|it| it.contains(error))
        })
    });
}

/// Waits until the log has a line with all of this.
#[track_caller]
fn until_logged(daemon: &mut Daemon, texts: &[&str]) {
    until(&format!("{texts:?} is logged"), || {
        let log = daemon.process().log();
        let mut lines = log.lines();
        lines.any(|line| line.contains("WARN") && texts.iter().all(|it| line.contains(it)))
    });
}

/// Accepts the next connection with these properties of CONNACK.
fn accept(hub: &ScriptedHub, properties: &[u8]) -> WireClient {
    let mut wire = hub.next().wire;
    let length = u8::try_from(properties.len()).unwrap();
    let body = [&[0, 0, length], properties].concat();
    wire.send(&packet(0x20, &body)).unwrap();
    wire
}

/// Answers a SUBSCRIBE, which it returns.
fn answer(wire: &mut WireClient, code: u8) -> String {
    let subscribe = wire.expect(SUBSCRIBE).unwrap().body;
    let body = [&subscribe[..2], &[0, code]].concat();
    wire.send(&packet(SUBACK, &body)).unwrap();
    String::from_utf8_lossy(&subscribe).into_owned()
}

#[test]
fn a_filter_that_the_hub_refuses_is_told_with_its_name_and_the_reason() {
    let hub = ScriptedHub::start();
    let rules = r#"subscription = [{ remote_topic = "cmd/#" }, { remote_topic = "secret/#" }]"#;
    let mut daemon = start(&hub, rules);
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    let mut wire = accept(&hub, &[]);
    for _ in 0..2 {
        let subscribe = wire.expect(SUBSCRIBE).unwrap().body;
        let is_secret = String::from_utf8_lossy(&subscribe).contains("secret/#");
        let code = if is_secret { 0x87 } else { 1 };
        let body = [&subscribe[..2], &[0, code]].concat();
        wire.send(&packet(SUBACK, &body)).unwrap();
    }
    let reason = "this client may not do that (0x87)";
    until_logged(
        &mut daemon,
        &["bridge/hub", "secret/#", reason, "refused a subscription"],
    );
    until_told(
        &watcher,
        "up",
        &format!("the hub refused the filter `secret/#`: {reason}"),
    );
    let said = "$SYS/broker/gateway/bridge/hub/last_error";
    until("it is below $SYS too", || {
        watcher.has(|it| it.topic == said && it.payload.ends_with(reason.as_bytes()))
    });
    assert!(!daemon.process().log().contains("filter=\"cmd/#\""));
}

#[test]
fn a_filter_of_clients_that_the_hub_refuses_is_told_likewise() {
    let hub = ScriptedHub::start();
    let mut daemon = start(&hub, "transparent = true");
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    let mut wire = accept(&hub, &[]);
    let _client = Subscriber::start(daemon.port(), "client", "secret/#");
    assert!(answer(&mut wire, 0x87).contains("secret/#"));
    let error = "the hub refused the filter `secret/#`: this client may not do that (0x87)";
    until_told(&watcher, "up", error);
    until_logged(&mut daemon, &["bridge/hub", "secret/#", "(0x87)"]);
}

#[test]
fn a_hub_that_takes_less_qos_than_a_rule_asks_for_is_told_once_for_each_connection() {
    let hub = ScriptedHub::start();
    let mut daemon = start(&hub, r#"forwards = [{ local_topic = "plant/#", qos = 2 }]"#);
    let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
    let less = "the hub takes 1 at most, and the rule for `plant/#` asks for 2";
    // Maximum QoS.
    let wire = accept(&hub, &[0x24, 1]);
    until_told(&watcher, "up", less);
    until_logged(&mut daemon, &["bridge/hub", less]);
    drop(wire);
    let mut wire = accept(&hub, &[0x24, 1]);
    until("it is said again", || {
        daemon.process().log().matches(less).count() == 2
    });
    // It is said before anything is forwarded.
    let mut client = tests::dialogue::join(&daemon, tests::wire::Version::V5, "client");
    client.publish("plant/a", b"1").unwrap();
    assert_eq!(wire.receive().unwrap().unwrap().head, 0x32);
    assert_eq!(daemon.process().log().matches(less).count(), 2);
}

#[test]
fn another_client_with_the_same_identifier_is_told() {
    let hub = ScriptedHub::start();
    let daemon = start(&hub, r#"forwards = [{ local_topic = "plant/#" }]"#);
    let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
    let mut wire = accept(&hub, &[]);
    wire.send(&[0xe0, 1, 0x8e]).unwrap();
    let error = "(0x8E): another client connects with the client id `edge`";
    until_told(&watcher, "down", error);
    let _wire = accept(&hub, &[]);
    until_told(&watcher, "up", error);
}

#[test]
fn another_client_with_the_same_identifier_is_thought_of_where_the_hub_does_not_tell() {
    let perhaps = "perhaps another client connects with the client id `edge`";
    for version in [4, 5] {
        let hub = ScriptedHub::start();
        let rules = r#"forwards = [{ local_topic = "plant/#" }]"#;
        let daemon = start(&hub, &format!("proto_ver = {version}\n{rules}"));
        let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
        let has_said = || {
            states(&watcher)
                .iter()
                .any(|it| it.to_string().contains(perhaps))
        };
        for _ in 0..3 {
            assert!(!has_said());
            drop(hub.next().accept());
        }
        until_told(&watcher, "down", perhaps);
    }
}

#[test]
fn a_password_that_the_hub_refuses_is_told_with_what_to_look_at() {
    let keys = "username = \"u\", password = \"hidden\"\n\
                forwards = [{ local_topic = \"plant/#\" }]";
    let why = [&[0, 0x87, 6, 0x1F, 0, 3][..], b"why"].concat();
    for (proto_ver, answer, code) in [(5, why, "0x87: why"), (4, vec![0, 5], "return code 5")] {
        let hub = ScriptedHub::start();
        let mut daemon = start(&hub, &format!("proto_ver = {proto_ver}\n{keys}"));
        let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
        let mut wire = hub.next().wire;
        wire.send(&packet(0x20, &answer)).unwrap();
        let error = format!(
            "the hub refused the connection: this bridge is not authorized ({code}); `username` \
             (`u`) or `password` may be wrong, or the hub does not let in the client id `edge`"
        );
        until_told(&watcher, "down", &error);
        until_logged(&mut daemon, &["bridge/hub", &error]);
        let log = daemon.process().log();
        assert!(!log.contains("hidden"), "{log}");
    }
}

#[test]
fn a_server_that_a_refusal_names_is_told() {
    let hub = ScriptedHub::start();
    let daemon = start(&hub, r#"forwards = [{ local_topic = "plant/#" }]"#);
    let watcher = Subscriber::start(daemon.port(), "watcher", STATUS);
    for (code, server) in [(0x9c, "a.example"), (0x9d, "b.example")] {
        let mut wire = hub.next().wire;
        let length = u8::try_from(server.len()).unwrap();
        let body = [&[0, code, length + 3, 0x1c, 0, length], server.as_bytes()].concat();
        wire.send(&packet(0x20, &body)).unwrap();
        let error = format!("(0x{code:02X}); it names {server} to be used instead");
        until_told(&watcher, "down", &error);
    }
}

#[test]
fn qos_0_that_is_dropped_while_the_hub_is_away_is_told_as_such() {
    const PAYLOAD: usize = 32 << 10;
    let hub = ScriptedHub::start();
    let mut daemon = start(&hub, r#"forwards = [{ local_topic = "plant/#" }]"#);
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/#");
    let mut client = tests::dialogue::join(&daemon, tests::wire::Version::V5, "client");
    // Nobody answers CONNECT, and a mebibyte is kept.
    let body = [&b"\0\x07plant/a\0"[..], &[7; PAYLOAD]].concat();
    for _ in 0..64 {
        client.send(&packet(0x30, &body)).unwrap();
    }
    until_logged(
        &mut daemon,
        &[
            "$gateway/bridge/hub",
            "deliveries are dropped",
            "it is not connected, and QoS 0 waits in memory only",
        ],
    );
    let topic = "$SYS/broker/publish/messages/dropped/link_down";
    until("they are counted", || {
        watcher.has(|it| it.topic == topic && it.payload.len() == 2)
    });
}
