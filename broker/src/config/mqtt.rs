//! `mqtt`: the protocol's limits and time spans.

use gateway::ConfiguredDuration;
use serde::{Deserialize, Deserializer};

use super::bind_address::BindAddress;
use super::byte_size::ByteSize;
use super::problem::{Problem, check_positive, check_range};

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mqtt {
    /// Bytes of the largest packet that is accepted, 1 KiB to 256 MiB; default 1 MiB. A client
    /// that sends a larger one is disconnected.
    #[serde(deserialize_with = "packet_size")]
    pub(crate) max_packet_size: ByteSize,
    /// QoS 1 and 2 messages that a client may send before the first is acknowledged, 1 to 65535;
    /// default 1024.
    pub(crate) receive_maximum: u16,
    /// QoS 1 and 2 messages that are sent to a client before it acknowledges the first, 1 to
    /// 65535; default 128. The client may ask for less.
    pub(crate) max_inflight_window: u16,
    /// A client is disconnected when it has been silent for its keep alive time multiplied by
    /// this, 1 to 10; default 1.5.
    pub(crate) keepalive_multiplier: f64,
    /// Time between a connection and its CONNECT packet; default 10s.
    pub(crate) connect_timeout: ConfiguredDuration,
    /// How long an MQTT 5 session may outlive its connection at most; default 7d. Clients that
    /// ask for more get this.
    pub(crate) max_session_expiry_interval: ConfiguredDuration,
    /// How long a persistent session of an MQTT 3 client outlives its connection; default 24h.
    pub(crate) session_expiry_interval_v3: ConfiguredDuration,
    /// Bytes of the longest client identifier, 23 to 65535; default 256.
    pub(crate) max_clientid_len: u16,
    /// Levels of a topic, 1 to 128; default 64.
    pub(crate) max_topic_levels: u16,
    /// Subscriptions of one client; default 1000.
    pub(crate) max_subscriptions: u32,
    /// Messages that wait in memory for one client; default 1000. What comes then is kept on disk
    /// if the session is persistent, and dropped otherwise.
    pub(crate) max_mqueue_len: u32,
    /// Bytes that wait in memory for one client; default 4 MiB.
    pub(crate) max_queue_bytes: ByteSize,
    /// Whether clients without a user name are accepted. Default is on listeners on the loopback
    /// interface only; `true` means on all listeners, `false` on none.
    pub(crate) allow_anonymous: Option<bool>,
}

/// The protocol cannot express a longer packet.
const PACKET_BYTES_MAX: u64 = 268_435_455;

/// More levels make matching too deep.
const TOPIC_LEVELS_MAX: u16 = 128;

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            max_packet_size: ByteSize::mebibytes(1),
            receive_maximum: 1024,
            max_inflight_window: 128,
            keepalive_multiplier: 1.5,
            connect_timeout: ConfiguredDuration::from_secs(10),
            max_session_expiry_interval: ConfiguredDuration::from_secs(7 * 24 * 3600),
            session_expiry_interval_v3: ConfiguredDuration::from_secs(24 * 3600),
            max_clientid_len: 256,
            max_topic_levels: 64,
            max_subscriptions: 1000,
            max_mqueue_len: 1000,
            max_queue_bytes: ByteSize::mebibytes(4),
            allow_anonymous: None,
        }
    }
}

impl Mqtt {
    /// Whether clients without a user name are accepted on a listener.
    #[must_use]
    pub(crate) fn allows_anonymous_on(&self, listener: &BindAddress) -> bool {
        self.allow_anonymous
            .unwrap_or_else(|| listener.is_loopback())
    }

    pub(super) fn validate(&self) -> Result<(), Problem> {
        let packet_bytes = self.max_packet_size.bytes();
        check_range(
            &["mqtt", "max_packet_size"],
            packet_bytes,
            1024,
            PACKET_BYTES_MAX,
        )?;
        check_positive(&["mqtt", "receive_maximum"], self.receive_maximum)?;
        check_positive(&["mqtt", "max_inflight_window"], self.max_inflight_window)?;
        let multiplier = self.keepalive_multiplier;
        check_range(&["mqtt", "keepalive_multiplier"], multiplier, 1.0, 10.0)?;
        check_positive(&["mqtt", "connect_timeout"], self.connect_timeout)?;
        let levels = self.max_topic_levels;
        check_range(&["mqtt", "max_topic_levels"], levels, 1, TOPIC_LEVELS_MAX)?;
        // Clients may count on 23.
        let clientid_len = self.max_clientid_len;
        check_range(&["mqtt", "max_clientid_len"], clientid_len, 23, u16::MAX)?;
        check_positive(&["mqtt", "max_subscriptions"], self.max_subscriptions)?;
        check_positive(&["mqtt", "max_mqueue_len"], self.max_mqueue_len)?;
        check_positive(&["mqtt", "max_queue_bytes"], self.max_queue_bytes)
    }
}

/// Many files say 256MB, which is one byte more than the protocol can express.
fn packet_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    let is_rounded = size.bytes() == PACKET_BYTES_MAX + 1;
    Ok(if is_rounded {
        ByteSize(PACKET_BYTES_MAX)
    } else {
        size
    })
}
