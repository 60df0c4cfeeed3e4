//! The exchange as the benchmarks of this package use it: sessions without sockets.

use std::sync::Arc;
use std::time::Duration;

use mqtt::connection::Limits;
use mqtt::packet::SubscriptionOptions;
use mqtt::session::{Outgoing, QueueLimits, WhenFull};
use mqtt::{Message, TopicFilter, TopicName};
use persistence::Store;

use crate::connection::Bare;
use crate::exchange::{DurabilityRules, Exchange, ExchangeLimits, QueueRules, Refusal};
use crate::extensions::Extensions;
use crate::registry::{Attached, Claim, Ending};
use crate::retained::RetainedLimits;
use crate::share::ShareStrategy;

/// A daemon without listeners, store and limits.
#[derive(Debug)]
pub struct Daemon(Arc<Exchange>);

/// A client of it, whose session ends with its connection.
#[derive(Debug)]
pub struct Client(Attached);

/// A client with a connection, though without a socket.
#[derive(Debug)]
pub struct Connected(Bare);

impl Default for Daemon {
    fn default() -> Self {
        let bounds = ExchangeLimits {
            durability: DurabilityRules::default(),
            queue: QueueLimits {
                messages_max: usize::MAX,
                bytes_max: usize::MAX,
                live_bytes_max: usize::MAX,
                stored_messages_max: u64::MAX,
                stored_bytes_max: u64::MAX,
                when_full: WhenFull::RejectNew,
                holds_encoded: true,
            }
            .into(),
            queue_rules: QueueRules::default(),
            sessions_max: usize::MAX,
            passive_after: Duration::ZERO,
            memory_limit: u64::MAX,
            packet_time_max: Duration::MAX,
            share_strategy: ShareStrategy::default(),
            retained: RetainedLimits::NONE,
        };
        let extensions = Extensions::default();
        let exchange = Exchange::new(Store::disabled(), Limits::default(), bounds, extensions);
        Self(Arc::new(exchange))
    }
}

impl Daemon {
    /// A client connects.
    #[must_use]
    pub fn connect(&self, client_id: &str) -> Client {
        Client(self.0.attach(Claim {
            client_id,
            clean_start: true,
            expiry: Duration::ZERO,
            inflight_messages_max: u16::MAX,
            keep_alive_millis: None,
            will: None,
        }))
    }

    /// A client connects with these bytes. None if they are no CONNECT.
    #[must_use]
    pub fn accept(&self, connect: &[u8]) -> Option<Connected> {
        Bare::connect(&self.0, connect).map(Connected)
    }

    /// A client subscribes at QoS 0. False if it may not.
    #[must_use]
    pub fn subscribe(&self, client: &Client, filter: &TopicFilter) -> bool {
        let options = SubscriptionOptions::default();
        // As it comes from a packet: nobody else has this string.
        let Ok(filter) = TopicFilter::new(filter.as_str()) else {
            return false;
        };
        let made = self.0.subscribe(&client.0.link, filter, options, None);
        made.is_some()
    }

    /// A client unsubscribes. False if it was not subscribed.
    #[must_use]
    pub fn unsubscribe(&self, client: &Client, filter: &TopicFilter) -> bool {
        self.0.unsubscribe(&client.0.link, filter).is_some()
    }

    /// A client's connection ends, and its session.
    pub fn disconnect(&self, client: Client) {
        let Attached { link, owner, .. } = client.0;
        let ending = Ending {
            will: None,
            session_expiry: None,
        };
        self.0.detach(&link, owner, ending);
    }

    /// How many subscriptions a topic has.
    #[must_use]
    pub fn count_matches(&self, topic: &TopicName) -> usize {
        let mut found = Vec::new();
        self.0.router.matches(topic.as_str(), &mut found);
        found.len()
    }

    /// Publishes a message; returns how many sessions it is for.
    #[must_use]
    pub fn publish(&self, message: Message) -> usize {
        let published = self.0.publish(message, None, Refusal::Silence);
        published.map_or(0, |published| published.subscribers)
    }

    /// Takes out what waits for a client, also the retained messages that are due to it; returns
    /// how many messages that was.
    #[must_use]
    pub fn receive(&self, client: &Client) -> usize {
        let link = &client.0.link;
        let mut count = 0;
        loop {
            self.0.refill(link);
            let now = self.0.now();
            let mut state = link.lock();
            let before = count;
            while let Some(outgoing) = state.session.next(now, &mut Vec::new()) {
                count += usize::from(matches!(outgoing, Outgoing::Publish { .. }));
            }
            if count == before {
                return count;
            }
        }
    }
}

impl Connected {
    /// From now on it may send batches, see [`bridges::batch`].
    pub fn allow_batches(&self) {
        self.0.allow_batches();
    }

    /// Its packets come. False if they break the protocol.
    #[must_use]
    pub fn send(&mut self, packets: &[u8]) -> bool {
        self.0.handle(packets) == Ok(packets.len())
    }

    /// What it is sent.
    pub fn receive(&mut self) -> Vec<u8> {
        self.0.take()
    }
}
