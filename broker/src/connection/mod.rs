//! One MQTT client on one socket, from accept to close.

mod actor;
mod client;
mod handshake;
mod inbox;
mod outbox;
mod serve;

pub(crate) use handshake::accept;

use std::net::SocketAddr;
use std::sync::Arc;

use mqtt::ReasonCode;

use crate::exchange::Exchange;

/// What a listener knows about a socket that it accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Whether a client without credentials is let in.
    pub(crate) allow_anonymous: bool,
    /// How long the client may take for its CONNECT.
    pub(crate) connect_timeout: std::time::Duration,
    /// Everything else.
    pub(crate) exchange: Arc<Exchange>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client sent DISCONNECT.
    Disconnected,
    /// The socket was closed or failed.
    Lost,
    /// The client broke the protocol.
    Violation(mqtt::ProtocolViolation),
    /// The daemon ends it.
    Ordered(ReasonCode),
}
