//! One MQTT client on one socket, from accept to close.

mod access;
mod actor;
mod client;
mod handshake;
mod inbox;
mod outbox;
mod publish;
mod refuse;
mod routes;
mod serve;
mod subscribe;

pub(crate) use access::{Accepted, Access};
pub(crate) use handshake::accept;

use mqtt::ReasonCode;

#[cfg(test)]
mod tests;

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
