//! The supervisor: parent of every long-lived actor, told only to stop.
//!
//! Talks to: its children, by stopping them in the reverse of their starting order: listeners
//! last in and first out, so that nobody new comes while sessions are closed.

use std::sync::Arc;
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::supervision::{RestartPolicy, SupervisionStrategy};

use crate::exchange::Exchange;
use crate::gateways::{GatewayActor, GatewayArgs, Hosted};
use crate::listener::Listener;
use crate::timekeeper::{Timekeeper, TimekeeperArgs};

/// Restarts after panics before an actor is given up, within [`RESTART_WINDOW`].
const RESTARTS_MAX: u32 = 10;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// How long connections may take for their farewells at shutdown.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_STEP: Duration = Duration::from_millis(5);

/// The root of the actors.
#[derive(Clone, Debug)]
struct Root;

impl Actor for Root {
    type Args = Self;
    type Error = Infallible;

    fn supervision_strategy() -> SupervisionStrategy {
        SupervisionStrategy::OneForOne
    }

    async fn on_start(root: Self::Args, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(root)
    }
}

/// The running actors.
pub(crate) struct Supervisor {
    root: ActorRef<Root>,
    timekeeper: ActorRef<Timekeeper>,
    gateways: Vec<ActorRef<GatewayActor>>,
    listeners: Vec<ActorRef<Listener>>,
    exchange: Arc<Exchange>,
}

impl Supervisor {
    /// Starts the actors of a daemon.
    pub(crate) async fn start(
        exchange: Arc<Exchange>,
        gateways: Vec<Hosted>,
        listeners: Vec<Listener>,
        announcement_interval: Option<Duration>,
    ) -> Self {
        let root = Root::spawn(Root);
        let hosted: Arc<[Hosted]> = gateways.as_slice().into();
        let args = TimekeeperArgs {
            exchange: Arc::clone(&exchange),
            gateways: hosted,
            accesses: listeners.iter().map(|it| Arc::clone(&it.access)).collect(),
            announcement_interval,
        };
        let timekeeper = Timekeeper::supervise_with(&root, move || args.clone())
            .restart_policy(RestartPolicy::Transient)
            .restart_limit(RESTARTS_MAX, RESTART_WINDOW)
            .spawn()
            .await;
        let mut supervisor = Self {
            root,
            timekeeper,
            gateways: Vec::new(),
            listeners: Vec::new(),
            exchange,
        };
        for hosted in gateways {
            supervisor.start_gateway(hosted).await;
        }
        // A listener's socket cannot be bound a second time, so a listener is not restarted:
        // it does nothing that could fail after its start.
        supervisor.listeners = listeners.into_iter().map(Listener::spawn).collect();
        supervisor
    }

    async fn start_gateway(&mut self, hosted: Hosted) {
        let args = GatewayArgs {
            hosted,
            exchange: Arc::clone(&self.exchange),
        };
        let actor = GatewayActor::supervise_with(&self.root, move || args.clone())
            .restart_policy(RestartPolicy::Transient)
            .restart_limit(RESTARTS_MAX, RESTART_WINDOW)
            .spawn()
            .await;
        self.gateways.push(actor);
    }

    /// Stops everything in order: no new clients, farewells to those there are, then gateways.
    pub(crate) async fn stop(self) {
        for listener in self.listeners {
            stop(&listener).await;
        }
        for gateway in &self.gateways {
            stop(gateway).await;
        }
        self.exchange.close();
        let patience = tokio::time::Instant::now() + FAREWELL;
        while self.exchange.registry.online() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(FAREWELL_STEP).await;
        }
        stop(&self.timekeeper).await;
        stop(&self.root).await;
    }
}

async fn stop<A: Actor>(actor: &ActorRef<A>) {
    // An actor that is gone already needs no stopping.
    if actor.stop_gracefully().await.is_ok() {
        actor.wait_for_shutdown().await;
    }
}
