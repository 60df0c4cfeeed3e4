//! The exchange: what the daemon does with a message and with a subscription, whoever it comes
//! from. Connections, gateways and bridges all meet here.

mod announcement;
mod durability;
mod eviction;
mod expiry;
mod guarding;
mod outboxes;
mod queueing;
mod refusal;
mod replay;
mod retention;
mod route;
mod run;
mod sharing;
mod subscription;

pub(crate) use durability::DurabilityRules;
pub(crate) use guarding::loop_guard;
use outboxes::Outboxes;
pub(crate) use queueing::QueueRules;
pub(crate) use refusal::Refusal;
use retention::Retention;
pub(crate) use route::Route;
pub(crate) use run::{Outcome, RunMessage};

use std::sync::Arc;
use std::time::Duration;

use bridges::{Guarding, LoopGuard};
use mqtt::connection::Limits;
use mqtt::session::QueueLimits;
use mqtt::{Message, ReasonCode, Timestamp, TopicName};
use persistence::{Clock, Durability, Store};

use crate::demand::Demand;
use crate::extensions::{Delayed, Extensions};
use crate::link::{Link, NotDelivered, Storing};
use crate::memory::Memory;
use crate::metrics::{Counters, DropCause, add};
use crate::registry::Registry;
use crate::retained::{Retained, RetainedLimits};
use crate::router::Router;
use crate::share::ShareStrategy;

/// Bounds that are the daemon's own and not the protocol's.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeLimits {
    /// Of each session's queues.
    pub(crate) queue: Arc<QueueLimits>,
    /// Sessions altogether, online and offline; further clients are refused.
    pub(crate) sessions_max: usize,
    /// Of the retained messages.
    pub(crate) retained: RetainedLimits,
    /// How messages wait in these queues.
    pub(crate) queue_rules: QueueRules,
    /// How Shared Subscriptions choose.
    pub(crate) share_strategy: ShareStrategy,
    /// How safe messages are before they are acknowledged.
    pub(crate) durability: DurabilityRules,
    /// How long a connection has nothing to do before its actor is passivated.
    pub(crate) passive_after: Duration,
    /// Bytes of messages under way, over all clients, see [`Memory`].
    pub(crate) memory_limit: u64,
    /// How long a large packet may take to come in while others wait for its room.
    pub(crate) packet_time_max: Duration,
}

/// The state that all sessions share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) router: Router,
    pub(crate) retained: Retained,
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// What one connection may do.
    pub(crate) limits: Limits,
    pub(crate) bounds: ExchangeLimits,
    pub(crate) counters: Counters,
    pub(crate) delayed: Delayed,
    pub(crate) extensions: Extensions,
    pub(crate) memory: Arc<Memory>,
    pub(crate) loop_guard: LoopGuard,
    pub(crate) demand: Demand,
    outboxes: Outboxes,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) outcome: Outcome,
    /// Sessions and groups that it is for.
    pub(crate) subscribers: usize,
    /// How safe it is at the position of the outcome.
    pub(crate) durability: Durability,
    /// It was to be retained, and there was no room for that.
    pub(crate) is_unretained: bool,
}

