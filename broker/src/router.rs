//! Who receives a message: the routing table, shared by all.
//!
//! Filters without wildcards are in a sharded map, because most subscriptions are exact and a
//! lookup costs one hash; those with wildcards are in one tree. Publishers only read. A filter's
//! text is the one that its first subscriber's session has.

mod members;
mod subscribers;

pub(crate) use members::Members;

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use mqtt::packet::SubscriptionOptions;
use mqtt::{FilterTree, TopicFilter};
use subscribers::Subscribers;

use crate::link::Link;
use crate::share::ShareGroup;

const SHARDS: usize = 64;
/// A shard that uses only this part of itself becomes smaller.
const SHRINK_PARTS: usize = 4;

/// One subscription of one session, as the table holds it.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// Who receives.
    pub(crate) link: Arc<Link>,
    /// How.
    pub(crate) options: SubscriptionOptions,
    /// The Subscription Identifier, if it has one.
    pub(crate) identifier: Option<NonZeroU32>,
}

/// Where a message goes.
#[derive(Clone, Debug)]
pub(crate) enum Match {
    /// To one session.
    Each(Subscription),
    /// To a member of a Shared Subscription.
    Group(Arc<ShareGroup>),
}

/// The state of the table as far as it concerns one topic. What was found is out of date when it
/// has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation {
    shard: usize,
    exact: u64,
    wildcard: u64,
}

/// A filter without wildcards.
#[derive(Debug)]
struct Exact {
    filter: TopicFilter,
    subscribers: Subscribers,
}

/// A part of the table, with a count of its changes, which are counted under the lock.
#[derive(Debug, Default)]
struct Part<T> {
    generation: AtomicU64,
    filters: RwLock<T>,
}

type Shard = Part<HashTable<Exact>>;

/// The subscriptions of all sessions.
#[derive(Debug)]
pub(crate) struct Router {
    hasher: RandomState,
    exact: Vec<Shard>,
    wildcard: Part<FilterTree<Subscribers>>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            exact: (0..SHARDS).map(|_| Shard::default()).collect(),
            wildcard: Part::default(),
        }
    }

    fn hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic)
    }

    fn shard(&self, hash: u64) -> &Shard {
        &self.exact[shard_index(hash)]
    }

    /// The present state of the table for a topic; asked for before what is to be kept is looked
    /// up.
    pub(crate) fn generation(&self, topic: &str) -> Generation {
        let shard = shard_index(self.hash(topic));
        Generation {
            shard,
            exact: self.exact[shard].generation(),
            wildcard: self.wildcard.generation(),
        }
    }

    /// True while the table has for its topic what it had then.
    pub(crate) fn is_current(&self, generation: &Generation) -> bool {
        self.exact[generation.shard].generation() == generation.exact
            && self.wildcard.generation() == generation.wildcard
    }

    /// Makes or replaces the subscription of this session to this filter. False if the filter is
    /// another session's exclusively.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let pattern = filter.pattern();
        if filter.has_wildcard() {
            let mut tree = self.wildcard.write();
            tree.get_or_insert_default(pattern)
                .put(filter, subscription)
        } else {
            let hash = self.hash(pattern);
            let mut shard = self.shard(hash).write();
            let entry = shard.entry(hash, is(pattern), |it| self.hash(it.filter.pattern()));
            let exact = entry.or_insert_with(|| Exact {
                filter: filter.clone(),
                subscribers: Subscribers::Nobody,
            });
            exact.into_mut().subscribers.put(filter, subscription)
        }
    }

    /// Removes the subscription of this session to this filter.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, link: &Link) {
        let pattern = filter.pattern();
        if filter.has_wildcard() {
            let mut tree = self.wildcard.write();
            if tree
                .get_mut(pattern)
                .is_some_and(|subscribers| subscribers.remove(filter, link))
            {
                tree.remove(pattern);
            }
        } else {
            self.unsubscribe_exact(filter, link);
        }
    }

    fn unsubscribe_exact(&self, filter: &TopicFilter, link: &Link) {
        let pattern = filter.pattern();
        let hash = self.hash(pattern);
        let rehash = |it: &Exact| self.hash(it.filter.pattern());
        let mut shard = self.shard(hash).write();
        if let Entry::Occupied(mut entry) = shard.entry(hash, is(pattern), rehash)
            && entry.get_mut().subscribers.remove(filter, link)
        {
            entry.remove();
            if shard.len() < shard.capacity() / SHRINK_PARTS {
                let capacity = 2 * shard.len();
                shard.shrink_to(capacity, rehash);
            }
        }
    }

    /// Appends every subscription that matches the topic, several for one session if several of
    /// its filters match, and each group.
    pub(crate) fn matches(&self, topic: &str, found: &mut Vec<Match>) {
        let hash = self.hash(topic);
        if let Some(exact) = self.shard(hash).read().find(hash, is(topic)) {
            exact.subscribers.append(found);
        }
        let tree = self.wildcard.read();
        if !tree.is_empty() {
            tree.visit_matches(topic, |subscribers| subscribers.append(found));
        }
    }

    /// True if anybody subscribes to a filter that matches the topic.
    pub(crate) fn has_subscriber(&self, topic: &str) -> bool {
        let hash = self.hash(topic);
        if self.shard(hash).read().find(hash, is(topic)).is_some() {
            return true;
        }
        let tree = self.wildcard.read();
        let mut has_any = false;
        if !tree.is_empty() {
            tree.visit_matches(topic, |_| has_any = true);
        }
        has_any
    }

    /// The group of a Shared Subscription, if it has members.
    pub(crate) fn group(&self, share: &TopicFilter) -> Option<Arc<ShareGroup>> {
        let pattern = share.pattern();
        if share.has_wildcard() {
            self.wildcard.read().get(pattern)?.group(share).cloned()
        } else {
            let hash = self.hash(pattern);
            let shard = self.shard(hash).read();
            let exact = shard.find(hash, is(pattern))?;
            exact.subscribers.group(share).cloned()
        }
    }
}

/// A shard's table looks at the other bits.
const fn shard_index(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

fn is(topic: &str) -> impl Fn(&Exact) -> bool {
    move |exact| exact.filter.pattern() == topic
}

impl<T> Part<T> {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.filters.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change and begins it. Who asks for the generation meanwhile waits for its end to
    /// look anything up.
    fn write(&self) -> RwLockWriteGuard<'_, T> {
        let filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        filters
    }
}

#[cfg(test)]
mod tests;
