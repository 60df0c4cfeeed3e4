//! The subset of OMG IDL 4.2 that the configuration uses to describe types.
//!
//! | Understood | Not understood, refused with a clear error |
//! |---|---|
//! | `module`, `struct`, `enum` | `union`, `typedef`, `const`, `bitmask`, inheritance, forward declarations |
//! | `boolean`, `octet`, `char`, all integers, `float`, `double` | `long double`, `wchar`, `wstring`, `any`, `fixed` |
//! | `string`, `string<N>`, `sequence<T>`, `sequence<T, N>`, arrays | `map` |
//! | `@key`, `@final`, `@appendable`, `@nested`, `@topic`, `@default_literal` | `@mutable`, `@optional`, `@id` and every other annotation |
//! | `//` and `/* */` comments | preprocessor lines, apart from being skipped |
//!
//! A `struct` without an annotation is final, as with the compiler of Cyclone DDS; Fast DDS
//! assumes appendable, so types shared with it should say which they are.
//!
//! Limits, so that a configuration cannot blow up what follows: [`TEXT_BYTES_MAX`],
//! [`DEPTH_MAX`], [`NODES_MAX`] and [`LEAST_BYTES_MAX`].

mod annotation;
mod parser;
mod token;

use std::sync::Arc;

use crate::type_tree::Structure;

/// Bytes of IDL text that are read.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Levels to which types may be nested.
pub const DEPTH_MAX: usize = 32;
/// Types that one type may be made of, each use counted.
pub const NODES_MAX: usize = 4096;
/// Bytes that the smallest value of a type may take: arrays are this long at most.
pub const LEAST_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of a name; Cyclone DDS has room for this many.
pub const NAME_BYTES_MAX: usize = 250;

/// The types that one IDL text describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idl {
    structures: Vec<Arc<Structure>>,
}

/// What is wrong with an IDL text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {detail}")]
pub struct IdlError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub detail: String,
}

impl Idl {
    /// Reads the types that `text` describes.
    ///
    /// # Errors
    /// The first place that is not in the subset, or a limit that is exceeded.
    pub fn parse(text: &str) -> Result<Self, IdlError> {
        let structures = parser::parse(text)?;
        Ok(Self { structures })
    }

    /// The struct with this name; its modules are written in front of it, as in `Demo::Reading`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Structure>> {
        let name = name.strip_prefix("::").unwrap_or(name);
        self.structures
            .iter()
            .find(|structure| structure.name == name)
    }

    /// The names of all structs, in the order of their declaration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.structures
            .iter()
            .map(|structure| structure.name.as_str())
    }
}
