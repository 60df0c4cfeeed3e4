//! The exchange: what the daemon does with a message and with a subscription, whoever it comes
//! from. Connections, gateways and bridges all meet here.

mod announcement;
mod durability;
mod eviction;
mod expiry;
mod merge;
mod queueing;
mod refusal;
mod replay;
mod retention;
mod sharing;
mod subscription;

pub(crate) use durability::DurabilityRules;
pub(crate) use queueing::QueueRules;
pub(crate) use refusal::Refusal;

use merge::{Merged, merge};

use std::cell::RefCell;
use std::sync::Arc;

use mqtt::connection::Limits;
use mqtt::session::QueueLimits;
use mqtt::{Message, ReasonCode, Timestamp, TopicName};
use persistence::{Clock, Durability, Position, Store};

use crate::extensions::{Delayed, Extensions};
use crate::link::{Link, NotDelivered, Storing};
use crate::metrics::{Counters, DropCause, count};
use crate::registry::Registry;
use crate::retained::{Retained, RetainedLimits};
use crate::router::{Match, Router};
use crate::share::{Choice, ShareStrategy};

/// Bounds that are the daemon's own and not the protocol's.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeLimits {
    /// Of each session's queues.
    pub(crate) queue: QueueLimits,
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
}

/// What became of a published message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Once this is durable, the message is as safe as promised.
    pub(crate) position: Position,
    /// Sessions that it is for.
    pub(crate) subscribers: usize,
    /// How safe it is then.
    pub(crate) durability: Durability,
    /// Those of them that had no room for it.
    pub(crate) rejected: usize,
}

thread_local! {
    /// The matches of the message that this thread is routing; kept for its allocation.
    static MATCHES: RefCell<Vec<Match>> = const { RefCell::new(Vec::new()) };
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
            bounds,
            counters: Counters::default(),
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
    /// no session that it is for has room (0x97).
    pub(crate) fn publish(
        &self,
        message: Message,
        publisher: Option<&Link>,
    ) -> Result<Published, ReasonCode> {
        let publisher_id = publisher.map_or("", |it| &it.client_id);
        if !message.topic.may_be_published_by(publisher_id) {
            return Err(ReasonCode::NotAuthorized);
        }
        self.publish_taken(message, publisher)
    }

    /// The same for a message that was accepted before, as a will is at CONNECT.
    pub(crate) fn publish_taken(
        &self,
        message: Message,
        publisher: Option<&Link>,
    ) -> Result<Published, ReasonCode> {
        match self.delayed.of(&message)? {
            Some((delay, message)) => self.delay(delay, message),
            None => {
                let is_kept = message.retain || !message.qos.is_acknowledged();
                let published = self.route(Arc::new(message), publisher);
                if !is_kept && published.is_rejected() {
                    return Err(ReasonCode::QuotaExceeded);
                }
                Ok(published)
            }
        }
    }

    /// Routes a message to every matching session, and keeps it if it is to be retained.
    pub(crate) fn route(&self, message: Arc<Message>, publisher: Option<&Link>) -> Published {
        count(&self.counters.published);
        let mut storing = self.storing(&message);
        // Its place in every queue is in one commit, so that it is in all of them or in none.
        let is_acknowledged = message.qos.is_acknowledged();
        let mut together = (is_acknowledged && message.retain).then(|| self.store.hold());
        let mut position = if message.retain {
            self.retain(&message, &storing)
        } else {
            Position(0)
        };
        let choice = self.choice(&message.topic, publisher.map_or("", |it| &it.client_id));
        let mut rejected = 0;
        let subscribers = self.with_matches(choice, |matches| {
            if is_acknowledged && matches.len() > 1 {
                together.get_or_insert_with(|| self.store.hold());
            }
            merge(matches, publisher, |to, merged| {
                match self.deliver(to, choice, &message, merged, &mut storing) {
                    Ok(stored) => position = position.max(stored),
                    Err(NotDelivered::NoRoom) => rejected += 1,
                    Err(NotDelivered::Ended) => {}
                }
            })
        });
        drop(together);
        if storing.is_stored() {
            count(&self.counters.stored);
        }
        Published {
            position,
            subscribers,
            durability: storing.durability,
            rejected,
        }
    }

    /// What all deliveries of a message have in common.
    pub(crate) fn storing(&self, message: &Message) -> Storing<'_> {
        Storing::new(
            &self.store,
            self.bounds.durability.of(&message.topic),
            self.bounds.queue_rules.class_of(message),
            self.end_of_waiting(message),
        )
    }

    fn choice<'a>(&self, topic: &'a TopicName, publisher: &'a str) -> Choice<'a> {
        Choice {
            strategy: self.bounds.share_strategy,
            topic,
            publisher,
        }
    }

    /// Does something with the subscriptions that a choice leads to.
    fn with_matches<T>(&self, choice: Choice<'_>, act: impl FnOnce(&mut [Match]) -> T) -> T {
        let mut matches = MATCHES.with(RefCell::take);
        self.router.matches(choice, &mut matches);
        let done = act(&mut matches);
        matches.clear();
        MATCHES.set(matches);
        done
    }

    fn deliver(
        &self,
        to: &Match,
        choice: Choice<'_>,
        message: &Arc<Message>,
        merged: Merged,
        storing: &mut Storing<'_>,
    ) -> Result<Position, NotDelivered> {
        if self.drop_expired(message) {
            return Ok(Position(0));
        }
        let link = &to.subscription.link;
        let delivery = merged.delivery(message, storing);
        match (link.deliver(delivery, storing), &to.share) {
            (Err(NotDelivered::Ended), Some(share)) => {
                self.deliver_shared(share, choice, message, storing)
            }
            (delivered, _) => {
                if delivered == Err(NotDelivered::Ended) {
                    self.counters.dropped.add(DropCause::SessionEnded, 1);
                }
                delivered
            }
        }
    }
}

impl Published {
    /// True if it was for somebody, and nobody had room.
    const fn is_rejected(&self) -> bool {
        self.rejected > 0 && self.rejected == self.subscribers
    }
}

#[cfg(test)]
mod away_tests;
#[cfg(test)]
mod share_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod time_tests;
