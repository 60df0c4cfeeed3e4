//! The daemon's side of gateways and bridges: their sessions, and the actors that host them.

mod actor;
mod session;

pub(crate) use actor::{GatewayActor, GatewayArgs};
pub(crate) use session::GatewaySession;

use std::sync::Arc;

use gateway::{Gateway, Status};

/// The Client Identifiers of gateways begin with this; those of clients cannot.
pub(crate) const GATEWAY_PREFIX: &str = "$gateway/";

/// A gateway or bridge with its name and what it says of itself.
#[derive(Clone)]
pub(crate) struct Hosted {
    /// Unique in the daemon, such as `zmq/plant` or `bridge/hub`.
    pub(crate) name: Arc<str>,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) status: Arc<Status>,
}
