//! A value that is not what its key wants.

use std::fmt::Display;

use serde::de::{self, Expected, Unexpected};
use thiserror::Error;

use super::error::ConfigError;
use super::layer::{Part, Places};
use super::node::Step;

/// Names are suggested if they are at least this similar, from 0 to 1.
const SIMILARITY_MIN: f64 = 0.8;

/// A found text is quoted in messages up to this many characters.
const QUOTED_CHARACTERS_MAX: usize = 60;

/// Why a value was refused, without the path to it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Mismatch {
    #[error("unknown key `{key}`")]
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    #[error("unknown value `{found}`{}", suggestion(.found, .known, "values"))]
    UnknownVariant {
        found: String,
        known: &'static [&'static str],
    },
    #[error("missing key `{0}`")]
    MissingKey(&'static str),
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: String, found: String },
    #[error("{0}")]
    Other(String),
}

impl Mismatch {
    pub(super) fn unexpected(expected: impl Display, found: impl Display) -> Self {
        Self::Unexpected {
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// Says it with the path and the place.
    pub(super) fn locate(self, mut path: Vec<Step>, places: &Places<'_>) -> ConfigError {
        match self {
            Self::UnknownKey { key, known } => {
                // The path may lead to the key or to the object that it is in.
                let step = Step::Key(key.clone());
                if path.last() == Some(&step) {
                    path.pop();
                }
                let object = describe(&path);
                let suggestion = suggestion(&key, known, "keys");
                path.push(step);
                let key = shorten(&key);
                let message = format!("unknown key `{key}` {object}{suggestion}");
                places.error(&path, Part::Key, &message)
            }
            Self::MissingKey(key) => {
                let message = format!("missing key `{key}` {}", describe(&path));
                places.error(&path, Part::Key, &message)
            }
            Self::UnknownVariant { .. } | Self::Unexpected { .. } | Self::Other(_) => {
                // A variant is no step of the path to the place, but the name helps.
                let message = match path.is_empty() {
                    true => self.to_string(),
                    false => format!("`{}`: {self}", join(&path)),
                };
                places.error(&path, Part::Value, &message)
            }
        }
    }
}

impl de::Error for Mismatch {
    fn custom<T: Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unexpected(expected, describe_unexpected(unexpected))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unexpected(expected, describe_unexpected(unexpected))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownVariant {
            found: shorten(variant),
            known,
        }
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey {
            key: key.to_owned(),
            known,
        }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::MissingKey(key)
    }
}

fn describe_unexpected(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(text) => describe_text(text),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        Unexpected::Char(_)
        | Unexpected::Bytes(_)
        | Unexpected::Option
        | Unexpected::NewtypeStruct
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant
        | Unexpected::Other(_) => unexpected.to_string(),
    }
}

pub(super) fn describe_text(text: &str) -> String {
    format!("the text {:?}", shorten(text))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARACTERS_MAX {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect();
    format!("{beginning}…")
}

fn describe(object: &[Step]) -> String {
    if object.is_empty() {
        return "at the top level".to_owned();
    }
    format!("in `{}`", join(object))
}

/// A path as users write it.
pub(super) fn join(path: &[Step]) -> String {
    let mut joined = String::new();
    for step in path {
        match step {
            Step::Key(key) if joined.is_empty() => joined.push_str(key),
            Step::Key(key) => joined.extend([".", key]),
            Step::Index(index) => joined.push_str(&format!("[{index}]")),
        }
    }
    joined
}

/// The nearest known name, or else all of them.
fn suggestion(found: &str, known: &[&str], kind: &str) -> String {
    let found = found.to_lowercase();
    let scored = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&found, name), name));
    let best = scored.max_by(|(left, _), (right, _)| left.total_cmp(right));
    match best {
        Some((score, name)) if score >= SIMILARITY_MIN => format!("; did you mean `{name}`?"),
        Some(_) => format!("; known {kind}: {}", known.join(", ")),
        None => format!("; there are no known {kind}"),
    }
}
