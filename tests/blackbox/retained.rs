//! Retained messages, in numbers that no buffer holds.

use std::collections::BTreeSet;

use tests::daemon::Daemon;
use tests::wire::{Kept, Version, WireClient};

/// PUBLISH with QoS 1 and RETAIN.
const RETAINED: u8 = 0x33;
/// Bytes of each payload: all together fill the buffers between broker and client many times.
const PAYLOAD_BYTES: usize = 8_000;
const MESSAGES: u16 = 4_000;
/// PUBLISH packets that are sent before the first acknowledgement is waited for.
const WINDOW: u16 = 500;

fn topic(number: u16) -> String {
    format!("r/{}/{number}", number % 10)
}

fn set_retained(publisher: &mut WireClient) {
    let mut waiting = 0;
    for number in 1..=MESSAGES {
        let topic = topic(number);
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.extend(number.to_be_bytes());
        body.resize(body.len() + PAYLOAD_BYTES, b'x');
        publisher
            .send(&tests::wire::packet(RETAINED, &body))
            .unwrap();
        waiting += 1;
        while waiting > WINDOW || (number == MESSAGES && waiting > 0) {
            publisher.expect(0x40).unwrap();
            waiting -= 1;
        }
    }
}

// Conforms: 3.1.1 [MQTT-3.3.1-6]
#[test]
fn every_retained_message_comes_with_qos_0_to_a_client_that_sends_nothing() {
    let daemon = Daemon::start("");
    let port = daemon.port();
    let (mut publisher, _) =
        WireClient::connect(port, Version::V311, "publisher", Kept::Nothing).unwrap();
    set_retained(&mut publisher);
    let (mut reader, _) =
        WireClient::connect(port, Version::V311, "reader", Kept::Nothing).unwrap();
    reader.subscribe("r/#", 0).unwrap();
    let mut topics = BTreeSet::new();
    for _ in 0..MESSAGES {
        topics.insert(reader.receive_publish().unwrap().topic);
    }
    assert_eq!(topics, (1..=MESSAGES).map(topic).collect());
}
