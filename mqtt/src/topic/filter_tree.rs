//! Values stored under Topic Filters with wildcards, visited by the names that match.
//!
//! A trie of levels. Matching walks at most one exact and one `+` branch per level and looks at
//! `#` on the way, so its cost depends on the branches that match and not on the number of
//! filters. Walks use an explicit stack: no recursion on topic depth.

use std::collections::HashMap;

/// A set of Topic Filters, each with a value.
#[derive(Clone, Debug)]
pub struct FilterTree<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// The value of the filter that ends here.
    value: Option<V>,
    /// The value of the filter that ends here with `/#`.
    multi_level: Option<V>,
    single_level: Option<Box<Self>>,
    exact: HashMap<Box<str>, Self>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            value: None,
            multi_level: None,
            single_level: None,
            exact: HashMap::new(),
        }
    }
}

impl<V> Default for FilterTree<V> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            len: 0,
        }
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.value.is_none()
            && self.multi_level.is_none()
            && self.single_level.is_none()
            && self.exact.is_empty()
    }

    fn child_mut(&mut self, level: &str) -> Option<&mut Self> {
        match level {
            "+" => self.single_level.as_deref_mut(),
            _ => self.exact.get_mut(level),
        }
    }

    fn child_or_insert(&mut self, level: &str) -> &mut Self {
        match level {
            "+" => self.single_level.get_or_insert_default(),
            _ => self.exact.entry(level.into()).or_default(),
        }
    }

    fn remove_child(&mut self, level: &str) {
        match level {
            "+" => self.single_level = None,
            _ => {
                self.exact.remove(level);
            }
        }
    }
}

impl<V> FilterTree<V> {
    /// The number of filters.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if there is no filter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of exactly this filter, made by `V::default` if it is new.
    pub fn get_or_insert_default(&mut self, filter: &str) -> &mut V
    where
        V: Default,
    {
        let mut node = &mut self.root;
        let (levels, multi_level) = split_multi_level(filter);
        for level in levels {
            node = node.child_or_insert(level);
        }
        let slot = if multi_level {
            &mut node.multi_level
        } else {
            &mut node.value
        };
        if slot.is_none() {
            self.len += 1;
        }
        slot.get_or_insert_default()
    }

    /// The value of exactly this filter.
    #[must_use]
    pub fn get(&self, filter: &str) -> Option<&V> {
        let mut node = &self.root;
        let (levels, multi_level) = split_multi_level(filter);
        for level in levels {
            node = match level {
                "+" => node.single_level.as_deref()?,
                _ => node.exact.get(level)?,
            };
        }
        if multi_level {
            node.multi_level.as_ref()
        } else {
            node.value.as_ref()
        }
    }

