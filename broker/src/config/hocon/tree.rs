//! The fields of a HOCON text by key, with all that was ever said about each key.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::node::Node;
use super::super::place::Place;
use super::syntax::{Expression, Field, Piece};

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

    pub(super) fn add_fields(&mut self, fields: Vec<Field>) {
        for field in fields {
            self.add_field(field);
        }
    }

    fn add_field(&mut self, field: Field) {
        let mut path = field.path.into_iter().peekable();
        let mut tree = self;
        while let Some(key) = path.next() {
            let slot = tree.slot(key.name, key.place);
            if path.peek().is_none() {
                slot.assign(field.value, field.appends);
                return;
            }
            tree = slot.object(key.place);
        }
    }

    fn slot(&mut self, name: String, key: Place) -> &mut Slot {
        let slot = self.slots.entry(name).or_insert_with(|| Slot {
            key,
            layers: Vec::new(),
            progress: RefCell::new(None),
        });
        slot.key = key;
        slot
    }
}

impl Slot {
    fn assign(&mut self, mut expression: Expression, appends: bool) {
        let place = expression.place;
        if appends {
            let kind = LayerKind::Appended(expression);
            self.layers.push(Layer { place, kind });
            return;
        }
        if let [Piece::Object(fields)] = expression.pieces.as_mut_slice() {
            let fields = std::mem::take(fields);
            self.object(place).add_fields(fields);
            return;
        }
        if !refers(&expression) {
            self.layers.clear();
        }
        let kind = LayerKind::Value(expression);
        self.layers.push(Layer { place, kind });
    }

    /// The topmost layer, which is made if it is no object.
    fn object(&mut self, place: Place) -> &mut Tree {
        let index = match self.layers.last() {
            Some(Layer {
                kind: LayerKind::Object(_),
                ..
            }) => self.layers.len() - 1,
            _ => self.layers.len(),
        };
        todo!()
    }
}
