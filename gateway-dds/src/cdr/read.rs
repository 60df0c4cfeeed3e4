//! From bytes to JSON text. The text is written as the bytes are walked, so that a sample of many
//! octets does not become a tree many times its size.

use std::fmt::Write as _;
use std::ops::Range;

use super::{Encoding, HEADER_BYTES, JSON_BYTES_MAX};
use crate::type_tree::{Enumeration, Extensibility, Primitive, Structure, Type};

/// A sample as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The JSON text: one object.
    pub json: String,
    /// Where the value of each top-level member stands in the text, in the type's order.
    pub members: Vec<Range<usize>>,
}

/// Why bytes are not a sample of the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is more to read but nothing left.
    #[error("the sample ends too early")]
    Truncated,
    /// The header names an encoding that does not go with the type.
    #[error("the encoding {0:#06x} does not fit the type")]
    Encoding(u16),
    /// A value that its type does not have.
    #[error("a value is not a valid {0}")]
    Value(&'static str),
    /// A string or sequence is longer than its bound.
    #[error("a string or sequence is longer than its bound of {0}")]
    Bound(u32),
    /// The length in front of a collection is not its length.
    #[error("a collection does not have the length that is stated")]
    Length,
    /// The JSON text would be longer than [`JSON_BYTES_MAX`].
    #[error("the sample takes more than {JSON_BYTES_MAX} bytes as JSON")]
    TooLarge,
}

type Read<T> = Result<T, ReadError>;

/// Turns a sample with its encapsulation header into JSON. Bytes behind the last member are
/// padding and ignored. Members that an older peer's appendable type does not have yet get zero,
/// false, the first literal or nothing as their value.
///
/// # Errors
/// The first thing that is not a sample of `structure`.
pub fn read(structure: &Structure, sample: &[u8]) -> Read<Reading> {
    let (header, body) = sample
        .split_at_checked(HEADER_BYTES)
        .ok_or(ReadError::Truncated)?;
    let identifier = u16::from_be_bytes([header[0], header[1]]);
    let encoding = match (identifier, structure.extensibility) {
        (0x0000 | 0x0001, _) => Encoding::Xcdr1,
        (0x0006 | 0x0007, Extensibility::Final) => Encoding::Xcdr2,
        (0x0008 | 0x0009, Extensibility::Appendable) => Encoding::Xcdr2,
        _ => return Err(ReadError::Encoding(identifier)),
    };
    let padding = usize::from(header[3] & 0b11);
    let end = body
        .len()
        .checked_sub(padding)
        .ok_or(ReadError::Truncated)?;
    let mut reader = Reader {
        body,
        at: 0,
        end,
        encoding,
        is_little_endian: identifier & 1 == 1,
        json: String::new(),
    };
    let mut members = Vec::with_capacity(structure.members.len());
    reader.structure(structure, Some(&mut members))?;
    Ok(Reading {
        json: reader.json,
        members,
    })
}

struct Reader<'s> {
    body: &'s [u8],
    at: usize,
    /// Where the innermost thing with a stated length ends.
    end: usize,
    encoding: Encoding,
    is_little_endian: bool,
    json: String,
}

