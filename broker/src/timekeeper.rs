//! The timekeeper actor: the one timer for everything that is due by the second.
//!
//! Talks to: nobody. Once a second it sweeps the sessions for dead connections, expired sessions
//! and delayed wills, so that none of them needs a timer of its own; every ten seconds it
//! announces the state of the daemon below `$SYS`.

use std::sync::Arc;
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::Infallible;
use kameo::mailbox::{MailboxReceiver, Signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::exchange::Exchange;
use crate::gateways::Hosted;
use crate::sys_topics;

const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps between two announcements.
const SWEEPS_PER_ANNOUNCEMENT: u64 = 10;

/// What the timekeeper is made from.
#[derive(Clone)]
pub(crate) struct TimekeeperArgs {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) gateways: Arc<[Hosted]>,
}

pub(crate) struct Timekeeper {
    args: TimekeeperArgs,
    sweeps: u64,
    ticks: Interval,
}

impl Actor for Timekeeper {
    type Args = TimekeeperArgs;
    type Error = Infallible;

    async fn on_start(args: Self::Args, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self {
            args,
            sweeps: 0,
            ticks,
        })
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        loop {
            tokio::select! {
                signal = mailbox.recv() => return Ok(signal),
                _ = self.ticks.tick() => self.tick(),
            }
        }
    }
}

impl Timekeeper {
    fn tick(&mut self) {
        self.args.exchange.sweep();
        if self.sweeps.is_multiple_of(SWEEPS_PER_ANNOUNCEMENT) {
            let uptime = SWEEP * u32::try_from(self.sweeps).unwrap_or(u32::MAX);
            sys_topics::announce(&self.args.exchange, &self.args.gateways, uptime);
        }
        self.sweeps += 1;
    }
}
