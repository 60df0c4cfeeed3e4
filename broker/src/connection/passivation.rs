//! The life of a connection: a task for as long as the socket, and an actor in it while there is
//! something to do.
//!
//! An actor takes several times the memory of all the rest. So it is given up when it has had
//! nothing to do for a while, which the timekeeper finds (`Exchange::sweep`), and made anew for
//! the first byte, delivery or order. The task and its waker stay the same, so whatever comes in
//! between, at any moment, wakes it: nothing is looked for twice and nothing is lost.
//!
//! The first turn comes before all actors. When thousands of clients come at once and subscribe,
//! or come, say one thing and go, that takes neither the time nor the memory for as many actors.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt::connection::{Limits, ServerConnection};
use persistence::Position;
use tokio::net::TcpStream;

use super::End;
use super::actor::{self, Outcome};
use super::client::Client;
use super::deferral::Deferral;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::routes::Routes;
use super::serve::Connection;
use crate::allocator;
use crate::exchange::Exchange;
use crate::extensions::Presence;
use crate::link::{Link, Owner};
use crate::memory::Account;
use crate::metrics::Traffic;
use crate::registry::Will;

/// Serves a connection to its end.
pub(super) async fn live(connection: Box<Connection>) {
    let mut connection = pause(connection).await;
    if let Some(end) = poll_fn(|context| Poll::Ready(connection.turn(context))).await {
        return Box::pin(connection.finish(end)).await;
    }
    loop {
        connection = pause(connection).await;
        // Boxed, so that a passive connection does not keep the room for it.
        let ran = Box::pin(actor::run(connection)).await;
        allocator::note_freed();
        let Some((stopped, outcome)) = ran else {
            return;
        };
        match outcome {
            Outcome::Passivated => connection = stopped,
            Outcome::Ended(end) => return Box::pin(stopped.finish(end)).await,
        }
    }
}

/// Waits until there is something to do.
async fn pause(mut connection: Box<Connection>) -> Box<Connection> {
    connection.client.link.activity.passivate();
    let is_idle = poll_fn(|context| Poll::Ready(connection.is_idle(context)));
    if !is_idle.await {
        return connection;
    }
    let mut passive = Passive::from(connection);
    poll_fn(|context| passive.poll_active(context)).await;
    passive.activate()
}

impl Connection {
    /// True if there is nothing to do; then the task is woken for deliveries and orders.
    pub(super) fn is_idle(&mut self, context: &Context<'_>) -> bool {
        let client = &self.client;
        self.inbox.is_empty()
            && client.outbox.is_empty()
            && is_idle(&client.link, client.owner, context)
    }

    /// Serves the connection once without an actor; returns its end if it is over.
    fn turn(&mut self, context: &mut Context<'_>) -> Option<End> {
        // A panic ends this connection, in order, as that of an actor does.
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_serve(context)));
        match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(end)) => Some(end),
            Err(_) => Some(End::Lost),
        }
    }
}

fn is_idle(link: &Link, owner: Owner, context: &Context<'_>) -> bool {
    link.lock().register_idle(owner, context.waker())
}

/// What stays of a connection while it has nothing to do.
#[derive(Debug)]
pub(super) struct Passive(Box<State>);

#[derive(Debug)]
struct State {
    stream: TcpStream,
    exchange: Arc<Exchange>,
    limits: Arc<Limits>,
    link: Arc<Link>,
    owner: Owner,
    protocol: ServerConnection,
    will: Option<Will>,
    presence: Presence,
    resumed: Position,
    unanswered: bool,
}

impl From<Box<Connection>> for Passive {
    fn from(mut idle: Box<Connection>) -> Self {
        idle.client.flush_traffic();
        let Client {
            exchange,
            limits,
            link,
            owner,
            protocol,
            will,
            presence,
            resumed,
            unanswered,
            ..
        } = idle.client;
        Self(Box::new(State {
            stream: idle.stream,
            exchange,
            limits,
            link,
            owner,
            protocol,
            will,
            presence,
            resumed,
            unanswered,
        }))
    }
}

impl Passive {
    #[cfg(test)]
    pub(super) const BYTES: usize = size_of::<State>();

    /// Ready when there is something to do.
    fn poll_active(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if is_idle(&self.0.link, self.0.owner, context) {
            // An error is something to do as well: who reads next meets it.
            self.0.stream.poll_read_ready(context).map(drop)
        } else {
            Poll::Ready(())
        }
    }

    fn activate(self) -> Box<Connection> {
        let state = *self.0;
        let client = Client {
            exchange: state.exchange,
            limits: state.limits,
            link: state.link,
            owner: state.owner,
            protocol: state.protocol,
            outbox: Outbox::default(),
            routes: Routes::default(),
            will: state.will,
            presence: state.presence,
            received: Traffic::default(),
            sent: Traffic::default(),
            resumed: state.resumed,
            awaited: Position(0),
            has_backlog: false,
            session_expiry: None,
            disconnected: false,
            unanswered: state.unanswered,
        };
        Box::new(Connection {
            stream: state.stream,
            inbox: Inbox::default(),
            account: Account::new(Arc::clone(&client.exchange.memory)),
            client,
            first: false,
            deferral: Deferral::default(),
        })
    }
}

#[cfg(test)]
mod tests;
