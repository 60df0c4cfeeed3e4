//! Bridges to upstream MQTT brokers.
//!
//! A bridge is a gateway whose foreign side speaks MQTT. Its session with the local broker is
//! durable: what is to be forwarded waits in the store (the outbox), and an entry leaves it only
//! when the hub has acknowledged it. So an uplink that is down, a daemon that is killed or a hub
//! that restarts costs nothing but time.
//!
//! | direction | QoS | guarantee |
//! |---|---|---|
//! | local to hub | 1 (0 and 2 are sent with 1, unless a rule says 0) | at least once, in order per topic |
//! | hub to local | as published, at most the rule's | acknowledged to the hub once it is stored here |
//!
//! The hub keeps the bridge's session while the uplink is down, so commands from the hub wait
//! there. The client library's own memory is never relied on: each attempt to connect begins
//! with an empty client, and what was not acknowledged is taken from the outbox again.
//!
//! A message that has been at this broker before is not taken from the hub again, if the daemon has
//! given the broker an identifier; nor is one that has passed too many brokers.
//!
//! Limits: MQTT 5 over TCP. QoS 2 towards the hub is sent with QoS 1: exactly once needs the
//! identifiers of the hub's session to be kept here as well.

mod config;
mod gateway;
mod io;
mod resumption;
mod site;
mod translation;
pub mod transport;

pub use config::{
    Config, ConnProperties, Endpoint, Flag, Forward, InvalidEndpoint, InvalidProxyUrl, NoEffect,
    Properties, Proxy, ProxyProtocol, ProxyUrl, SubProperties, Subscription, Tcp, Tls, Transport,
    Will,
};
pub use gateway::Bridge;
pub use resumption::NothingUnacknowledged;
pub use site::VIN_VARIABLES;
pub use translation::{
    BLOCK_BYTES, BrokerId, BrokerIdError, HOPS_MAX, Novelty, ORIGINS_MAX, Row, Seen, Stamp, WINDOW,
};
