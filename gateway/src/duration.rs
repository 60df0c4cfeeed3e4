//! Lengths of time, such as `500ms`, `30s` or `7d`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A length of time as an operator writes it; a number without a unit means seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfiguredDuration(pub Duration);

/// Milliseconds of each unit.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl ConfiguredDuration {
    /// A length of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A length of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let unit = match unit.trim() {
            "" => "s",
            unit => unit,
        };
        let (_, millis) = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.checked_mul(*millis).map(Self::from_millis)
    }
}

impl<'de> Deserialize<'de> for ConfiguredDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = ConfiguredDuration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a duration such as 500ms, 30s, 5m, 2h or 7d, or a number of seconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ConfiguredDuration, E> {
        ConfiguredDuration::parse(text)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<ConfiguredDuration, E> {
        let whole = u64::try_from(seconds).ok();
        whole
            .map(ConfiguredDuration::from_secs)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(seconds), &self))
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<ConfiguredDuration, E> {
        Ok(ConfiguredDuration::from_secs(seconds))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<ConfiguredDuration, E> {
        Duration::try_from_secs_f64(seconds)
            .map(ConfiguredDuration)
            .map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error;

    use super::*;

    fn read<'de>(value: impl IntoDeserializer<'de, Error>) -> Result<ConfiguredDuration, Error> {
        ConfiguredDuration::deserialize(value.into_deserializer())
    }

    #[test]
    fn texts_are_read() {
        let table = [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("30 s", Some(30_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("1 MS", Some(1)),
            (" 30 ", Some(30_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1y", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, millis) in table {
            let expected = millis.map(ConfiguredDuration::from_millis);
            assert_eq!(read(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds() {
        assert_eq!(read(0.5).unwrap(), ConfiguredDuration::from_millis(500));
        assert_eq!(read(30_i64).unwrap(), ConfiguredDuration::from_secs(30));
        assert!(read(-0.5).is_err() && read(f64::NAN).is_err());
        let error = read(-1_i64).unwrap_err().to_string();
        assert!(error.ends_with("7d, or a number of seconds"), "{error}");
    }
}
