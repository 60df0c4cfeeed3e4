//! The values of a HOCON text as they are written, before substitutions are made.

use std::rc::Rc;

use super::super::place::Place;
use super::tree::Tree;

/// One part of a dotted key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// A value: one piece, or several that are concatenated.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) place: Place,
    pub(super) pieces: Vec<Piece>,
}

/// A part of a value.
#[derive(Debug)]
pub(super) enum Piece {
    /// Quoted text is never a number. Between three quotes it is in the file as it is, from a
    /// place on.
    Quoted(String, Option<Place>),
    /// Text without quotes, which may turn out to be a number, a boolean or null.
    Unquoted(String),
    /// White space between two other pieces.
    Space(String),
    Object(Tree),
    Array(Vec<Expression>),
    Substitution(Substitution),
}

/// `${path}` or `${?path}`.
#[derive(Debug)]
pub(super) struct Substitution {
    pub(super) path: Vec<String>,
    pub(super) optional: bool,
    pub(super) place: Place,
    /// In an included file: the object that the file was included into. The path is tried below
    /// it first.
    pub(super) prefix: Option<Rc<[String]>>,
}

impl Substitution {
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }
}
