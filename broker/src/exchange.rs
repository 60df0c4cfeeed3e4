//! The exchange: what the daemon does with a message and with a subscription, whoever it comes
//! from. Connections, gateways and bridges all meet here.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqtt::connection::Limits;
use mqtt::packet::{RetainHandling, SubscriptionOptions};
use mqtt::session::{Delivery, QueueLimits};
use mqtt::{Message, Timestamp, TopicFilter, TopicName};
use persistence::{Operation, Position, Store, StoredMessage, StoredSubscription};

use crate::clock::Clock;
use crate::link::{Link, Replay};
use crate::registry::Registry;
use crate::router::{Router, Subscription};

/// Retained messages that are put into a session's queue at a time.
const REPLAY_BATCH: usize = 64;

/// Bounds that are the daemon's own and not the protocol's.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeLimits {
    /// Of each session's queues.
    pub(crate) queue: QueueLimits,
    /// Retained messages altogether; further topics are not retained.
    pub(crate) retained_messages_max: usize,
    /// Bytes of the payload of a retained message; a larger one is not retained.
    pub(crate) retained_payload_bytes_max: usize,
}

/// The state that all sessions share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) router: Router,
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// What one connection may do.
    pub(crate) limits: Limits,
    pub(crate) bounds: ExchangeLimits,
    pub(crate) counters: Counters,
}

/// Counts since the start, over all sessions.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that were published.
    pub(crate) published: AtomicU64,
    /// Deliveries that a session had no room for.
    pub(crate) dropped: AtomicU64,
    /// Messages that were to be retained and were not.
    pub(crate) retained_refused: AtomicU64,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Once this is durable, the message is as safe as promised.
    pub(crate) position: Position,
    /// Sessions that it goes to.
    pub(crate) subscribers: usize,
}

thread_local! {
    /// The matches of the message that this thread is routing; kept for its allocation.
    static MATCHES: RefCell<Vec<Subscription>> = const { RefCell::new(Vec::new()) };
}

