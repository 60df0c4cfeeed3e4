//! TOML texts, read by the `toml` crate.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;
use super::node::{Entry, Node, NodeValue, Table};
use super::place::Place;

/// Reads a text into a tree whose root is a table. The crate limits how deep it may be.
pub(super) fn read(text: &str, start: Place) -> Result<Table, Fault> {
    // Some editors write a byte order mark, which is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::new(text, start);
    match DeTable::parse(text) {
        Ok(table) => lines.read_table(table.into_inner()),
        Err(error) => {
            let place = error.span().map_or(start, |span| lines.place(&span));
            Err(Fault::new(place, error.message()))
        }
    }
}

/// Turns byte offsets into places.
#[derive(Debug)]
struct Lines<'t> {
    text: &'t str,
    start: Place,
    /// Each line and the offset of its first byte.
    lines: Vec<(usize, &'t str)>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, start: Place) -> Self {
        let mut offset = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let begin = offset;
            offset += line.len();
            (begin, line)
        });
        Self {
            text,
            start,
            lines: lines.collect(),
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let Place::File { file, .. } = self.start else {
            return self.start;
        };
        let line = self
            .lines
            .partition_point(|(begin, _)| *begin <= span.start);
        let Some((begin, text)) = line.checked_sub(1).and_then(|index| self.lines.get(index))
        else {
            return self.start;
        };
        let before = span.start - begin;
        let columns = text
            .char_indices()
            .take_while(|(offset, _)| *offset < before);
        Place::File {
            file,
            line,
            column: columns.count() + 1,
        }
    }

    /// Where a text between three quotes begins, if it has no escapes.
    fn text_start(&self, span: &Range<usize>) -> Option<Place> {
        let written = self.text.get(span.clone())?;
        let text = written.strip_prefix("'''").or_else(|| {
            written
                .strip_prefix("\"\"\"")
                .filter(|it| !it.contains('\\'))
        })?;
        // A line break behind the quotes does not belong to the text.
        let text = text
            .strip_prefix("\r\n")
            .or_else(|| text.strip_prefix('\n'))
            .unwrap_or(text);
        let start = span.start + written.len() - text.len();
        Some(self.place(&(start..span.end)))
    }

    fn read_table(&self, table: DeTable<'_>) -> Result<Table, Fault> {
        let mut read = Table::default();
        for (key, value) in table {
            let entry = Entry {
                key: self.place(&key.span()),
                node: self.read_value(value)?,
            };
            read.insert(key.into_inner().into_owned(), entry);
        }
        Ok(read)
    }

    fn read_value(&self, value: Spanned<DeValue<'_>>) -> Result<Node, Fault> {
        let span = value.span();
        let place = self.place(&span);
        let value = match value.into_inner() {
            DeValue::String(text) => {
                let mut node = Node::new(NodeValue::Text(text.into_owned()), place);
                node.text_start = self.text_start(&span);
                return Ok(node);
            }
            DeValue::Boolean(value) => NodeValue::Bool(value),
            DeValue::Datetime(time) => NodeValue::Text(time.to_string()),
            DeValue::Integer(number) => {
                let signed = i64::from_str_radix(number.as_str(), number.radix());
                let unsigned = u64::from_str_radix(number.as_str(), number.radix());
                match (signed, unsigned) {
                    (Ok(number), _) => NodeValue::Integer(number),
                    (_, Ok(number)) => NodeValue::Unsigned(number),
                    _ => return Err(Fault::new(place, "this number is too large")),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => NodeValue::Float(number),
                Err(_) => return Err(Fault::new(place, "this is no number")),
            },
            DeValue::Array(elements) => {
                let elements = elements.into_iter().map(|element| self.read_value(element));
                NodeValue::List(elements.collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => NodeValue::Table(self.read_table(table)?),
        };
        Ok(Node::new(value, place))
    }
}
