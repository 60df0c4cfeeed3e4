//! Serving one socket: read, answer, deliver, write, as far as each can be done now.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use mqtt::connection::Handshake;
use tokio::net::TcpStream;

use super::client::Client;
use super::deferral::Deferral;
use super::inbox::Inbox;
use super::{Accepted, End};
use crate::memory::Account;
use crate::metrics::count;
use crate::registry::Attached;

/// Reads in one turn; then other tasks get theirs.
const READS_PER_TURN: usize = 4;

/// The whole state of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) inbox: Inbox,
    pub(super) client: Client,
    /// What waits in the outbox, as it is counted for all.
    pub(super) account: Account,
    /// Packets that came together with the CONNECT are still to be handled.
    pub(super) first: bool,
    pub(super) deferral: Deferral,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        handshake: Handshake,
        attached: Attached,
        input: Vec<u8>,
        accepted: &Accepted,
    ) -> Self {
        let (client_id, peer) = (&*attached.link.client_id, accepted.peer);
        let session_present = attached.session_present;
        tracing::info!(client_id, %peer, session_present, "client connected");
        let client = Client::new(accepted, attached, handshake);
        let exchange = &accepted.exchange;
        count(&exchange.counters.connections);
        exchange.announce_online(&client.link.client_id, &client.presence);
        Self {
            stream,
            inbox: Inbox::new(input),
            account: Account::new(Arc::clone(&exchange.memory)),
            client,
            first: true,
            deferral: Deferral::default(),
        }
    }

    /// Does everything that can be done now; ready when the connection is over.
    pub(super) fn poll_serve(&mut self, context: &mut Context<'_>) -> Poll<End> {
        // First, so that whatever comes from here on wakes this task again.
        if let Some(reason) = self.client.register(context) {
            return Poll::Ready(End::Ordered(reason));
        }
        let paused = match self.read(context) {
            Ok(paused) => paused,
            Err(end) => return Poll::Ready(end),
        };
        loop {
            self.client.release(context);
            let more = self.client.fill(context);
            if self.defers(context) {
                return Poll::Pending;
            }
            match self.client.outbox.poll_write(&mut self.stream, context) {
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Ok(())) | Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Lost),
            }
        }
        self.account.settle(self.client.outbox.unwritten().len());
        self.client.flush_traffic();
        if paused && self.client.may_read(self.inbox.has_begun(), context) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// True if writing waits for the other tasks that are ready, which may have more for this
    /// client: once, and only where there was something a moment ago too. A client that gets a
    /// message now and then gets it at once.
    fn defers(&mut self, context: &mut Context<'_>) -> bool {
        let bytes = self.client.outbox.unwritten().len();
        if bytes == 0 || self.client.has_backlog || !self.deferral.defers(bytes, Instant::now) {
            return false;
        }
        // Those who put something in need not wake the task: the runtime does when nothing else is
        // ready. The future is not needed for that, and is pending at first.
        self.client.link.lock().expect_poll();
        pin!(tokio::task::yield_now()).poll(context).is_pending()
    }

    /// Reads and handles packets while there is room for what they cause; true if it stopped
    /// although more may have come.
    pub(super) fn read(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        if std::mem::take(&mut self.first) {
            let client = &mut self.client;
            self.inbox
                .take_first(client)
                .map_err(|violation| self.client.end(violation))?;
        }
        for _ in 0..READS_PER_TURN {
            if self.client.disconnected {
                return Err(End::Disconnected);
            }
            if !self.client.may_read(self.inbox.has_begun(), context) {
                return Ok(true);
            }
            let client = &mut self.client;
            match self.inbox.poll_read(&mut self.stream, context, client) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(Ok(0)) | Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(Ok(bytes))) => self.client.received.bytes += bytes as u64,
                Poll::Ready(Ok(Err(violation))) => return Err(self.client.end(violation)),
            }
        }
        if self.client.disconnected {
            Err(End::Disconnected)
        } else {
            Ok(true)
        }
    }
}
