//! What it means that something is durable.

use std::fmt;

/// What "durable" means, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing: it is in memory. What is submitted all the same is committed like `Normal`.
    Memory,
    /// Committed; what is committed is synced to the disk within a second.
    #[default]
    Normal,
    /// Every commit is synced to the disk.
    Full,
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "memory",
            Self::Normal => "normal",
            Self::Full => "full",
        })
    }
}
