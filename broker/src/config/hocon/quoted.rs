//! Texts between quotes.

use super::super::error::Fault;
use super::cursor::Cursor;

/// Reads `"..."` or `"""..."""`; the cursor is at the first quote.
pub(super) fn read_quoted(cursor: &mut Cursor<'_>) -> Result<String, Fault> {
    if cursor.starts_with("\"\"\"") {
        return read_triple_quoted(cursor);
    }
    let start = cursor.clone();
    cursor.bump();
    let mut text = String::new();
    loop {
        match cursor.peek() {
            None | Some('\n') => {
                return Err(start.fault("this quote is not closed on the same line"));
            }
            Some('"') => {
                cursor.bump();
                return Ok(text);
            }
            Some('\\') => text.push(read_escape(cursor)?),
            Some(character) => {
                text.push(character);
                cursor.bump();
            }
        }
    }
}

/// Quotes that directly precede the closing three belong to the text.
fn read_triple_quoted(cursor: &mut Cursor<'_>) -> Result<String, Fault> {
    let start = cursor.clone();
    cursor.eat("\"\"\"");
    let mut text = String::new();
    loop {
        if cursor.starts_with("\"\"\"") && !cursor.starts_with("\"\"\"\"") {
            cursor.eat("\"\"\"");
            return Ok(text);
        }
        // The text shall not depend on the line ends of the editor.
        cursor.eat_carriage_return();
        match cursor.bump() {
            None => return Err(start.fault("these three quotes are not closed")),
            Some(character) => text.push(character),
        }
    }
}

fn read_escape(cursor: &mut Cursor<'_>) -> Result<char, Fault> {
    let start = cursor.clone();
    cursor.bump();
    let character = match cursor.bump() {
        Some('"') => '"',
        Some('\\') => '\\',
        Some('/') => '/',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return read_unicode(cursor, &start),
        Some(other) if !other.is_control() => {
            return Err(start.fault(format!(
                "`\\{other}` is not an escape; write `\\\\` for a backslash"
            )));
        }
        Some(_) | None => return Err(start.fault("a backslash ends the line")),
    };
    Ok(character)
}

/// Reads what follows `\u`. Characters beyond 16 bits are written as two escapes.
fn read_unicode(cursor: &mut Cursor<'_>, start: &Cursor<'_>) -> Result<char, Fault> {
    let first = read_hex(cursor, start)?;
    let mut units = vec![first];
    if (0xd800..0xdc00).contains(&first) && cursor.eat("\\u") {
        units.push(read_hex(cursor, start)?);
    }
    let mut characters = char::decode_utf16(units);
    match (characters.next(), characters.next()) {
        (Some(Ok(character)), None) => Ok(character),
        _ => Err(start.fault("this `\\u` escape is half of a surrogate pair")),
    }
}

fn read_hex(cursor: &mut Cursor<'_>, start: &Cursor<'_>) -> Result<u16, Fault> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = cursor.peek().and_then(|character| character.to_digit(16));
        let digit = digit.and_then(|digit| u16::try_from(digit).ok());
        let Some(digit) = digit else {
            return Err(start.fault("`\\u` must be followed by four hexadecimal digits"));
        };
        unit = unit << 4 | digit;
        cursor.bump();
    }
    Ok(unit)
}
