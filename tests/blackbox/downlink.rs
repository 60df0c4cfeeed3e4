//! What is published at the hub reaches the brokerless peers.

use std::time::Duration;

use tests::peer::Peer;
use tests::sequence::{NO_REPEATS, assert_complete};
use tests::wait::{until, until_every};
use tests::wire::{Kept, Version, WireClient};

use crate::plant::Plant;

/// Commands for each peer.
const COUNT: u64 = 500;
/// Sync messages have numbers from here on.
const SYNC: u64 = 1_000_000;

struct Sink {
    peer: Peer,
    /// What the messages are published under at the hub.
    topic: &'static str,
    /// What the peer sees as their topic.
    seen: &'static str,
    /// Whether the payload is JSON.
    is_json: bool,
}

impl Sink {
    fn payload(&self, number: u64) -> String {
        if self.is_json {
            format!(r#"{{"text": "{}", "n": {number}}}"#, self.seen)
        } else {
            number.to_string()
        }
    }

    /// What arrived, without sync messages.
    fn numbers(&self) -> Vec<(String, u64)> {
        let received = self.peer.received().into_iter();
        received.filter(|(_, number)| *number < SYNC).collect()
    }
}

fn sinks(plant: &Plant) -> [Sink; 3] {
    let endpoint = |port| format!("tcp://127.0.0.1:{port}");
    [
        Sink {
            peer: Peer::start("zmq_peer.py", "sub", endpoint(plant.zmq_out)),
            topic: "cmd/zmq/valve",
            seen: "cmd/zmq/valve",
            is_json: false,
        },
        Sink {
            peer: Peer::start("nng_peer.py", "sub", endpoint(plant.nng_out)),
            topic: "cmd/nng/valve",
            seen: "cmd/nng/valve",
            is_json: false,
        },
        Sink {
            peer: Peer::start("dds_peer.py", "sub", plant.domain),
            topic: "cmd/dds/valve",
            seen: "turn",
            is_json: true,
        },
    ]
}

/// Sends sync messages until one more arrives than before.
fn sync(client: &mut WireClient, sink: &Sink) {
    let before = sink.peer.received().len();
    let mut number = SYNC;
    let what = format!("{} reaches its peer", sink.topic);
    until_every(Duration::from_millis(100), &what, || {
        number += 1;
        let payload = sink.payload(number);
        client
            .publish_acknowledged(sink.topic, payload.as_bytes())
            .unwrap();
        sink.peer.received().len() > before
    });
}

fn send(client: &mut WireClient, sink: &Sink, first: u64, last: u64) {
    for number in first..=last {
        let payload = sink.payload(number);
        client
            .publish_acknowledged(sink.topic, payload.as_bytes())
            .unwrap();
    }
}

#[test]
fn commands_published_at_the_hub_reach_zeromq_nng_and_dds_subscribers() {
    let mut plant = Plant::start();
    let sinks = sinks(&plant);
    let (mut client, _) =
        WireClient::connect(plant.hub.port(), Version::V311, "cloud", Kept::Nothing).unwrap();
    sinks.iter().for_each(|it| sync(&mut client, it));
    for sink in &sinks {
        send(&mut client, sink, 1, COUNT);
    }
    for sink in &sinks {
        let what = format!("{} has got everything", sink.topic);
        until(&what, || sink.numbers().len() as u64 >= COUNT);
        let numbers = sink.numbers();
        assert!(
            numbers.iter().all(|(topic, _)| topic == sink.seen),
            "{numbers:?}"
        );
        assert_complete(sink.topic, &numbers, 1..=COUNT, NO_REPEATS);
    }

    // The peers find the daemon again after a restart.
    let (status, _) = plant.daemon.stop();
    assert!(status.success(), "{status}");
    plant.daemon.restart();
    sinks.iter().for_each(|it| sync(&mut client, it));
    for sink in &sinks {
        send(&mut client, sink, COUNT + 1, 2 * COUNT);
    }
    for sink in &sinks {
        let what = format!("{} has got everything again", sink.topic);
        until(&what, || sink.numbers().len() as u64 >= 2 * COUNT);
        assert_complete(sink.topic, &sink.numbers(), 1..=2 * COUNT, NO_REPEATS);
    }
}
