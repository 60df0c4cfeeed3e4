//! The nodes of a tree of filters, and how they come, go, and share levels.

use std::hash::RandomState;

use super::super::filter::split_level;
use super::children::Children;

/// The filters that begin in one way.
#[derive(Clone, Debug)]
pub(super) struct Node<V> {
    /// The levels between its parent and itself, `#` not among them; at least one, except at the
    /// root.
    pub(super) levels: Box<str>,
    /// The value of the filter that ends here.
    pub(super) value: Option<V>,
    /// What most nodes do not have.
    pub(super) below: Option<Box<Below<V>>>,
}

/// The filters that go on behind a node.
#[derive(Clone, Debug)]
pub(super) struct Below<V> {
    /// The value of the filter that ends with `/#` here.
    pub(super) multi_level: Option<V>,
    /// The child whose first level is `+`.
    pub(super) single_level: Option<Node<V>>,
    pub(super) exact: Children<V>,
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
    pub(super) fn is_empty(&self) -> bool {
        self.multi_level.is_none() && self.single_level.is_none() && self.exact.len() == 0
    }

    /// Removes the only thing there is, if it is a child.
    pub(super) fn take_only_child(&mut self) -> Option<Node<V>> {
        match (&self.multi_level, &self.single_level, self.exact.len()) {
            (None, None, 1) => self.exact.pop(),
            (None, Some(_), 0) => self.single_level.take(),
            _ => None,
        }
    }
}

impl<V> Node<V> {
    pub(super) fn new(levels: &str) -> Self {
        Self {
            levels: levels.into(),
            value: None,
            below: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.value.is_none() && self.below.is_none()
    }

    pub(super) fn multi_level(&self) -> Option<&V> {
        self.below.as_ref()?.multi_level.as_ref()
    }

    /// The child whose first level this is.
    pub(super) fn child(&self, level: &str, hasher: &RandomState) -> Option<&Self> {
        let below = self.below.as_ref()?;
        match level {
            "+" => below.single_level.as_ref(),
            _ => below.exact.get(level, hasher),
        }
    }

    pub(super) fn child_mut(&mut self, level: &str, hasher: &RandomState) -> Option<&mut Self> {
        let below = self.below.as_mut()?;
        match level {
            "+" => below.single_level.as_mut(),
            _ => below.exact.get_mut(level, hasher),
        }
    }

    /// The child whose first level is that of `levels`; a new one has all of them.
    pub(super) fn child_or_insert(&mut self, levels: &str, hasher: &RandomState) -> &mut Self {
        let below = self.below.get_or_insert_default();
        match first_level(levels) {
            "+" => below.single_level.get_or_insert_with(|| Self::new(levels)),
            _ => below.exact.get_or_insert(levels, hasher),
        }
    }

    pub(super) fn remove_child(&mut self, level: &str, hasher: &RandomState) {
        let Some(below) = &mut self.below else {
            return;
        };
        match level {
            "+" => below.single_level = None,
            _ => below.exact.remove(level, hasher),
        }
    }

    pub(super) fn tidy_child(&mut self, level: &str, hasher: &RandomState) {
        if let Some(child) = self.child_mut(level, hasher) {
            child.tidy();
            if child.is_empty() {
                self.remove_child(level, hasher);
            }
        }
    }

    /// Leaves a node only the first levels, which are so many bytes, and puts a child below it
    /// that has everything else.
    pub(super) fn split(&mut self, bytes: usize, hasher: &RandomState) {
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
    pub(super) fn tidy(&mut self) {
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

pub(super) fn first_level(levels: &str) -> &str {
    split_level(levels).0
}

/// True if this is the first level, without looking for where it ends.
pub(super) fn begins_with(levels: &str, level: &str) -> bool {
    let behind = levels.as_bytes().strip_prefix(level.as_bytes());
    behind.is_some_and(|it| matches!(it, [] | [b'/', ..]))
}

/// Bytes of the levels that both begin with, without the separator behind the last of them. The
/// first level is the same.
pub(super) fn common_levels(a: &str, b: &str) -> usize {
    let common = a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b);
    common.fold(0, |bytes, (level, _)| bytes + level.len() + 1) - 1
}

/// What follows behind `first` in `levels`, or None if they do not begin so.
#[expect(
    clippy::option_option,
    reason = "nothing may follow, or an empty level"
)]
pub(super) fn strip_levels<'l>(levels: &'l str, first: &str) -> Option<Option<&'l str>> {
    match levels.strip_prefix(first)? {
        "" => Some(None),
        rest => rest.strip_prefix('/').map(Some),
    }
}
