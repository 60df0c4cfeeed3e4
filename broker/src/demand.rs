//! What clients subscribe to, as a transparent bridge mirrors it at its hub.
//!
//! While such a bridge runs, who makes or ends a subscription notes its filter; how it stands is
//! asked of the routing table when the bridge wants to know. Otherwise nothing is noted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use gateway::Wanted;
use mqtt::{Sharing, TopicFilter};

use crate::exchange::Exchange;
use crate::gateways::{GATEWAY_PREFIX, Mirrored};
use crate::link::Link;

/// Filters that have changed and that a bridge has not asked for, as while its hub is away. When
/// there are more it is told of all filters anew.
const CHANGES_MAX: usize = 1_024;

/// Who wants to know what clients subscribe to.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    pub(crate) mirrored: Mirrored,
    is_watched: AtomicBool,
    feeds: Mutex<Vec<Weak<Feed>>>,
}

/// The changes that one bridge has not asked for.
#[derive(Debug)]
pub(crate) struct Feed(Mutex<Changes>);

#[derive(Debug)]
struct Changes {
    /// Of which there are too many to tell them one by one.
    is_all: bool,
    filters: HashSet<TopicFilter>,
    waker: Option<Waker>,
}

impl Demand {
    /// Notes changes from here on; all filters are the first.
    pub(crate) fn watch(&self) -> Arc<Feed> {
        let feed = Arc::new(Feed(Mutex::new(Changes {
            is_all: true,
            filters: HashSet::new(),
            waker: None,
        })));
        let mut feeds = self.feeds();
        feeds.push(Arc::downgrade(&feed));
        // Under the lock. Who subscribes and does not see it has done so before the routing table
        // is asked, because both have had its lock.
        self.is_watched.store(true, Ordering::Release);
        drop(feeds);
        feed
    }

    /// Something about the subscriptions to a filter has changed, in the session and in the
    /// routing table.
    pub(crate) fn note(&self, filter: &TopicFilter) {
        if !self.is_watched.load(Ordering::Acquire) {
            return;
        }
        let Some(filter) = plain(filter) else {
            return;
        };
        let mut feeds = self.feeds();
        feeds.retain(|feed| {
            let feed = feed.upgrade();
            feed.is_some_and(|feed| {
                feed.note(&filter);
                true
            })
        });
        let is_watched = !feeds.is_empty();
        self.is_watched.store(is_watched, Ordering::Release);
    }

    fn feeds(&self) -> MutexGuard<'_, Vec<Weak<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, filter: &TopicFilter) {
        let mut changes = self.changes();
        if !changes.is_all {
            changes.filters.insert(filter.clone());
            if changes.filters.len() > CHANGES_MAX {
                changes.filters = HashSet::new();
                changes.is_all = true;
            }
        }
        let waker = changes.waker.take();
        drop(changes);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready when there are changes.
    pub(crate) fn poll(&self, exchange: &Exchange, context: &Context<'_>) -> Poll<Wanted> {
        let mut changes = self.changes();
        if !changes.is_all && changes.filters.is_empty() {
            changes.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let is_all = std::mem::take(&mut changes.is_all);
        let mut filters = std::mem::take(&mut changes.filters);
        // What changes from here on is noted again.
        drop(changes);
        if is_all {
            filters = exchange.subscribed();
        }
        let filters = filters.into_iter().map(|filter| {
            let qos = exchange.router.wanted(filter.pattern());
            (filter, qos)
        });
        Poll::Ready(Wanted {
            is_all,
            filters: filters.collect(),
        })
    }
}

impl Exchange {
    /// The filters of all sessions of clients, also of those who are away.
    fn subscribed(&self) -> HashSet<TopicFilter> {
        let mut filters = HashSet::new();
        let links = self.registry.links().into_iter();
        for link in links.filter(|it| is_client(it)) {
            filters.extend(link.lock().subscriptions.iter().filter_map(plain));
        }
        filters
    }
}

/// What is mirrored of a filter: what messages are matched against. None if it begins with `$`:
/// that means something at this broker only; or if hubs may not stand it.
fn plain(filter: &TopicFilter) -> Option<TopicFilter> {
    let pattern = filter.pattern();
    // Some hubs close the connection because of characters that a filter should not have
    // [MQTT-1.5.4-2], and would do so again and again.
    if pattern.starts_with('$') || pattern.contains(is_discouraged) {
        return None;
    }
    match filter.sharing() {
        Sharing::Each => Some(filter.clone()),
        Sharing::Group(_) | Sharing::Exclusive => TopicFilter::new(pattern).ok(),
    }
}

/// Control characters and what Unicode says is none (§1.5.4).
fn is_discouraged(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// Whether a session is not that of a gateway, or of a bridge on either side: two brokers that
/// mirror each other would keep each other's filters for ever.
pub(crate) fn is_client(link: &Link) -> bool {
    !link.is_bridge.load(Ordering::Relaxed) && !link.client_id.starts_with(GATEWAY_PREFIX)
}

#[cfg(test)]
mod tests;
