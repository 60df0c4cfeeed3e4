//! Values stored under Topic Filters with wildcards, visited by the names that match.
//!
//! A trie of levels. Levels that nothing branches off from share one node, so most filters cost one
//! node. Matching walks at most one exact and one `+` branch per level and looks at `#` on the
//! way, so its cost depends on the branches that match and not on the number of filters. Walks
//! use an explicit stack: no recursion on topic depth.

mod children;
mod node;

use std::hash::RandomState;

use node::{Below, Node, common_levels, first_level, strip_levels};

use super::filter::split_level;

/// A set of Topic Filters, each with a value.
#[derive(Clone, Debug)]
pub struct FilterTree<V> {
    root: Node<V>,
    len: usize,
    hasher: RandomState,
}

impl<V> Default for FilterTree<V> {
    fn default() -> Self {
        Self {
            root: Node::new(""),
            len: 0,
            hasher: RandomState::new(),
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
        let (mut rest, multi_level) = split_multi_level(filter);
        let mut node = &mut self.root;
        while let Some(levels) = rest {
            node = node.child_or_insert(levels, &self.hasher);
            let common = common_levels(&node.levels, levels);
            if common < node.levels.len() {
                node.split(common, &self.hasher);
            }
            rest = levels.get(common + 1..);
        }
        let slot = if multi_level {
            &mut node.below.get_or_insert_default().multi_level
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
        let (mut rest, multi_level) = split_multi_level(filter);
        let mut node = &self.root;
        while let Some(levels) = rest {
            node = node.child(first_level(levels), &self.hasher)?;
            rest = strip_levels(levels, &node.levels)?;
        }
        if multi_level {
            node.multi_level()
        } else {
            node.value.as_ref()
        }
    }

    /// The value of exactly this filter.
    pub fn get_mut(&mut self, filter: &str) -> Option<&mut V> {
        self.slot(filter)?.as_mut()
    }

    fn slot(&mut self, filter: &str) -> Option<&mut Option<V>> {
        let (mut rest, multi_level) = split_multi_level(filter);
        let mut node = &mut self.root;
        while let Some(levels) = rest {
            node = node.child_mut(first_level(levels), &self.hasher)?;
            rest = strip_levels(levels, &node.levels)?;
        }
        if multi_level {
            Some(&mut node.below.as_mut()?.multi_level)
        } else {
            Some(&mut node.value)
        }
    }

    /// Removes exactly this filter, and the branch that nothing else needs.
    pub fn remove(&mut self, filter: &str) -> Option<V> {
        let value = self.slot(filter)?.take()?;
        self.len -= 1;
        self.prune(split_multi_level(filter).0);
        Some(value)
    }

    /// Removes what the node at the end of these levels is not needed for any more.
    fn prune(&mut self, levels: Option<&str>) {
        let mut node = &mut self.root;
        let mut is_root = true;
        let mut rest = levels;
        while let Some(levels) = rest {
            let level = first_level(levels);
            let child = node.child(level, &self.hasher);
            rest = child.and_then(|it| strip_levels(levels, &it.levels).flatten());
            if rest.is_none() {
                node.tidy_child(level, &self.hasher);
                break;
            }
            match node.child_mut(level, &self.hasher) {
                Some(child) => node = child,
                None => return,
            }
            is_root = false;
        }
        // The root has no levels that it could share with a child.
        if is_root {
            node.below.take_if(|below| below.is_empty());
        } else {
            node.tidy();
        }
    }

    /// Visits the value of every filter that matches `name`, in no particular order.
    pub fn visit_matches<'t>(&'t self, name: &str, mut visit: impl FnMut(&'t V)) {
        // The branches that are still to be walked.
        let mut branches = Vec::new();
        let mut next = None;
        if let Some(below) = &self.root.below {
            // `$` topics are not matched by a wildcard in the first level [MQTT-4.7.2-1].
            let wildcards = !name.starts_with('$');
            below
                .multi_level
                .iter()
                .filter(|_| wildcards)
                .for_each(&mut visit);
            next = below.branch(name, wildcards, &self.hasher, &mut branches);
        }
        while let Some(branch) = next.take().or_else(|| branches.pop()) {
            let Some(behind) = branch.rest() else {
                continue;
            };
            let Node { value, below, .. } = branch.node;
            if let Some(below) = below {
                below.multi_level.iter().for_each(&mut visit);
                next =
                    behind.and_then(|name| below.branch(name, true, &self.hasher, &mut branches));
            }
            value
                .iter()
                .filter(|_| behind.is_none())
                .for_each(&mut visit);
        }
    }
}

impl<V> Below<V> {
    /// The child that goes on like a name; the other one, if wildcards count, joins the branches.
    fn branch<'t, 'n>(
        &'t self,
        name: &'n str,
        wildcards: bool,
        hasher: &RandomState,
        branches: &mut Vec<Branch<'t, 'n, V>>,
    ) -> Option<Branch<'t, 'n, V>> {
        let (level, behind) = split_level(name);
        let single_level = self.single_level.as_ref().filter(|_| wildcards);
        branches.extend(single_level.map(|node| Branch {
            node,
            first: 1,
            behind,
        }));
        Some(Branch {
            node: self.exact.get(level, hasher)?,
            first: level.len(),
            behind,
        })
    }
}

/// A node whose first level matches a name's.
struct Branch<'t, 'n, V> {
    node: &'t Node<V>,
    /// Bytes of this level in the node.
    first: usize,
    /// What of the name follows behind it.
    behind: Option<&'n str>,
}

impl<'n, V> Branch<'_, 'n, V> {
    /// What of the name follows behind all levels of the node, or None if they do not match.
    #[expect(
        clippy::option_option,
        reason = "nothing may follow, or an empty level"
    )]
    fn rest(&self) -> Option<Option<&'n str>> {
        let mut more = self.node.levels.get(self.first + 1..);
        let mut rest = self.behind;
        while let Some(levels) = more {
            let (level, behind) = split_level(levels);
            let (head, tail) = split_level(rest?);
            if level != "+" && level != head {
                return None;
            }
            (more, rest) = (behind, tail);
        }
        Some(rest)
    }
}

