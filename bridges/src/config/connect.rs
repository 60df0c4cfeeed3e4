//! `conn_properties` and `sub_properties`: what CONNECT and SUBSCRIBE say besides.

use std::collections::BTreeMap;

use gateway::{ByteSize, ConfiguredDuration};
use serde::Deserialize;

use super::Flag;

/// Properties of CONNECT (MQTT 5.0 §3.1.2.11). MQTT 3 has none, but what they limit is limited here
/// all the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnProperties {
    /// Bytes of the largest packet from the hub, 1 to 4,294,967,295; `max_packet_size` if absent.
    pub maximum_packet_size: Option<ByteSize>,
    /// Messages from the hub that may be unacknowledged, 1 to 65,535; `max_inflight` if absent.
    pub receive_maximum: Option<u16>,
    /// Topic Aliases that the hub may use, 0 to 65,535. Default 0.
    pub topic_alias_maximum: u16,
    /// Whether the hub may give reasons with anything it refuses. Default true. NanoMQ spells it
    /// without the `r`.
    #[serde(alias = "request_problem_infomation")]
    pub request_problem_information: Flag,
    /// Whether the hub is asked for Response Information. Default false. NanoMQ spells it without
    /// the `r`.
    #[serde(alias = "request_response_infomation")]
    pub request_response_information: Flag,
    /// In place of the bridge's `session_expiry_interval`; a number is one of seconds.
    pub session_expiry_interval: Option<ConfiguredDuration>,
    /// User properties. Default none.
    pub user_property: BTreeMap<String, String>,
}

/// Properties of every SUBSCRIBE (MQTT 5.0 §3.8.2.1). MQTT 3 has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubProperties {
    /// The Subscription Identifier where a rule has none, 1 to 268,435,455; none if absent.
    pub identifier: Option<u32>,
    /// User properties. Default none.
    pub user_property: BTreeMap<String, String>,
}

impl Default for ConnProperties {
    fn default() -> Self {
        Self {
            maximum_packet_size: None,
            receive_maximum: None,
            topic_alias_maximum: 0,
            request_problem_information: Flag(true),
            request_response_information: Flag(false),
            session_expiry_interval: None,
            user_property: BTreeMap::new(),
        }
    }
}
