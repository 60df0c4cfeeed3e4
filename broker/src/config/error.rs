//! What is said when a configuration is refused.

use thiserror::Error;

use super::place::{Origins, Place};

/// Why a configuration was refused. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    /// A mistake in a file.
    #[error("{file}:{line}:{column}: {message}")]
    InFile {
        /// The file's path as it was given, or as an include named it.
        file: String,
        /// Counts from 1.
        line: usize,
        /// Counts characters from 1.
        column: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A mistake in an environment variable.
    #[error("environment variable {variable}: {message}")]
    InVariable {
        /// The variable's whole name.
        variable: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A file that cannot be read.
    #[error("{file}: {message}")]
    Unreadable {
        /// The file's path as it was given.
        file: String,
        /// The reason.
        message: String,
    },
    /// A mistake that belongs to no single place, such as a required key that is nowhere.
    #[error("{message}")]
    Nowhere {
        /// What is wrong.
        message: String,
    },
}

/// A mistake whose place is not spelled out yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
        }
    }

    pub(super) fn locate(self, origins: &Origins) -> ConfigError {
        let message = one_line(&self.message);
        match self.place {
            Place::File { file, line, column } => ConfigError::InFile {
                file: one_line(origins.file_name(file)),
                line,
                column,
                message,
            },
            Place::Variable(variable) => ConfigError::InVariable {
                variable: one_line(origins.variable_name(variable)),
                message,
            },
        }
    }
}

impl ConfigError {
    pub(super) fn unreadable(file: &str, message: &str) -> Self {
        Self::Unreadable {
            file: one_line(file),
            message: one_line(message),
        }
    }

    pub(super) fn nowhere(message: &str) -> Self {
        Self::Nowhere {
            message: one_line(message),
        }
    }
}

/// Messages quote what users and other crates wrote, which may hold line breaks.
fn one_line(text: &str) -> String {
    let text = text.trim_end();
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
