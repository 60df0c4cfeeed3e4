//! Keys of rows, and what lies between two of them.

use std::slice;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// Ranges of numbers up to this width are halved. Wider ones are cut near their lower end, because
/// numbers are given one after the other: most rows are there.
const HALVED_MAX: u64 = 1 << 20;

/// One column of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Number(i64),
    /// Need not be UTF-8: it may be a place between two texts.
    Text(Vec<u8>),
}

impl ToSql for Part {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Number(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text),
        }))
    }
}

impl Part {
    /// The lowest of its kind.
    fn floor(&self) -> Self {
        match self {
            Self::Number(_) => Self::Number(0),
            Self::Text(_) => Self::Text(Vec::new()),
        }
    }

    /// Higher than every one of its kind.
    fn ceiling(&self) -> Self {
        match self {
            Self::Number(_) => Self::Number(i64::MAX),
            // No UTF-8 text has this byte.
            Self::Text(_) => Self::Text(vec![0xff]),
        }
    }

    /// One strictly between two others, if there is one that is worth a look.
    fn between(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Number(low), Self::Number(high)) => {
                let width = u64::try_from(high.checked_sub(*low)?).ok()?;
                let step = if width <= HALVED_MAX {
                    width / 2
                } else {
                    1 << (width.ilog2() / 2)
                };
                let step = i64::try_from(step).ok().filter(|&it| it > 0)?;
                Some(Self::Number(low + step))
            }
            (Self::Text(low), Self::Text(high)) => text_between(low, high).map(Self::Text),
            (Self::Number(_), Self::Text(_)) | (Self::Text(_), Self::Number(_)) => None,
        }
    }
}

/// The text in the middle, as if what follows the common beginning were a number.
fn text_between(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let number = |text: &[u8]| {
        let mut bytes = [0; 8];
        let rest = text.iter().skip(common);
        bytes
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(bytes)
    };
    let (from, to) = (number(low), number(high));
    let middle = from + to.checked_sub(from)? / 2;
    let mut text = low.get(..common)?.to_vec();
    text.extend(middle.to_be_bytes());
    while text.len() > common && text.last() == Some(&0) {
        text.pop();
    }
    (low < &text[..] && &text[..] < high).then_some(text)
}

/// The key of a row: its columns in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) Vec<Part>);

impl Key {
    /// All keys of this form are from the first on and below the second.
    pub(crate) fn range(&self) -> (Self, Self) {
        let floor = self.0.iter().map(Part::floor).collect();
        let ceiling = self.0.iter().map(Part::ceiling).collect();
        (Self(floor), Self(ceiling))
    }

    /// The lowest key that is higher.
    pub(crate) fn next(&self) -> Self {
        let mut parts = self.0.clone();
        match parts.last_mut() {
            Some(Part::Number(number)) => *number = number.saturating_add(1),
            Some(Part::Text(text)) => text.push(0),
            None => {}
        }
        Self(parts)
    }

    /// A key strictly between this one and a higher one, if there is one that is worth a look.
    pub(crate) fn between(&self, higher: &Self) -> Option<Self> {
        between(&self.0, &higher.0).map(Self)
    }
}

fn between(low: &[Part], high: &[Part]) -> Option<Vec<Part>> {
    let ([first, low_rest @ ..], [other, high_rest @ ..]) = (low, high) else {
        return None;
    };
    if first == other {
        let rest = between(low_rest, high_rest)?;
        return Some([slice::from_ref(first), &rest[..]].concat());
    }
    let floors: Vec<_> = high_rest.iter().map(Part::floor).collect();
    if let Some(middle) = first.between(other) {
        return Some([&[middle], &floors[..]].concat());
    }
    if floors < high_rest.to_vec() {
        return Some([slice::from_ref(other), &floors[..]].concat());
    }
    let ceilings: Vec<_> = low_rest.iter().map(Part::ceiling).collect();
    let rest = between(low_rest, &ceilings)?;
    Some([slice::from_ref(first), &rest[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[i64]) -> Key {
        Key(numbers.iter().map(|it| Part::Number(*it)).collect())
    }

    fn text(text: &str) -> Key {
        Key(vec![Part::Text(text.into())])
    }

    #[test]
    fn what_is_between_is_strictly_between() {
        let table = [
            (numbers(&[1]), numbers(&[9]), Some(numbers(&[5]))),
            (numbers(&[1]), numbers(&[2]), None),
            (
                numbers(&[1]),
                numbers(&[i64::MAX]),
                Some(numbers(&[1 + (1 << 31)])),
            ),
            (numbers(&[1, 4]), numbers(&[1, 8]), Some(numbers(&[1, 6]))),
            (numbers(&[1, 4]), numbers(&[9, 0]), Some(numbers(&[5, 0]))),
            (numbers(&[1, 4]), numbers(&[2, 7]), Some(numbers(&[2, 0]))),
            (
                numbers(&[1, 4]),
                numbers(&[2, 0]),
                Some(numbers(&[1, 4 + (1 << 31)])),
            ),
            (text("a/1"), text("a/5"), Some(text("a/3"))),
            (text("a/1"), text("a/1\0"), None),
            (text("a"), text("aaa"), Some(text("a0\u{80}"))),
        ];
        for (low, high, expected) in table {
            let found = low.between(&high);
            assert!(found.iter().all(|it| low < *it && *it < high), "{found:?}");
            // A text in the middle need not be a text.
            if !matches!(low.0[0], Part::Text(_)) || expected.is_none() {
                assert_eq!(found, expected, "{low:?} {high:?}");
            }
            assert_eq!(found.is_some(), expected.is_some(), "{low:?} {high:?}");
        }
    }

    #[test]
    fn a_key_is_in_the_range_of_its_form() {
        for key in [numbers(&[1, 7]), text("grün")] {
            let (floor, ceiling) = key.range();
            assert!(floor < key && key < key.next() && key.next() < ceiling);
        }
    }
}
