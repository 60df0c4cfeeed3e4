//! A client without a socket: what its packets cause and cost, apart from the system's part.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use mqtt::ProtocolViolation;
use mqtt::connection::{Handshake, Limits};
use mqtt::packet::{Frame, Packet};

use super::client::Client;
use super::{Accepted, Access};
use crate::exchange::Exchange;
use crate::registry::Claim;

/// The broker's side of it.
#[derive(Debug)]
pub(crate) struct Bare(pub(super) Client);

impl Bare {
    /// Lets in who sends this CONNECT, with a new session. None if it is none.
    pub(crate) fn connect(exchange: &Arc<Exchange>, connect: &[u8]) -> Option<Self> {
        let limits = Limits::default();
        let (frame, _) = Frame::split(connect, connect.len()).ok()??;
        let version = mqtt::packet::Connect::stated_version(frame)?;
        let Ok(Packet::Connect(connect)) = Packet::decode(frame, version) else {
            return None;
        };
        let handshake = Handshake::new(&connect, &limits, String::new).ok()?;
        let attached = exchange.attach(Claim {
            client_id: &handshake.client_id,
            clean_start: true,
            expiry: handshake.session_expiry,
            inflight_messages_max: handshake.inflight_messages_max,
            keep_alive_millis: None,
            will: None,
        });
        let access = Arc::new(Access::new(limits, true, Duration::ZERO, 1, 1));
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let accepted = Accepted::new(peer, access, Arc::clone(exchange));
        Some(Self(Client::new(&accepted, attached, handshake)))
    }

    /// From now on it may send batches.
    pub(crate) fn allow_batches(&self) {
        self.0.link.may_batch.store(true, Ordering::Relaxed);
    }

    /// Handles packets that came with one read; returns how many bytes they took.
    ///
    /// # Errors
    /// The client broke the protocol.
    pub(crate) fn handle(&mut self, packets: &[u8]) -> Result<usize, ProtocolViolation> {
        let taken = self.0.handle_all(packets);
        self.0.flush_traffic();
        taken
    }

    /// Takes what is to be written.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut context = Context::from_waker(Waker::noop());
        // Others give what they have from here on.
        self.0.register(&context);
        self.0.release(&mut context);
        while self.0.fill(&mut context) && self.0.outbox.wants_more(usize::MAX) {}
        std::mem::take(self.0.outbox.bytes())
    }
}