impl Exchange {
    pub(crate) fn new(store: Store, clock: Clock, limits: Limits, bounds: ExchangeLimits) -> Self {
        Self {
            router: Router::new(),
            registry: Registry::default(),
            store,
            clock,
            limits,
            bounds,
            counters: Counters::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Routes a message to every matching session, and keeps it if it is to be retained.
    pub(crate) fn publish(&self, message: Message, publisher: &Link) -> Published {
        self.counters.published.fetch_add(1, Ordering::Relaxed);
        let message = Arc::new(message);
        let mut position = if message.retain {
            self.retain(&message)
        } else {
            Position(0)
        };
        let mut matches = MATCHES.with(RefCell::take);
        self.router.matches(&message.topic, &mut matches);
        let mut body = None;
        let subscribers = merge(&mut matches, Some(publisher), |link, delivery| {
            let stored = self.deliver(link, &message, delivery, &mut body);
            position = position.max(stored);
        });
        matches.clear();
        MATCHES.set(matches);
        Published {
            position,
            subscribers,
        }
    }

    fn deliver(
        &self,
        link: &Link,
        message: &Arc<Message>,
        merged: Merged,
        body: &mut Option<StoredMessage>,
    ) -> Position {
        let delivery = Delivery {
            sequence: 0,
            message: Arc::clone(message),
            qos: message.qos.min(merged.options.qos),
            retain: message.retain && merged.options.retain_as_published,
            subscription_ids: merged.identifiers,
        };
        self.count(link.deliver(delivery, body, &self.store))
    }

    fn count(&self, delivered: Option<Position>) -> Position {
        delivered.unwrap_or_else(|| {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            Position(0)
        })
    }

    /// Publishes what the daemon says of itself: retained, but in memory only, because it is
    /// said again after a restart and is not worth a write.
    pub(crate) fn announce(&self, topic: TopicName, payload: String) {
        let mut message = Message::new(topic, payload);
        message.retain = true;
        let message = Arc::new(message);
        self.router
            .retain(&message.topic, Some(Arc::clone(&message)), usize::MAX);
        let mut matches = Vec::new();
        self.router.matches(&message.topic, &mut matches);
        merge(&mut matches, None, |link, merged| {
            self.deliver(link, &message, merged, &mut None);
        });
    }

    /// Keeps a message for later subscribers; an empty payload removes the one there is
    /// [MQTT-3.3.1-6].
    fn retain(&self, message: &Arc<Message>) -> Position {
        let kept = (!message.payload.is_empty()).then(|| Arc::clone(message));
        let bounds = &self.bounds;
        let fits = message.payload.len() <= bounds.retained_payload_bytes_max
            && self
                .router
                .retain(&message.topic, kept.clone(), bounds.retained_messages_max);
        if !fits {
            self.counters
                .retained_refused
                .fetch_add(1, Ordering::Relaxed);
            tracing::warn!(topic = %message.topic, "a message is not retained: a limit is reached");
            return Position(0);
        }
        self.store
            .submit(Operation::Retain(message.topic.clone(), kept))
    }

    /// Makes or replaces a subscription and prepares what retained messages it is due.
    pub(crate) fn subscribe(
        &self,
        link: &Arc<Link>,
        filter: TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> Position {
        let mut state = link.lock();
        let is_new = state
            .subscriptions
            .insert(filter.clone(), options)
            .is_none();
        let replay = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if replay {
            let after = None;
            state.replays.push_back(Replay {
                filter: filter.clone(),
                options,
                identifier,
                after,
            });
        }
        drop(state);
        let link_entry = Subscription {
            link: Arc::clone(link),
            options,
            identifier,
        };
        self.router.subscribe(&filter, link_entry);
        link.durable().map_or(Position(0), |session| {
            let subscription = StoredSubscription {
                filter,
                options,
                identifier,
            };
            self.store
                .submit(Operation::Subscribe(session, subscription))
        })
    }

    /// Ends a subscription; false if there was none.
    pub(crate) fn unsubscribe(&self, link: &Link, filter: &TopicFilter) -> bool {
        let mut state = link.lock();
        state.replays.retain(|replay| replay.filter != *filter);
        let existed = state.subscriptions.remove(filter).is_some();
        drop(state);
        self.router.unsubscribe(filter, link);
        if let Some(session) = link.durable()
            && existed
        {
            self.store
                .submit(Operation::Unsubscribe(session, filter.clone()));
        }
        existed
    }

    /// Fills a session's queue from where more is waiting: retained messages for new
    /// subscriptions, and the part of its queue that only the store has. Its owner calls this
    /// whenever it has sent what was in memory, so a slow one costs no memory.
    pub(crate) fn refill(&self, link: &Arc<Link>) {
        let mut state = link.lock();
        if let Some(request) = state.session.page_wanted()
            && let Some(session) = link.stored()
        {
            let owner = Arc::clone(link);
            let reply = Box::new(move |page, complete| {
                let mut state = owner.lock();
                state.session.page_loaded(page, complete);
                let waker = state.notify();
                drop(state);
                waker.into_iter().for_each(std::task::Waker::wake);
            });
            self.store
                .submit(Operation::LoadPage(session, request, reply));
        }
        while state.session.is_drained() {
            let Some(mut replay) = state.replays.pop_front() else {
                return;
            };
            drop(state);
            let after = replay.after.as_ref();
            let messages = self.router.retained(&replay.filter, after, REPLAY_BATCH);
            replay.after = messages.last().map(|message| message.topic.clone());
            let more = messages.len() == REPLAY_BATCH;
            for message in messages {
                self.replay(link, message, &replay);
            }
            state = link.lock();
            if more {
                state.replays.push_front(replay);
            }
        }
    }

    fn replay(&self, link: &Link, message: Arc<Message>, replay: &Replay) {
        if message.is_expired(self.now()) {
            return;
        }
        let delivery = Delivery {
            sequence: 0,
            qos: message.qos.min(replay.options.qos),
            message,
            retain: true, // [MQTT-3.3.1-8]
            subscription_ids: replay.identifier.into_iter().collect(),
        };
        self.count(link.deliver(delivery, &mut None, &self.store));
    }
}

/// What the overlapping subscriptions of one session come to together.
struct Merged {
    options: SubscriptionOptions,
    identifiers: Vec<u32>,
}

/// Calls `deliver` once for each session among the matches, with the highest QoS and all
/// identifiers of its subscriptions [MQTT-3.3.4-2] [MQTT-3.3.4-3]; returns how many there are.
fn merge(
    matches: &mut [Subscription],
    publisher: Option<&Link>,
    mut deliver: impl FnMut(&Link, Merged),
) -> usize {
    if matches.len() > 1 {
        matches.sort_unstable_by_key(|subscription| Arc::as_ptr(&subscription.link).addr());
    }
    let mut count = 0;
    for group in matches.chunk_by(|a, b| Arc::ptr_eq(&a.link, &b.link)) {
        let own = publisher.is_some_and(|it| std::ptr::eq(&*group[0].link, it));
        let mut merged: Option<Merged> = None;
        // [MQTT-3.8.3-3]
        for subscription in group.iter().filter(|it| !(own && it.options.no_local)) {
            let merged = merged.get_or_insert_with(|| Merged {
                options: SubscriptionOptions::default(),
                identifiers: Vec::new(),
            });
            merged.options.qos = merged.options.qos.max(subscription.options.qos);
            merged.options.retain_as_published |= subscription.options.retain_as_published;
            merged.identifiers.extend(subscription.identifier);
        }
        if let Some(merged) = merged {
            count += 1;
            deliver(&group[0].link, merged);
        }
    }
    count
}

#[cfg(test)]
mod tests;
