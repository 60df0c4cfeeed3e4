//! Who receives a message: the routing table, shared by all.
//!
//! Filters without wildcards are in a sharded map, because most subscriptions are exact and a
//! lookup costs one hash; those with wildcards are in one tree. Publishers only read. A filter's
//! text is the one that its first subscriber's session has.

mod members;
mod subscribers;
mod wanted;

pub(crate) use members::Members;

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use mqtt::packet::SubscriptionOptions;
use mqtt::{FilterTree, TopicFilter};
use subscribers::Subscribers;

use crate::link::Link;
use crate::share::ShareGroup;

const SHARDS: usize = 64;
/// Counts of changes of filters with wildcards that begin with a level without one.
const FIRST_LEVELS: usize = 63;
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
    shard: u32,
    first_level: u32,
    exact: u64,
    wildcard: u64,
}

/// A filter without wildcards.
#[derive(Debug)]
struct Exact {
    filter: TopicFilter,
    subscribers: Subscribers,
}

/// A part of the table, with counts of its changes, which are counted under the lock.
#[derive(Debug)]
struct Part<T, const COUNTS: usize> {
    generations: [AtomicU64; COUNTS],
    filters: RwLock<T>,
}

type Shard = Part<HashTable<Exact>, 1>;

/// The subscriptions of all sessions.
#[derive(Debug)]
pub(crate) struct Router {
    hasher: RandomState,
    exact: Vec<Shard>,
    /// The last count is of filters that begin with a wildcard.
    wildcard: Part<FilterTree<Subscribers>, { FIRST_LEVELS + 1 }>,
    /// Filters that begin with `$`.
    reserved: AtomicUsize,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            exact: (0..SHARDS).map(|_| Shard::default()).collect(),
            wildcard: Part::default(),
            reserved: AtomicUsize::new(0),
        }
    }

    fn hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic)
    }

    /// Which count of changes the filters have that begin like this filter or topic.
    fn first_level(&self, text: &str) -> usize {
        match text.split('/').next() {
            Some("+" | "#") | None => FIRST_LEVELS,
            Some(level) => self.hash(level) as usize % FIRST_LEVELS,
        }
    }

    /// How often filters with wildcards have changed that may match a topic that begins so.
    fn wildcard_generation(&self, first_level: usize) -> u64 {
        // Neither ever becomes less, so the sum is the same only while both are.
        self.wildcard.generation(first_level) + self.wildcard.generation(FIRST_LEVELS)
    }

    fn shard(&self, hash: u64) -> &Shard {
        &self.exact[shard_index(hash)]
    }

    /// True while the table has for its topic what it had then.
    pub(crate) fn is_current(&self, generation: &Generation) -> bool {
        self.exact[generation.shard as usize].generation(0) == generation.exact
            && self.wildcard_generation(generation.first_level as usize) == generation.wildcard
    }

    /// Makes or replaces the subscription of this session to this filter. False if the filter is
    /// another session's exclusively.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let pattern = filter.pattern();
        if filter.has_wildcard() {
            let mut tree = self.wildcard.write(self.first_level(pattern));
            let subscribers = tree.get_or_insert_default(pattern);
            self.note_filter(pattern, subscribers);
            subscribers.put(filter, subscription)
        } else {
            let hash = self.hash(pattern);
            let mut shard = self.shard(hash).write(0);
            let entry = shard.entry(hash, is(pattern), |it| self.hash(it.filter.pattern()));
            let exact = entry.or_insert_with(|| Exact {
                filter: filter.clone(),
                subscribers: Subscribers::Nobody,
            });
            let subscribers = &mut exact.into_mut().subscribers;
            self.note_filter(pattern, subscribers);
            subscribers.put(filter, subscription)
        }
    }

    /// Removes the subscription of this session to this filter.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, link: &Link) {
        let pattern = filter.pattern();
        if filter.has_wildcard() {
            let mut tree = self.wildcard.write(self.first_level(pattern));
            if tree
                .get_mut(pattern)
                .is_some_and(|subscribers| subscribers.remove(filter, link))
            {
                tree.remove(pattern);
                self.forget_filter(pattern);
            }
        } else {
            self.unsubscribe_exact(filter, link);
        }
    }

    /// Counts a filter before its first subscription.
    fn note_filter(&self, pattern: &str, subscribers: &Subscribers) {
        if is_reserved(pattern) && matches!(subscribers, Subscribers::Nobody) {
            self.reserved.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn forget_filter(&self, pattern: &str) {
        if is_reserved(pattern) {
            self.reserved.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn unsubscribe_exact(&self, filter: &TopicFilter, link: &Link) {
        let pattern = filter.pattern();
        let hash = self.hash(pattern);
        let rehash = |it: &Exact| self.hash(it.filter.pattern());
        let mut shard = self.shard(hash).write(0);
        if let Entry::Occupied(mut entry) = shard.entry(hash, is(pattern), rehash)
            && entry.get_mut().subscribers.remove(filter, link)
        {
            entry.remove();
            self.forget_filter(pattern);
            if shard.len() < shard.capacity() / SHRINK_PARTS {
                let capacity = 2 * shard.len();
                shard.shrink_to(capacity, rehash);
            }
        }
    }

    /// Appends every subscription that matches the topic, several for one session if several of
    /// its filters match, and each group. Returns the state of the table that they belong to.
    pub(crate) fn matches(&self, topic: &str, found: &mut Vec<Match>) -> Generation {
        let hash = self.hash(topic);
        // Before the lookups: what changes meanwhile makes what they find old.
        let (shard, first_level) = (shard_index(hash), self.first_level(topic));
        let generation = Generation {
            shard: shard as u32,
            first_level: first_level as u32,
            exact: self.exact[shard].generation(0),
            wildcard: self.wildcard_generation(first_level),
        };
        if let Some(exact) = self.shard(hash).read().find(hash, is(topic)) {
            exact.subscribers.append(found);
        }
        let tree = self.wildcard.read();
        if !tree.is_empty() {
            tree.visit_matches(topic, |subscribers| subscribers.append(found));
        }
        generation
    }

    /// True if anybody subscribes to a filter that begins with `$`. No other filter matches a topic
    /// that does [MQTT-4.7.2-1].
    pub(crate) fn has_reserved(&self) -> bool {
        self.reserved.load(Ordering::Acquire) > 0
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

fn is_reserved(pattern: &str) -> bool {
    pattern.starts_with('$')
}

fn is(topic: &str) -> impl Fn(&Exact) -> bool {
    move |exact| exact.filter.pattern() == topic
}

impl<T: Default, const COUNTS: usize> Default for Part<T, COUNTS> {
    fn default() -> Self {
        Self {
            generations: [const { AtomicU64::new(0) }; COUNTS],
            filters: RwLock::default(),
        }
    }
}

impl<T, const COUNTS: usize> Part<T, COUNTS> {
    fn generation(&self, index: usize) -> u64 {
        self.generations[index].load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.filters.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change and begins it. Who asks for the generation meanwhile waits for its end to
    /// look anything up.
    fn write(&self, index: usize) -> RwLockWriteGuard<'_, T> {
        let filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        self.generations[index].fetch_add(1, Ordering::AcqRel);
        filters
    }
}

#[cfg(test)]
mod tests;
