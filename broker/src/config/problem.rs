//! Values that are well-formed but out of range, or at odds with each other.

use std::fmt::Display;

use super::mismatch::join;
use super::node::Step;

/// What is wrong with the value at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) path: Vec<Step>,
    pub(super) message: String,
    /// Where in the text at the path: line and column, from 1.
    pub(super) position: Option<(usize, usize)>,
}

impl Problem {
    pub(super) fn at(path: &[&str], message: &str) -> Self {
        let path = path.iter().map(|key| Step::Key((*key).to_owned()));
        Self::at_path(path.collect(), message)
    }

    /// A problem with a key of an element of a list.
    pub(super) fn within(list: &[&str], index: usize, key: &str, message: &str) -> Self {
        let mut path: Vec<Step> = list.iter().map(|it| Step::Key((*it).to_owned())).collect();
        path.extend([Step::Index(index), Step::Key(key.to_owned())]);
        Self::at_path(path, message)
    }

    pub(super) fn at_path(path: Vec<Step>, message: &str) -> Self {
        Self {
            message: format!("`{}`: {message}", join(&path)),
            path,
            position: None,
        }
    }
}

/// Checks that a value is at least `min` and at most `max`.
pub(super) fn check_range<T: PartialOrd + Display>(
    path: &[&str],
    value: T,
    min: T,
    max: T,
) -> Result<(), Problem> {
    if value >= min && value <= max {
        return Ok(());
    }
    let message = format!("expected a value from {min} to {max}, found {value}");
    Err(Problem::at(path, &message))
}

/// Checks that a value is not 0, which would stop what it limits altogether.
pub(super) fn check_positive<T: PartialOrd + Default>(
    path: &[&str],
    value: T,
) -> Result<(), Problem> {
    if value > T::default() {
        return Ok(());
    }
    Err(Problem::at(path, "expected more than 0"))
}
