//! SUBSCRIBE and UNSUBSCRIBE on one connection: which filters may come, how they are answered.

use super::{Limits, ServerConnection};
use crate::packet::{Packet, Properties, Suback, Subscribe, SubscriptionOptions, Unsuback};
use crate::{ProtocolViolation, ReasonCode, Sharing, TopicFilter};

/// Why a Topic Filter is not subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The SUBACK says so for this filter; the others are not affected.
    Refused(ReasonCode),
    /// The packet must not have been sent; the connection is closed.
    Violation(ProtocolViolation),
}

impl ServerConnection {
    /// Checks one filter of a SUBSCRIBE; the options come back as they are to be kept.
    ///
    /// # Errors
    /// The filter is malformed or not accepted.
    pub fn check_subscription(
        &self,
        subscribe: &Subscribe<'_>,
        text: &str,
        mut options: SubscriptionOptions,
        limits: &Limits,
    ) -> Result<(TopicFilter, SubscriptionOptions), SubscribeError> {
        let filter = TopicFilter::new(text).map_err(|_| {
            let detail = "a topic filter is malformed";
            SubscribeError::Violation(ProtocolViolation::new(
                ReasonCode::TopicFilterInvalid,
                detail,
            ))
        })?;
        let sharing = filter.sharing();
        // [MQTT-3.8.3-4]
        if options.no_local && matches!(sharing, Sharing::Group(_)) {
            let detail = "no local is set on a shared subscription";
            return Err(SubscribeError::Violation(ProtocolViolation::protocol(
                detail,
            )));
        }
        let levels = text.bytes().filter(|&byte| byte == b'/').count() + 1;
        let refusal = if text.len() > limits.topic_bytes_max
            || levels > limits.topic_levels_max
            || sharing == Sharing::Exclusive && !limits.exclusive_subscription_available
        {
            ReasonCode::TopicFilterInvalid
        } else if matches!(sharing, Sharing::Group(_)) && !limits.shared_subscription_available {
            ReasonCode::SharedSubscriptionsNotSupported
        } else if filter.has_wildcard() && !limits.wildcard_subscription_available {
            ReasonCode::WildcardSubscriptionsNotSupported
        } else if subscribe.identifier().is_some() && !limits.subscription_identifier_available {
            ReasonCode::SubscriptionIdentifiersNotSupported
        } else {
            options.qos = options.qos.min(limits.qos_max);
            // A bridge wants to know what is retained, and nothing of its own.
            if self.is_bridge {
                options.retain_as_published = true;
                options.no_local = !matches!(sharing, Sharing::Group(_));
            }
            return Ok((filter, options));
        };
        Err(SubscribeError::Refused(refusal))
    }

    /// Appends the SUBACK with one code for each filter [MQTT-3.8.4-6].
    pub fn encode_suback(&self, packet_id: u16, codes: &[u8], out: &mut Vec<u8>) {
        let mut raw = Vec::new();
        self.encode_reason_string(codes, &mut raw);
        let suback = Suback {
            packet_id,
            properties: Properties::trusted(&raw),
            codes,
        };
        Packet::Suback(suback).encode(self.version(), out);
    }

    /// Appends the UNSUBACK with one code for each filter [MQTT-3.11.3-1].
    pub fn encode_unsuback(&self, packet_id: u16, codes: &[u8], out: &mut Vec<u8>) {
        let mut raw = Vec::new();
        self.encode_reason_string(codes, &mut raw);
        let unsuback = Unsuback {
            packet_id,
            properties: Properties::trusted(&raw),
            codes,
        };
        Packet::Unsuback(unsuback).encode(self.version(), out);
    }
}
