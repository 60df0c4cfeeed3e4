//! The gateway actor: hosts one gateway or bridge and runs it again after a fault.
//!
//! Talks to: nobody by message. The gateway's future is polled inside [`Actor::next`]; stopping
//! the actor lets it say goodbye and drops it, and with it everything that the gateway opened.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gateway::{Backoff, Client, Farewell, Gateway, LinkState, RunFuture};
use kameo::Actor;
use kameo::actor::{ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible};
use kameo::mailbox::{MailboxReceiver, Signal};
use mqtt::Message;
use persistence::Clock;
use tokio::time::{Instant, sleep_until, timeout};

use super::stop::Stop;
use super::{GatewaySession, Hosted};
use crate::exchange::Exchange;

/// Caps of the first and of all pauses after a fault.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A gateway that ran this long had recovered.
const HEALTHY: Duration = Duration::from_secs(60);
/// What is said of a gateway that is told to stop, and of one that a mistake of ours has ended.
const STOPPED: &str = "it is stopped";
const BROKEN: &str = "it broke down, the log has the place";

/// What the actor is made from, again after a panic.
#[derive(Clone)]
pub(crate) struct GatewayArgs {
    pub(crate) hosted: Hosted,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) exchange: Arc<Exchange>,
}

pub(crate) struct GatewayActor {
    args: GatewayArgs,
    backoff: Backoff,
    running: Option<RunFuture>,
    stop: Arc<Stop>,
    started: Instant,
}

impl Actor for GatewayActor {
    type Args = GatewayArgs;
    type Error = Infallible;

    async fn on_start(args: Self::Args, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        // Different for each gateway of each host: jitter must not be the same everywhere.
        let seed = args
            .hosted
            .name
            .bytes()
            .fold(u64::from(std::process::id()), |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(byte.into())
            });
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, seed);
        let mut actor = Self {
            args,
            backoff,
            running: None,
            stop: Arc::default(),
            started: Instant::now(),
        };
        // An actor that has started is subscribed.
        actor.running = Some(actor.start());
        // Whoever comes from here on is told that it has started.
        actor.args.notify_of_change();
        Ok(actor)
    }

    /// Runs the gateway until there is a signal.
    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Self::Error> {
        loop {
            let mut running = self.running.take().unwrap_or_else(|| self.start());
            let outcome = poll_fn(|context| {
                if let Poll::Ready(signal) = mailbox.poll_recv(context) {
                    return Poll::Ready(Err(signal));
                }
                let polled = running.as_mut().poll(context).map(Ok);
                self.args.notify_of_change();
                polled
            });
            let fault = match outcome.await {
                Ok(fault) => fault,
                Err(signal) => {
                    self.running = Some(running);
                    return Ok(signal);
                }
            };
            drop(running);
            let pause = self.pause(&fault.0);
            self.args.notify_of_change();
            tokio::select! {
                signal = mailbox.recv() => return Ok(signal),
                () = sleep_until(Instant::now() + pause) => {}
            }
        }
    }

    /// Whoever looks on sees that the gateway is no longer served, and it may tell its foreign side.
    /// What it has open is closed when the actor has stopped, so that another can have it.
    async fn on_stop(
        &mut self,
        _: WeakActorRef<Self>,
        reason: ActorStopReason,
    ) -> Result<(), Self::Error> {
        let status = Arc::clone(&self.args.hosted.status);
        if let ActorStopReason::Panicked(_) = reason {
            status.set_link(LinkState::Down(BROKEN.to_owned()));
            self.args.notify_of_change();
            return Ok(());
        }
        status.set_stopped(STOPPED);
        let last_words = self.args.notify_of_change();
        let time = self.args.gateway.farewell_max();
        if let Some(running) = self.running.take()
            && !time.is_zero()
        {
            self.stop.order(Farewell {
                last_words: last_words.map(Arc::new),
                is_for_good: self.args.hosted.is_leaving(),
            });
            if timeout(time, running).await.is_err() {
                let gateway = &*self.args.hosted.name;
                tracing::warn!(gateway, "the foreign side did not say goodbye in time");
            }
        }
        status.set_stopped(STOPPED);
        self.args.notify_of_change();
        Ok(())
    }
}

impl GatewayArgs {
    /// Says what has changed, if something has; returns what was said.
    fn notify_of_change(&self) -> Option<Message> {
        let Hosted { name, status, .. } = &self.hosted;
        if !status.take_change(Clock::wall_millis) {
            return None;
        }
        GatewaySession::note_cut(&self.exchange, name, status.link() != LinkState::Up);
        self.notify()
    }
}

impl GatewayActor {
    fn start(&mut self) -> RunFuture {
        let GatewayArgs {
            hosted,
            gateway,
            exchange,
        } = &self.args;
        self.started = Instant::now();
        self.stop = Arc::default();
        let stop = Arc::clone(&self.stop);
        let session = GatewaySession::open(exchange, &hosted.name, &**gateway, stop);
        gateway.run(Client::new(Arc::new(session)), Arc::clone(&hosted.status))
    }

    /// Reports a fault; returns how long to wait before the next attempt.
    fn pause(&mut self, fault: &str) -> Duration {
        if self.started.elapsed() >= HEALTHY {
            self.backoff.reset();
        }
        let pause = self.backoff.next_pause();
        let hosted = &self.args.hosted;
        hosted.status.set_link(LinkState::Down(fault.to_owned()));
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::error!(gateway = %hosted.name, fault, pause_ms, "the gateway stopped, it is started again");
        pause
    }
}
