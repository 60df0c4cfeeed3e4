//! The contract that every foreign protocol and every bridge meets to live in the daemon.
//!
//! A gateway is an in-process client of the broker with a name and a session of its own. It is
//! given a [`Client`] to publish and receive with and a [`Status`] to report to, and it runs until
//! it is dropped or fails; the daemon starts it, restarts it after a fault and drops it to stop
//! it. Its own crate holds the pure translation and one `io` module that touches sockets.
//!
//! ```text
//! foreign peer -> io -> translation -> Client::publish -> routing, store -> MQTT subscribers
//! MQTT publisher -> routing, store -> Client::receive -> translation -> io -> foreign peer
//! ```
//!
//! Correspondences shared by all gateways:
//!
//! | MQTT | DDS | ZeroMQ, NNG |
//! |---|---|---|
//! | QoS 0 / 1, 2 | `BEST_EFFORT` / `RELIABLE` | - |
//! | retained | `TRANSIENT_LOCAL`, depth 1 | - |
//! | Receive Maximum | resource limits | high water mark |
//!
//! Invariants: nothing here knows tokio, a clock or a socket; dropping the future of
//! [`Gateway::run`] ends everything that the gateway started.

mod backoff;
mod byte_size;
mod client;
mod config_error;
mod duration;
mod farewell;
mod gateway;
mod host;
mod mapping;
mod notification;
mod secret;
mod status;
mod status_report;
mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use backoff::Backoff;
pub use byte_size::ByteSize;
pub use client::{
    Broker, Client, Delivery, DeliveryId, INFLIGHT_MESSAGES_MAX, NotStored, Outgoing, PublishError,
    Receipt, SubscriptionRequest, Wanted,
};
pub use config_error::ConfigError;
pub use duration::ConfiguredDuration;
pub use farewell::Farewell;
pub use gateway::{Fault, Gateway, RunFuture};
pub use host::check_host;
pub use mapping::{ConfiguredFilter, ConfiguredQoS, ConfiguredTemplate, MatchedTopic, MqttRule};
pub use notification::Notification;
pub use secret::Secret;
pub use status::{Counters, DropReason, LinkState, Status};
pub use status_report::{Outbox, StatusReport};
pub use template::{ANY_TEXT, Levels, Template, TemplateError, Values};
