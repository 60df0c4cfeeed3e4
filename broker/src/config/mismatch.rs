//! A value that is not what its key wants.

use std::fmt::Display;

use serde::de::{self, Expected, Unexpected};
use thiserror::Error;

use super::error::ConfigError;
use super::hints;
use super::layer::{Part, Places};
use super::node::Step;

/// Names are suggested if they are at least this similar, from 0 to 1.
const SIMILARITY_MIN: f64 = 0.7;

/// Of more known names than these only the most similar ones are told.
const TOLD_NAMES_MAX: usize = 16;

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
                path.push(step);
                let suggestion = match hints::find(&path) {
                    Some(hint) => format!("; {hint}"),
                    None => suggestion(&key, known, "keys"),
                };
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
                let mut message = match path.is_empty() {
                    true => self.to_string(),
                    false => format!("`{}`: {self}", join(&path)),
                };
                if matches!(self, Self::Unexpected { .. }) {
                    message += &hints::of_value(&path).unwrap_or_default();
                }
                message += &hints::missing_name(&path).unwrap_or_default();
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

/// The nearest known name, or else those that there are, the nearer ones if there are many.
fn suggestion(found: &str, known: &[&str], kind: &str) -> String {
    let found = found.to_lowercase();
    let similarity = |name: &str| {
        // The beginning of a name, or a name with an addition, is meant more often than not.
        let is_part = found.len() > 2 && (name.starts_with(&found) || found.starts_with(name));
        let similarity = strsim::normalized_damerau_levenshtein(&found, name);
        if is_part {
            similarity.max(SIMILARITY_MIN)
        } else {
            similarity
        }
    };
    let mut nearest: Vec<&str> = known.to_vec();
    nearest.sort_by(|left, right| similarity(right).total_cmp(&similarity(left)));
    match nearest.first() {
        None => format!("; there are no known {kind}"),
        Some(name) if similarity(name) >= SIMILARITY_MIN => format!("; did you mean `{name}`?"),
        Some(_) if known.len() <= TOLD_NAMES_MAX => {
            format!("; known {kind}: {}", known.join(", "))
        }
        Some(_) => {
            nearest.truncate(TOLD_NAMES_MAX);
            format!("; known {kind} are {} and others", nearest.join(", "))
        }
    }
}
