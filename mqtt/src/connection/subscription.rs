//! SUBSCRIBE and UNSUBSCRIBE on one connection: which filters may come, how they are answered.

use super::{Limits, ServerConnection};
use crate::packet::{
    Packet, Properties, Suback, Subscribe, SubscriptionOptions, Unsuback, Unsubscribe,
};
use crate::{
    ProtocolVersion, ProtocolViolation, ReasonCode, Sharing, TopicFilter, TopicFilterError,
};

/// A subscription as it is to be kept; or why the SUBACK refuses it, which does not affect the
/// others of its packet.
pub type CheckedSubscription = Result<(TopicFilter, SubscriptionOptions), ReasonCode>;

impl ServerConnection {
    /// Checks all filters of a SUBSCRIBE, in their order. Nothing may be done before: a packet
    /// that must not be sent subscribes to nothing. `rewrite` puts another filter in the place of
    /// the given one.
    ///
    /// # Errors
    /// The packet must not have been sent; the connection is closed.
    pub fn check_subscribe(
        &self,
        subscribe: &Subscribe<'_>,
        limits: &Limits,
        rewrite: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<CheckedSubscription>, ProtocolViolation> {
        let has_identifier = subscribe.identifier().is_some();
        let filters = subscribe.filters().map(|(text, options)| {
            let rewritten = rewrite(text);
            if is_spoilt(rewritten.as_deref()) {
                return Ok(Err(ReasonCode::TopicFilterInvalid));
            }
            let text = rewritten.as_deref().unwrap_or(text);
            self.check_subscription(text, options, has_identifier, limits)
        });
        filters.collect()
    }

    fn check_subscription(
        &self,
        text: &str,
        mut options: SubscriptionOptions,
        has_identifier: bool,
        limits: &Limits,
    ) -> Result<CheckedSubscription, ProtocolViolation> {
        let filter = match well_formed(text)? {
            Ok(filter) => filter,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let sharing = filter.sharing();
        let is_shared = matches!(sharing, Sharing::Group(_));
        // [MQTT-3.8.3-4]
        if options.no_local && is_shared {
            let detail = "no local is set on a shared subscription";
            return Err(ProtocolViolation::protocol(detail));
        }
        let unavailable = if is_shared && !limits.shared_subscription_available {
            Some(ReasonCode::SharedSubscriptionsNotSupported)
        } else if filter.has_wildcard() && !limits.wildcard_subscription_available {
            Some(ReasonCode::WildcardSubscriptionsNotSupported)
        } else if has_identifier && !limits.subscription_identifier_available {
            Some(ReasonCode::SubscriptionIdentifiersNotSupported)
        } else {
            None
        };
        if let Some(reason) = unavailable {
            // The CONNACK of MQTT 5 says so; asking for it is a Protocol Error (§3.2.2.3.11).
            return if self.version().is_v5() {
                Err(ProtocolViolation::new(reason, reason.describe()))
            } else {
                Ok(Err(reason))
            };
        }
        let levels = filter.pattern().bytes().filter(|&it| it == b'/').count() + 1;
        if text.len() > limits.topic_bytes_max
            || levels > limits.topic_levels_max
            || sharing == Sharing::Exclusive && !limits.exclusive_subscription_available
        {
            return Ok(Err(ReasonCode::TopicFilterInvalid));
        }
        options.qos = options.qos.min(limits.qos_max);
        // A bridge wants to know what is retained, and nothing of its own.
        if self.is_bridge {
            options.retain_as_published = true;
            options.no_local = !is_shared;
        }
        Ok(Ok((filter, options)))
    }

    /// Refuses a SUBSCRIBE or UNSUBSCRIBE with so many filters that the client does not accept
    /// the answer [MQTT-3.1.2-24].
    pub(super) fn check_answer(&self, filters: usize) -> Result<(), ProtocolViolation> {
        let mut answer = Vec::new();
        self.encode_suback(1, &vec![0; filters], &mut answer);
        if answer.len() <= self.client_packet_bytes_max as usize {
            return Ok(());
        }
        let detail = "the answer would be larger than the client accepts";
        Err(ProtocolViolation::new(ReasonCode::PacketTooLarge, detail))
    }

    /// Checks all filters of an UNSUBSCRIBE, in their order, as
    /// [`ServerConnection::check_subscribe`] does.
    ///
    /// # Errors
    /// The packet must not have been sent; the connection is closed.
    pub fn check_unsubscribe(
        &self,
        unsubscribe: &Unsubscribe<'_>,
        rewrite: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Result<TopicFilter, ReasonCode>>, ProtocolViolation> {
        let filters = unsubscribe.filters();
        let checked = filters.map(|text| {
            let rewritten = rewrite(text);
            if is_spoilt(rewritten.as_deref()) {
                return Ok(Err(ReasonCode::TopicFilterInvalid));
            }
            well_formed(rewritten.as_deref().unwrap_or(text))
        });
        checked.collect()
    }

    /// Appends the SUBACK with one code for each filter [MQTT-3.8.4-6]. MQTT 3.1 has a positive
    /// answer only, so there a refused filter is told to be granted QoS 0 (3.1 §3.8).
    pub fn encode_suback(&self, packet_id: u16, codes: &[u8], out: &mut Vec<u8>) {
        let mut raw = Vec::new();
        self.encode_reason_string(codes, &mut raw);
        let mut codes = codes.to_vec();
        if self.version() == ProtocolVersion::V31 {
            let refused = codes.iter_mut().filter(|code| **code >= 0x80);
            refused.for_each(|code| *code = ReasonCode::Success as u8);
        }
        let suback = Suback {
            packet_id,
            properties: Properties::trusted(&raw),
            codes: &codes,
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

/// Whether a filter was rewritten to what is none, which its client is not to blame for.
fn is_spoilt(rewritten: Option<&str>) -> bool {
    rewritten.is_some_and(|text| TopicFilter::new(text).is_err())
}

/// The filter; or, if it is well formed but longer than any that is accepted, the refusal.
fn well_formed(text: &str) -> Result<Result<TopicFilter, ReasonCode>, ProtocolViolation> {
    match TopicFilter::new(text) {
        Ok(filter) => Ok(Ok(filter)),
        Err(TopicFilterError::TooManyLevels) => Ok(Err(ReasonCode::TopicFilterInvalid)),
        Err(_) => Err(ProtocolViolation::new(
            ReasonCode::TopicFilterInvalid,
            "a topic filter is malformed",
        )),
    }
}
