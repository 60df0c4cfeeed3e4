//! What a listener grants to those who connect to it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqtt::connection::{Limits, Mechanisms};

use crate::exchange::Exchange;

/// The terms of one listener.
#[derive(Debug)]
pub(crate) struct Access {
    /// What one connection may do.
    pub(crate) limits: Arc<Limits>,
    /// Whether a client without credentials is let in.
    pub(crate) allow_anonymous: bool,
    /// How long a client may take for its CONNECT.
    pub(crate) connect_timeout: Duration,
    /// Connections at a time; the clients of further ones are refused.
    pub(crate) connections_max: usize,
    /// The ways of enhanced authentication.
    pub(crate) mechanisms: Mechanisms,
    connections: AtomicUsize,
}

/// The place of one connection among those of its listener, which it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Access>);

/// What a new connection is told.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The terms of the listener.
    pub(crate) access: Place,
    /// Everything else.
    pub(crate) exchange: Arc<Exchange>,
    /// More connections than these were there before.
    pub(crate) is_one_too_many: bool,
}

impl Access {
    pub(crate) fn new(
        limits: Limits,
        allow_anonymous: bool,
        connect_timeout: Duration,
        connections_max: usize,
    ) -> Self {
        Self {
            limits: Arc::new(limits),
            allow_anonymous,
            connect_timeout,
            connections_max,
            mechanisms: Mechanisms::default(),
            connections: AtomicUsize::new(0),
        }
    }
}

impl Accepted {
    /// A connection takes its place.
    pub(crate) fn new(peer: SocketAddr, access: Arc<Access>, exchange: Arc<Exchange>) -> Self {
        let before = access.connections.fetch_add(1, Ordering::Relaxed);
        let is_one_too_many = before >= access.connections_max;
        Self {
            peer,
            access: Place(access),
            exchange,
            is_one_too_many,
        }
    }
}

impl Deref for Place {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
