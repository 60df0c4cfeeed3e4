//! Shared Subscriptions (MQTT 5.0 §4.8.2): who of a group receives a message.
//!
//! An exclusive subscription is a group that never has a second member.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqtt::{Sharing, TopicFilter, TopicName};

use crate::link::{Link, Readiness};
use crate::router::{Members, Subscription};

/// Members that are asked in a row whether they can take a message. Each of them is locked, and a
/// choice asks twice as many at most.
pub(crate) const ASKED_MAX: usize = 16;

/// How a group chooses among its members. Whatever it chooses, a member that cannot take a
/// message at the moment is passed over for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ShareStrategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// Always the same, until it is gone or does not keep up.
    Sticky,
    /// The same for all messages of one publisher.
    HashClientId,
    /// The same for all messages of one topic.
    HashTopic,
}

/// The members of one group for one filter.
#[derive(Debug)]
pub(crate) struct ShareGroup {
    /// The whole filter, with the Share Name.
    pub(crate) filter: TopicFilter,
    members: RwLock<Members>,
    /// Whose turn it is, as far as the strategy needs to know.
    turn: AtomicUsize,
    /// Where a member was ready last, or is looked for next, when those whose turn it is are not.
    elsewhere: AtomicUsize,
    hasher: RandomState,
}

/// What a choice may depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) strategy: ShareStrategy,
    pub(crate) topic: &'a TopicName,
    /// The Client Identifier of the publisher; empty for the daemon itself.
    pub(crate) publisher: &'a str,
}

/// What some members of a group say of themselves.
#[derive(Clone, Copy, Debug)]
struct Asked {
    readiness: Readiness,
    /// The first of which that is true; none if all of them have ended.
    best: Option<usize>,
    /// Who was asked last.
    last: usize,
}

impl Asked {
    /// Asks one after the other until one is ready. Those that have ended are about to leave, and
    /// do not count.
    fn ask(members: &Members, first: usize) -> Self {
        let count = members.len();
        let mut asked = Self {
            readiness: Readiness::Ended,
            best: None,
            last: first,
        };
        let mut left = ASKED_MAX;
        for index in (0..count).map(|offset| first.wrapping_add(offset) % count) {
            let Some(member) = members.get(index) else {
                break;
            };
            let readiness = member.link.readiness();
            if readiness > asked.readiness {
                asked.readiness = readiness;
                asked.best = Some(index);
            }
            asked.last = index;
            left -= usize::from(readiness > Readiness::Ended);
            if left == 0 || readiness == Readiness::Ready {
                break;
            }
        }
        asked
    }
}

impl ShareGroup {
    pub(crate) fn new(filter: TopicFilter) -> Self {
        Self {
            filter,
            members: RwLock::default(),
            turn: AtomicUsize::new(0),
            elsewhere: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }

    fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn members_mut(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a member or replaces its subscription. False if the group is another's alone.
    pub(crate) fn join(&self, subscription: Subscription) -> bool {
        let mut members = self.members_mut();
        let is_exclusive = self.filter.sharing() == Sharing::Exclusive;
        if is_exclusive && !members.is_empty() && !members.contains(&subscription.link) {
            return false;
        }
        members.put(subscription);
        true
    }

    /// Removes a member; true if none is left.
    pub(crate) fn leave(&self, link: &Link) -> bool {
        let mut members = self.members_mut();
        members.remove(link);
        members.is_empty()
    }

    /// True if a member meets the condition.
    pub(crate) fn any(&self, condition: impl Fn(&Subscription) -> bool) -> bool {
        self.members().iter().any(condition)
    }

    /// The highest of what its members have.
    pub(crate) fn highest<T: Ord>(&self, of: impl Fn(&Subscription) -> Option<T>) -> Option<T> {
        self.members().iter().filter_map(of).max()
    }

    /// The member that is to receive a message: the strategy's choice, or the next that can take
    /// it at once; else one that is connected; else one whose session waits for it. This is so of
    /// the members that are asked: in a large group of which many take nothing, one choice after
    /// the other looks on for one that does.
    pub(crate) fn choose(&self, choice: Choice<'_>) -> Option<Subscription> {
        let members = self.members();
        let first = match choice.strategy {
            ShareStrategy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed),
            ShareStrategy::Sticky => self.turn.load(Ordering::Relaxed),
            ShareStrategy::Random => self.hash(self.turn.fetch_add(1, Ordering::Relaxed)),
            ShareStrategy::HashClientId => self.hash(choice.publisher),
            ShareStrategy::HashTopic => self.hash(choice.topic),
        };
        let mut asked = Asked::ask(&members, first);
        if asked.readiness < Readiness::Ready && members.len() > ASKED_MAX {
            let elsewhere = Asked::ask(&members, self.elsewhere.load(Ordering::Relaxed));
            self.elsewhere.store(elsewhere.last, Ordering::Relaxed);
            if elsewhere.readiness > asked.readiness {
                asked = elsewhere;
            }
        }
        let index = asked.best?;
        if choice.strategy == ShareStrategy::Sticky {
            self.turn.store(index, Ordering::Relaxed);
        }
        members.get(index).cloned()
    }

    fn hash(&self, value: impl Hash) -> usize {
        // The cast keeps the low bits, which is all that is wanted.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let hash = self.hasher.hash_one(value) as usize;
        hash
    }
}
