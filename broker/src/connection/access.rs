//! What a listener grants to those who connect to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mqtt::Timestamp;
use mqtt::connection::{Limits, Mechanisms};

use super::half_open::HalfOpen;
use crate::exchange::Exchange;

/// The terms of one listener.
#[derive(Debug)]
pub(crate) struct Access {
    /// What one connection may do.
    pub(crate) limits: Arc<Limits>,
    /// Whether a client without credentials is let in.
    pub(crate) allow_anonymous: bool,
    /// How long a client may take for its CONNECT, to the second.
    pub(crate) connect_timeout: Duration,
    /// Connections at a time; the clients of further ones are refused.
    pub(crate) connections_max: usize,
    /// The ways of enhanced authentication.
    pub(crate) mechanisms: Mechanisms,
    connections: AtomicUsize,
    half_open: HalfOpen,
}

/// A connection among those of its listener. When this is dropped, it leaves its place to another.
#[derive(Debug)]
pub(crate) struct Place(Arc<Access>);

/// What a new connection is told.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The terms of the listener.
    pub(crate) access: Arc<Access>,
    /// Its place, once it has sent its CONNECT.
    pub(super) place: OnceLock<Place>,
    /// Everything else.
    pub(crate) exchange: Arc<Exchange>,
}

impl Access {
    pub(crate) fn new(
        limits: Limits,
        allow_anonymous: bool,
        connect_timeout: Duration,
        connections_max: usize,
        half_open_max: usize,
    ) -> Self {
        Self {
            limits: Arc::new(limits),
            allow_anonymous,
            connect_timeout,
            connections_max,
            mechanisms: Mechanisms::default(),
            connections: AtomicUsize::new(0),
            half_open: HalfOpen::new(half_open_max),
        }
    }

    /// The connections that have had their time for a CONNECT are told to go. Called about once a
    /// second.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.half_open.expire(now, self.connect_timeout);
    }

    /// The connections that have sent no CONNECT.
    pub(crate) const fn half_open(&self) -> &HalfOpen {
        &self.half_open
    }
}

impl Accepted {
    pub(crate) const fn new(
        peer: SocketAddr,
        access: Arc<Access>,
        exchange: Arc<Exchange>,
    ) -> Self {
        Self {
            peer,
            access,
            place: OnceLock::new(),
            exchange,
        }
    }

    /// Takes a place; false if there is none. Whoever has sent no CONNECT has none.
    pub(super) fn take_place(&self) -> bool {
        let before = self.access.connections.fetch_add(1, Ordering::Relaxed);
        self.place.get_or_init(|| Place(Arc::clone(&self.access)));
        before < self.access.connections_max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
