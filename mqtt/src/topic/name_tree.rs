//! Values that have Topic Names, visited by the filters that match: retained messages.
//!
//! An ordered set. A search goes on behind what it has looked at where the next match can be, so
//! `plant/line1/#` costs what it finds, and `+/line1/#` that and one look at each plant.

mod search;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use search::Search;

use crate::{Message, TopicFilter, TopicName};

/// What has a Topic Name, which never changes.
pub trait HasTopic {
    /// The name.
    fn topic(&self) -> &TopicName;
}

/// Values of which each has another Topic Name, which can be searched with Topic Filters.
#[derive(Clone, Debug)]
pub struct NameTree<V> {
    values: BTreeSet<ByTopic<V>>,
}

/// A value in the order of names; one pointer for each, since the name is in the value.
#[derive(Clone, Debug)]
struct ByTopic<V>(V);

impl HasTopic for TopicName {
    fn topic(&self) -> &TopicName {
        self
    }
}

impl HasTopic for Arc<Message> {
    fn topic(&self) -> &TopicName {
        &self.topic
    }
}

impl<V: HasTopic> Borrow<str> for ByTopic<V> {
    fn borrow(&self) -> &str {
        self.0.topic().as_str()
    }
}

impl<V: HasTopic> PartialEq for ByTopic<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
    }
}

impl<V: HasTopic> Eq for ByTopic<V> {}

impl<V: HasTopic> PartialOrd for ByTopic<V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<V: HasTopic> Ord for ByTopic<V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic().cmp(other.0.topic())
    }
}

impl<V> Default for NameTree<V> {
    fn default() -> Self {
        Self {
            values: BTreeSet::new(),
        }
    }
}

impl<V: HasTopic> NameTree<V> {
    /// The number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True if there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Stores a value and returns the one of its name that it replaces.
    pub fn insert(&mut self, value: V) -> Option<V> {
        self.values.replace(ByTopic(value)).map(|it| it.0)
    }

    /// The value of exactly this name.
    #[must_use]
    pub fn get(&self, name: &TopicName) -> Option<&V> {
        self.values.get(name.as_str()).map(|it| &it.0)
    }

    /// Removes exactly this name.
    pub fn remove(&mut self, name: &TopicName) -> Option<V> {
        self.values.take(name.as_str()).map(|it| it.0)
    }

    /// Keeps only those for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.values.retain(|it| keep(&it.0));
    }

    /// The values whose names `filter` matches and that come after `after`, in the order of
    /// names.
    pub fn matches<'t>(
        &'t self,
        filter: &'t TopicFilter,
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = &'t V> {
        let looks = self.search(filter, after);
        looks.filter_map(|(value, is_match)| is_match.then_some(value))
    }

    /// The values that are looked at to find those whose names `filter` matches, and whether they
    /// are such. So a search, whatever it finds, can be done in pieces.
    pub fn search<'t>(
        &'t self,
        filter: &'t TopicFilter,
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = (&'t V, bool)> {
        let start = after.map_or(Bound::Unbounded, |it| Bound::Excluded(it.as_str()));
        Search::new(&self.values, filter.pattern(), start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Conforms: 5.0 [MQTT-4.7.2-1]; 3.1.1 [MQTT-4.7.2-1]
    #[test]
    fn filters_find_names_in_order_and_in_pieces() {
        let mut tree = NameTree::default();
        for name in ["a", "a/b", "a/b/c", "a-b", "ab", "b", "$SYS/x", "/a"] {
            tree.insert(TopicName::new(name).unwrap());
        }
        let table: [(&str, &[&str]); 7] = [
            ("a/#", &["a", "a/b", "a/b/c"]),
            ("a/+", &["a/b"]),
            ("+", &["a", "a-b", "ab", "b"]),
            ("#", &["/a", "a", "a-b", "a/b", "a/b/c", "ab", "b"]),
            ("$SYS/#", &["$SYS/x"]),
            ("a/b", &["a/b"]),
            ("x/#", &[]),
        ];
        for (filter, expected) in table {
            let filter = TopicFilter::new(filter).unwrap();
            let all: Vec<_> = tree.matches(&filter, None).map(TopicName::as_str).collect();
            assert_eq!(all, expected, "{filter}");
            let mut pieces = Vec::new();
            let mut after = None;
            while let Some(name) = tree.matches(&filter, after).next() {
                pieces.push(name.as_str());
                after = Some(name);
            }
            assert_eq!(pieces, expected, "{filter} in pieces");
        }
    }

    #[test]
    fn a_search_may_begin_before_the_first_match() {
        let mut tree = NameTree::default();
        for name in ["a", "b", "c/d"] {
            tree.insert(TopicName::new(name).unwrap());
        }
        let (filter, after) = (TopicFilter::new("c/#"), TopicName::new("a"));
        let (filter, after) = (filter.unwrap(), after.unwrap());
        assert_eq!(tree.matches(&filter, Some(&after)).count(), 1);
    }

    #[test]
    fn a_search_looks_only_where_matches_can_be() {
        let mut tree = NameTree::default();
        for index in 0..10_000 {
            let name = format!("site/{}/device/{index}/state", index % 10);
            tree.insert(TopicName::new(&name).unwrap());
        }
        // Most looks are to find out that something ends, and where the next begins.
        let table = [
            ("#", 10_000, 0),
            ("site/7/#", 1_000, 2),
            ("+/7/device/+/state", 1_000, 3),
            ("+/+/device/17/state", 1, 22),
            ("+/+/device/+/none", 0, 10_000),
            ("site/7", 0, 2),
            ("site", 0, 1),
            ("site/7/device/17/state", 1, 3),
            ("a/#", 0, 1),
            ("x/#", 0, 1),
            ("+", 0, 1),
            ("+/x", 0, 2),
            ("+/+/x/#", 0, 11),
        ];
        for (filter, found, others) in table {
            let filter = TopicFilter::new(filter).unwrap();
            assert_eq!(tree.matches(&filter, None).count(), found, "{filter}");
            let looks = tree.search(&filter, None).count() - found;
            assert!(looks <= others, "{filter}: {looks}");
        }
    }

    fn topic(levels: &'static [&'static str]) -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop::sample::select(levels), 1..4);
        levels.prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn tree_agrees_with_matching_one_by_one(
            names in prop::collection::btree_set(topic(&["", "a", "a-", "a0", "ab", "$s"]), 0..40),
            filters in prop::collection::vec(topic(&["", "a", "a-", "a0", "$s", "+", "#"]), 1..8),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            after in topic(&["", "a", "ab"]),
        ) {
            let mut tree = NameTree::default();
            let mut model: Vec<TopicName> = names.iter().flat_map(|it| TopicName::new(it)).collect();
            for name in &model {
                tree.insert(name.clone());
            }
            for index in removed {
                if !model.is_empty() {
                    let name = model.remove(index.index(model.len()));
                    prop_assert_eq!(tree.remove(&name), Some(name));
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            let after = TopicName::new(&after).ok();
            for filter in filters.iter().flat_map(|it| TopicFilter::new(it)) {
                let found: Vec<_> = tree.matches(&filter, after.as_ref()).collect();
                let matching = model.iter().filter(|it| filter.matches(it.as_str()));
                let expected: Vec<_> = matching
                    .filter(|it| after.as_ref().is_none_or(|after| *it > after))
                    .collect();
                prop_assert_eq!(found, expected, "{}", filter);
            }
        }
    }
}
