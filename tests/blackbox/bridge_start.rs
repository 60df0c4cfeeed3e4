//! What is published the moment a daemon can be connected to reaches its bridges.

use std::thread;

use tests::daemon::Daemon;
use tests::hub::Hub;
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

#[test]
fn what_comes_first_reaches_every_bridge() {
    const BRIDGES: usize = 64;
    let hub = Hub::start();
    let at_hub = Subscriber::start(hub.port(), "at-hub", "first/#");
    let bridges: String = (0..BRIDGES).map(|it| bridge(it, hub.port())).collect();
    let mut daemon = Daemon::start("");
    daemon.kill();
    let port = daemon.port();
    let client = thread::spawn(move || {
        let mut client = loop {
            match WireClient::connect(port, Version::V5, "early", Kept::Nothing) {
                Ok((client, _)) => break client,
                // It does not listen yet.
                Err(_) => thread::yield_now(),
            }
        };
        client.publish_acknowledged("first", b"1").unwrap();
    });
    daemon.reconfigure(&bridges);
    client.join().unwrap();
    for number in 0..BRIDGES {
        let topic = format!("first/{number}");
        until(&topic, || at_hub.has(|it| it.topic == topic));
    }
}

fn bridge(number: usize, port: u16) -> String {
    format!(
        r#"
bridges.mqtt.b{number} {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge-{number}"
  forwards = [{{ local_topic = "first", remote_topic = "first/{number}" }}]
}}
"#
    )
}
