//! What this server accepts from one connection.

use std::sync::Arc;
use std::time::Duration;

use crate::QoS;

/// Limits that the server announces in CONNACK or enforces.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a whole packet, from 32 to 268,435,455. A larger one ends its connection with
    /// 0x95 (Packet too large).
    pub packet_bytes_max: u32,
    /// Unacknowledged QoS 1 and 2 messages that a client may send. More end an MQTT 5 connection
    /// with 0x93 (Receive Maximum exceeded); of an MQTT 3 client they are left in its socket.
    /// As many unreleased QoS 2 identifiers may a session hold; more end the connection.
    pub receive_maximum: u16,
    /// Unacknowledged QoS 1 and 2 messages that are sent to a client, whatever it allows.
    pub inflight_messages_max: u16,
    /// How many Keep Alive periods without a packet end a connection with 0x8D; at least 1.
    pub keep_alive_factor: f32,
    /// The Keep Alive, in seconds, that MQTT 5 clients are told to use in place of their own.
    pub server_keep_alive: Option<u16>,
    /// The longest Session Expiry Interval that is granted to MQTT 5 clients.
    pub session_expiry_max: Duration,
    /// How long the session of a 3.1 or 3.1.1 client without Clean Session is kept.
    pub session_expiry_v3: Duration,
    /// Bytes of a Client Identifier; a longer one is refused with 0x85.
    pub client_id_bytes_max: usize,
    /// Bytes of a Topic Name or Topic Filter. A longer Topic Name ends its connection with 0x90,
    /// a longer Topic Filter is refused with 0x8F.
    pub topic_bytes_max: usize,
    /// Levels of a Topic Name, or of a Topic Filter behind `$share/{name}/` or `$exclusive/`, with
    /// the same consequences.
    pub topic_levels_max: usize,
    /// User properties of one packet; more end its connection with 0x97 (Quota exceeded).
    pub user_properties_max: usize,
    /// Subscriptions of one session; further ones are refused with 0x97.
    pub subscriptions_max: usize,
    /// The Topic Alias Maximum that clients are told; zero for none.
    pub topic_alias_max: u16,
    /// Topic Aliases that are used towards a client at most, whatever it allows.
    pub client_topic_alias_max: u16,
    /// The Maximum QoS of what is published. More ends the connection with 0x9B.
    pub qos_max: QoS,
    /// Whether messages can be retained. If not, asking for it ends the connection with 0x9A.
    pub retain_available: bool,
    /// Whether filters may have wildcards. If not, the CONNACK says so and one that has them ends
    /// its connection with 0xA2; an MQTT 3 client is refused it (0x80).
    pub wildcard_subscription_available: bool,
    /// Whether there are Subscription Identifiers. If not, the CONNACK says so and one ends its
    /// connection with 0xA1.
    pub subscription_identifier_available: bool,
    /// Whether there are Shared Subscriptions. If not, the CONNACK says so and one ends its
    /// connection with 0x9E; an MQTT 3 client is refused it (0x80).
    pub shared_subscription_available: bool,
    /// Whether there are exclusive subscriptions. If not, they are refused with 0x8F.
    pub exclusive_subscription_available: bool,
    /// What an acknowledgement means here, for a User Property `durability` of CONNACK; none if
    /// it is not said.
    pub durability: Option<Arc<str>>,
    /// The Response Information for clients that ask for it; `${clientid}` is replaced.
    pub response_information: Option<Arc<str>>,
    /// Another server, for clients that are refused or sent away because of a limit.
    pub server_reference: Option<Arc<str>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1 << 20,
            receive_maximum: 1_024,
            inflight_messages_max: 128,
            keep_alive_factor: 1.5,
            server_keep_alive: None,
            session_expiry_max: Duration::from_secs(7 * 24 * 3_600),
            session_expiry_v3: Duration::from_secs(24 * 3_600),
            client_id_bytes_max: 256,
            topic_bytes_max: 1_024,
            topic_levels_max: 64,
            user_properties_max: 32,
            subscriptions_max: 1_000,
            topic_alias_max: 32,
            client_topic_alias_max: 32,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifier_available: true,
            shared_subscription_available: true,
            exclusive_subscription_available: false,
            durability: None,
            response_information: None,
            server_reference: None,
        }
    }
}

/// What a Topic Name exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicLimit {
    /// [`Limits::topic_bytes_max`].
    Length,
    /// [`Limits::topic_levels_max`].
    Levels,
}

impl Limits {
    /// Which limit a Topic Name exceeds, if any.
    #[must_use]
    pub fn exceeded_by(&self, topic: &str) -> Option<TopicLimit> {
        if topic.len() > self.topic_bytes_max {
            return Some(TopicLimit::Length);
        }
        // A shorter one cannot have so many.
        let may_have = topic.len() >= self.topic_levels_max;
        let has_too_many =
            may_have && topic.bytes().filter(|&it| it == b'/').count() >= self.topic_levels_max;
        has_too_many.then_some(TopicLimit::Levels)
    }
}
