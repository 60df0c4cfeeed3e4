//! Where a piece of configuration was written.

use super::notice::Notice;

/// Points at a key or a value. The order of places is the order of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In a file; lines and columns count from 1, columns in characters.
    File {
        file: usize,
        line: usize,
        column: usize,
    },
    /// In an environment variable.
    Variable(usize),
}

impl Place {
    /// The place of what is at a line and column, from 1, of a text that begins here.
    pub(super) const fn within(self, line: usize, column: usize) -> Self {
        match self {
            Self::File {
                file,
                line: first,
                column: indent,
            } => Self::File {
                file,
                line: first + line - 1,
                column: if line == 1 {
                    indent + column - 1
                } else {
                    column
                },
            },
            Self::Variable(variable) => Self::Variable(variable),
        }
    }

    /// Moves on from `character` to the next.
    pub(super) fn step(&mut self, character: char) {
        let Self::File { line, column, .. } = self else {
            return;
        };
        if character == '\n' {
            *line += 1;
            *column = 1;
        } else {
            *column += 1;
        }
    }
}

/// The names that places refer to by number.
#[derive(Debug, Default)]
pub(super) struct Origins {
    files: Vec<String>,
    variables: Vec<String>,
    /// What was left out while reading.
    pub(super) notices: Vec<Notice>,
}

impl Origins {
    /// Registers a file and returns its first character's place.
    pub(super) fn add_file(&mut self, name: String) -> Place {
        self.files.push(name);
        Place::File {
            file: self.files.len() - 1,
            line: 1,
            column: 1,
        }
    }

    pub(super) fn add_variable(&mut self, name: String) -> Place {
        self.variables.push(name);
        Place::Variable(self.variables.len() - 1)
    }

    /// A place in a file as it is written in messages.
    pub(super) fn describe(&self, place: Place) -> String {
        match place {
            Place::File { file, line, column } => {
                format!("{}:{line}:{column}", self.file_name(file))
            }
            Place::Variable(variable) => self.variable_name(variable).to_owned(),
        }
    }

    pub(super) fn file_name(&self, file: usize) -> &str {
        self.files.get(file).map_or("", String::as_str)
    }

    pub(super) fn variable_name(&self, variable: usize) -> &str {
        self.variables.get(variable).map_or("", String::as_str)
    }
}
