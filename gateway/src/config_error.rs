//! What is said when a gateway or bridge cannot run as it is configured.

/// A configuration that can be read but not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// Where, below the gateway or bridge, such as `to_mqtt[0].topic`.
    pub key: String,
    /// What is wrong there.
    pub problem: String,
    /// Where in the key's text, if that is of several lines: line and column, from 1.
    pub position: Option<(usize, usize)>,
}

impl ConfigError {
    /// A problem, in one sentence, with the value of a key.
    pub fn new(key: impl Into<String>, problem: impl ToString) -> Self {
        Self {
            key: key.into(),
            problem: problem.to_string(),
            position: None,
        }
    }

    /// A problem at a line and column, both from 1, of the text that is the value of a key.
    pub fn within(
        key: impl Into<String>,
        line: usize,
        column: usize,
        problem: impl ToString,
    ) -> Self {
        Self {
            position: Some((line, column)),
            ..Self::new(key, problem)
        }
    }
}
