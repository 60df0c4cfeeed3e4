//! The supervisor: parent of every long-lived actor, told only to stop.
//!
//! Talks to: its children, by stopping them in the reverse of their starting order: listeners
//! last in and first out, so that nobody new comes while sessions are closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bridges::Guarding;
use gateway::{Gateway, LinkState, Notification};
use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::supervision::{RestartPolicy, SupervisionStrategy};

use crate::connection::Access;
use crate::exchange::Exchange;
use crate::gateways::{
    GATEWAY_PREFIX, GatewayActor, GatewayArgs, GatewaySession, Roster, withdraw,
};
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
    /// Those that run, by name.
    gateways: BTreeMap<String, ActorRef<GatewayActor>>,
    roster: Arc<Roster>,
    /// What is said of each one that has run, and where.
    notifications: BTreeMap<String, Notification>,
    listeners: Vec<ActorRef<Listener>>,
    exchange: Arc<Exchange>,
}

impl Supervisor {
    /// Starts the actors of a daemon, but for the gateways and bridges.
    pub(crate) async fn start(
        exchange: Arc<Exchange>,
        accesses: Arc<[Arc<Access>]>,
        announcement_interval: Option<Duration>,
    ) -> Self {
        let root = Root::spawn(Root);
        let roster = Arc::new(Roster::default());
        let args = TimekeeperArgs {
            exchange: Arc::clone(&exchange),
            gateways: Arc::clone(&roster),
            accesses,
            announcement_interval,
        };
        let timekeeper = Timekeeper::supervise_with(&root, move || args.clone())
            .restart_policy(RestartPolicy::Transient)
            .restart_limit(RESTARTS_MAX, RESTART_WINDOW)
            .spawn()
            .await;
        Self {
            root,
            timekeeper,
            gateways: BTreeMap::new(),
            roster,
            notifications: BTreeMap::new(),
            listeners: Vec::new(),
            exchange,
        }
    }

    /// Lets clients in.
    pub(crate) fn listen(&mut self, listeners: Vec<Listener>) {
        // A listener's socket cannot be bound a second time, so a listener is not restarted:
        // it does nothing that could fail after its start.
        self.listeners = listeners.into_iter().map(Listener::spawn).collect();
    }

    /// Starts a gateway or bridge that does not run.
    pub(crate) async fn start_gateway(&mut self, name: &str, gateway: Arc<dyn Gateway>) {
        let notification = gateway.notification().cloned();
        let place = |it: &Notification| (it.topic.clone(), it.client_id.clone());
        if self.notifications.get(name).map(place) != notification.as_ref().map(place) {
            self.withdraw(name);
        }
        let entry = notification.map(|it| (name.to_owned(), it));
        self.notifications.extend(entry);
        let hosted = self.roster.enter(name);
        hosted.status.set_link(LinkState::Starting);
        let args = GatewayArgs {
            hosted,
            gateway,
            exchange: Arc::clone(&self.exchange),
        };
        let actor = GatewayActor::supervise_with(&self.root, move || args.clone())
            .restart_policy(RestartPolicy::Transient)
            .restart_limit(RESTARTS_MAX, RESTART_WINDOW)
            .spawn()
            .await;
        // What is published from here on is for it too, and would pass by if it had not subscribed.
        actor.wait_for_startup().await;
        self.gateways.insert(name.to_owned(), actor);
    }

    /// Messages are guarded against loops by this rule from now on.
    pub(crate) fn set_guarding(&self, guarding: Guarding) {
        self.exchange.loop_guard.set_guarding(guarding);
    }

    /// Notes that a gateway or bridge that is to stop is not configured any more.
    pub(crate) fn note_leaving(&self, name: &str) {
        self.roster.note_leaving(name);
    }

    /// Stops these gateways and bridges, all at the same time. If a session is durable, messages go
    /// on joining its queue.
    pub(crate) async fn stop_gateways(&mut self, names: impl Iterator<Item = &String>) {
        let gateways = names.filter_map(|it| self.gateways.remove(it));
        stop_all(gateways.collect()).await;
    }

    /// Takes back what was said of one, which says no more or elsewhere.
    fn withdraw(&mut self, name: &str) {
        if let Some(notification) = self.notifications.remove(name) {
            withdraw(&self.exchange, name, &notification);
        }
    }

    /// Notes that one is configured and does not run.
    pub(crate) fn pause_gateway(&self, name: &str) {
        let backlog = GatewaySession::backlog(&self.exchange, name);
        let hosted = self.roster.enter(name);
        hosted.status.set_stopped("paused, `enable` is off");
        if let Some(backlog) = backlog {
            tracing::info!(
                gateway = name,
                backlog,
                "the gateway is paused, its queue goes on collecting"
            );
        }
    }

