//! The trait that a foreign protocol implements.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt::QoS;

use crate::{Client, ConfigError, Notification, Status, SubscriptionRequest};

/// What [`Gateway::run`] returns: the whole life of one gateway.
pub type RunFuture = Pin<Box<dyn Future<Output = Fault> + Send>>;

/// A foreign protocol's side of the broker.
pub trait Gateway: Send + Sync + 'static {
    /// What the gateway receives from MQTT; the daemon subscribes before it calls `run`.
    fn subscriptions(&self) -> Vec<SubscriptionRequest>;

    /// True if its session keeps deliveries on disk until they are acknowledged; false if it is
    /// served live only.
    fn is_durable(&self) -> bool;

    /// True if the foreign side is a broker: what it brings may have been here before.
    fn is_bridge(&self) -> bool {
        false
    }

    /// The least QoS with which it is given messages. What is published with less is raised to it,
    /// so that a message of QoS 0 waits for the gateway like others.
    fn least_qos(&self) -> QoS {
        QoS::AtMostOnce
    }

    /// Of each 100 deliveries of a lane, so many are live ones while a backlog waits too; with 0 the
    /// oldest goes first. A backlog is what waits at [`Client::redeliver`].
    fn live_share(&self) -> u8 {
        0
    }

    /// True if what its session has no room for is to be refused to those who publish it with QoS 1 or
    /// 2; otherwise it is dropped and counted.
    fn refuses_when_full(&self) -> bool {
        false
    }

    /// Where its state is published, retained, when it changes; none if that is not wanted.
    fn notification(&self) -> Option<&Notification> {
        None
    }

    /// Reads the files that it reads while it runs, as it does then. It runs without them, and says
    /// what is missing. Blocks.
    ///
    /// # Errors
    /// The first one that cannot be used, with its key.
    fn check_files(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// How long it may go on when it is told to stop, see [`crate::Broker::poll_stop`]. Without
    /// such a time it is not told, but dropped.
    fn farewell_max(&self) -> Duration {
        Duration::ZERO
    }

    /// Runs until dropped; returns only on a fault, after which the daemon calls it again,
    /// with growing pauses.
    fn run(&self, client: Client, status: Arc<Status>) -> RunFuture;
}

/// Why a gateway stopped by itself: an endpoint that cannot be bound, a library that failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);
