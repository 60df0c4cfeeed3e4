//! What an operator may want to know about a configuration that is fine.

use thiserror::Error;

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Notice {
    /// A variable that looks like a setting and is none.
    #[error(
        "environment variable {variable} is ignored: it is no setting, whose keys have two \
         underscores between them, as in TIDEGATE_LOG__LEVEL"
    )]
    IgnoredVariable {
        /// The variable's whole name.
        variable: String,
    },
    /// An include that is not required, of a file that there is not.
    #[error("{place}: the included file does not exist: {file}")]
    MissingInclude {
        /// File, line and column of the include.
        place: String,
        /// The missing file's path.
        file: String,
    },
    /// A key of another broker that means nothing here.
    #[error("`{key}` has no effect: {reason}")]
    NoEffect {
        /// The whole key.
        key: String,
        /// Why not.
        reason: &'static str,
    },
}

impl Notice {
    /// Says it in the log.
    pub(crate) fn log(&self) {
        match self {
            Self::IgnoredVariable { variable } => tracing::warn!(
                variable,
                "an environment variable is ignored: keys have two underscores between them"
            ),
            Self::MissingInclude { place, file } => {
                tracing::info!(place, file, "an included file does not exist");
            }
            Self::NoEffect { key, reason } => {
                tracing::info!(key, reason, "a key has no effect");
            }
        }
    }
}
