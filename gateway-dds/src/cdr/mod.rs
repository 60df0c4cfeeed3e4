//! Samples as bytes (CDR) and as JSON, both led by the tree of the sample's type.
//!
//! | IDL | JSON |
//! |---|---|
//! | `struct` | object with the members' names, in the order of their declaration |
//! | integers, `octet` | number, exact over the whole range of 64 bits |
//! | `float`, `double` | number; `"NaN"`, `"Infinity"`, `"-Infinity"` for what JSON has no number for |
//! | `boolean` | `true`, `false` |
//! | `char` | string of one character, U+0000 to U+00FF |
//! | `string` | string; bytes that are not UTF-8 make the sample malformed |
//! | `sequence`, array | array; octets too are numbers; one level for each dimension |
//! | `enum` | the literal's name as a string |
//!
//! Encodings: XCDR1 and XCDR2 in both byte orders are read, little endian is written. Sizes are
//! checked before anything is kept, and JSON never grows beyond [`JSON_BYTES_MAX`].

mod read;
mod write;

pub use read::{ReadError, Reading, read};
pub use write::{WriteError, write};

use crate::type_tree::{Extensibility, Structure};

/// Bytes of the encapsulation header in front of every sample.
const HEADER_BYTES: usize = 4;

/// Bytes of JSON that one sample may become.
pub const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a sample is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The classic one: alignment up to 8 bytes, no lengths in front of structs.
    Xcdr1,
    /// The one of XTypes: alignment up to 4 bytes, lengths in front of what may have grown.
    Xcdr2,
}

impl Encoding {
    /// What Cyclone DDS writes for a type: XCDR1, which every vendor reads, unless something in
    /// the type is appendable.
    #[must_use]
    pub fn of(structure: &Structure) -> Self {
        if structure.has_appendable() {
            Self::Xcdr2
        } else {
            Self::Xcdr1
        }
    }

    const fn alignment_max(self) -> usize {
        match self {
            Self::Xcdr1 => 8,
            Self::Xcdr2 => 4,
        }
    }

    /// The representation identifier for a little endian sample of a type.
    const fn identifier(self, extensibility: Extensibility) -> u16 {
        match (self, extensibility) {
            (Self::Xcdr1, _) => 0x0001,
            (Self::Xcdr2, Extensibility::Final) => 0x0007,
            (Self::Xcdr2, Extensibility::Appendable) => 0x0009,
        }
    }
}

#[cfg(test)]
mod tests;
