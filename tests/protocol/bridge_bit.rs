//! The bridge bit: the highest bit of the level in CONNECT.

use tests::bytes::subscribe;
use tests::connect::Connect;
use tests::daemon::Daemon;
use tests::dialogue::{PUBACK, join};
use tests::message::Message;
use tests::wire::{Version, WireClient};

const VERSIONS: [Version; 2] = [Version::V31, Version::V311];

/// Connects as a bridge.
fn bridge(daemon: &Daemon, version: Version) -> WireClient {
    let connect = Connect::new(version, "bridge").resuming(60).bridge();
    connect.open(daemon.port()).0
}

// Conforms: bridge [BRIDGE-1] [BRIDGE-2]
#[test]
fn a_bridge_is_told_what_is_retained() {
    let mut daemon = Daemon::start("");
    for version in VERSIONS {
        let mut client = bridge(&daemon, version);
        client.subscribe("t/#", 1).unwrap();
        let mut plain = join(&daemon, version, "plain");
        plain.subscribe("t/#", 1).unwrap();
        let mut publisher = join(&daemon, Version::V5, "p");
        let mut publish = |client: &mut WireClient| {
            for retain in [true, false] {
                let mut message = Message::new("t/a", "x").qos(1, 1);
                message.retain = retain;
                publisher.deliver(&message);
                assert_eq!(client.take().retain, retain);
            }
        };
        publish(&mut client);
        assert!([0, 1].map(|_| plain.take().retain) == [false, false]);
        // Its session is one like others.
        drop(client);
        daemon.stop();
        daemon.restart();
        let mut client = bridge(&daemon, version);
        let mut publisher = join(&daemon, Version::V5, "p");
        publisher.deliver(&Message::new("t/b", "").qos(1, 1).retained());
        assert!(client.take().retain);
        // Away with it and with what is retained.
        publisher.deliver(&Message::new("t/a", "").qos(1, 1).retained());
        Connect::new(version, "bridge").bridge().open(daemon.port());
    }
}

// Conforms: bridge [BRIDGE-1] [BRIDGE-3]
#[test]
fn a_bridge_is_not_sent_its_own_messages() {
    let daemon = Daemon::start("");
    for version in VERSIONS {
        let mut client = bridge(&daemon, version);
        // Overlapping, so that each has to be kept from it.
        client.subscribe("t/#", 1).unwrap();
        client.subscribe("t/a", 2).unwrap();
        let mut other = join(&daemon, version, "other");
        other.subscribe("t/#", 1).unwrap();
        for qos in 0..3 {
            client.deliver(&Message::new("t/a", "own").qos(qos, 1));
            assert_eq!(other.take().text(), "own");
        }
        client.deliver(&Message::new("t/a", "own").qos(1, 1).retained());
        assert_eq!(other.take().text(), "own");
        client.expect_silence();
        other.say(&Message::new("t/a", "other").qos(1, 1));
        let mut from = [(); 2].map(|()| other.receive().unwrap().unwrap().head >> 4);
        from.sort_unstable();
        assert_eq!(from, [3, PUBACK >> 4]);
        assert_eq!(client.take().text(), "other");
        // What is retained was its own, but it asks for it.
        client.send(&subscribe(version, 9, "t/a", 0)).unwrap();
        let mut found = [(); 2].map(|()| client.receive().unwrap().unwrap().head);
        found.sort_unstable();
        assert_eq!(found, [0x31, 0x90]);
        other.say(&Message::new("t/a", "").retained());
        Connect::new(version, "bridge").open(daemon.port());
    }
}

// Conforms: bridge [BRIDGE-1]
#[test]
fn a_bridge_may_share_a_subscription() {
    let daemon = Daemon::start("");
    for version in VERSIONS {
        let mut client = bridge(&daemon, version);
        client.subscribe("$share/g/t", 1).unwrap();
        let message = Message::new("t", "x");
        client.say(&message);
        assert_eq!(client.take().text(), "x", "No Local is not for shared ones");
        Connect::new(version, "bridge").open(daemon.port());
    }
}

// Conforms: bridge [BRIDGE-1]; 3.1.1 [MQTT-3.1.3-8]
#[test]
fn a_bridge_is_bound_by_the_rules_of_its_version() {
    let daemon = Daemon::start("");
    for (version, client_id, code) in [
        (Version::V31, "", 2),
        (Version::V31, "more than 23 characters!", 2),
        (Version::V311, "", 2),
        (Version::V311, "$bridge", 2),
    ] {
        let connect = Connect::new(version, client_id).resuming(60).bridge();
        let refusal = connect.refused(daemon.port());
        assert_eq!(refusal.map(|it| it.code), Some(code), "{client_id}");
    }
}
