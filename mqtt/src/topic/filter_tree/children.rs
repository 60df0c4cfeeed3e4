//! The children of a node by their first levels: few of them are a list, many a table.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::node::{Node, begins_with, first_level};

/// Children that are a list. In a longer one, finding them would cost more than in a table.
const FEW_MAX: usize = 8;
/// A table that has no more becomes a list again, and one that uses only this part of itself
/// becomes smaller.
const SHRINK_PARTS: usize = 4;

/// The children of a node except for `+`.
#[derive(Clone, Debug)]
pub(super) enum Children<V> {
    Few(Vec<Node<V>>),
    Many(Box<HashTable<Node<V>>>),
}

impl<V> Default for Children<V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<V> Children<V> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node<V>> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let few = few.into_iter().flatten();
        few.chain(many.into_iter().flat_map(|it| it.iter()))
    }

    pub(super) fn get(&self, level: &str, hasher: &RandomState) -> Option<&Node<V>> {
        match self {
            Self::Few(few) => few.iter().find(|node| begins_with(&node.levels, level)),
            Self::Many(many) => many.find(hasher.hash_one(level), is(level)),
        }
    }

    pub(super) fn get_mut(&mut self, level: &str, hasher: &RandomState) -> Option<&mut Node<V>> {
        match self {
            Self::Few(few) => few.iter_mut().find(|node| begins_with(&node.levels, level)),
            Self::Many(many) => many.find_mut(hasher.hash_one(level), is(level)),
        }
    }

    /// The child whose first level is that of `levels`; a new one has all of them.
    pub(super) fn get_or_insert(&mut self, levels: &str, hasher: &RandomState) -> &mut Node<V> {
        let level = first_level(levels);
        self.grow(level, hasher);
        match self {
            Self::Few(few) => {
                let place = place(few, level).unwrap_or_else(|| {
                    // One more and not twice as many: most nodes have one child.
                    few.reserve_exact(1);
                    few.push(Node::new(levels));
                    few.len() - 1
                });
                &mut few[place]
            }
            Self::Many(many) => many
                .entry(hasher.hash_one(level), is(level), hash_of(hasher))
                .or_insert_with(|| Node::new(levels))
                .into_mut(),
        }
    }

    /// Adds a child with a first level that none has.
    pub(super) fn insert(&mut self, child: Node<V>, hasher: &RandomState) {
        let levels = child.levels.clone();
        *self.get_or_insert(&levels, hasher) = child;
    }

    pub(super) fn remove(&mut self, level: &str, hasher: &RandomState) {
        match self {
            Self::Few(few) => {
                if let Some(place) = place(few, level) {
                    few.swap_remove(place);
                }
                few.shrink_to(FEW_MAX.min(few.len() * SHRINK_PARTS));
            }
            Self::Many(many) => {
                if let Ok(entry) = many.find_entry(hasher.hash_one(level), is(level)) {
                    entry.remove();
                }
                self.shrink(hasher);
            }
        }
    }

    /// Removes a child, if there is one.
    pub(super) fn pop(&mut self) -> Option<Node<V>> {
        match self {
            Self::Few(few) => few.pop(),
            Self::Many(many) => many.extract_if(|_| true).next(),
        }
    }

    /// Makes a table of the list if another child, with this first level, would be one too many.
    fn grow(&mut self, level: &str, hasher: &RandomState) {
        let Self::Few(few) = self else {
            return;
        };
        if few.len() < FEW_MAX || place(few, level).is_some() {
            return;
        }
        let mut many = HashTable::with_capacity(2 * FEW_MAX);
        for node in few.drain(..) {
            many.insert_unique(hash_of(hasher)(&node), node, hash_of(hasher));
        }
        *self = Self::Many(Box::new(many));
    }

    fn shrink(&mut self, hasher: &RandomState) {
        let Self::Many(many) = self else {
            return;
        };
        if many.len() <= FEW_MAX / SHRINK_PARTS {
            *self = Self::Few(many.drain().collect());
        } else if many.len() < many.capacity() / SHRINK_PARTS {
            many.shrink_to(2 * many.len(), hash_of(hasher));
        }
    }
}

/// Where the child with this first level is in a list.
fn place<V>(few: &[Node<V>], level: &str) -> Option<usize> {
    few.iter().position(|node| begins_with(&node.levels, level))
}

fn is<V>(level: &str) -> impl Fn(&Node<V>) -> bool {
    move |node| begins_with(&node.levels, level)
}

fn hash_of<V>(hasher: &RandomState) -> impl Fn(&Node<V>) -> u64 {
    |node| hasher.hash_one(first_level(&node.levels))
}
