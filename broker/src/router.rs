//! Who receives a message: the routing table, shared by all.
//!
//! Filters without wildcards are in a sharded map, because most subscriptions are exact and a
//! lookup costs one hash; those with wildcards are in one tree. Publishers only read.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqtt::packet::SubscriptionOptions;
use mqtt::{FilterTree, Sharing, TopicFilter};

use crate::link::Link;
use crate::share::{Choice, ShareGroup};

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

/// A subscription that a message goes to.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) subscription: Subscription,
    /// The filter of the group that chose this member, if it is a Shared Subscription.
    pub(crate) share: Option<TopicFilter>,
}

/// Everybody who subscribes to one filter.
#[derive(Debug, Default)]
struct Subscribers {
    each: Vec<Subscription>,
    groups: Vec<ShareGroup>,
}

type Shard = HashMap<Box<str>, Subscribers>;

/// The subscriptions of all sessions.
#[derive(Debug)]
pub(crate) struct Router {
    hasher: RandomState,
    exact: Vec<RwLock<Shard>>,
    wildcard: RwLock<FilterTree<Subscribers>>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            exact: (0..SHARDS).map(|_| RwLock::default()).collect(),
            wildcard: RwLock::default(),
        }
    }

    fn shard(&self, topic: &str) -> &RwLock<Shard> {
        let hash = self.hasher.hash_one(topic);
        // The cast keeps the low bits, which is all that is wanted.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        &self.exact[hash as usize % SHARDS]
    }

    /// Makes or replaces the subscription of this session to this filter. False if the filter is
    /// another session's exclusively.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, subscription: Subscription) -> bool {
        let pattern = filter.pattern();
        if filter.has_wildcard() {
            let mut tree = write(&self.wildcard);
            tree.get_or_insert_default(pattern)
                .put(filter, subscription)
        } else {
            let mut shard = write(self.shard(pattern));
            let subscribers = shard.entry(pattern.into()).or_default();
            subscribers.put(filter, subscription)
        }
    }

    /// Removes the subscription of this session to this filter.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, link: &Link) {
        let pattern = filter.pattern();
        if filter.has_wildcard() {
            let mut tree = write(&self.wildcard);
            if tree
                .get_mut(pattern)
                .is_some_and(|subscribers| subscribers.remove(filter, link))
            {
                tree.remove(pattern);
            }
        } else {
            let mut shard = write(self.shard(pattern));
            if shard
                .get_mut(pattern)
                .is_some_and(|subscribers| subscribers.remove(filter, link))
            {
                shard.remove(pattern);
            }
        }
    }

    /// Appends every subscription that matches the topic, several for one session if several of
    /// its filters match, and one for each group.
    pub(crate) fn matches(&self, choice: Choice<'_>, found: &mut Vec<Match>) {
        let topic = choice.topic.as_str();
        if let Some(subscribers) = read(self.shard(topic)).get(topic) {
            subscribers.append(choice, found);
        }
        let tree = read(&self.wildcard);
        if !tree.is_empty() {
            tree.visit_matches(topic, |subscribers| subscribers.append(choice, found));
        }
    }

    /// The member of a group that a message goes to.
    pub(crate) fn choose(&self, share: &TopicFilter, choice: Choice<'_>) -> Option<Subscription> {
        let pattern = share.pattern();
        let of = |subscribers: &Subscribers| {
            let mut groups = subscribers.groups.iter();
            let group = groups.find(|group| group.filter == *share)?;
            group.choose(choice).cloned()
        };
        if share.has_wildcard() {
            read(&self.wildcard).get(pattern).and_then(of)
        } else {
            read(self.shard(pattern)).get(pattern).and_then(of)
        }
    }
}

impl Subscribers {
    fn put(&mut self, filter: &TopicFilter, new: Subscription) -> bool {
        if filter.sharing() != Sharing::Each {
            let known = self.groups.iter_mut().find(|it| it.filter == *filter);
            return match known {
                Some(group) => group.join(new),
                None => {
                    let mut group = ShareGroup::new(filter.clone());
                    let joined = group.join(new);
                    self.groups.push(group);
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
                .retain_mut(|group| group.filter != *filter || !group.leave(link));
        }
        self.each.is_empty() && self.groups.is_empty()
    }

    fn append(&self, choice: Choice<'_>, found: &mut Vec<Match>) {
        let each = self.each.iter().map(|subscription| Match {
            subscription: subscription.clone(),
            share: None,
        });
        found.extend(each);
        for group in &self.groups {
            found.extend(group.choose(choice).map(|subscription| Match {
                subscription: subscription.clone(),
                share: Some(group.filter.clone()),
            }));
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
