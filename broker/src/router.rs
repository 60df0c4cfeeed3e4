//! Who receives a message: the routing table and the retained messages, shared by all.
//!
//! Filters without wildcards are in a sharded map, because most subscriptions are exact and a
//! lookup costs one hash; those with wildcards are in one tree. Publishers only read.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqtt::packet::SubscriptionOptions;
use mqtt::{FilterTree, Message, NameTree, TopicFilter, TopicName};

use crate::link::Link;

const SHARDS: usize = 64;

/// One subscription of one session, as the table holds it.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// Who receives.
    pub(crate) link: Arc<Link>,
    /// How.
    pub(crate) options: SubscriptionOptions,
    /// The Subscription Identifier, if it has one.
    pub(crate) identifier: Option<u32>,
}

type Shard = HashMap<Box<str>, Vec<Subscription>>;

/// The subscriptions of all sessions and the retained messages.
#[derive(Debug)]
pub(crate) struct Router {
    hasher: RandomState,
    exact: Vec<RwLock<Shard>>,
    wildcard: RwLock<FilterTree<Vec<Subscription>>>,
    retained: RwLock<NameTree<Arc<Message>>>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            exact: (0..SHARDS).map(|_| RwLock::default()).collect(),
            wildcard: RwLock::default(),
            retained: RwLock::default(),
        }
    }

    fn shard(&self, topic: &str) -> &RwLock<Shard> {
        let hash = self.hasher.hash_one(topic);
        // The cast keeps the low bits, which is all that is wanted.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        &self.exact[hash as usize % SHARDS]
    }

    /// Makes or replaces the subscription of this session to this filter.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, subscription: Subscription) {
        if filter.has_wildcard() {
            let mut tree = write(&self.wildcard);
            put(tree.get_or_insert_default(filter.as_str()), subscription);
        } else {
            let mut shard = write(self.shard(filter.as_str()));
            put(
                shard.entry(filter.as_str().into()).or_default(),
                subscription,
            );
        }
    }

    /// Removes the subscription of this session to this filter.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, link: &Link) {
        let text = filter.as_str();
        if filter.has_wildcard() {
            let mut tree = write(&self.wildcard);
            if tree
                .get_mut(text)
                .is_some_and(|subscriptions| remove(subscriptions, link))
            {
                tree.remove(text);
            }
        } else {
            let mut shard = write(self.shard(text));
            if shard
                .get_mut(text)
                .is_some_and(|subscriptions| remove(subscriptions, link))
            {
                shard.remove(text);
            }
        }
    }

    /// Appends every subscription that matches `topic`, several for one session if several of
    /// its filters match.
    pub(crate) fn matches(&self, topic: &TopicName, found: &mut Vec<Subscription>) {
        if let Some(subscriptions) = read(self.shard(topic.as_str())).get(topic.as_str()) {
            found.extend_from_slice(subscriptions);
        }
        let tree = read(&self.wildcard);
        if !tree.is_empty() {
            tree.visit_matches(topic.as_str(), |subscriptions| {
                found.extend_from_slice(subscriptions);
            });
        }
    }

    /// Sets the retained message of a topic, or removes it. False if a new one is one too many.
    pub(crate) fn retain(
        &self,
        topic: &TopicName,
        message: Option<Arc<Message>>,
        count_max: usize,
    ) -> bool {
        let mut retained = write(&self.retained);
        match message {
            Some(_) if retained.len() >= count_max && retained.get(topic).is_none() => false,
            Some(message) => {
                retained.insert(topic.clone(), message);
                true
            }
            None => {
                retained.remove(topic);
                true
            }
        }
    }

    /// Up to `count` retained messages that `filter` matches, in the order of topics, after the
    /// given one.
    pub(crate) fn retained(
        &self,
        filter: &TopicFilter,
        after: Option<&TopicName>,
        count: usize,
    ) -> Vec<Arc<Message>> {
        let retained = read(&self.retained);
        retained
            .matches(filter, after)
            .take(count)
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// Retained messages.
    pub(crate) fn retained_count(&self) -> usize {
        read(&self.retained).len()
    }
}

fn put(subscriptions: &mut Vec<Subscription>, new: Subscription) {
    match subscriptions
        .iter_mut()
        .find(|old| Arc::ptr_eq(&old.link, &new.link))
    {
        Some(old) => *old = new,
        None => subscriptions.push(new),
    }
}

/// Removes the session's subscription; true if none is left.
fn remove(subscriptions: &mut Vec<Subscription>, link: &Link) -> bool {
    subscriptions.retain(|subscription| !std::ptr::eq(&*subscription.link, link));
    subscriptions.is_empty()
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
