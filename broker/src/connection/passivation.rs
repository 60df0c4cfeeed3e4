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
use std::task::{Context, Poll};

use super::End;
use super::actor::{self, Outcome};
use super::outbox::Outbox;
use super::routes::Routes;
use super::serve::Connection;
use crate::allocator;

/// Serves a connection to its end.
pub(super) async fn live(mut connection: Box<Connection>) {
    poll_fn(|context| connection.poll_active(context)).await;
    if let Some(end) = poll_fn(|context| Poll::Ready(connection.turn(context))).await {
        return Box::pin(connection.finish(end)).await;
    }
    loop {
        connection.passivate();
        poll_fn(|context| connection.poll_active(context)).await;
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

impl Connection {
    /// True if there is nothing to do; then the task is woken for deliveries and orders.
    pub(super) fn is_idle(&self, context: &Context<'_>) -> bool {
        let client = &self.client;
        self.inbox.is_empty()
            && client.outbox.is_empty()
            && client
                .link
                .lock()
                .register_idle(client.owner, context.waker())
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

    /// Gives up what an idle connection needs no more.
    fn passivate(&mut self) {
        if self.client.outbox.is_empty() {
            self.client.outbox = Outbox::default();
        }
        self.client.routes = Routes::default();
        self.client.link.activity.passivate();
    }

    /// Ready when there is something to do.
    fn poll_active(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_idle(context) {
            // An error is something to do as well: the actor meets it.
            self.stream.poll_read_ready(context).map(drop)
        } else {
            Poll::Ready(())
        }
    }
}

#[cfg(test)]
mod tests;
