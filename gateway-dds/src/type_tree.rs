//! The type of a sample as a tree, as the IDL text in the configuration describes it.

use std::sync::Arc;

/// A type whose values travel inside a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A value of fixed size.
    Primitive(Primitive),
    /// Text of 8-bit characters, read and written as UTF-8.
    Text {
        /// The most bytes it may have, without the terminating null; none if unbounded.
        bound: Option<u32>,
    },
    /// Any number of values of one type.
    Sequence {
        /// The type of each value.
        element: Box<Self>,
        /// The most values it may have; none if unbounded.
        bound: Option<u32>,
    },
    /// A fixed number of values of one type.
    Array {
        /// The type of each value.
        element: Box<Self>,
        /// The length of each dimension, outermost first; none is zero.
        dimensions: Vec<u32>,
    },
    /// One of a list of names.
    Enumeration(Arc<Enumeration>),
    /// Named members one after the other.
    Structure(Arc<Structure>),
}

/// A type of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// `boolean`.
    Boolean,
    /// `octet`: a byte without a meaning of its own; not assignable to `uint8`.
    Octet,
    /// `char`: an 8-bit character, taken as Latin-1.
    Char,
    /// `int8`.
    Int8,
    /// `uint8`.
    UInt8,
    /// `short`, `int16`.
    Int16,
    /// `unsigned short`, `uint16`.
    UInt16,
    /// `long`, `int32`.
    Int32,
    /// `unsigned long`, `uint32`.
    UInt32,
    /// `long long`, `int64`.
    Int64,
    /// `unsigned long long`, `uint64`.
    UInt64,
    /// `float`.
    Float32,
    /// `double`.
    Float64,
}

/// Whether peers may know members that the other side does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extensibility {
    /// The members are these and no others; what is assumed where the IDL says nothing.
    #[default]
    Final,
    /// Members may have been added at the end.
    Appendable,
}

/// A `struct`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The name with its modules, such as `Demo::Reading`.
    pub name: String,
    /// Whether members may have been added at the end.
    pub extensibility: Extensibility,
    /// The members in the order of their declaration; at least one.
    pub members: Vec<Member>,
}

/// A member of a `struct`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name, which is also the name in JSON.
    pub name: String,
    /// What it holds.
    pub member_type: Type,
    /// Whether it is part of what tells instances apart.
    pub is_key: bool,
}

/// An `enum`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// The name with its modules.
    pub name: String,
    /// The names in the order of their declaration; at least one.
    pub literals: Vec<String>,
}

impl Type {
    /// How many types it is made of, itself included; a measure of what it costs to set up.
    #[must_use]
    pub fn node_count(&self) -> usize {
        match self {
            Self::Primitive(_) | Self::Text { .. } | Self::Enumeration(_) => 1,
            Self::Sequence { element, .. } | Self::Array { element, .. } => {
                element.node_count().saturating_add(1)
            }
            Self::Structure(structure) => structure.node_count(),
        }
    }

    /// How deeply types are nested in it, itself included.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::Primitive(_) | Self::Text { .. } | Self::Enumeration(_) => 1,
            Self::Sequence { element, .. } | Self::Array { element, .. } => 1 + element.depth(),
            Self::Structure(structure) => structure.depth(),
        }
    }

    /// Bytes that the smallest value takes when padding is left out; at least 1.
    #[must_use]
    pub fn least_bytes(&self) -> u64 {
        match self {
            Self::Primitive(primitive) => primitive.size() as u64,
            Self::Text { .. } | Self::Sequence { .. } | Self::Enumeration(_) => 4,
            Self::Array {
                element,
                dimensions,
            } => dimensions
                .iter()
                .fold(element.least_bytes(), |product, &length| {
                    product.saturating_mul(u64::from(length))
                }),
            Self::Structure(structure) => structure.least_bytes(),
        }
    }

    /// True for what XCDR2 puts into collections without a length in bytes before them.
    pub(crate) const fn is_primitive(&self) -> bool {
        matches!(self, Self::Primitive(_))
    }

    /// True if an appendable struct is somewhere in it.
    fn has_appendable(&self) -> bool {
        match self {
            Self::Primitive(_) | Self::Text { .. } | Self::Enumeration(_) => false,
            Self::Sequence { element, .. } | Self::Array { element, .. } => {
                element.has_appendable()
            }
            Self::Structure(structure) => structure.has_appendable(),
        }
    }
}

impl Primitive {
    /// Bytes that a value takes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Boolean | Self::Octet | Self::Char | Self::Int8 | Self::UInt8 => 1,
            Self::Int16 | Self::UInt16 => 2,
            Self::Int32 | Self::UInt32 | Self::Float32 => 4,
            Self::Int64 | Self::UInt64 | Self::Float64 => 8,
        }
    }
}

impl Structure {
    /// How many types it is made of, itself included.
    #[must_use]
    pub fn node_count(&self) -> usize {
        let members = self.members.iter();
        members.fold(1, |sum: usize, member| {
            sum.saturating_add(member.member_type.node_count())
        })
    }

    /// How deeply types are nested in it, itself included.
    #[must_use]
    pub fn depth(&self) -> usize {
        let members = self.members.iter();
        1 + members
            .map(|member| member.member_type.depth())
            .max()
            .unwrap_or(0)
    }

    /// Bytes that the smallest value takes when padding is left out.
    #[must_use]
    pub fn least_bytes(&self) -> u64 {
        let members = self.members.iter();
        members.fold(0, |sum: u64, member| {
            sum.saturating_add(member.member_type.least_bytes())
        })
    }

    /// True if it or a struct in it is appendable, which XCDR1 of Cyclone DDS cannot carry.
    #[must_use]
    pub fn has_appendable(&self) -> bool {
        self.extensibility == Extensibility::Appendable
            || self
                .members
                .iter()
                .any(|member| member.member_type.has_appendable())
    }
}
