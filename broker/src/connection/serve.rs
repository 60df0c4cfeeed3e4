//! Serving one socket: read, answer, deliver, write, as far as each can be done now.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mqtt::ReasonCode;
use mqtt::connection::Handshake;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::Client;
use super::inbox::Inbox;
use super::{Accepted, End};
use crate::exchange::Exchange;
use crate::link::{Link, Owner};
use crate::memory::Account;
use crate::metrics::count;
use crate::registry::{Attached, Ending, Will};

/// Reads in one turn; then other tasks get theirs.
const READS_PER_TURN: usize = 4;
/// Between two writes to a client that gets messages all the time.
const BUSY: Duration = Duration::from_micros(60);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

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
    /// When something was written last.
    pub(super) written_at: Option<Instant>,
    /// What is to be written has waited once.
    pub(super) has_deferred: bool,
}

/// Ends the session's connection if the connection itself cannot.
pub(super) struct Farewell {
    exchange: Arc<Exchange>,
    link: Arc<Link>,
    owner: Owner,
    will: Option<Will>,
}

impl Farewell {
    /// The connection is gone without a word.
    pub(super) fn lost(self) {
        let ending = Ending {
            will: self.will,
            session_expiry: None,
        };
        self.exchange.detach(&self.link, self.owner, ending);
    }
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
            written_at: None,
            has_deferred: false,
        }
    }

    pub(super) fn farewell(&self) -> Farewell {
        Farewell {
            exchange: Arc::clone(&self.client.exchange),
            link: Arc::clone(&self.client.link),
            owner: self.client.owner,
            will: self.client.will.clone(),
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
        if self.client.outbox.is_written() || self.client.has_backlog {
            return false;
        }
        let now = Instant::now();
        let is_busy = self.written_at.is_some_and(|at| now - at < BUSY);
        if !self.has_deferred && is_busy {
            self.has_deferred = true;
            // The runtime wakes this task when nothing else is ready. The future is not needed
            // for that, and is pending at first.
            return pin!(tokio::task::yield_now()).poll(context).is_pending();
        }
        self.has_deferred = false;
        self.written_at = Some(now);
        false
    }

    /// Reads and handles packets while there is room for what they cause; true if it stopped
    /// although more may have come.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
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

    /// How the connection really ends: a client that is told to go may have sent its DISCONNECT
    /// before, and then its will is not due [MQTT-3.1.2-10].
    async fn settle(&mut self, end: End) -> End {
        if !matches!(end, End::Ordered(_)) {
            return end;
        }
        // The runtime sees meanwhile what the system has received.
        tokio::task::yield_now().await;
        match poll_fn(|context| Poll::Ready(self.read(context))).await {
            Err(End::Disconnected) => End::Disconnected,
            Ok(_) | Err(_) => end,
        }
    }

    /// Says farewell and gives the session back.
    pub(super) async fn finish(mut self: Box<Self>, end: End) {
        let end = self.settle(end).await;
        let Self {
            mut stream,
            mut client,
            ..
        } = *self;
        client.flush_traffic();
        let (client_id, reason) = (client.link.client_id.clone(), end.describe());
        let mut last = client.outbox.unwritten().to_vec();
        let is_heard = match end {
            End::Violation(violation) => {
                let limits = &client.limits;
                client
                    .protocol
                    .encode_disconnect(&violation, limits, &mut last);
                true
            }
            End::Ordered(reason) => {
                client.encode_farewell(reason, &mut last);
                true
            }
            End::Disconnected | End::Lost => false,
        };
        if matches!(end, End::Violation(_)) {
            tracing::warn!(%client_id, reason, "a client broke the protocol");
        }
        // The session is free before the farewell, which a dead peer may hold up.
        let ending = Ending {
            will: client.will,
            session_expiry: client.session_expiry,
        };
        // Whose session is taken over is still there.
        if client.exchange.detach(&client.link, client.owner, ending) {
            client
                .exchange
                .announce_offline(&client_id, &client.presence, end.reason());
        }
        tracing::info!(%client_id, reason, "client disconnected");
        // Nothing is said to a client that has gone; its socket is closed as it is.
        if !is_heard {
            return;
        }
        let farewell = async {
            stream.write_all(&last).await?;
            stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::debug!(%client_id, "the client did not take its farewell");
        }
    }
}

impl End {
    /// As a Reason Code; a connection that is lost has none of its own.
    const fn reason(self) -> ReasonCode {
        match self {
            Self::Disconnected => ReasonCode::Success,
            Self::Lost => ReasonCode::UnspecifiedError,
            Self::Violation(violation) => violation.reason,
            Self::Ordered(reason) => reason,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Lost => "connection lost",
            Self::Violation(violation) => violation.detail,
            Self::Ordered(ReasonCode::SessionTakenOver) => "taken over",
            Self::Ordered(ReasonCode::KeepAliveTimeout) => "keep alive timeout",
            Self::Ordered(_) => "ended by the server",
        }
    }
}
