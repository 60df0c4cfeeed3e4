//! Makes the substitutions of a HOCON text.

use std::collections::BTreeMap;

use super::super::error::Fault;
use super::super::node::{DEPTH_MAX, Entry, Node, NodeValue, Table};
use super::super::place::Place;
use super::concatenation::Concatenation;
use super::scalar::read_scalar;
use super::syntax::{Expression, Piece, Substitution};
use super::tree::{Layer, LayerKind, Progress, Slot, Tree};

/// A configuration may grow to about this many bytes by substitutions, which could otherwise
/// double it again and again.
const EXPANDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a value counts besides its text.
const NODE_BYTES: usize = 32;

/// Resolves a tree. Every method that may recurse takes the depth.
#[derive(Debug)]
pub(super) struct Resolver<'t> {
    tree: &'t Tree,
    variables: &'t BTreeMap<String, String>,
    bytes_left: usize,
    /// The keys whose values are being resolved, innermost last.
    current: Vec<&'t Slot>,
}

/// What a path leads to.
#[derive(Debug)]
enum Found {
    Value(Node),
    Nothing,
    /// The value depends on what it is asked for.
    Circular,
}

impl<'t> Resolver<'t> {
    pub(super) fn new(tree: &'t Tree, variables: &'t BTreeMap<String, String>) -> Self {
        Self {
            tree,
            variables,
            bytes_left: EXPANDED_BYTES_MAX,
            current: Vec::new(),
        }
    }

    pub(super) fn resolve(mut self) -> Result<Table, Fault> {
        self.resolve_tree(self.tree, 0)
    }

    fn resolve_tree(&mut self, tree: &'t Tree, depth: usize) -> Result<Table, Fault> {
        let mut table = Table::default();
        for (name, slot) in tree.slots() {
            let key = slot.key;
            match self.resolve_slot(slot, depth)? {
                Found::Value(node) => {
                    self.charge(name.len(), key, depth)?;
                    table.insert(name.clone(), Entry { key, node });
                }
                Found::Nothing => {}
                Found::Circular => {
                    return Err(Fault::new(key, format!("`{name}` depends on itself")));
                }
            }
        }
        Ok(table)
    }

    fn resolve_slot(&mut self, slot: &'t Slot, depth: usize) -> Result<Found, Fault> {
        if let Some(layer) = slot.layer_in_progress() {
            return match layer.kind {
                LayerKind::Object(_) => Ok(Found::Circular),
                LayerKind::Value(_) | LayerKind::Appended(_) => self.find_below(slot, &[], depth),
            };
        }
        let mut below = None;
        for (index, layer) in slot.layers.iter().enumerate() {
            self.charge(0, layer.place, depth)?;
            *slot.progress.borrow_mut() = Some(Progress {
                layer: index,
                below,
            });
            let node = self.resolve_layer(slot, layer, depth)?;
            below = slot.progress.take().and_then(|progress| progress.below);
            below = match layer.kind {
                LayerKind::Appended(_) => append(below, node, layer.place)?,
                LayerKind::Object(_) | LayerKind::Value(_) => overlay(below, node),
            };
        }
        Ok(below.map_or(Found::Nothing, Found::Value))
    }

    fn resolve_layer(
        &mut self,
        slot: &'t Slot,
        layer: &'t Layer,
        depth: usize,
    ) -> Result<Option<Node>, Fault> {
        match &layer.kind {
            LayerKind::Object(tree) => {
                let table = NodeValue::Table(self.resolve_tree(tree, depth + 1)?);
                Ok(Some(Node::new(table, layer.place)))
            }
            LayerKind::Value(expression) | LayerKind::Appended(expression) => {
                self.current.push(slot);
                let node = self.resolve_expression(expression, depth)?;
                self.current.pop();
                Ok(node)
            }
        }
    }

