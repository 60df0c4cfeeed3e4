//! The fields of a HOCON text by key, with all that was ever said about each key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::IntoIter;

use super::super::node::Node;
use super::super::place::Place;
use super::syntax::{Expression, Key, Piece};

/// An object whose substitutions are not made yet.
#[derive(Debug, Default)]
pub(super) struct Tree {
    slots: BTreeMap<String, Slot>,
}

/// One key of a [`Tree`].
#[derive(Debug)]
pub(super) struct Slot {
    /// The last place where the key was written.
    pub(super) key: Place,
    /// What was assigned, oldest first. What a later assignment hides for certain is removed.
    pub(super) layers: Vec<Layer>,
    /// What is being resolved at the moment, if anything.
    pub(super) progress: RefCell<Option<Progress>>,
}

/// One assignment to a key.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) place: Place,
    pub(super) kind: LayerKind,
}

/// What a [`Layer`] assigns.
#[derive(Debug)]
pub(super) enum LayerKind {
    /// Merged with the object below, if there is one.
    Object(Tree),
    Value(Expression),
    Appended(Expression),
}

/// How far the layers of a slot are resolved.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The layer that is being resolved.
    pub(super) layer: usize,
    /// The value of the layers below it, which is what a reference to itself means.
    pub(super) below: Option<Node>,
}

impl Tree {
    pub(super) fn get(&self, key: &str) -> Option<&Slot> {
        self.slots.get(key)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (&String, &Slot)> {
        self.slots.iter()
    }

    /// Assigns `value` to the dotted key `path`, which is at most as long as objects may be deep.
    pub(super) fn add(&mut self, mut path: IntoIter<Key>, value: Expression, appends: bool) {
        let Some(key) = path.next() else {
            return;
        };
        let slot = self.slots.entry(key.name).or_insert_with(|| Slot {
            key: key.place,
            layers: Vec::new(),
            progress: RefCell::new(None),
        });
        slot.key = key.place;
        if path.len() == 0 {
            slot.add(Layer::new(value, appends));
            return;
        }
        let mut tree = slot.take_object();
        tree.add(path, value, appends);
        slot.layers.push(Layer {
            place: key.place,
            kind: LayerKind::Object(tree),
        });
    }

    fn merge(&mut self, above: Self) {
        for (name, slot) in above.slots {
            let Some(existing) = self.slots.get_mut(&name) else {
                self.slots.insert(name, slot);
                continue;
            };
            existing.key = slot.key;
            for layer in slot.layers {
                existing.add(layer);
            }
        }
    }
}

impl Slot {
    pub(super) fn layer_in_progress(&self) -> Option<&Layer> {
        let progress = self.progress.borrow();
        self.layers.get(progress.as_ref()?.layer)
    }

    fn add(&mut self, mut layer: Layer) {
        if layer.hides_all() {
            self.layers.clear();
        }
        if let LayerKind::Object(above) = layer.kind {
            let mut tree = self.take_object();
            tree.merge(above);
            layer.kind = LayerKind::Object(tree);
        }
        self.layers.push(layer);
    }

    /// Takes the topmost layer off if it is an object.
    fn take_object(&mut self) -> Tree {
        let top = self.layers.pop_if(|layer| layer.is_object());
        match top {
            Some(Layer {
                kind: LayerKind::Object(tree),
                ..
            }) => tree,
            _ => Tree::default(),
        }
    }
}

impl Layer {
    fn new(mut value: Expression, appends: bool) -> Self {
        let place = value.place;
        let kind = match value.pieces.as_mut_slice() {
            _ if appends => LayerKind::Appended(value),
            [Piece::Object(tree)] => LayerKind::Object(std::mem::take(tree)),
            _ => LayerKind::Value(value),
        };
        Self { place, kind }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.kind, LayerKind::Object(_))
    }

    /// Whether it is a plain text or number, to which earlier values do not matter.
    fn hides_all(&self) -> bool {
        let LayerKind::Value(value) = &self.kind else {
            return false;
        };
        value.pieces.iter().all(|piece| {
            matches!(
                piece,
                Piece::Quoted(..) | Piece::Unquoted(_) | Piece::Space(_)
            )
        })
    }
}
