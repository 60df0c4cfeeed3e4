//! What a server says in CONNACK (§3.2): what it allows and what it grants.

use std::time::Duration;

use super::ClientOptions;
use crate::packet::{Connack, Property, VARIABLE_BYTE_INTEGER_MAX};
use crate::{ProtocolViolation, QoS};

/// User Properties of one CONNACK that are kept; further ones are left out.
const USER_PROPERTIES_MAX: usize = 32;

/// The terms of an accepted connection. What a server does not mention has its default; MQTT 3,
/// where a server mentions nothing, has only defaults.
///
/// Texts are the server's and are to be treated like any other input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTerms {
    /// Unacknowledged QoS 1 and 2 messages that may be sent; the caller keeps to it.
    pub receive_maximum: u16,
    /// Bytes of the largest packet that the server accepts and the client sends, at most 268,435,455.
    pub packet_bytes_max: u32,
    /// The greatest QoS that may be published with.
    pub qos_max: QoS,
    /// Messages may be retained.
    pub retain_available: bool,
    /// Filters may have wildcards.
    pub wildcard_subscription_available: bool,
    /// Shared Subscriptions are known.
    pub shared_subscription_available: bool,
    /// Subscription Identifiers are known, which they never are in MQTT 3.
    pub subscription_identifier_available: bool,
    /// Topic Aliases that the server takes.
    pub topic_alias_max: u16,
    /// Seconds of the Keep Alive that the client has to keep: the server's or else its own.
    pub keep_alive: u16,
    /// The Client Identifier, if the server has chosen one.
    pub assigned_client_id: Option<String>,
    /// How long the session outlives the connection: as granted or else as asked for.
    pub session_expiry: Duration,
    /// What response topics are made of.
    pub response_information: Option<String>,
    /// Another server to use.
    pub server_reference: Option<String>,
    /// What else the server has to say.
    pub reason_string: Option<String>,
    /// Its User Properties, the first 32.
    pub user_properties: Vec<(String, String)>,
}

impl ServerTerms {
    pub(super) fn read(
        connack: &Connack<'_>,
        options: &ClientOptions,
    ) -> Result<Self, ProtocolViolation> {
        let mut terms = Self::defaults(options);
        for property in connack.properties.iter() {
            terms.take(property, options)?;
        }
        Ok(terms)
    }

    fn defaults(options: &ClientOptions) -> Self {
        Self {
            receive_maximum: u16::MAX,
            packet_bytes_max: options
                .server_packet_bytes_max
                .min(VARIABLE_BYTE_INTEGER_MAX),
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            shared_subscription_available: true,
            subscription_identifier_available: options.version.is_v5(),
            topic_alias_max: 0,
            keep_alive: options.keep_alive,
            assigned_client_id: None,
            session_expiry: options.session_expiry,
            response_information: None,
            server_reference: None,
            reason_string: None,
            user_properties: Vec::new(),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "decoding refuses what does not belong to CONNACK"
    )]
    fn take(
        &mut self,
        property: Property<'_>,
        options: &ClientOptions,
    ) -> Result<(), ProtocolViolation> {
        let text = |text: &str| Some(text.to_owned());
        match property {
            Property::ReceiveMaximum(value) => self.receive_maximum = value,
            Property::MaximumPacketSize(value) => {
                self.packet_bytes_max = self.packet_bytes_max.min(value);
            }
            Property::MaximumQoS(true) => self.qos_max = QoS::AtLeastOnce,
            Property::MaximumQoS(false) => self.qos_max = QoS::AtMostOnce,
            Property::RetainAvailable(value) => self.retain_available = value,
            Property::WildcardSubscriptionAvailable(value) => {
                self.wildcard_subscription_available = value;
            }
            Property::SharedSubscriptionAvailable(value) => {
                self.shared_subscription_available = value;
            }
            Property::SubscriptionIdentifierAvailable(value) => {
                self.subscription_identifier_available = value;
            }
            Property::TopicAliasMaximum(value) => self.topic_alias_max = value,
            Property::ServerKeepAlive(seconds) => self.keep_alive = seconds, // [MQTT-3.1.2-21]
            Property::AssignedClientIdentifier(it) => self.assigned_client_id = text(it),
            Property::SessionExpiryInterval(seconds) => {
                self.session_expiry = Duration::from_secs(seconds.into());
            }
            // [MQTT-3.1.2-28]
            Property::ResponseInformation(_) if !options.request_response_information => {
                let detail = "response information that was not asked for";
                return Err(ProtocolViolation::protocol(detail));
            }
            Property::ResponseInformation(it) => self.response_information = text(it),
            Property::ServerReference(it) => self.server_reference = text(it),
            Property::ReasonString(it) => self.reason_string = text(it),
            // [MQTT-4.12.0-6]
            Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => {
                let detail = "CONNACK authenticates although no method was agreed on";
                return Err(ProtocolViolation::protocol(detail));
            }
            Property::UserProperty(name, value)
                if self.user_properties.len() < USER_PROPERTIES_MAX =>
            {
                let pair = (name.to_owned(), value.to_owned());
                self.user_properties.push(pair);
            }
            _ => {}
        }
        Ok(())
    }
}
