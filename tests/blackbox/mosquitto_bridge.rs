//! A Mosquitto below, whose bridge has this daemon as its hub.

use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::wire::{Kept, Version, WireClient};

fn client(port: u16, client_id: &str) -> WireClient {
    let connected = WireClient::connect(port, Version::V311, client_id, Kept::Nothing);
    connected.unwrap().0
}

/// The payload of the next message on this topic.
fn next(client: &mut WireClient, topic: &str) -> Vec<u8> {
    loop {
        let publish = client.receive_publish().unwrap();
        if publish.identifier > 0 {
            client.acknowledge(publish.identifier).unwrap();
        }
        if publish.topic == topic {
            return publish.payload;
        }
    }
}

#[test]
fn a_bridge_with_its_notifications_works_both_ways_without_a_loop() {
    for version in ["mqttv31", "mqttv311", "mqttv50"] {
        let daemon = Daemon::start("");
        let mut above = client(daemon.port(), "above");
        above.subscribe("b/#", 1).unwrap();
        let state = "$SYS/broker/connection/below.up/state";
        above.subscribe(state, 1).unwrap();
        let bridge = format!(
            "connection up\naddress 127.0.0.1:{}\nremote_clientid below.up\n\
             bridge_protocol_version {version}\ntopic b/# both 1\nrestart_timeout 1",
            daemon.port()
        );
        let below_broker = Hub::start_with(&bridge);
        assert_eq!(next(&mut above, state), b"1", "{version}");
        let mut below = client(below_broker.port(), "below");
        below.subscribe("b/#", 1).unwrap();
        let mut publishers = [below_broker.port(), daemon.port()].map(|port| client(port, "p"));
        for (number, payload) in [b"up", b"dn", b"u2", b"d2"].into_iter().enumerate() {
            let topic = format!("b/{number}");
            publishers[number % 2]
                .publish_acknowledged(&topic, payload)
                .unwrap();
            // On both sides, and what was sent before does not come again.
            for client in [&mut above, &mut below] {
                let publish = client.receive_publish().unwrap();
                client.acknowledge(publish.identifier).unwrap();
                assert_eq!(
                    (publish.topic.as_str(), &publish.payload[..]),
                    (&*topic, &payload[..])
                );
            }
        }
        // A bridge that dies leaves its will.
        drop(below_broker);
        assert_eq!(next(&mut above, state), b"0", "{version}");
    }
}
