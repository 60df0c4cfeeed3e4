//! The parts of a session against models that are too simple to be wrong.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, also outside their functions"
)]

mod direct;
mod expiry;
mod give_up;
mod inflight;
mod latest;
mod queue;
mod quota;
mod share;

use std::sync::Arc;

use mqtt::session::{Delivery, QueueClass, QueueLimits, WhenFull};
use mqtt::{Message, QoS, Timestamp, TopicName};

/// Fewer in memory than what waits, so that most of it comes from the store.
const STORED: QueueLimits = QueueLimits {
    messages_max: 4,
    bytes_max: 1 << 20,
    live_bytes_max: 0,
    stored_messages_max: 1_000,
    stored_bytes_max: 1 << 20,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A delivery that is named by its number and has so many bytes of payload.
fn delivery(qos: QoS, number: u64, bytes: usize) -> Delivery {
    delivery_of("t", qos, number, bytes)
}

fn delivery_of(topic: &str, qos: QoS, number: u64, bytes: usize) -> Delivery {
    let payload = payload(number, bytes);
    let mut message = Message::new(TopicName::new(topic).unwrap(), payload);
    message.qos = qos;
    Delivery {
        sequence: 0,
        message: Arc::new(message),
        qos,
        retain: false,
        subscription_ids: Vec::new(),
        class: QueueClass::default(),
        expires_at: None,
    }
}

fn number(delivery: &Delivery) -> u64 {
    number_in(&delivery.message.payload)
}

/// A number and so many bytes.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(payload.len() + bytes, 0);
    payload
}

fn number_in(payload: &[u8]) -> u64 {
    let (number, _) = payload.split_first_chunk().unwrap();
    u64::from_be_bytes(*number)
}
