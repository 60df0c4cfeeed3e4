//! The timekeeper actor: the one timer for everything that is due by the second.
//!
//! Talks to: nobody. Once a second it sweeps the sessions for dead connections, expired sessions
//! and delayed wills, the connections that have sent no CONNECT for those that had their time, and
//! queues and retained messages for what has expired, and the outboxes of bridges for whether they
//! are nearly full, so that none of them needs a timer of its own. In between it sweeps the sessions when a connection is silent for too long, and goes on
//! with those that have ended when the store has loaded something of them. At an interval of its own
//! it announces the state of the daemon below `$SYS`, and from time to time it has the store note the
//! time.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::Infallible;
use kameo::mailbox::{MailboxReceiver, Signal};
use persistence::Operation;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::connection::Access;
use crate::exchange::Exchange;
use crate::gateways::Roster;
use crate::sys_topics::SysTopics;

const SWEEP: Duration = Duration::from_secs(1);
/// The shortest time between a sweep and one that comes for the end of a Keep Alive.
const EARLY_SWEEP: Duration = Duration::from_millis(100);
/// The longest time that is lost to the store by a crash between two boots without a wall clock.
const NOTE_TIME: Duration = Duration::from_secs(60);

/// What the timekeeper is made from.
#[derive(Clone)]
pub(crate) struct TimekeeperArgs {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) gateways: Arc<Roster>,
    /// What each listener grants.
    pub(crate) accesses: Arc<[Arc<Access>]>,
    /// Time between two announcements below `$SYS`; none if there are to be none.
    pub(crate) announcement_interval: Option<Duration>,
}

pub(crate) struct Timekeeper {
    args: TimekeeperArgs,
    started: Instant,
    announced: Instant,
    announcements: Option<Interval>,
    time_noted: Instant,
    sys_topics: SysTopics,
    ticks: Interval,
    /// When a sweep comes before the next second: a connection is dead then.
    early: Option<Instant>,
}

impl Actor for Timekeeper {
    type Args = TimekeeperArgs;
    type Error = Infallible;

    async fn on_start(args: Self::Args, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        let started = Instant::now();
        Ok(Self {
            started,
            announced: started,
            announcements: args.announcement_interval.map(every),
            time_noted: started,
            sys_topics: SysTopics::default(),
            ticks: every(SWEEP),
            args,
            early: None,
        })
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        loop {
            let early = self.early;
            let early = async {
                match early {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                signal = mailbox.recv() => return Ok(signal),
                _ = self.ticks.tick() => self.tick(),
                () = due(self.announcements.as_mut()) => self.announce(),
                () = early => self.sweep(),
                () = self.args.exchange.departing() => self.args.exchange.go_on_departing(),
            }
        }
    }
}

impl Timekeeper {
    fn sweep(&mut self) {
        let exchange = &self.args.exchange;
        let next = exchange.sweep();
        let pause = next.map(|at| at.since(exchange.now()).max(EARLY_SWEEP));
        self.early = pause.filter(|it| *it < SWEEP).map(|it| Instant::now() + it);
    }

    fn tick(&mut self) {
        self.sweep();
        let swept_at = self.args.exchange.now();
        self.args.accesses.iter().for_each(|it| it.sweep(swept_at));
        self.args.exchange.expire_retained();
        self.args.exchange.expire_queued();
        self.args.exchange.release_delayed();
        let gateways = self.args.gateways.list();
        gateways
            .iter()
            .for_each(|it| it.watch_outbox(&self.args.exchange));
        let now = Instant::now();
        if now - self.time_noted >= NOTE_TIME {
            self.time_noted = now;
            self.args.exchange.store.submit(Operation::NoteTime);
        }
    }

    fn announce(&mut self) {
        let now = Instant::now();
        let (uptime, elapsed) = (now - self.started, now - self.announced);
        self.announced = now;
        let TimekeeperArgs {
            exchange, gateways, ..
        } = &self.args;
        self.sys_topics
            .announce(exchange, &gateways.list(), uptime, elapsed);
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Waits for the next tick; for ever if there are none.
async fn due(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => pending().await,
    }
}
