//! Lengths of time, such as `500ms`, `30s` or `7d`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A length of time; a number without a unit means seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConfiguredDuration(pub Duration);

/// Milliseconds of each unit.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl ConfiguredDuration {
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The length of time.
    #[must_use]
    pub(crate) const fn get(self) -> Duration {
        self.0
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
