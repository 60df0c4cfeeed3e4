//! Amounts of bytes, such as `512KB` or `1MiB`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// An amount of bytes. Units are multiples of 1024, with or without `i` or `B`, as in NanoMQ's
/// files; a number without a unit means bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many times 1024 bytes.
    #[must_use]
    pub const fn kibibytes(number: u64) -> Self {
        Self(number * 1024)
    }

    /// So many times 1024 times 1024 bytes.
    #[must_use]
    pub const fn mebibytes(number: u64) -> Self {
        Self(number * 1024 * 1024)
    }

    /// The amount of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(factor).map(Self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as 512KB, 1MiB or 2G, or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        ByteSize::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        let size = u64::try_from(bytes).ok().map(ByteSize);
        size.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::ByteSize;

    #[test]
    fn texts_are_read() {
        let table = [
            ("0", Some(0)),
            ("512KB", Some(512 << 10)),
            ("1 MiB", Some(1 << 20)),
            ("2g", Some(2 << 30)),
            ("7 b", Some(7)),
            ("", None),
            ("KB", None),
            ("1.5M", None),
            ("1T", None),
            ("-1", None),
            ("18446744073709551615K", None),
        ];
        for (text, bytes) in table {
            assert_eq!(ByteSize::parse(text), bytes.map(ByteSize), "{text}");
        }
    }
}
