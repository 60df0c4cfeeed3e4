//! What this server accepts from one connection.

use std::time::Duration;

/// Limits that the server announces in CONNACK or enforces.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a whole packet, from 32 to 268,435,455.
    pub packet_bytes_max: u32,
    /// Unacknowledged QoS 1 and 2 messages that a client may send.
    pub receive_maximum: u16,
    /// Unacknowledged QoS 1 and 2 messages that are sent to a client, whatever it allows.
    pub inflight_messages_max: u16,
    /// How many Keep Alive periods without a packet end a connection; at least 1.
    pub keep_alive_factor: f32,
    /// The longest Session Expiry Interval that is granted to MQTT 5 clients.
    pub session_expiry_max: Duration,
    /// How long the session of a 3.1.1 client without Clean Session is kept.
    pub session_expiry_v3: Duration,
    /// Bytes of a Client Identifier.
    pub client_id_bytes_max: usize,
    /// Levels of a Topic Name or Topic Filter.
    pub topic_levels_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1 << 20,
            receive_maximum: 1_024,
            inflight_messages_max: 128,
            keep_alive_factor: 1.5,
            session_expiry_max: Duration::from_secs(7 * 24 * 3_600),
            session_expiry_v3: Duration::from_secs(24 * 3_600),
            client_id_bytes_max: 256,
            topic_levels_max: 64,
            subscriptions_max: 1_000,
        }
    }
}
