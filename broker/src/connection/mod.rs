//! One MQTT client on one socket, from accept to close.

mod access;
mod actor;
mod bare;
mod batch;
mod client;
mod deferral;
mod deliver;
mod farewell;
mod half_open;
mod handshake;
mod inbox;
mod outbox;
mod passivation;
mod publish;
mod refuse;
mod routes;
mod serve;
#[cfg(test)]
mod sizes;
mod subscribe;
mod unpacking;

pub(crate) use access::{Accepted, Access};
pub(crate) use bare::Bare;

use mqtt::ReasonCode;
use tokio::net::TcpStream;

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

/// Serves a socket from its first to its last byte.
pub(crate) fn accept(stream: TcpStream, accepted: Accepted) -> impl Future<Output = ()> {
    // Large, and gone before the client is served: the task itself is kept small.
    let handshake = Box::pin(async move {
        let connection = handshake::let_in(stream, &accepted).await?;
        Some((connection, accepted.place.into_inner()))
    });
    async move {
        let let_in = handshake.await;
        if let Some((connection, place)) = let_in {
            passivation::live(connection).await;
            drop(place);
        }
    }
}
