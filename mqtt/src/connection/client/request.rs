//! SUBSCRIBE and UNSUBSCRIBE (§3.8, §3.10): the requests of a client, and their answers.

use super::super::outgoing::fits;
use super::ClientConnection;
use super::options::check_strings;
use crate::packet::{
    Properties, Property, Suback, SubscriptionOptions, Unsuback, VARIABLE_BYTE_INTEGER_MAX,
    put_subscribe, put_unsubscribe,
};
use crate::{ProtocolVersion, ProtocolViolation, ReasonCode, Sharing, TopicFilter};

/// Requests of one connection that wait for their answer; no more are sent.
const REQUESTS_MAX: usize = 1_024;

/// Why a request is not sent; nothing of it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It has no filter, or the Packet Identifier zero or that of another request.
    #[error("a request without a filter or without a packet identifier of its own")]
    Malformed,
    /// A User Property or a Subscription Identifier cannot be encoded.
    #[error("a property of a request is too long or malformed")]
    InvalidProperty,
    /// The server has said that it does not know such subscriptions.
    #[error("{}", .0.describe())]
    Unavailable(ReasonCode),
    /// 1,024 requests wait for their answers.
    #[error("too many requests wait for their answers")]
    TooMany,
    /// The server would not accept a packet of that size; fewer filters at once may do.
    #[error("a request is larger than the server accepts")]
    TooLarge,
}

/// What waits for its SUBACK or UNSUBACK.
#[derive(Debug, Default)]
pub(super) struct Requests(Vec<Request>);

#[derive(Debug, PartialEq, Eq)]
struct Request {
    packet_id: u16,
    kind: Kind,
    filters: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Subscribe,
    Unsubscribe,
}

impl Requests {
    pub(super) fn on_suback(&mut self, suback: &Suback<'_>) -> Result<(), ProtocolViolation> {
        let filters = self.take(suback.packet_id, Kind::Subscribe)?;
        check_count(suback.codes.len(), filters)
    }

    pub(super) fn on_unsuback(
        &mut self,
        unsuback: &Unsuback<'_>,
        version: ProtocolVersion,
    ) -> Result<(), ProtocolViolation> {
        let filters = self.take(unsuback.packet_id, Kind::Unsubscribe)?;
        if version.is_v5() {
            check_count(unsuback.codes.len(), filters)
        } else {
            Ok(())
        }
    }

    /// The number of filters of the request that is answered.
    fn take(&mut self, packet_id: u16, kind: Kind) -> Result<usize, ProtocolViolation> {
        let is_it = |it: &Request| it.packet_id == packet_id && it.kind == kind;
        let Some(place) = self.0.iter().position(is_it) else {
            let detail = "an answer to no request";
            return Err(ProtocolViolation::protocol(detail));
        };
        Ok(self.0.swap_remove(place).filters)
    }

    fn check(&self, packet_id: u16, filters: usize) -> Result<(), RequestError> {
        let is_in_use = self.0.iter().any(|it| it.packet_id == packet_id);
        if packet_id == 0 || filters == 0 || is_in_use {
            return Err(RequestError::Malformed);
        }
        if self.0.len() >= REQUESTS_MAX {
            return Err(RequestError::TooMany);
        }
        Ok(())
    }
}

/// [MQTT-3.8.4-6] [MQTT-3.11.3-1]
fn check_count(codes: usize, filters: usize) -> Result<(), ProtocolViolation> {
    if codes == filters {
        return Ok(());
    }
    let detail = "an answer does not have a code for each filter";
    Err(ProtocolViolation::protocol(detail))
}

impl ClientConnection {
    /// Appends a SUBSCRIBE. Where the version or the server does not know it, an identifier, User
    /// Properties and options other than the QoS are left out; so is No Local of a Shared
    /// Subscription, which must not have it [MQTT-3.8.3-4].
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn encode_subscribe(
        &mut self,
        packet_id: u16,
        filters: &[(TopicFilter, SubscriptionOptions)],
        identifier: Option<u32>,
        user_properties: &[(String, String)],
        out: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        for (filter, _) in filters {
            self.check_filter(filter)?;
        }
        let mut raw = Vec::new();
        let identifier = identifier.filter(|_| self.terms.subscription_identifier_available);
        if let Some(identifier) = identifier {
            if !(1..=VARIABLE_BYTE_INTEGER_MAX).contains(&identifier) {
                return Err(RequestError::InvalidProperty);
            }
            Property::SubscriptionIdentifier(identifier).encode(&mut raw);
        }
        let version = self.version;
        let request = Request {
            packet_id,
            kind: Kind::Subscribe,
            filters: filters.len(),
        };
        self.encode_request(request, raw, user_properties, out, |properties, out| {
            let filters = filters.iter().map(|(filter, options)| {
                let mut options = *options;
                options.no_local &= !matches!(filter.sharing(), Sharing::Group(_));
                (filter.as_str(), options)
            });
            put_subscribe(out, version, packet_id, properties, filters);
        })
    }

    /// Appends an UNSUBSCRIBE.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn encode_unsubscribe(
        &mut self,
        packet_id: u16,
        filters: &[TopicFilter],
        user_properties: &[(String, String)],
        out: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let version = self.version;
        let request = Request {
            packet_id,
            kind: Kind::Unsubscribe,
            filters: filters.len(),
        };
        let raw = Vec::new();
        self.encode_request(request, raw, user_properties, out, |properties, out| {
            let filters = filters.iter().map(TopicFilter::as_str);
            put_unsubscribe(out, version, packet_id, properties, filters);
        })
    }

    /// Whether the server knows such subscriptions. To ask for others ends the connection.
    ///
    /// # Errors
    /// It does not.
    pub fn check_filter(&self, filter: &TopicFilter) -> Result<(), RequestError> {
        let is_shared = matches!(filter.sharing(), Sharing::Group(_));
        let reason = if is_shared && !self.terms.shared_subscription_available {
            ReasonCode::SharedSubscriptionsNotSupported
        } else if filter.has_wildcard() && !self.terms.wildcard_subscription_available {
            ReasonCode::WildcardSubscriptionsNotSupported
        } else {
            return Ok(());
        };
        Err(RequestError::Unavailable(reason))
    }

    fn encode_request(
        &mut self,
        request: Request,
        mut raw: Vec<u8>,
        user_properties: &[(String, String)],
        out: &mut Vec<u8>,
        encode: impl FnOnce(Properties<'_>, &mut Vec<u8>),
    ) -> Result<(), RequestError> {
        self.requests.check(request.packet_id, request.filters)?;
        check_strings(user_properties).map_err(|_| RequestError::InvalidProperty)?;
        for (name, value) in user_properties {
            Property::UserProperty(name, value).encode(&mut raw);
        }
        let start = out.len();
        encode(Properties::trusted(&raw), out);
        if !fits(out, start, self.terms.packet_bytes_max) {
            return Err(RequestError::TooLarge);
        }
        self.requests.0.push(request);
        Ok(())
    }
}
