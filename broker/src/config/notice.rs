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
    /// A bridge through which messages may go round.
    #[error(
        "`bridges.mqtt.{bridge}.proto_ver` is {proto_ver}: MQTT 3 has no properties, so \
         `bridges.loop_guard` cannot stop what goes round through this bridge. What bridges bring \
         may leave through them again: see that the hub does not send it back, or use proto_ver 5"
    )]
    Unguarded {
        /// Its name.
        bridge: String,
        /// 3 or 4.
        proto_ver: u8,
    },
    /// A rule of a bridge that never counts.
    #[error(
        "`{key}` is also that of `subscription[{first}]`: of what comes, the first of both rules counts"
    )]
    RepeatedFilter {
        /// The whole key.
        key: String,
        /// The place of the rule that counts.
        first: usize,
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
            Self::Unguarded { bridge, proto_ver } => tracing::warn!(
                bridge,
                proto_ver,
                "messages may go round through this bridge, and MQTT 3 has no properties, by which \
                 `bridges.loop_guard` would stop them: see that the hub does not send back what it \
                 got, or use proto_ver 5"
            ),
            Self::RepeatedFilter { key, first } => tracing::warn!(
                key,
                first,
                "two rules have this filter; of what comes, the first counts"
            ),
        }
    }
}
