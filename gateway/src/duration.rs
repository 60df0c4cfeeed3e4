//! Durations as an operator writes them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A span written as `250ms`, `30s`, `5m`, `2h`, `7d`, or as a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfiguredDuration(pub Duration);

/// The units, longest suffix first, with their milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl ConfiguredDuration {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads a span.
    ///
    /// # Errors
    /// What was expected instead of `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let expected =
            || format!("`{text}` is no duration; write for example 250ms, 30s, 5m or 2h");
        let digits_end = text
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let unit = unit.trim();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit || unit.is_empty() && *name == "s")
            .ok_or_else(expected)?;
        let number: u64 = digits.parse().map_err(|_| expected())?;
        let millis = number.checked_mul(*factor).ok_or_else(expected)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for ConfiguredDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = ConfiguredDuration;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a duration such as 30s, or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                ConfiguredDuration::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
                Ok(ConfiguredDuration::from_secs(seconds))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
                u64::try_from(seconds)
                    .map(ConfiguredDuration::from_secs)
                    .map_err(|_| E::custom("a duration is not negative"))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let table = [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("30 s", Some(30_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("30", Some(30_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1y", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, millis) in table {
            let expected = millis.map(|it| ConfiguredDuration(Duration::from_millis(it)));
            assert_eq!(ConfiguredDuration::parse(text).ok(), expected, "{text}");
        }
    }
}
