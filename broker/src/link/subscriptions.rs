//! What a session is subscribed to.

use std::collections::{HashSet, hash_set};

use mqtt::{Sharing, TopicFilter};

/// A set that uses only this part of itself becomes smaller.
const SHRINK_PARTS: usize = 4;

/// The filters of a session. The routing table has its subscriptions to them.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Their texts are those of the table.
    filters: HashSet<TopicFilter>,
    /// Shared Subscriptions among them.
    shared: usize,
}

impl Subscriptions {
    /// How many there are, and how many of them are Shared Subscriptions.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.filters.len(), self.shared)
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.filters.contains(filter)
    }

    pub(crate) fn iter(&self) -> hash_set::Iter<'_, TopicFilter> {
        self.filters.iter()
    }

    /// Notes a subscription; true if it is new.
    pub(crate) fn insert(&mut self, filter: TopicFilter) -> bool {
        let shared = usize::from(is_shared(&filter));
        let is_new = self.filters.insert(filter);
        if is_new {
            self.shared += shared;
        }
        is_new
    }

    /// Forgets a subscription; false if there was none.
    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> bool {
        let existed = self.filters.remove(filter);
        if existed {
            self.shared -= usize::from(is_shared(filter));
        }
        let (count, capacity) = (self.filters.len(), self.filters.capacity());
        if count <= capacity / SHRINK_PARTS {
            self.filters.shrink_to(2 * count);
        }
        existed
    }

    /// The Shared Subscriptions.
    pub(crate) fn into_shared(self) -> impl Iterator<Item = TopicFilter> {
        let filters = if self.shared > 0 {
            self.filters
        } else {
            HashSet::new()
        };
        filters.into_iter().filter(is_shared)
    }
}

fn is_shared(filter: &TopicFilter) -> bool {
    matches!(filter.sharing(), Sharing::Group(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_ones_are_counted_among_all() {
        let mut subscriptions = Subscriptions::default();
        let filter = |text: &str| TopicFilter::new(text).unwrap();
        let texts = ["a", "$share/g/a", "$exclusive/a", "$share/h/a"];
        for text in texts {
            assert!(subscriptions.insert(filter(text)));
            assert!(!subscriptions.insert(filter(text)), "it is there already");
        }
        assert_eq!(subscriptions.counts(), (4, 2));
        assert!(subscriptions.remove(&filter("$share/g/a")));
        assert!(!subscriptions.remove(&filter("$share/g/a")));
        assert!(subscriptions.remove(&filter("a")));
        assert_eq!(subscriptions.counts(), (2, 1));
        let shared: Vec<_> = subscriptions.into_shared().collect();
        assert_eq!(shared, [filter("$share/h/a")]);
    }

    #[test]
    fn memory_that_is_not_needed_any_more_is_given_back() {
        let mut subscriptions = Subscriptions::default();
        let filter = |number: usize| TopicFilter::new(&number.to_string()).unwrap();
        (0..1_000).for_each(|it| assert!(subscriptions.insert(filter(it))));
        (10..1_000).for_each(|it| assert!(subscriptions.remove(&filter(it))));
        assert!(subscriptions.filters.capacity() < 100);
        (0..10).for_each(|it| assert!(subscriptions.remove(&filter(it))));
        assert_eq!(subscriptions.filters.capacity(), 0);
    }
}
