//! One source of configuration, and several of them on top of each other.

use ::config::{Config, Source, Value, ValueKind};

use super::error::{ConfigError, Fault};
use super::node::{Entry, Node, NodeValue, Step, Table};
use super::place::{Origins, Place};

/// The key that everything is below while it is merged: the `config` crate would take a dot in an
/// outermost key for the beginning of another key.
const ROOT: &str = "root";

/// What one source says.
#[derive(Clone, Debug)]
pub(super) struct Layer(pub(super) Table);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<::config::Map<String, Value>, ::config::ConfigError> {
        let root = Value::new(None, ValueKind::Table(to_map(&self.0)));
        Ok([(ROOT.to_owned(), root)].into_iter().collect())
    }
}

/// The merged values.
pub(super) fn merge(
    layers: &[Layer],
) -> Result<::config::Map<String, Value>, ::config::ConfigError> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer.clone());
    }
    let root = builder.build()?.collect()?.swap_remove(ROOT);
    root.map_or_else(|| Ok(::config::Map::default()), Value::into_table)
}

fn to_map(table: &Table) -> ::config::Map<String, Value> {
    let entries = table.in_order();
    let entries = entries
        .into_iter()
        .map(|(key, entry)| (key.to_owned(), to_value(&entry.node)));
    entries.collect()
}

fn to_value(node: &Node) -> Value {
    let kind = match &node.value {
        NodeValue::Null => ValueKind::Nil,
        NodeValue::Bool(value) => ValueKind::Boolean(*value),
        NodeValue::Integer(value) => ValueKind::I64(*value),
        NodeValue::Unsigned(value) => ValueKind::U64(*value),
        NodeValue::Float(value) => ValueKind::Float(*value),
        NodeValue::Text(text) => ValueKind::String(text.clone()),
        NodeValue::List(list) => ValueKind::Array(list.iter().map(to_value).collect()),
        NodeValue::Table(table) => ValueKind::Table(to_map(table)),
    };
    Value::new(None, kind)
}

/// Knows where every value was written, of all layers.
#[derive(Debug)]
pub(super) struct Places<'l> {
    origins: &'l Origins,
    /// The lowest layer first.
    layers: &'l [Layer],
}

/// Which part of an entry a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl<'l> Places<'l> {
    pub(super) fn new(origins: &'l Origins, layers: &'l [Layer]) -> Self {
        Self { origins, layers }
    }

    /// An error about what is at `path`, or else about the nearest thing around it.
    pub(super) fn error(&self, path: &[Step], part: Part, message: &str) -> ConfigError {
        match self.best(path, part) {
            Some(found) => Fault::new(found.place, message).locate(self.origins),
            None => ConfigError::nowhere(message),
        }
    }

    /// An error at a line and column of the text at `path`: there, if the file has it as it is.
    pub(super) fn error_within(
        &self,
        path: &[Step],
        (line, column): (usize, usize),
        message: &str,
    ) -> ConfigError {
        let found = self.best(path, Part::Value);
        match found.and_then(|found| found.text_start) {
            Some(start) => Fault::new(start.within(line, column), message).locate(self.origins),
            None => {
                let message = format!("{message}, at line {line}, column {column} of the text");
                self.error(path, Part::Value, &message)
            }
        }
    }

    fn best(&self, path: &[Step], part: Part) -> Option<Found> {
        let mut best: Option<Found> = None;
        for layer in self.layers {
            let found = find(&layer.0, path, part);
            // A higher layer replaced what is below, unless both are objects.
            let better = found.is_some_and(|found| {
                best.is_none_or(|best| {
                    let merged = found.is_table && best.is_table;
                    found.depth > best.depth || found.depth == best.depth && !merged
                })
            });
            if better {
                best = found;
            }
        }
        best
    }
}

#[derive(Clone, Copy, Debug)]
struct Found {
    depth: usize,
    place: Place,
    text_start: Option<Place>,
    is_table: bool,
}

fn find(table: &Table, path: &[Step], part: Part) -> Option<Found> {
    let mut found = None;
    let mut parent: Option<&Node> = None;
    for (index, step) in path.iter().enumerate() {
        let depth = index + 1;
        let (key, node) = match step {
            Step::Key(key) => {
                let table = parent.map_or(Some(table), Node::as_table);
                let Some(Entry { key, node }) = table.and_then(|table| table.get(key)) else {
                    break;
                };
                (*key, node)
            }
            Step::Index(index) => {
                let Some(node) = parent.and_then(|parent| parent.element(*index)) else {
                    break;
                };
                (node.place, node)
            }
        };
        found = Some(Found {
            depth,
            place: match part {
                Part::Key => key,
                Part::Value => node.place,
            },
            text_start: node.text_start.filter(|_| depth == path.len()),
            is_table: node.as_table().is_some(),
        });
        parent = Some(node);
    }
    found
}
