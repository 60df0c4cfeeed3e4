//! Who receives a message: the routing table, shared by all.
//!
//! Filters without wildcards are in a sharded map, because most subscriptions are exact and a
//! lookup costs one hash; those with wildcards are in one tree. Publishers only read.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqtt::packet::SubscriptionOptions;
use mqtt::{FilterTree, Sharing, TopicFilter};

use crate::link::Link;
use crate::share::ShareGroup;

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

/// Everybody who subscribes to one filter.
#[derive(Debug, Default)]
struct Subscribers {
    each: Vec<Subscription>,
    groups: Vec<Arc<ShareGroup>>,
}

/// A part of the table, with a count of its changes, which are counted under the lock.
#[derive(Debug, Default)]
struct Part<T> {
    generation: AtomicU64,
    filters: RwLock<T>,
}

type Shard = Part<HashMap<Box<str>, Subscribers>>;

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

    fn shard_index(&self, topic: &str) -> usize {
        let hash = self.hasher.hash_one(topic);
        // The cast keeps the low bits, which is all that is wanted.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let low = hash as usize;
        low % SHARDS
    }

    fn shard(&self, topic: &str) -> &Shard {
        &self.exact[self.shard_index(topic)]
    }

    /// The present state of the table for a topic; asked for before what is to be kept is looked
    /// up.
    pub(crate) fn generation(&self, topic: &str) -> Generation {
        let shard = self.shard_index(topic);
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
            let mut shard = self.shard(pattern).write();
            let subscribers = shard.entry(pattern.into()).or_default();
            subscribers.put(filter, subscription)
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
            let mut shard = self.shard(pattern).write();
            if shard
                .get_mut(pattern)
                .is_some_and(|subscribers| subscribers.remove(filter, link))
            {
                shard.remove(pattern);
            }
        }
    }

    /// Appends every subscription that matches the topic, several for one session if several of
    /// its filters match, and each group.
    pub(crate) fn matches(&self, topic: &str, found: &mut Vec<Match>) {
        if let Some(subscribers) = self.shard(topic).read().get(topic) {
            subscribers.append(found);
        }
        let tree = self.wildcard.read();
        if !tree.is_empty() {
            tree.visit_matches(topic, |subscribers| subscribers.append(found));
        }
    }

    /// The group of a Shared Subscription, if it has members.
    pub(crate) fn group(&self, share: &TopicFilter) -> Option<Arc<ShareGroup>> {
        let pattern = share.pattern();
        let of = |subscribers: &Subscribers| {
            let mut groups = subscribers.groups.iter();
            groups.find(|group| group.filter == *share).cloned()
        };
        if share.has_wildcard() {
            self.wildcard.read().get(pattern).and_then(of)
        } else {
            self.shard(pattern).read().get(pattern).and_then(of)
        }
    }
}

impl Subscribers {
    fn put(&mut self, filter: &TopicFilter, new: Subscription) -> bool {
        if filter.sharing() != Sharing::Each {
            let known = self.groups.iter().find(|it| it.filter == *filter);
            return match known {
                Some(group) => group.join(new),
                None => {
                    let group = ShareGroup::new(filter.clone());
                    let joined = group.join(new);
                    self.groups.push(Arc::new(group));
                    joined
                }
            };
        }
        let mut each = self.each.iter_mut();
        match each.find(|old| Arc::ptr_eq(&old.link, &new.link)) {
            Some(old) => *old = new,
            None => self.each.push(new),
        }
        true
    }

    /// Removes the session's subscription; true if none is left.
    fn remove(&mut self, filter: &TopicFilter, link: &Link) -> bool {
        if filter.sharing() == Sharing::Each {
            self.each.retain(|it| !std::ptr::eq(&*it.link, link));
        } else {
            self.groups
                .retain(|group| group.filter != *filter || !group.leave(link));
        }
        self.each.is_empty() && self.groups.is_empty()
    }

    fn append(&self, found: &mut Vec<Match>) {
        found.extend(self.each.iter().cloned().map(Match::Each));
        found.extend(self.groups.iter().cloned().map(Match::Group));
    }
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
