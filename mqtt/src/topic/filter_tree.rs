//! Values stored under Topic Filters with wildcards, visited by the names that match.
//!
//! A trie of levels. Levels that nothing branches off from share one node, so most filters cost one
//! node. Matching walks at most one exact and one `+` branch per level and looks at `#` on the
//! way, so its cost depends on the branches that match and not on the number of filters. Walks
//! use an explicit stack: no recursion on topic depth.

mod children;

use std::hash::RandomState;

use children::Children;

use super::filter::split_level;

/// A set of Topic Filters, each with a value.
#[derive(Clone, Debug)]
pub struct FilterTree<V> {
    root: Node<V>,
    len: usize,
    hasher: RandomState,
}

/// The filters that begin in one way.
#[derive(Clone, Debug)]
struct Node<V> {
    /// The levels between its parent and itself, `#` not among them; at least one, except at the
    /// root.
    levels: Box<str>,
    /// The value of the filter that ends here.
    value: Option<V>,
    /// What most nodes do not have.
    below: Option<Box<Below<V>>>,
}

/// The filters that go on behind a node.
#[derive(Clone, Debug)]
struct Below<V> {
    /// The value of the filter that ends with `/#` here.
    multi_level: Option<V>,
    /// The child whose first level is `+`.
    single_level: Option<Node<V>>,
    exact: Children<V>,
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

impl<V> Default for Below<V> {
    fn default() -> Self {
        Self {
            multi_level: None,
            single_level: None,
            exact: Children::default(),
        }
    }
}

impl<V> Below<V> {
    fn is_empty(&self) -> bool {
        self.multi_level.is_none() && self.single_level.is_none() && self.exact.len() == 0
    }

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

    /// Removes the only thing there is, if it is a child.
    fn take_only_child(&mut self) -> Option<Node<V>> {
        match (&self.multi_level, &self.single_level, self.exact.len()) {
            (None, None, 1) => self.exact.pop(),
            (None, Some(_), 0) => self.single_level.take(),
            _ => None,
        }
    }
}

impl<V> Node<V> {
    fn new(levels: &str) -> Self {
        Self {
            levels: levels.into(),
            value: None,
            below: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.value.is_none() && self.below.is_none()
    }

    fn multi_level(&self) -> Option<&V> {
        self.below.as_ref()?.multi_level.as_ref()
    }

    /// The child whose first level this is.
    fn child(&self, level: &str, hasher: &RandomState) -> Option<&Self> {
        let below = self.below.as_ref()?;
        match level {
            "+" => below.single_level.as_ref(),
            _ => below.exact.get(level, hasher),
        }
    }

    fn child_mut(&mut self, level: &str, hasher: &RandomState) -> Option<&mut Self> {
        let below = self.below.as_mut()?;
        match level {
            "+" => below.single_level.as_mut(),
            _ => below.exact.get_mut(level, hasher),
        }
    }

    /// The child whose first level is that of `levels`; a new one has all of them.
    fn child_or_insert(&mut self, levels: &str, hasher: &RandomState) -> &mut Self {
        let below = self.below.get_or_insert_default();
        match first_level(levels) {
            "+" => below.single_level.get_or_insert_with(|| Self::new(levels)),
            _ => below.exact.get_or_insert(levels, hasher),
        }
    }

    fn remove_child(&mut self, level: &str, hasher: &RandomState) {
        let Some(below) = &mut self.below else {
            return;
        };
        match level {
            "+" => below.single_level = None,
            _ => below.exact.remove(level, hasher),
        }
    }

    fn tidy_child(&mut self, level: &str, hasher: &RandomState) {
        if let Some(child) = self.child_mut(level, hasher) {
            child.tidy();
            if child.is_empty() {
                self.remove_child(level, hasher);
            }
        }
    }

    /// Leaves a node only the first levels, which are so many bytes, and puts a child below it
    /// that has everything else.
    fn split(&mut self, bytes: usize, hasher: &RandomState) {
        let (Some(first), Some(rest)) = (self.levels.get(..bytes), self.levels.get(bytes + 1..))
        else {
            return;
        };
        let (first, mut child) = (Self::new(first), Self::new(rest));
        let whole = std::mem::replace(self, first);
        (child.value, child.below) = (whole.value, whole.below);
        let below = self.below.get_or_insert_default();
        if first_level(&child.levels) == "+" {
            below.single_level = Some(child);
        } else {
            below.exact.insert(child, hasher);
        }
    }

    /// Undoes what is not needed any more: a node without a value and with one child, to which
    /// it does not add anything, becomes one node with it.
    fn tidy(&mut self) {
        let Some(below) = &mut self.below else {
            return;
        };
        if self.value.is_none()
            && let Some(child) = below.take_only_child()
        {
            self.levels = [&*self.levels, &*child.levels].join("/").into();
            (self.value, self.below) = (child.value, child.below);
        } else if below.is_empty() {
            self.below = None;
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

fn first_level(levels: &str) -> &str {
    split_level(levels).0
}

/// True if this is the first level, without looking for where it ends.
fn begins_with(levels: &str, level: &str) -> bool {
    let behind = levels.as_bytes().strip_prefix(level.as_bytes());
    behind.is_some_and(|it| matches!(it, [] | [b'/', ..]))
}

/// Bytes of the levels that both begin with, without the separator behind the last of them. The
/// first level is the same.
fn common_levels(a: &str, b: &str) -> usize {
    let common = a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b);
    common.fold(0, |bytes, (level, _)| bytes + level.len() + 1) - 1
}

/// What follows behind `first` in `levels`, or None if they do not begin so.
#[expect(
    clippy::option_option,
    reason = "nothing may follow, or an empty level"
)]
fn strip_levels<'l>(levels: &'l str, first: &str) -> Option<Option<&'l str>> {
    match levels.strip_prefix(first)? {
        "" => Some(None),
        rest => rest.strip_prefix('/').map(Some),
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
