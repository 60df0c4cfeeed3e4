//! Why a hub cannot be reached.

use std::fmt;

/// A connect that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{phase}: {reason}")]
pub struct ConnectError {
    /// How far it came.
    pub phase: Phase,
    /// Why not farther, for an operator.
    pub reason: String,
}

/// The steps of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What is configured does not fit together.
    Configuration,
    /// An address is asked for by the name of the hub or the proxy.
    Lookup,
    /// The socket connects.
    Tcp,
    /// The proxy connects to the hub.
    Proxy,
    /// Certificates and keys are read.
    Certificates,
    /// TLS begins.
    Tls,
    /// HTTP becomes a WebSocket.
    WebSocket,
    /// QUIC begins.
    Quic,
}

impl ConnectError {
    pub(super) fn new(phase: Phase, reason: impl ToString) -> Self {
        Self {
            phase,
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Configuration => "configuration",
            Self::Lookup => "name lookup",
            Self::Tcp => "TCP connection",
            Self::Proxy => "proxy",
            Self::Certificates => "certificates",
            Self::Tls => "TLS handshake",
            Self::WebSocket => "WebSocket handshake",
            Self::Quic => "QUIC handshake",
        })
    }
}
