//! What is written with an `@` in front of types and members.

use super::IdlError;
use super::token::Place;
use crate::type_tree::Extensibility;

/// An annotation with the place where it stands.
pub(super) struct Annotation {
    pub(super) name: String,
    pub(super) place: Place,
}

impl Annotation {
    pub(super) fn unsupported(&self, what: &str) -> IdlError {
        let detail = format!("`@{}` is not supported on {what}", self.name);
        self.place.error(detail)
    }
}

/// Refuses all annotations.
pub(super) fn refuse(annotations: &[Annotation], what: &str) -> Result<(), IdlError> {
    annotations
        .first()
        .map_or(Ok(()), |annotation| Err(annotation.unsupported(what)))
}

/// What the annotations of a type say.
pub(super) fn extensibility(annotations: &[Annotation]) -> Result<Extensibility, IdlError> {
    let mut extensibility = None;
    for annotation in annotations {
        let said = match annotation.name.as_str() {
            "final" => Extensibility::Final,
            "appendable" => Extensibility::Appendable,
            // They direct code generators and change nothing on the wire.
            "nested" | "topic" => continue,
            _ => return Err(annotation.unsupported("a type")),
        };
        if extensibility.is_some_and(|before| before != said) {
            let detail = "a type is either `@final` or `@appendable`";
            return Err(annotation.place.error(detail));
        }
        extensibility = Some(said);
    }
    Ok(extensibility.unwrap_or_default())
}

/// Whether the annotations of a member make it a key.
pub(super) fn key(annotations: &[Annotation]) -> Result<bool, IdlError> {
    for annotation in annotations {
        if annotation.name != "key" {
            return Err(annotation.unsupported("a member"));
        }
    }
    Ok(!annotations.is_empty())
}
