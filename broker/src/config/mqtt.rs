//! `mqtt`: the protocol's limits and time spans.

use gateway::{ByteSize, ConfiguredDuration};
use serde::Deserialize;

use super::bind_address::BindAddress;
use super::problem::{Problem, check_positive, check_range};
use crate::share::ShareStrategy;

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mqtt {
    /// Bytes of the largest packet that is accepted, 1 KiB to 256 MiB; default 1 MiB. A client
    /// that sends a larger one is disconnected.
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
    /// Bytes of the longest topic, 1 to 65535; default 1024.
    pub(crate) max_topic_len: u16,
    /// Levels of a topic, 1 to 128; default 64.
    pub(crate) max_topic_levels: u16,
    /// User properties of one packet; default 32. A client that sends more is disconnected.
    pub(crate) max_user_properties: u16,
    /// Subscriptions of one client; default 1000.
    pub(crate) max_subscriptions: u32,
    /// Sessions altogether, of clients that are connected or away; default 100000. Further
    /// clients are refused.
    pub(crate) max_sessions: u32,
    /// Topic aliases that a client may use; default 32, 0 for none.
    pub(crate) max_topic_alias: u16,
    /// Topic aliases that are used towards a client that allows them; default 32, 0 for none.
    pub(crate) max_client_topic_alias: u16,
    /// The highest QoS that clients may publish with and are granted, 0 to 2; default 2.
    pub(crate) max_qos_allowed: u8,
    /// Whether messages can be retained; default true.
    pub(crate) retain_available: bool,
    /// Whether subscriptions may have wildcards; default true.
    pub(crate) wildcard_subscription: bool,
    /// Whether subscriptions may have identifiers; default true.
    pub(crate) subscription_identifier: bool,
    /// Whether there are shared subscriptions, `$share/{group}/{filter}`; default true.
    pub(crate) shared_subscription: bool,
    /// Who of a group receives a message; default `round_robin`.
    pub(crate) shared_subscription_strategy: SharedSubscriptionStrategy,
    /// Whether there are subscriptions that one client has for itself, `$exclusive/{filter}`;
    /// default false.
    pub(crate) exclusive_subscription: bool,
    /// Seconds of the keep alive that MQTT 5 clients have to use, whatever they ask for, 1 to
    /// 65535. Default is what they ask for.
    pub(crate) server_keepalive: Option<u16>,
    /// What MQTT 5 clients that ask for response information are told, usually the beginning of
    /// the topics for their responses; `${clientid}` is replaced. Default is nothing.
    pub(crate) response_information: Option<String>,
    /// Another server that MQTT 5 clients are sent to when this one is full or shuts down, as
    /// `host:port`. Default is none.
    pub(crate) server_reference: Option<String>,
    /// Messages that wait in memory for one client; default 1000. What comes then is kept on disk
    /// if the session is persistent, and dropped otherwise.
    pub(crate) max_mqueue_len: u32,
    /// Bytes that wait in memory for one client, and as many that it has not acknowledged; default
    /// 4 MiB. See also `runtime.memory_limit`.
    pub(crate) max_queue_bytes: ByteSize,
    /// Whether clients without a user name are accepted. Default is on listeners on the loopback
    /// interface only; `true` means on all listeners, `false` on none.
    pub(crate) allow_anonymous: Option<bool>,
}

/// Who of a group receives a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SharedSubscriptionStrategy {
    /// One member after the other.
    #[default]
    RoundRobin,
    /// Any member.
    Random,
    /// Always the same member, until it is gone or does not keep up.
    Sticky,
    /// The same member for all messages of one publisher.
    #[serde(alias = "hash")]
    HashClientid,
    /// The same member for all messages of one topic.
    HashTopic,
}

impl From<SharedSubscriptionStrategy> for ShareStrategy {
    fn from(strategy: SharedSubscriptionStrategy) -> Self {
        match strategy {
            SharedSubscriptionStrategy::RoundRobin => Self::RoundRobin,
            SharedSubscriptionStrategy::Random => Self::Random,
            SharedSubscriptionStrategy::Sticky => Self::Sticky,
            SharedSubscriptionStrategy::HashClientid => Self::HashClientId,
            SharedSubscriptionStrategy::HashTopic => Self::HashTopic,
        }
    }
}

/// The protocol can express little more.
const PACKET_BYTES_MAX: u64 = 268_435_456;

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
            max_topic_len: 1024,
            max_topic_levels: 64,
            max_user_properties: 32,
            max_subscriptions: 1000,
            max_sessions: 100_000,
            max_topic_alias: 32,
            max_client_topic_alias: 32,
            max_qos_allowed: 2,
            retain_available: true,
            wildcard_subscription: true,
            subscription_identifier: true,
            shared_subscription: true,
            shared_subscription_strategy: SharedSubscriptionStrategy::RoundRobin,
            exclusive_subscription: false,
            server_keepalive: None,
            response_information: None,
            server_reference: None,
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
        check_packet_size(&["mqtt", "max_packet_size"], self.max_packet_size)?;
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
        check_positive(&["mqtt", "max_topic_len"], self.max_topic_len)?;
        check_positive(&["mqtt", "max_subscriptions"], self.max_subscriptions)?;
        check_positive(&["mqtt", "max_sessions"], self.max_sessions)?;
        check_range(&["mqtt", "max_qos_allowed"], self.max_qos_allowed, 0, 2)?;
        if let Some(seconds) = self.server_keepalive {
            check_positive(&["mqtt", "server_keepalive"], seconds)?;
        }
        check_positive(&["mqtt", "max_mqueue_len"], self.max_mqueue_len)?;
        check_positive(&["mqtt", "max_queue_bytes"], self.max_queue_bytes)
    }
}

/// Bytes that a packet may have in any configuration.
pub(super) fn check_packet_size(path: &[&str], size: ByteSize) -> Result<(), Problem> {
    check_range(path, size.bytes(), 1024, PACKET_BYTES_MAX)
}
