//! Our reader of HOCON, the format of most configuration files.
//!
//! Where it is more lenient or more strict than HOCON's specification, it is for the sake of
//! brokers: `//` and `#` within an unquoted text do not begin a comment unless a space precedes,
//! so that URLs and Topic Filters need no quotes; a key without quotes has no spaces; and a value
//! begins on the line of its key unless it is an object or a list.

mod concatenation;
mod cursor;
mod include;
mod parser;
mod path;
mod quoted;
mod resolver;
mod scalar;
mod syntax;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use self::include::Includes;
use self::parser::Parser;
use self::resolver::Resolver;
use self::tree::Tree;
use super::error::Fault;
use super::node::Table;
use super::place::{Origins, Place};

/// Reads a text into a tree whose root is a table. Included files are looked for in `folder`.
pub(super) fn read(
    text: &str,
    start: Place,
    folder: &Path,
    origins: &mut Origins,
    variables: &BTreeMap<String, String>,
) -> Result<Table, Fault> {
    let mut includes = Includes::new(origins);
    let mut tree = Tree::default();
    Parser::new(text, start, folder, &mut includes).parse_root(&mut tree)?;
    Resolver::new(&tree, variables).resolve()
}

#[cfg(test)]
mod tests;
