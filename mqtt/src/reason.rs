//! Reason Codes (MQTT 5.0 §2.4) and their MQTT 3.1.1 counterparts.

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// The outcome of an operation; values below 0x80 are success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)*
        }

        impl ReasonCode {
            /// The code with this value, if the specification defines one.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    /// Success; normal disconnection; granted QoS 0.
    Success = 0x00,
    /// Granted QoS 1.
    GrantedQoS1 = 0x01,
    /// Granted QoS 2.
    GrantedQoS2 = 0x02,
    /// The client disconnects but wants its Will Message published.
    DisconnectWithWill = 0x04,
    /// The message was accepted but nobody subscribes to it.
    NoMatchingSubscribers = 0x10,
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11,
    /// Authentication goes on.
    ContinueAuthentication = 0x18,
    /// The client starts a re-authentication.
    ReAuthenticate = 0x19,
    /// The server does not say why.
    UnspecifiedError = 0x80,
    /// A packet could not be parsed.
    MalformedPacket = 0x81,
    /// A packet was unexpected or broke a rule.
    ProtocolError = 0x82,
    /// Valid, but this server does not accept it.
    ImplementationSpecificError = 0x83,
    /// The protocol version is not supported.
    UnsupportedProtocolVersion = 0x84,
    /// The Client Identifier is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// Wrong user name or password.
    BadUserNameOrPassword = 0x86,
    /// Not allowed to do this.
    NotAuthorized = 0x87,
    /// The server is not available.
    ServerUnavailable = 0x88,
    /// The server is busy.
    ServerBusy = 0x89,
    /// Banned by an administrator.
    Banned = 0x8A,
    /// The server is shutting down.
    ServerShuttingDown = 0x8B,
    /// The authentication method is not supported or not the current one.
    BadAuthenticationMethod = 0x8C,
    /// No packet for one and a half times the Keep Alive.
    KeepAliveTimeout = 0x8D,
    /// Another connection uses the same Client Identifier.
    SessionTakenOver = 0x8E,
    /// The Topic Filter is well formed but not accepted.
    TopicFilterInvalid = 0x8F,
    /// The Topic Name is well formed but not accepted.
    TopicNameInvalid = 0x90,
    /// The Packet Identifier is in use already.
    PacketIdentifierInUse = 0x91,
    /// The Packet Identifier is not known.
    PacketIdentifierNotFound = 0x92,
    /// More unacknowledged messages than the Receive Maximum.
    ReceiveMaximumExceeded = 0x93,
    /// The Topic Alias is zero or too great.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than the Maximum Packet Size.
    PacketTooLarge = 0x95,
    /// Too much data in too short a time.
    MessageRateTooHigh = 0x96,
    /// A limit of the implementation or of the administrator was reached.
    QuotaExceeded = 0x97,
    /// Closed by an administrator.
    AdministrativeAction = 0x98,
    /// The payload does not match its Payload Format Indicator.
    PayloadFormatInvalid = 0x99,
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A,
    /// The QoS is greater than the Maximum QoS.
    QoSNotSupported = 0x9B,
    /// Use another server for now.
    UseAnotherServer = 0x9C,
    /// Use another server from now on.
    ServerMoved = 0x9D,
    /// Shared Subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F,
    /// The connection has lasted as long as it may.
    MaximumConnectTime = 0xA0,
    /// Subscription Identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Wildcard Subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// True for values from 0x80, which mean failure.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// What a Reason String says for it where nothing more is known.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Success | Self::GrantedQoS1 | Self::GrantedQoS2 => "success",
            Self::DisconnectWithWill => "the connection ends with its will",
            Self::NoMatchingSubscribers => "nobody subscribes to the topic",
            Self::NoSubscriptionExisted => "there was no such subscription",
            Self::ContinueAuthentication => "the authentication goes on",
            Self::ReAuthenticate => "the client authenticates again",
            Self::UnspecifiedError => "the server does not say why",
            Self::MalformedPacket => "a packet could not be parsed",
            Self::ProtocolError => "a packet was unexpected or broke a rule",
            Self::ImplementationSpecificError => "this server does not accept it",
            Self::UnsupportedProtocolVersion => "the server does not know this version of MQTT",
            Self::ClientIdentifierNotValid => "the client identifier is not accepted",
            Self::BadUserNameOrPassword => "the user name or password is wrong",
            Self::NotAuthorized => "this client may not do that",
            Self::ServerUnavailable => "the server cannot store messages at present",
            Self::ServerBusy => "the server is busy",
            Self::Banned => "this client is banned",
            Self::ServerShuttingDown => "the server is shutting down",
            Self::BadAuthenticationMethod => "the authentication method is not supported",
            Self::KeepAliveTimeout => "no packet came within the keep alive time",
            Self::SessionTakenOver => "another connection uses the same client identifier",
            Self::TopicFilterInvalid => "the topic filter is not accepted by this server",
            Self::TopicNameInvalid => "the topic name is not accepted by this server",
            Self::PacketIdentifierInUse => "the packet identifier is in use",
            Self::PacketIdentifierNotFound => "the packet identifier is not known",
            Self::ReceiveMaximumExceeded => "too many messages are unacknowledged",
            Self::TopicAliasInvalid => "the topic alias is not allowed",
            Self::PacketTooLarge => "the packet is too large",
            Self::MessageRateTooHigh => "messages come too fast",
            Self::QuotaExceeded => "a limit of this server is reached",
            Self::AdministrativeAction => "an administrator ended the connection",
            Self::PayloadFormatInvalid => "the payload is not of the format that it claims",
            Self::RetainNotSupported => "retained messages are not supported",
            Self::QoSNotSupported => "the QoS is not supported",
            Self::UseAnotherServer | Self::ServerMoved => "use the server that is referred to",
            Self::SharedSubscriptionsNotSupported => "shared subscriptions are switched off",
            Self::ConnectionRateExceeded => "connections come too fast",
            Self::MaximumConnectTime => "the connection has lasted as long as it may",
            Self::SubscriptionIdentifiersNotSupported => {
                "subscription identifiers are switched off"
            }
            Self::WildcardSubscriptionsNotSupported => "wildcard subscriptions are switched off",
        }
    }

    /// The Connect Return Code of MQTT 3.1.1 (§3.2.2.3) that comes closest.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "3.1.1 has five refusals for all of them"
    )]
    pub const fn connect_return_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized | Self::Banned => 5,
            _ => 3,
        }
    }
}
