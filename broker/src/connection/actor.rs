//! The connection actor, which serves one Network Connection while there is something to do.
//!
//! Talks to: nobody by message. Its mailbox carries kameo's control signals only; packets and
//! deliveries are served inside [`Actor::next`], because a mailbox message for each would cost
//! ten times as much as the delivery itself.

use std::future::poll_fn;
use std::task::{Context, Poll};

use kameo::Actor;
use kameo::actor::{ActorRef, PreparedActor, WeakActorRef};
use kameo::error::Infallible;
use kameo::mailbox::{self, MailboxReceiver, Signal};

use super::End;
use super::serve::Connection;

/// Signals that may wait; there is rarely one.
const MAILBOX: usize = 4;

/// The state is boxed: kameo moves an actor's arguments through several futures.
struct ConnectionActor {
    connection: Box<Connection>,
    outcome: Outcome,
}

/// Why an actor stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// It has nothing to do; the connection goes on without it.
    Passivated,
    /// The connection is over.
    Ended(End),
}

impl Actor for ConnectionActor {
    type Args = Box<Connection>;
    type Error = Infallible;

    async fn on_start(
        connection: Self::Args,
        _actor_ref: ActorRef<Self>,
    ) -> Result<Self, Self::Error> {
        Ok(Self {
            connection,
            outcome: Outcome::Ended(End::Lost),
        })
    }

    /// Serves the connection; returns only for a signal, or with none when there is nothing more
    /// to do.
    async fn next(
        &mut self,
        _actor_ref: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        let signal = poll_fn(|context| {
            if let Poll::Ready(signal) = mailbox.poll_recv(context) {
                return Poll::Ready(signal);
            }
            self.poll_outcome(context).map(|outcome| {
                self.outcome = outcome;
                None
            })
        });
        Ok(signal.await)
    }
}

impl ConnectionActor {
    fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        let connection = &mut *self.connection;
        let asked = connection.client.link.activity.stir();
        match connection.poll_serve(context) {
            Poll::Ready(end) => Poll::Ready(Outcome::Ended(end)),
            Poll::Pending if asked && connection.is_idle(context) => {
                Poll::Ready(Outcome::Passivated)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Runs a connection as an actor in the present task until it ends or has nothing to do. None if
/// a defect of this program ended it.
pub(super) async fn run(connection: Box<Connection>) -> Option<(Box<Connection>, Outcome)> {
    let farewell = connection.farewell();
    let prepared = PreparedActor::<ConnectionActor>::new(mailbox::bounded(MAILBOX));
    // kameo keeps only a weak reference itself; without this one the mailbox closes at once.
    let actor_ref = prepared.actor_ref().clone();
    let ran = prepared.run(connection).await;
    drop(actor_ref);
    match ran {
        Ok((actor, _)) => Some((actor.connection, actor.outcome)),
        Err(error) => {
            tracing::error!(%error, "a connection ended by a defect of this program");
            farewell.lost();
            None
        }
    }
}