    fn resolve_expression(
        &mut self,
        expression: &'t Expression,
        depth: usize,
    ) -> Result<Option<Node>, Fault> {
        let mut concatenation = Concatenation::new(expression.place);
        for piece in &expression.pieces {
            if let Piece::Space(space) = piece {
                concatenation.add_space(space);
            } else if let Some(value) = self.resolve_piece(piece, expression.place, depth)? {
                concatenation.add(value)?;
            }
        }
        let mut node = concatenation.finish();
        if let (Some(node), [Piece::Quoted(_, text_start)]) = (&mut node, &*expression.pieces) {
            node.text_start = *text_start;
        }
        Ok(node)
    }

    fn resolve_piece(
        &mut self,
        piece: &'t Piece,
        place: Place,
        depth: usize,
    ) -> Result<Option<NodeValue>, Fault> {
        let value = match piece {
            Piece::Quoted(text, _) | Piece::Space(text) => {
                self.charge(text.len(), place, depth)?;
                NodeValue::Text(text.clone())
            }
            Piece::Unquoted(text) => {
                self.charge(text.len(), place, depth)?;
                read_scalar(text)
            }
            Piece::Object(tree) => NodeValue::Table(self.resolve_tree(tree, depth + 1)?),
            Piece::Array(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for element in elements {
                    list.extend(self.resolve_expression(element, depth + 1)?);
                }
                NodeValue::List(list)
            }
            Piece::Substitution(substitution) => {
                let node = self.substitute(substitution, depth + 1)?;
                return Ok(node.map(|node| node.value));
            }
        };
        Ok(Some(value))
    }

    fn substitute(
        &mut self,
        substitution: &'t Substitution,
        depth: usize,
    ) -> Result<Option<Node>, Fault> {
        self.charge(0, substitution.place, depth)?;
        let mut found = Found::Nothing;
        if let Some(prefix) = &substitution.prefix {
            let path: Vec<String> = prefix.iter().chain(&substitution.path).cloned().collect();
            found = self.find(self.tree, &path, depth)?;
        }
        if matches!(found, Found::Nothing) {
            found = self.find(self.tree, &substitution.path, depth)?;
        }
        let name = substitution.name();
        match found {
            Found::Value(node) => return Ok(Some(node)),
            Found::Circular => {
                let message = format!("`${{{name}}}` depends on itself");
                return Err(Fault::new(substitution.place, message));
            }
            Found::Nothing => {}
        }
        if let Some(value) = self.variables.get(&name) {
            let value = NodeValue::Text(value.clone());
            return Ok(Some(Node::new(value, substitution.place)));
        }
        if substitution.optional {
            return Ok(None);
        }
        Err(Fault::new(
            substitution.place,
            format!("`${{{name}}}` is neither a key with a value nor an environment variable"),
        ))
    }

    fn find(&mut self, tree: &'t Tree, path: &[String], depth: usize) -> Result<Found, Fault> {
        let Some((key, rest)) = path.split_first() else {
            return Ok(Found::Nothing);
        };
        let Some(slot) = tree.get(key) else {
            return Ok(Found::Nothing);
        };
        self.charge(0, slot.key, depth)?;
        if rest.is_empty() {
            return self.resolve_slot(slot, depth);
        }
        // The other keys of an object need no value yet, and may even depend on this one.
        let layer = slot.layer_in_progress().or_else(|| slot.layers.last());
        let above = match layer.map(|layer| &layer.kind) {
            Some(LayerKind::Object(tree)) => self.find(tree, rest, depth + 1)?,
            Some(LayerKind::Value(_) | LayerKind::Appended(_)) | None => Found::Nothing,
        };
        let is_final = match &above {
            Found::Value(node) => slot.layers.len() == 1 || node.as_table().is_none(),
            Found::Nothing => false,
            Found::Circular => true,
        };
        if is_final {
            return Ok(above);
        }
        self.find_in_lower_layers(slot, rest, depth, above)
    }

