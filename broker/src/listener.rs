//! The listener actor: one for each listening socket; accepts and starts connections.
//!
//! Talks to: nobody. It ends when the supervisor stops it, which closes the socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::Infallible;
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::net::{TcpListener, TcpStream};

use crate::connection::{self, Accepted, Access};
use crate::exchange::Exchange;
use crate::metrics::count;

/// The pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket with what its connections are told.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) socket: TcpListener,
    pub(crate) access: Arc<Access>,
    pub(crate) exchange: Arc<Exchange>,
}

impl Actor for Listener {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(listener: Self::Args, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(listener)
    }

    /// Accepts until there is a signal.
    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        loop {
            let accepted = poll_fn(|context| {
                if let Poll::Ready(signal) = mailbox.poll_recv(context) {
                    return Poll::Ready(Err(signal));
                }
                self.socket.poll_accept(context).map(Ok)
            });
            match accepted.await {
                Err(signal) => return Ok(signal),
                Ok(Ok((stream, peer))) => self.start_connection(stream, peer),
                Ok(Err(error)) => self.pause(&error).await,
            }
        }
    }
}

impl Listener {
    fn start_connection(&self, stream: TcpStream, peer: SocketAddr) {
        count(&self.exchange.counters.sockets);
        let (access, exchange) = (Arc::clone(&self.access), Arc::clone(&self.exchange));
        let accepted = Accepted::new(peer, access, exchange);
        // The task ends with its socket; at shutdown every session orders its connection to end.
        #[expect(clippy::disallowed_methods, reason = "listeners start connections")]
        tokio::spawn(connection::accept(stream, accepted));
    }

    /// Those that have sent no CONNECT make room meanwhile.
    async fn pause(&self, error: &io::Error) {
        tracing::warn!(listener = self.name, %error, "a connection could not be accepted");
        self.access.half_open().shrink();
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