    /// The value of exactly this filter.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut V> {
        let mut node = &mut self.root;
        let (levels, multi_level) = split_multi_level(filter);
        for level in levels {
            node = node.child_mut(level)?;
        }
        if multi_level {
            node.multi_level.as_mut()
        } else {
            node.value.as_mut()
        }
    }

    /// Removes exactly this filter, and the branch that nothing else needs.
    pub fn remove(&mut self, filter: &str) -> Option<V> {
        let (levels, multi_level) = split_multi_level(filter);
        let levels: Vec<&str> = levels.collect();
        let mut node = &mut self.root;
        for level in &levels {
            node = node.child_mut(level)?;
        }
        let slot = if multi_level {
            &mut node.multi_level
        } else {
            &mut node.value
        };
        let value = slot.take()?;
        self.len -= 1;
        self.prune(&levels);
        Some(value)
    }

    /// Removes the empty end of the branch `levels`, if its end is empty.
    fn prune(&mut self, levels: &[&str]) {
        // The deepest node that stays: everything below it on this branch is empty and alone.
        let mut keep = 0;
        let mut node = &mut self.root;
        for (depth, level) in levels.iter().enumerate() {
            let others = node.exact.len() + usize::from(node.single_level.is_some()) > 1;
            if others || node.value.is_some() || node.multi_level.is_some() {
                keep = depth;
            }
            match node.child_mut(level) {
                Some(child) => node = child,
                None => return,
            }
        }
        if !node.is_empty() || levels.is_empty() {
            return;
        }
        let mut node = &mut self.root;
        for level in &levels[..keep] {
            match node.child_mut(level) {
                Some(child) => node = child,
                None => return,
            }
        }
        node.remove_child(levels[keep]);
    }

    /// Visits the value of every filter that matches `name`, in no particular order.
    pub fn visit_matches<'t>(&'t self, name: &str, mut visit: impl FnMut(&'t V)) {
        // `$` topics are not matched by a wildcard in the first level [MQTT-4.7.2-1].
        let reserved = name.starts_with('$');
        let mut stack: Vec<(&Node<V>, Option<&str>)> = vec![(&self.root, Some(name))];
        let mut first = true;
        while let Some((node, rest)) = stack.pop() {
            let wildcards = !(first && reserved);
            first = false;
            if wildcards && let Some(value) = &node.multi_level {
                visit(value);
            }
            let Some(rest) = rest else {
                node.value.iter().for_each(&mut visit);
                continue;
            };
            let (level, tail) = match rest.split_once('/') {
                Some((level, tail)) => (level, Some(tail)),
                None => (rest, None),
            };
            if wildcards && let Some(child) = &node.single_level {
                stack.push((child, tail));
            }
            if let Some(child) = node.exact.get(level) {
                stack.push((child, tail));
            }
        }
    }
}

/// The levels of a filter, and whether it ends with `#` (which is then not among them).
fn split_multi_level(filter: &str) -> (impl Iterator<Item = &str>, bool) {
    let (levels, multi_level) = match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(parent) => (Some(parent.strip_suffix('/').unwrap_or(parent)), true),
        None => (Some(filter), false),
    };
    (
        levels.into_iter().flat_map(|levels| levels.split('/')),
        multi_level,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TopicFilter;

    fn matches(tree: &FilterTree<String>, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.visit_matches(name, |value| found.push(value.clone()));
        found.sort();
        found
    }

    #[test]
    fn removing_leaves_nothing_behind() {
        let mut tree = FilterTree::default();
        for filter in ["a/b/c", "a/b/#", "#", "+/+", "a/+/c"] {
            *tree.get_or_insert_default(filter) = filter.to_owned();
        }
        assert_eq!(tree.len(), 5);
        for filter in ["a/b/c", "#", "a/+/c", "a/b/#", "+/+"] {
            assert_eq!(tree.remove(filter).as_deref(), Some(filter));
            assert_eq!(tree.remove(filter), None);
        }
        assert!(tree.is_empty() && tree.root.is_empty());
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof!["", "a", "b", "[$]s"].prop_map(|level: String| level)
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |name| !name.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop_oneof![level(), Just("+".to_owned())], 0..4);
        (levels, any::<bool>())
            .prop_map(|(mut levels, multi_level)| {
                if multi_level {
                    levels.push("#".to_owned());
                }
                levels.join("/")
            })
            .prop_filter("not empty", |filter| !filter.is_empty())
    }

    proptest! {
        // Conforms: 5.0 [MQTT-4.7.2-1]; 3.1.1 [MQTT-4.7.2-1]
        #[test]
        fn tree_agrees_with_matching_one_by_one(
            filters in prop::collection::btree_set(filter(), 0..12),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            names in prop::collection::vec(name(), 1..8),
        ) {
            let mut tree = FilterTree::default();
            let mut model: Vec<String> = filters.into_iter().collect();
            for filter in &model {
                *tree.get_or_insert_default(filter) = filter.clone();
            }
            for index in removed {
                if !model.is_empty() {
                    let filter = model.remove(index.index(model.len()));
                    prop_assert_eq!(tree.remove(&filter), Some(filter));
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            for name in names {
                let expected: Vec<String> = model
                    .iter()
                    .filter(|filter| TopicFilter::new(filter).unwrap().matches(&name))
                    .cloned()
                    .collect();
                prop_assert_eq!(matches(&tree, &name), expected);
            }
        }
    }
}
