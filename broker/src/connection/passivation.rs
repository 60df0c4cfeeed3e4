//! The life of a connection: a task for as long as the socket, and an actor in it while there is
//! something to do.
//!
//! An actor takes several times the memory of all the rest. So it is given up when it has had
//! nothing to do for a while, which the timekeeper finds (`Exchange::sweep`), and made anew for
//! the first byte, delivery or order. The task and its waker stay the same, so whatever comes in
//! between, at any moment, wakes it: nothing is looked for twice and nothing is lost.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::actor::{self, Outcome};
use super::outbox::Outbox;
use super::routes::Routes;
use super::serve::Connection;
use crate::allocator;

/// Serves a connection to its end.
pub(super) async fn live(mut connection: Box<Connection>) {
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
