//! The connection actor: one for each Network Connection.
//!
//! Talks to: nobody by message. Its mailbox carries kameo's control signals only; packets and
//! deliveries are served inside [`Actor::next`], because a mailbox message for each would cost
//! ten times as much as the delivery itself.

use std::future::poll_fn;
use std::task::Poll;

use kameo::Actor;
use kameo::actor::{ActorRef, PreparedActor, WeakActorRef};
use kameo::error::Infallible;
use kameo::mailbox::{self, MailboxReceiver, Signal};

use super::End;
use super::serve::Connection;

/// Signals that may wait; there is rarely one.
const MAILBOX: usize = 4;

/// The state is boxed: kameo moves an actor's arguments through several futures.
pub(super) struct ConnectionActor {
    connection: Box<Connection>,
    end: Option<End>,
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
            end: None,
        })
    }

    /// Serves the connection; returns only for a signal, or with none when it is over.
    async fn next(
        &mut self,
        _actor_ref: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        let signal = poll_fn(|context| {
            if let Poll::Ready(signal) = mailbox.poll_recv(context) {
                return Poll::Ready(signal);
            }
            self.connection.poll_serve(context).map(|end| {
                self.end = Some(end);
                None
            })
        });
        Ok(signal.await)
    }
}

/// Runs a connection as an actor in the present task until it ends.
pub(super) async fn run(connection: Connection) {
    let farewell = connection.farewell();
    let prepared = PreparedActor::<ConnectionActor>::new(mailbox::bounded(MAILBOX));
    // kameo keeps only a weak reference itself; without this one the mailbox closes at once.
    let actor_ref = prepared.actor_ref().clone();
    match Box::pin(prepared.run(Box::new(connection))).await {
        Ok((actor, _)) => {
            let end = actor.end.unwrap_or(End::Lost);
            actor.connection.finish(end).await;
        }
        Err(error) => {
            tracing::error!(%error, "a connection ended by a defect of this program");
            farewell.lost();
        }
    }
    drop(actor_ref);
}