    fn find_in_lower_layers(
        &mut self,
        slot: &'t Slot,
        path: &[String],
        depth: usize,
        above: Found,
    ) -> Result<Found, Fault> {
        let Some(layer) = slot.layer_in_progress() else {
            let only_object = slot.layers.len() == 1 && slot.layers.iter().all(Layer::is_object);
            if only_object {
                return Ok(above);
            }
            let Found::Value(node) = self.resolve_slot(slot, depth)? else {
                return Ok(Found::Nothing);
            };
            return self.copy_at(&node, path, depth);
        };
        let mut below = self.find_below(slot, path, depth)?;
        if layer.is_object() && matches!(below, Found::Circular) {
            // An object does not depend on itself because a key that is sought is not in it.
            below = Found::Nothing;
        }
        match (below, above) {
            (Found::Value(below), Found::Value(above)) => {
                Ok(overlay(Some(below), Some(above)).map_or(Found::Nothing, Found::Value))
            }
            (below, Found::Nothing) => Ok(below),
            (_, above) => Ok(above),
        }
    }

    /// Looks for `path` in the value that `slot` had before the layer in progress.
    fn find_below(
        &mut self,
        slot: &'t Slot,
        path: &[String],
        depth: usize,
    ) -> Result<Found, Fault> {
        let progress = slot.progress.borrow();
        let below = progress
            .as_ref()
            .and_then(|progress| progress.below.as_ref());
        match below {
            Some(node) => self.copy_at(node, path, depth),
            // A key may ask for its own earlier value even if there is none.
            None if self
                .current
                .last()
                .is_some_and(|own| std::ptr::eq(*own, slot)) =>
            {
                Ok(Found::Nothing)
            }
            None => Ok(Found::Circular),
        }
    }

    fn copy_at(&mut self, node: &Node, path: &[String], depth: usize) -> Result<Found, Fault> {
        let mut node = node;
        for key in path {
            let Some(entry) = node.as_table().and_then(|table| table.get(key)) else {
                return Ok(Found::Nothing);
            };
            node = &entry.node;
        }
        self.copy(node, depth).map(Found::Value)
    }

    fn copy(&mut self, node: &Node, depth: usize) -> Result<Node, Fault> {
        let value = match &node.value {
            NodeValue::Text(text) => {
                self.charge(text.len(), node.place, depth)?;
                NodeValue::Text(text.clone())
            }
            NodeValue::List(list) => {
                self.charge(0, node.place, depth)?;
                let copies = list.iter().map(|element| self.copy(element, depth + 1));
                NodeValue::List(copies.collect::<Result<_, _>>()?)
            }
            NodeValue::Table(table) => {
                self.charge(0, node.place, depth)?;
                let mut copy = Table::default();
                for (name, entry) in table.iter() {
                    self.charge(name.len(), entry.key, depth)?;
                    let node = self.copy(&entry.node, depth + 1)?;
                    let key = entry.key;
                    copy.insert(name.to_owned(), Entry { key, node });
                }
                NodeValue::Table(copy)
            }
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Integer(_)
            | NodeValue::Unsigned(_)
            | NodeValue::Float(_) => {
                self.charge(0, node.place, depth)?;
                node.value.clone()
            }
        };
        Ok(Node::new(value, node.place))
    }

    fn charge(&mut self, text_bytes: usize, place: Place, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            let message = format!("values and substitutions are more than {DEPTH_MAX} deep");
            return Err(Fault::new(place, message));
        }
        let bytes = text_bytes.saturating_add(NODE_BYTES);
        let Some(bytes_left) = self.bytes_left.checked_sub(bytes) else {
            let message = format!(
                "substitutions make the configuration larger than {EXPANDED_BYTES_MAX} bytes"
            );
            return Err(Fault::new(place, message));
        };
        self.bytes_left = bytes_left;
        Ok(())
    }
}

/// Tables are merged, anything else replaces what is below.
fn overlay(below: Option<Node>, above: Option<Node>) -> Option<Node> {
    match (below, above) {
        (Some(mut below), Some(above)) => {
            below.overlay(above);
            Some(below)
        }
        (below, above) => above.or(below),
    }
}

fn append(below: Option<Node>, node: Option<Node>, place: Place) -> Result<Option<Node>, Fault> {
    let mut list = match below.map(|below| below.value) {
        None => Vec::new(),
        Some(NodeValue::List(list)) => list,
        Some(_) => {
            return Err(Fault::new(
                place,
                "`+=` needs a list, but this key has a value that is none",
            ));
        }
    };
    list.extend(node);
    Ok(Some(Node::new(NodeValue::List(list), place)))
}
