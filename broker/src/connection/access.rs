//! What a listener grants to those who connect to it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

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
    /// How long a client may take for its CONNECT.
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
pub(crate) struct Place {
    access: Arc<Access>,
    is_taken: AtomicBool,
}

/// What a new connection is told.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The terms of the listener.
    pub(crate) access: Place,
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

    /// The connections that have sent no CONNECT.
    pub(crate) const fn half_open(&self) -> &HalfOpen {
        &self.half_open
    }
}

impl Accepted {
    pub(crate) fn new(peer: SocketAddr, access: Arc<Access>, exchange: Arc<Exchange>) -> Self {
        let is_taken = AtomicBool::new(false);
        Self {
            peer,
            access: Place { access, is_taken },
            exchange,
        }
    }
}

impl Place {
    /// Takes a place; false if there is none. Whoever has sent no CONNECT has none.
    pub(super) fn take(&self) -> bool {
        let before = self.access.connections.fetch_add(1, Ordering::Relaxed);
        self.is_taken.store(true, Ordering::Relaxed);
        before < self.access.connections_max
    }
}

impl Deref for Place {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if *self.is_taken.get_mut() {
            self.access.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