    /// Notes that one that does not run is not configured any more. Nothing joins its queue from
    /// here on, and nothing that waits there is thrown away.
    pub(crate) fn retire_gateway(&mut self, name: &str) {
        self.withdraw(name);
        let Exchange { demand, store, .. } = &*self.exchange;
        let filters = demand.mirrored.retire(store, name);
        if filters > 0 {
            tracing::warn!(
                gateway = name,
                filters,
                "the hub could not be told that a bridge is no longer configured: it may keep its \
                 subscriptions until a bridge of this name connects"
            );
        }
        let waiting = GatewaySession::retire(&self.exchange, name);
        if waiting == 0 {
            tracing::info!(
                gateway = name,
                "no longer configured, and nothing waits for it"
            );
            self.roster.remove(name);
            return;
        }
        let hosted = self.roster.enter(name);
        let reason = "no longer configured, its queue is kept";
        hosted.status.set_stopped(reason);
        tracing::warn!(
            gateway = name,
            waiting,
            client_id = format!("{GATEWAY_PREFIX}{name}"),
            "a gateway is no longer configured, its queue is kept until `tidegate store forget`"
        );
    }

    /// Stops everything in order: no new clients, gateways, then farewells to the clients there are.
    pub(crate) async fn stop(self) {
        for listener in self.listeners {
            stop(&listener).await;
        }
        // Clients are still there, and are told that bridges stop.
        stop_all(self.gateways.into_values().collect()).await;
        self.exchange.close();
        let patience = tokio::time::Instant::now() + FAREWELL;
        while self.exchange.registry.online() > 0 && tokio::time::Instant::now() < patience {
            tokio::time::sleep(FAREWELL_STEP).await;
        }
        stop(&self.timekeeper).await;
        stop(&self.root).await;
    }
}

/// All at the same time: each may take some.
async fn stop_all<A: Actor>(actors: Vec<ActorRef<A>>) {
    let mut stopping = Vec::new();
    for actor in actors {
        if actor.stop_gracefully().await.is_ok() {
            stopping.push(actor);
        }
    }
    for actor in stopping {
        stopped(&actor).await;
    }
}

async fn stop<A: Actor>(actor: &ActorRef<A>) {
    // An actor that is gone already needs no stopping.
    if actor.stop_gracefully().await.is_ok() {
        stopped(actor).await;
    }
}

/// Waits until an actor has stopped to the end: its mailbox is closed before its `on_stop`.
async fn stopped<A: Actor>(actor: &ActorRef<A>) {
    actor.wait_for_shutdown_with_result(|_| ()).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use gateway::{Client, RunFuture, Status, StatusReport, SubscriptionRequest};
    use persistence::Store;
    use tokio::sync::Notify;

    use super::*;
    use crate::exchange::tests::exchange;

    /// Breaks down the first time that it runs.
    #[derive(Default)]
    struct Brittle {
        has_broken: Arc<AtomicBool>,
        is_up: Arc<Notify>,
    }

    impl Gateway for Brittle {
        fn subscriptions(&self) -> Vec<SubscriptionRequest> {
            Vec::new()
        }

        fn is_durable(&self) -> bool {
            false
        }

        fn run(&self, _: Client, status: Arc<Status>) -> RunFuture {
            let has_broken = Arc::clone(&self.has_broken);
            let is_up = Arc::clone(&self.is_up);
            Box::pin(async move {
                status.counters.count_sent(1);
                assert!(has_broken.swap(true, Ordering::Relaxed), "it is brittle");
                status.set_link(LinkState::Up);
                is_up.notify_one();
                std::future::pending().await
            })
        }
    }

    fn report(supervisor: &Supervisor) -> StatusReport {
        supervisor.roster.list()[0].status.report(None)
    }

    #[tokio::test]
    async fn a_mistake_of_ours_is_an_error_of_the_gateway_and_a_stop_is_none() {
        let exchange = Arc::new(exchange(Store::disabled()));
        let mut supervisor = Supervisor::start(exchange, Arc::default(), None).await;
        let gateway = Arc::new(Brittle::default());
        let name = "zmq/brittle".to_owned();
        for sent in 2..=3 {
            let gateway = Arc::<Brittle>::clone(&gateway);
            let is_up = Arc::clone(&gateway.is_up);
            supervisor.start_gateway(&name, gateway).await;
            is_up.notified().await;
            supervisor.stop_gateways([&name].into_iter()).await;
            let report = report(&supervisor);
            assert_eq!(report.link.reason(), Some("it is stopped"));
            let error = report.last_error.as_deref();
            assert_eq!(error, Some("it broke down, the log has the place"));
            assert_eq!(report.sent, sent);
        }
        supervisor.stop().await;
    }
}