impl<'s> Reader<'s> {
    fn take(&mut self, count: usize) -> Read<&'s [u8]> {
        let end = self.at.checked_add(count).ok_or(ReadError::Truncated)?;
        let bytes = self
            .body
            .get(self.at..end.min(self.end))
            .filter(|bytes| bytes.len() == count)
            .ok_or(ReadError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn align(&mut self, size: usize) -> Read<()> {
        let size = size.min(self.encoding.alignment_max());
        let gap = self.at.next_multiple_of(size) - self.at;
        self.take(gap).map(|_| ())
    }

    /// A number of up to 8 bytes in the sample's byte order.
    fn number(&mut self, size: usize) -> Read<u64> {
        self.align(size)?;
        let bytes = self.take(size)?;
        let fold = |number: u64, &byte: &u8| (number << 8) | u64::from(byte);
        Ok(if self.is_little_endian {
            bytes.iter().rev().fold(0, fold)
        } else {
            bytes.iter().fold(0, fold)
        })
    }

    fn length(&mut self) -> Read<usize> {
        let length = self.number(4)?;
        usize::try_from(length).map_err(|_| ReadError::Truncated)
    }

    /// Reads a length in bytes and makes it the end of what follows; returns the end before.
    fn enter(&mut self) -> Read<usize> {
        let length = self.length()?;
        let end = self.at.checked_add(length).ok_or(ReadError::Truncated)?;
        if end > self.end {
            return Err(ReadError::Truncated);
        }
        Ok(std::mem::replace(&mut self.end, end))
    }

    fn check_size(&self) -> Read<()> {
        if self.json.len() > JSON_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        Ok(())
    }

    fn value(&mut self, value_type: &Type) -> Read<()> {
        match value_type {
            Type::Primitive(primitive) => self.primitive(*primitive)?,
            Type::Text { bound } => self.text(*bound)?,
            Type::Sequence { element, bound } => self.sequence(element, *bound)?,
            Type::Array {
                element,
                dimensions,
            } => self.array(element, dimensions)?,
            Type::Enumeration(enumeration) => self.literal(enumeration)?,
            Type::Structure(structure) => self.structure(structure, None)?,
        }
        self.check_size()
    }

    fn primitive(&mut self, primitive: Primitive) -> Read<()> {
        let raw = self.number(primitive.size())?;
        // The casts keep the low bytes, which are all there is.
        match primitive {
            Primitive::Boolean => match raw {
                0 => self.json.push_str("false"),
                1 => self.json.push_str("true"),
                _ => return Err(ReadError::Value("boolean")),
            },
            Primitive::Char => self.quoted(char::from(raw as u8).encode_utf8(&mut [0; 4])),
            Primitive::Int8 => self.display(raw as i8),
            Primitive::Int16 => self.display(raw as i16),
            Primitive::Int32 => self.display(raw as i32),
            Primitive::Int64 => self.display(raw as i64),
            Primitive::Octet
            | Primitive::UInt8
            | Primitive::UInt16
            | Primitive::UInt32
            | Primitive::UInt64 => self.display(raw),
            Primitive::Float32 => self.float(widen(f32::from_bits(raw as u32))),
            Primitive::Float64 => self.float(f64::from_bits(raw)),
        }
        Ok(())
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        write!(self.json, "{value}").ok();
    }

    fn float(&mut self, value: f64) {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.display(number),
            None if value.is_nan() => self.json.push_str("\"NaN\""),
            None if value > 0.0 => self.json.push_str("\"Infinity\""),
            None => self.json.push_str("\"-Infinity\""),
        }
    }

    fn quoted(&mut self, text: &str) {
        self.json.push('"');
        for character in text.chars() {
            match character {
                '"' => self.json.push_str("\\\""),
                '\\' => self.json.push_str("\\\\"),
                '\n' => self.json.push_str("\\n"),
                '\r' => self.json.push_str("\\r"),
                '\t' => self.json.push_str("\\t"),
                '\0'..='\u{1f}' => {
                    write!(self.json, "\\u{:04x}", u32::from(character)).ok();
                }
                _ => self.json.push(character),
            }
        }
        self.json.push('"');
    }

