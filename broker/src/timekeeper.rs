//! The timekeeper actor: the one timer for everything that is due by the second.
//!
//! Talks to: nobody. Once a second it sweeps the sessions for dead connections, expired sessions
//! and delayed wills, so that none of them needs a timer of its own.

use std::sync::Arc;
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::Infallible;
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::exchange::Exchange;

const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Timekeeper {
    exchange: Arc<Exchange>,
    ticks: Interval,
}

impl Actor for Timekeeper {
    type Args = Arc<Exchange>;
    type Error = Infallible;

    async fn on_start(exchange: Self::Args, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self { exchange, ticks })
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        loop {
            tokio::select! {
                signal = mailbox.recv() => return Ok(signal),
                _ = self.ticks.tick() => self.exchange.sweep(),
            }
        }
    }
}
