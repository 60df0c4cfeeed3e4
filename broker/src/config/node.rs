//! The tree that every file format and the environment are read into.

use std::collections::BTreeMap;

use super::place::Place;

/// Tables and lists may be nested this deep. Reading, merging and freeing a tree is recursive.
pub(super) const DEPTH_MAX: usize = 64;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: NodeValue,
    pub(super) place: Place,
    /// The place of the first character of a text that is in the file as it is, line by line.
    pub(super) text_start: Option<Place>,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    Integer(i64),
    /// Only for numbers that are too large for `Integer`.
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Table),
}

/// Values by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
}

/// One key of a [`Table`]: where the key was written, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Place,
    pub(super) node: Node,
}

/// One step of a path into a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), entry))
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries sorted by place, so that the first mistake of a file is reported first.
    pub(super) fn in_order(&self) -> Vec<(&str, &Entry)> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.key);
        entries
    }

    /// Takes out the entries that `condition` holds for.
    pub(super) fn extract(&mut self, condition: impl Fn(&Node) -> bool) -> Self {
        let entries = self
            .entries
            .extract_if(.., |_, entry| condition(&entry.node))
            .collect();
        Self { entries }
    }

    /// Lays `above` over this table; nested tables are merged. Neither may be deeper than
    /// [`DEPTH_MAX`].
    pub(super) fn merge(&mut self, above: Self) {
        for (key, entry) in above.entries {
            match self.entries.get_mut(&key) {
                Some(existing) => {
                    existing.key = entry.key;
                    existing.node.overlay(entry.node);
                }
                None => self.insert(key, entry),
            }
        }
    }
}

impl Node {
    pub(super) fn new(value: NodeValue, place: Place) -> Self {
        Self {
            value,
            place,
            text_start: None,
        }
    }

    /// Lays `above` over this value: tables are merged, anything else is replaced.
    pub(super) fn overlay(&mut self, above: Self) {
        match (&mut self.value, above.value) {
            (NodeValue::Table(below), NodeValue::Table(above)) => below.merge(above),
            (below, above) => *below = above,
        }
        self.place = above.place;
        self.text_start = above.text_start;
    }

    pub(super) fn into_table(self) -> Option<Table> {
        if let NodeValue::Table(table) = self.value {
            Some(table)
        } else {
            None
        }
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        if let NodeValue::Table(table) = &self.value {
            Some(table)
        } else {
            None
        }
    }

    /// The element of a list.
    pub(super) fn element(&self, index: usize) -> Option<&Self> {
        if let NodeValue::List(list) = &self.value {
            list.get(index)
        } else {
            None
        }
    }

    /// A table that holds only `node`, below the keys of `path`.
    pub(super) fn nested(path: Vec<String>, node: Self) -> Self {
        let place = node.place;
        path.into_iter().rev().fold(node, |node, key| {
            let mut table = Table::default();
            table.insert(key, Entry { key: place, node });
            Self::new(NodeValue::Table(table), place)
        })
    }
}

impl NodeValue {
    /// What users are told it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Unsigned(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "an object",
        }
    }
}
