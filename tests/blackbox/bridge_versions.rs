//! Hubs that do not speak the version of MQTT that a bridge is to use, and do not say so.

use tests::daemon::Daemon;
use tests::scripted_hub::ScriptedHub;
use tests::wire::{Kept, Version, WireClient};

fn start(hub: &ScriptedHub, proto_ver: u8) -> Daemon {
    let port = hub.port();
    Daemon::start(&format!(
        r#"
bridges.mqtt.hub {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  proto_ver = {proto_ver}
  backoff_max = 20ms
  forwards = [{{ local_topic = "t" }}]
}}
"#
    ))
}

#[test]
fn a_hub_that_hangs_up_on_a_version_is_spoken_to_with_an_older_one() {
    // The highest bit of the level is the bridge bit.
    for (proto_ver, first) in [(5, 5), (4, 0x84)] {
        let hub = ScriptedHub::start();
        let mut daemon = start(&hub, proto_ver);
        // The older one is answered, the chosen one still is not.
        for level in [first, first, first, 4, first] {
            let caller = hub.next();
            assert_eq!(caller.level, level);
            if level == 4 {
                let mut wire = caller.accept();
                assert!(wire.expect(0xe0).unwrap().body.is_empty(), "DISCONNECT");
            }
        }
        let caller = hub.next();
        assert_eq!(caller.level, 4);
        let mut wire = caller.accept();
        let connected = WireClient::connect(daemon.port(), Version::V5, "press", Kept::Nothing);
        let (mut client, _) = connected.unwrap();
        client.publish_acknowledged("t", b"1").unwrap();
        let publish = wire.expect(0x32).unwrap().publish(Version::V311).unwrap();
        assert_eq!(
            (publish.topic.as_str(), publish.number()),
            ("t", Some(1)),
            "{publish:?}"
        );
        let log = daemon.process().log();
        let line = "the hub does not take CONNECT as it is configured";
        assert_eq!(log.matches(line).count(), 1, "{log}");
        // The next connection begins with what is known.
        drop(wire);
        assert_eq!(hub.next().level, 4);
    }
}

#[test]
fn a_hub_that_was_only_starting_is_spoken_to_with_the_version_that_was_chosen() {
    let hub = ScriptedHub::start();
    let _daemon = start(&hub, 5);
    for level in [5, 5, 5, 4, 5, 4, 5] {
        assert_eq!(hub.next().level, level);
    }
    for level in [4, 5] {
        let caller = hub.next();
        assert_eq!(caller.level, level);
        let mut wire = caller.accept();
        if level == 5 {
            wire.send(&[0xc0, 0]).unwrap();
            // PINGREQ is nothing that a server sends: the connection was in use.
            assert_eq!(wire.expect(0xe0).unwrap().body.first(), Some(&0x82));
        }
    }
}
