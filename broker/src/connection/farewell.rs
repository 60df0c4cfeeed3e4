//! How a connection ends, and what its client and its session are told.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt::ReasonCode;
use tokio::io::AsyncWriteExt;

use super::End;
use super::client::Client;
use super::serve::Connection;
use crate::exchange::Exchange;
use crate::link::{Link, Owner};
use crate::registry::{Ending, Will};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

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
    pub(super) fn farewell(&self) -> Farewell {
        Farewell {
            exchange: Arc::clone(&self.client.exchange),
            link: Arc::clone(&self.client.link),
            owner: self.client.owner,
            will: self.client.will.clone(),
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
        if matches!(end, End::Ordered(ReasonCode::ServerShuttingDown)) {
            poll_fn(|context| Poll::Ready(client.fill(context))).await;
        }
        client.flush_traffic();
        let (client_id, reason) = (client.link.client_id.clone(), end.describe());
        if matches!(end, End::Violation(_)) {
            tracing::warn!(%client_id, reason, "a client broke the protocol");
        }
        // The session is free before the farewell, which a dead peer may hold up.
        let ending = Ending {
            will: client.will.take(),
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
        if matches!(end, End::Disconnected | End::Lost) {
            return;
        }
        // What was taken in is answered first.
        let answered = poll_fn(|context| client.poll_answered(context));
        if tokio::time::timeout(FAREWELL, answered).await.is_err() {
            tracing::debug!(%client_id, "answers are not sent: the store takes too long");
        }
        let last = client.last_bytes(end);
        let farewell = async {
            stream.write_all(&last).await?;
            stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::debug!(%client_id, "the client did not take its farewell");
        }
    }
}

impl Client {
    /// Ready when no answer waits for the store any more.
    fn poll_answered(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.release(context);
        if self.outbox.waiting() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// What is left to write, with what tells the client why its connection ends.
    fn last_bytes(&self, end: End) -> Vec<u8> {
        let mut last = self.outbox.unwritten().to_vec();
        match end {
            End::Violation(violation) => {
                let limits = &self.limits;
                self.protocol
                    .encode_disconnect(&violation, limits, &mut last);
            }
            End::Ordered(reason) => self.encode_farewell(reason, &mut last),
            End::Disconnected | End::Lost => {}
        }
        last
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
