//! The daemon's side of gateways and bridges: their sessions, and the actors that host them.

mod actor;
mod age;
mod mirrored;
mod notification;
mod outbox;
mod roster;
mod session;
mod stop;

pub(crate) use actor::{GatewayActor, GatewayArgs};
pub(crate) use mirrored::Mirrored;
pub(crate) use notification::withdraw;
pub(crate) use roster::{Hosted, Roster};
pub(crate) use session::GatewaySession;

/// The Client Identifiers of gateways begin with this; those of clients cannot.
pub(crate) const GATEWAY_PREFIX: &str = "$gateway/";

/// The Client Identifier of a gateway.
fn client_id(name: &str) -> String {
    format!("{GATEWAY_PREFIX}{name}")
}
