//! Dotted paths, as keys and in substitutions.

use super::super::error::Fault;
use super::cursor::Cursor;
use super::quoted::read_quoted;
use super::syntax::Key;

/// Reads `a.b."c.d"`.
pub(super) fn read_path(cursor: &mut Cursor<'_>) -> Result<Vec<Key>, Fault> {
    let mut path = Vec::new();
    loop {
        path.push(read_key(cursor)?);
        if !cursor.eat(".") {
            return Ok(path);
        }
    }
}

fn read_key(cursor: &mut Cursor<'_>) -> Result<Key, Fault> {
    let place = cursor.place();
    if cursor.starts_with("\"") {
        let name = read_quoted(cursor)?;
        return Ok(Key { name, place });
    }
    let name = read_bare_key(cursor);
    if !name.is_empty() {
        return Ok(Key { name, place });
    }
    Err(match cursor.peek() {
        None => cursor.fault("expected a key, found the end of the file"),
        Some('\n' | '\r') => cursor.fault("expected a key, found the end of the line"),
        Some('$') => cursor.fault("a key cannot be a substitution"),
        Some(other) => cursor.fault(format!("expected a key, found `{other}`")),
    })
}

/// Reads a key without quotes, which may turn out to be empty.
pub(super) fn read_bare_key(cursor: &mut Cursor<'_>) -> String {
    let mut name = String::new();
    while let Some(character) = cursor.peek() {
        let ends = character.is_whitespace()
            || ".:={}[](),\"\\".contains(character)
            || cursor.starts_with("+=")
            || cursor.starts_with("${");
        if ends {
            break;
        }
        name.push(character);
        cursor.bump();
    }
    name
}