    fn text(&mut self, bound: Option<u32>) -> Read<()> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        let Some((0, bytes)) = bytes.split_last() else {
            return Err(ReadError::Value("string"));
        };
        if let Some(bound) = bound.filter(|&bound| bytes.len() as u64 > u64::from(bound)) {
            return Err(ReadError::Bound(bound));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ReadError::Value("UTF-8 string"))?;
        if text.contains('\0') {
            return Err(ReadError::Value("string"));
        }
        self.quoted(text);
        Ok(())
    }

    /// Reads the length in bytes that XCDR2 has in front of collections of anything but
    /// primitives, if it is there; returns the end before.
    fn enter_collection(&mut self, element: &Type) -> Read<Option<usize>> {
        if self.encoding == Encoding::Xcdr2 && !element.is_primitive() {
            return self.enter().map(Some);
        }
        Ok(None)
    }

    fn leave_collection(&mut self, outer: Option<usize>) -> Read<()> {
        let Some(outer) = outer else {
            return Ok(());
        };
        if self.at != self.end {
            return Err(ReadError::Length);
        }
        self.end = outer;
        Ok(())
    }

    fn sequence(&mut self, element: &Type, bound: Option<u32>) -> Read<()> {
        let outer = self.enter_collection(element)?;
        let count = self.length()?;
        if let Some(bound) = bound.filter(|&bound| count as u64 > u64::from(bound)) {
            return Err(ReadError::Bound(bound));
        }
        // Every value takes at least a byte.
        if count > self.end - self.at {
            return Err(ReadError::Truncated);
        }
        self.list(count, |reader| reader.value(element))?;
        self.leave_collection(outer)
    }

    fn array(&mut self, element: &Type, dimensions: &[u32]) -> Read<()> {
        let outer = self.enter_collection(element)?;
        self.dimension(element, dimensions)?;
        self.leave_collection(outer)
    }

    fn dimension(&mut self, element: &Type, dimensions: &[u32]) -> Read<()> {
        let Some((&length, inner)) = dimensions.split_first() else {
            return self.value(element);
        };
        self.list(length as usize, |reader| reader.dimension(element, inner))
    }

    fn list(&mut self, count: usize, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.json.push('[');
        for index in 0..count {
            if index > 0 {
                self.json.push(',');
            }
            item(self)?;
        }
        self.json.push(']');
        Ok(())
    }

    fn literal(&mut self, enumeration: &Enumeration) -> Read<()> {
        let index = self.length()?;
        let literal = enumeration.literals.get(index);
        self.quoted(literal.ok_or(ReadError::Value("enum literal"))?);
        Ok(())
    }

    fn structure(
        &mut self,
        structure: &Structure,
        mut spans: Option<&mut Vec<Range<usize>>>,
    ) -> Read<()> {
        let is_delimited = self.encoding == Encoding::Xcdr2
            && structure.extensibility == Extensibility::Appendable;
        let outer = if is_delimited {
            Some(self.enter()?)
        } else {
            None
        };
        self.json.push('{');
        for (index, member) in structure.members.iter().enumerate() {
            if index > 0 {
                self.json.push(',');
            }
            self.quoted(&member.name);
            self.json.push(':');
            let start = self.json.len();
            if is_delimited && self.at >= self.end {
                self.missing(&member.member_type)?;
            } else {
                self.value(&member.member_type)?;
            }
            if let Some(spans) = spans.as_deref_mut() {
                spans.push(start..self.json.len());
            }
        }
        self.json.push('}');
        if let Some(outer) = outer {
            // What a newer peer's type has in addition is skipped.
            self.at = self.end;
            self.end = outer;
        }
        Ok(())
    }

    /// The value of a member that the peer's type does not have.
    fn missing(&mut self, value_type: &Type) -> Read<()> {
        match value_type {
            Type::Primitive(Primitive::Boolean) => self.json.push_str("false"),
            Type::Primitive(Primitive::Char) => self.quoted("\0"),
            Type::Primitive(Primitive::Float32 | Primitive::Float64) => self.float(0.0),
            Type::Primitive(_) => self.json.push('0'),
            Type::Text { .. } => self.quoted(""),
            Type::Sequence { .. } => self.json.push_str("[]"),
            Type::Array {
                element,
                dimensions,
            } => self.missing_dimension(element, dimensions)?,
            Type::Enumeration(enumeration) => {
                self.quoted(enumeration.literals.first().map_or("", String::as_str));
            }
            Type::Structure(structure) => {
                self.json.push('{');
                for (index, member) in structure.members.iter().enumerate() {
                    if index > 0 {
                        self.json.push(',');
                    }
                    self.quoted(&member.name);
                    self.json.push(':');
                    self.missing(&member.member_type)?;
                }
                self.json.push('}');
            }
        }
        self.check_size()
    }

    fn missing_dimension(&mut self, element: &Type, dimensions: &[u32]) -> Read<()> {
        let Some((&length, inner)) = dimensions.split_first() else {
            return self.missing(element);
        };
        self.list(length as usize, |reader| {
            reader.missing_dimension(element, inner)
        })
    }
}

/// The double whose shortest decimal form is that of the float, so that 0.1 stays 0.1.
fn widen(value: f32) -> f64 {
    let exact = f64::from(value);
    let short: f64 = value.to_string().parse().unwrap_or(exact);
    if (short as f32).to_bits() == value.to_bits() {
        short
    } else {
        exact
    }
}
