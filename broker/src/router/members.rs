//! The subscriptions of several sessions to one filter.

use indexmap::IndexMap;

use super::Subscription;
use crate::link::Link;

/// Room for so many more than there are is given back.
const SHRINK_FACTOR: usize = 4;

/// A list in which a session is found without going through it: there may be as many as there
/// are clients, and all may leave at once.
#[derive(Debug, Default)]
pub(crate) struct Members(IndexMap<usize, Subscription>);

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.0.values()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Subscription> {
        self.0.get_index(place).map(|(_, member)| member)
    }

    pub(crate) fn contains(&self, link: &Link) -> bool {
        self.0.contains_key(&address(link))
    }

    /// Adds a session's subscription or replaces it in its place.
    pub(crate) fn put(&mut self, subscription: Subscription) {
        self.0.insert(address(&subscription.link), subscription);
    }

    /// Removes a session's subscription; the last one takes its place.
    pub(crate) fn remove(&mut self, link: &Link) {
        self.0.swap_remove(&address(link));
        if self.0.len() < self.0.capacity() / SHRINK_FACTOR {
            self.0.shrink_to(2 * self.0.len());
        }
    }

    pub(super) fn pop(&mut self) -> Option<Subscription> {
        self.0.pop().map(|(_, member)| member)
    }
}

/// It tells sessions apart: a subscription keeps its link where it is.
fn address(link: &Link) -> usize {
    std::ptr::from_ref(link).addr()
}
