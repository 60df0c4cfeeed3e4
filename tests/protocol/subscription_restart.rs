//! Subscriptions of sessions that outlive the daemon (§4.1).

use tests::daemon::Daemon;
use tests::strict::StrictClient;
use tests::wire::Version;

fn resume(daemon: &Daemon, version: Version) -> StrictClient {
    let (client, _) = StrictClient::resume(daemon.port(), version, &format!("{version:?}"));
    client
}

// Conforms: 5.0 [MQTT-3.1.2-23] [MQTT-3.8.4-3]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.8.4-3] [MQTT-4.1.0-1]; 3.1 [MQTT31-13]
#[test]
fn what_is_granted_survives_sigkill() {
    let mut daemon = Daemon::start("");
    let mut clients = Version::ALL.map(|version| resume(&daemon, version));
    for client in &mut clients {
        client.subscribe_all(&[("replaced", 0), ("lower", 2)]);
    }
    // Nothing but the SUBACK says when it is safe.
    for client in &mut clients {
        client.subscribe_all(&[("replaced", 2), ("lower", 1), ("+/new/#", 0)]);
    }
    daemon.kill();
    daemon.restart();
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.publish("replaced", "away", 2);
    let mut clients = Version::ALL.map(|version| resume(&daemon, version));
    for client in &mut clients {
        assert_eq!(client.message().payload, "away");
    }
    for (topic, qos) in [("replaced", 2), ("lower", 1), ("a/new", 0), ("a/new/b", 0)] {
        publisher.publish(topic, "x", 2);
        for client in &mut clients {
            let message = client.message();
            assert_eq!((message.topic.as_str(), message.qos), (topic, qos));
            client.expect_silence();
        }
    }
}

// Conforms: 5.0 [MQTT-3.1.2-23] [MQTT-3.3.1-10] [MQTT-3.3.1-13] [MQTT-3.3.4-3] [MQTT-3.8.3-3]
#[test]
fn options_and_identifiers_survive_sigkill() {
    let mut daemon = Daemon::start("");
    let mut client = resume(&daemon, Version::V5);
    // No Local; Retain As Published; an identifier that replaces another; none that replaces one.
    client.subscribe_identified("a", 0b0101, 1);
    client.subscribe_identified("b", 0b1001, 128);
    client.subscribe_identified("c", 2, 7);
    client.subscribe_identified("c", 1, 268_435_455);
    client.subscribe_identified("d", 1, 7);
    client.subscribe("d", 1);
    daemon.kill();
    daemon.restart();
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    let mut client = resume(&daemon, Version::V5);
    client.publish("a", "own", 1);
    client.expect_silence();
    let table: [(&str, &[u32]); 4] = [
        ("a", &[1]),
        ("b", &[128]),
        ("c", &[268_435_455]),
        ("d", &[]),
    ];
    for (topic, identifiers) in table {
        publisher.retain(topic, "x", 1);
        let message = client.message();
        assert_eq!(message.topic, topic);
        assert_eq!(message.subscription_identifiers, identifiers, "{topic}");
        assert_eq!(message.is_retained, topic == "b", "{topic}");
    }
    // Retain Handling 1 knows that it is not new.
    client.subscribe("c", 0b1_0001);
    client.expect_silence();
}

// Conforms: 5.0 [MQTT-3.1.2-23] [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn deliveries_keep_their_identifiers_over_sigkill() {
    let mut daemon = Daemon::start("");
    let mut client = resume(&daemon, Version::V5);
    client.subscribe_identified("t/+", 1, 268_435_455);
    client.subscribe_identified("t/#", 2, 16_384);
    client.disconnect();
    let mut publisher = StrictClient::start(daemon.port(), Version::V5, "p");
    publisher.publish("t/x", "one", 2);
    publisher.publish("t/x", "two", 1);
    daemon.kill();
    daemon.restart();
    let mut client = resume(&daemon, Version::V5);
    // They were added when the message came, so it does not matter what becomes of these now.
    client.unsubscribe(&["t/+", "t/#"]);
    for (payload, qos) in [("one", 2), ("two", 1)] {
        let mut message = client.message();
        assert_eq!((message.payload.as_str(), message.qos), (payload, qos));
        message.subscription_identifiers.sort_unstable();
        assert_eq!(message.subscription_identifiers, [16_384, 268_435_455]);
    }
    client.expect_silence();
}
