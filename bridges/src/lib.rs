//! Bridges to upstream MQTT brokers.
//!
//! A bridge is a gateway whose foreign side speaks MQTT. Its session with the local broker is
//! durable: what is to be forwarded waits in the store (the outbox), and an entry leaves it only
//! when the hub has acknowledged it. So an uplink that is down, a daemon that is killed or a hub
//! that restarts costs nothing but time.
//!
//! | direction | QoS | guarantee |
//! |---|---|---|
//! | local to hub | as published; a rule or `retry_qos_0` may raise it, and then it is kept as such | 1: at least once, 2: exactly once while the hub keeps the session, with several hubs sent with 1; in order per topic |
//! | hub to local | as the hub sends it, at most the rule's | acknowledged to the hub once it is stored here; 2: exactly once |
//!
//! Packet Identifiers follow from a message's place in the outbox, and those of QoS 2 that came
//! are stored with their messages, so a crash on this side changes neither. The hub keeps the
//! bridge's session while the uplink is down, so commands from the hub wait there.
//!
//! What the hub refuses for good is counted and published below `dead_letter_topic`, and the
//! others go on. A hub without room (0x97) is left alone for a while and gets all of it in order.
//!
//! What comes from the hub and exceeds a limit here is counted as dropped and acknowledged, one by
//! one, and the others go on. So is a message beyond `max_packet_size` of a hub of MQTT 3, which cannot
//! be told that limit; any other packet beyond it ends the connection.
//! To a hub that is a Tidegate messages may go in compressed batches, see [`batch`].
//!
//! Loops and repetitions are kept away by the broker, with a [`LoopGuard`].

pub mod batch;
mod budget;
mod config;
mod dead_letter;
mod dialect;
mod flight;
mod gateway;
mod hub;
pub mod io;
mod keep_alive;
mod loop_guard;
mod mirror;
mod options;
mod partner;
mod patience;
mod rate;
mod record;
mod refusal;
mod rival;
mod service;
mod shortfall;
mod site;
mod suspicion;
mod translation;

pub use config::{
    Batch, Config, ConnProperties, Endpoint, Flag, Forward, InvalidEndpoint, InvalidProxyUrl,
    NoEffect, Properties, Proxy, ProxyProtocol, ProxyUrl, SubProperties, Subscription, Tcp, Tls,
    Transport, Will,
};
pub use gateway::Bridge;
pub use loop_guard::{
    Admitted, Announcement, BrokerId, BrokerIdError, Guarding, HOPS_MAX, InvalidRun, LoopGuard,
    ORIGINS_MAX, Repetition, Run, Stamp, Turn, WINDOW, may_return, nameless,
};
pub use site::VIN_VARIABLES;