/// The levels of a filter, and whether it ends with `#` (which is then not among them).
fn split_multi_level(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(parent) => (Some(parent.strip_suffix('/').unwrap_or(parent)), true),
        None => (Some(filter), false),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::TopicFilter;

    fn matches(tree: &FilterTree<String>, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.visit_matches(name, |value| found.push(value.clone()));
        found.sort();
        found
    }

    /// The number of filters at a node and below. Asserts that there is nothing that no filter
    /// needs, and that no two nodes could be one.
    fn assert_tidy<V>(node: &Node<V>, is_root: bool) -> usize {
        let Some(below) = &node.below else {
            assert!(is_root || node.value.is_some(), "{:?}", node.levels);
            return usize::from(node.value.is_some());
        };
        let children: Vec<_> = below
            .single_level
            .iter()
            .chain(below.exact.iter())
            .collect();
        let own = usize::from(node.value.is_some()) + usize::from(below.multi_level.is_some());
        let branches = own + children.len();
        assert!(
            branches > usize::from(!is_root && own == 0),
            "{:?}",
            node.levels
        );
        let counts = children.into_iter().map(|child| assert_tidy(child, false));
        own + counts.sum::<usize>()
    }

    #[test]
    fn removing_leaves_nothing_behind() {
        let mut tree = FilterTree::default();
        for filter in ["a/b/c", "a/b/#", "#", "+/+", "a/+/c"] {
            *tree.get_or_insert_default(filter) = filter.to_owned();
        }
        assert_eq!(tree.len(), 5);
        assert_eq!(assert_tidy(&tree.root, true), 5);
        for filter in ["a/b/c", "#", "a/+/c", "a/b/#", "+/+"] {
            assert_eq!(tree.remove(filter).as_deref(), Some(filter));
            assert_eq!(tree.remove(filter), None);
        }
        assert!(tree.is_empty() && tree.root.is_empty());
    }

    #[test]
    fn a_node_may_have_very_many_children() {
        let mut tree = FilterTree::default();
        let filter = |index| format!("device/{index}/+");
        for index in 0..10_000 {
            *tree.get_or_insert_default(&filter(index)) = index.to_string();
        }
        assert_eq!(assert_tidy(&tree.root, true), 10_000);
        assert_eq!(matches(&tree, "device/77/x"), ["77"]);
        for index in (0..10_000).filter(|index| index % 1_000 != 0) {
            assert!(tree.remove(&filter(index)).is_some());
        }
        assert_eq!(assert_tidy(&tree.root, true), 10);
        assert_eq!(matches(&tree, "device/7000/x"), ["7000"]);
        assert_eq!(matches(&tree, "device/77/x"), [""; 0]);
    }

    fn level() -> impl Strategy<Value = String> {
        // Few levels so that filters meet, and many so that a node has many children.
        prop_oneof![
            prop::sample::select(vec!["", "a", "b", "$s"]).prop_map(str::to_owned),
            (0..40_u8).prop_map(|it| it.to_string()),
        ]
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |name| !name.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![2 => level(), 1 => Just("+".to_owned())];
        let levels = prop::collection::vec(level, 0..4);
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
            filters in prop::collection::vec(filter(), 1..80),
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0..3), 0..200),
            names in prop::collection::vec(name(), 1..8),
        ) {
            let mut tree: FilterTree<String> = FilterTree::default();
            let mut model = BTreeSet::new();
            for (filter, step) in steps.iter().map(|(index, step)| (index.get(&filters), step)) {
                let value = model.get(filter).map(|it: &&String| (*it).clone());
                prop_assert_eq!(tree.get(filter), value.as_ref());
                prop_assert_eq!(tree.get_mut(filter).cloned(), value.clone());
                if *step == 0 {
                    model.remove(filter);
                    prop_assert_eq!(tree.remove(filter), value);
                } else {
                    model.insert(filter);
                    tree.get_or_insert_default(filter).clone_from(filter);
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            prop_assert_eq!(assert_tidy(&tree.root, true), model.len());
            for name in names {
                let is_match = |it: &&&String| TopicFilter::new(it).unwrap().matches(&name);
                let expected: Vec<_> = model.iter().filter(is_match).copied().cloned().collect();
                prop_assert_eq!(matches(&tree, &name), expected);
            }
        }
    }
}