impl Exchange {
    pub(crate) fn new(
        store: Store,
        limits: Limits,
        bounds: ExchangeLimits,
        extensions: Extensions,
    ) -> Self {
        Self {
            delayed: Delayed::new(extensions.delayed_messages_max),
            extensions,
            router: Router::new(),
            retained: Retained::new(),
            registry: Registry::default(),
            clock: store.clock(),
            store,
            limits,
            memory: Arc::new(Memory::new(bounds.memory_limit)),
            bounds,
            counters: Counters::default(),
            loop_guard: loop_guard(None, Guarding::default()),
            demand: Demand::default(),
            outboxes: Outboxes::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes a message from a client or gateway, or from nobody who could be told. Whether the
    /// store can take it is asked before, see [`Exchange::refuses`].
    ///
    /// # Errors
    /// It must not be published there, or not now: of QoS 1 or 2 also if it is not retained and
    /// no session that it is for has room, or if it is to be retained, there is no room for that,
    /// and its publisher has an answer for it: 0x97 if that may change, 0x83 if it may not.
    pub(crate) fn publish(
        &self,
        message: Message,
        publisher: Option<&Link>,
        refusal: Refusal,
    ) -> Result<Published, ReasonCode> {
        let publisher_id = publisher.map_or("", |it| &it.client_id);
        if !message.topic.may_be_published_by(publisher_id) {
            return Err(ReasonCode::NotAuthorized);
        }
        self.take(message, publisher, refusal)
    }

    /// True if what this publisher sends to a topic is simply routed: neither refused nor delayed.
    pub(crate) fn is_open(&self, topic: &TopicName, publisher: &Link) -> bool {
        topic.may_be_published_by(&publisher.client_id) && !self.delayed.is_asked_for(topic)
    }

    /// The same for a message that was accepted before, as a will is at CONNECT.
    pub(crate) fn publish_taken(
        &self,
        message: Message,
        publisher: Option<&Link>,
    ) -> Result<Published, ReasonCode> {
        self.take(message, publisher, Refusal::Silence)
    }

    /// Routes or delays a message, or keeps it as retained, whether it has come before or not.
    fn take_new(
        &self,
        message: Message,
        publisher: Option<&Link>,
        refusal: Refusal,
    ) -> Result<Published, ReasonCode> {
        match self.delayed.of(&message)? {
            Some((delay, message)) => self.delay(delay, message),
            None => {
                let is_kept = message.retain || !message.qos.is_acknowledged();
                let published = self.route(Arc::new(message), publisher, refusal)?;
                if !is_kept && published.outcome.is_rejected(published.subscribers) {
                    return Err(ReasonCode::QuotaExceeded);
                }
                Ok(published)
            }
        }
    }

    /// Routes a message to every matching session, and keeps it if it is to be retained.
    ///
    /// # Errors
    /// There is no room for that and its publisher is to be told: nobody gets it.
    pub(crate) fn route(
        &self,
        message: Arc<Message>,
        publisher: Option<&Link>,
        refusal: Refusal,
    ) -> Result<Published, ReasonCode> {
        let mut storing = self.storing(&message);
        // Its place in every queue is in one commit, so that it is in all of them or in none.
        let is_acknowledged = message.qos.is_acknowledged();
        let together = (is_acknowledged && message.retain).then(|| self.store.hold());
        let retained = if message.retain {
            self.retain(&message, &storing, refusal)?
        } else {
            Retention::default()
        };
        add(&self.counters.published, 1);
        // Behind that: a subscription that is made meanwhile finds it retained or is found.
        let route = self.resolve(&message.topic, publisher);
        let is_stored_twice = is_acknowledged && route.is_stored_twice();
        let together = together.or_else(|| is_stored_twice.then(|| self.store.hold()));
        let publisher = publisher.map_or("", |it| &it.client_id);
        let mut published = self.deliver(&route, &message, publisher, &mut storing);
        drop(together);
        published.outcome.wait_for(retained.position);
        published.is_unretained = retained.is_refused;
        if storing.is_stored() {
            add(&self.counters.stored, 1);
        }
        Ok(published)
    }

    /// What all deliveries of a message have in common.
    pub(crate) fn storing(&self, message: &Message) -> Storing<'_> {
        Storing::new(
            &self.store,
            self.bounds.durability.of(&message.topic),
            self.bounds
                .queue_rules
                .class_of(&message.topic, message.qos),
            self.end_of_waiting(message),
        )
    }

    /// Puts a message into the sessions of its route.
    fn deliver(
        &self,
        route: &Route,
        message: &Arc<Message>,
        publisher: &str,
        storing: &mut Storing<'_>,
    ) -> Published {
        let mut outcome = Outcome::default();
        let mut subscribers = route.targets.len();
        for target in &route.targets {
            if self.drop_expired(message) {
                continue;
            }
            let delivered = target
                .link
                .deliver(target.delivery(message, storing), storing);
            if delivered == Err(NotDelivered::Ended) {
                self.counters.dropped.add(DropCause::SessionEnded, 1);
            }
            outcome.note(delivered);
        }
        let choice = self.choice(&route.topic, publisher);
        for group in &route.groups {
            if let Some(delivered) = self.deliver_shared(group, choice, message, storing) {
                subscribers += 1;
                outcome.note(delivered);
            }
        }
        Published {
            outcome,
            subscribers,
            durability: storing.durability,
            is_unretained: false,
        }
    }
}

#[cfg(test)]
mod away_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod share_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod time_tests;
