//! `log`: what the daemon writes to its standard error.

use serde::Deserialize;

/// How much is logged, and how it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// The least important level that is logged; default `info`.
    pub(crate) level: LogLevel,
    /// Whether lines are coloured; default `auto`.
    pub(crate) color: LogColor,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    /// Every step.
    Trace,
    /// Every message.
    Debug,
    /// What an operator may want to know.
    #[default]
    Info,
    /// What may need attention.
    Warn,
    /// What needs attention.
    Error,
}

/// When lines are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogColor {
    /// On a terminal.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Nowhere.
    Never,
}
