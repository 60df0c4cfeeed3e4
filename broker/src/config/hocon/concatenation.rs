//! Values that are written side by side.

use super::super::error::Fault;
use super::super::node::{Node, NodeValue};
use super::super::place::Place;
use super::scalar::text_of;

/// Joins texts to a text, lists to a list and tables to a table.
#[derive(Debug)]
pub(super) struct Concatenation {
    place: Place,
    joined: Option<NodeValue>,
    /// White space since the last value; it only matters between texts.
    space: String,
}

impl Concatenation {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            joined: None,
            space: String::new(),
        }
    }

    pub(super) fn add_space(&mut self, space: &str) {
        self.space.push_str(space);
    }

    pub(super) fn add(&mut self, value: NodeValue) -> Result<(), Fault> {
        let space = std::mem::take(&mut self.space);
        let joined = match (self.joined.take(), value) {
            (None, value) => value,
            (Some(NodeValue::Table(mut table)), NodeValue::Table(above)) => {
                table.merge(above);
                NodeValue::Table(table)
            }
            (Some(NodeValue::List(mut list)), NodeValue::List(mut more)) => {
                list.append(&mut more);
                NodeValue::List(list)
            }
            (Some(NodeValue::Text(text)), value) => self.join_text(text, &space, &value)?,
            (Some(first), value) => {
                let text = text_of(&first).ok_or_else(|| self.fault(&first, &value))?;
                self.join_text(text, &space, &value)?
            }
        };
        self.joined = Some(joined);
        Ok(())
    }

    /// The value; none if there were only substitutions that led to nothing.
    pub(super) fn finish(self) -> Option<Node> {
        let place = self.place;
        self.joined.map(|value| Node::new(value, place))
    }

    fn join_text(
        &self,
        mut text: String,
        space: &str,
        value: &NodeValue,
    ) -> Result<NodeValue, Fault> {
        let Some(more) = text_of(value) else {
            return Err(self.fault(&NodeValue::Text(text), value));
        };
        text.push_str(space);
        text.push_str(&more);
        Ok(NodeValue::Text(text))
    }

    fn fault(&self, first: &NodeValue, second: &NodeValue) -> Fault {
        let message = format!(
            "{} cannot be joined to {}; is a comma missing?",
            second.kind(),
            first.kind()
        );
        Fault::new(self.place, message)
    }
}
