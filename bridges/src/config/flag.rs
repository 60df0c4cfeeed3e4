//! What is on or off, also where NanoMQ writes a number.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// True or false, also written as 1 or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true or false, or 1 or 0")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Flag, E> {
        Ok(Flag(value))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Flag, E> {
        match number {
            0 => Ok(Flag(false)),
            1 => Ok(Flag(true)),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Flag, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    /// From the environment, where everything is text.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Flag, E> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(Flag(true)),
            "false" | "off" | "no" | "0" => Ok(Flag(false)),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error;

    use super::*;

    fn read<'de>(value: impl IntoDeserializer<'de, Error>) -> Result<Flag, Error> {
        Flag::deserialize(value.into_deserializer())
    }

    #[test]
    fn it_is_written_in_many_ways() {
        for on in ["true", "On", "yes", " 1 "] {
            assert_eq!(read(on), Ok(Flag(true)), "{on}");
        }
        for off in ["False", "off", "no", "0"] {
            assert_eq!(read(off), Ok(Flag(false)), "{off}");
        }
        assert_eq!((read(true), read(false)), (Ok(Flag(true)), Ok(Flag(false))));
        assert_eq!(
            (read(1_u64), read(0_i64)),
            (Ok(Flag(true)), Ok(Flag(false)))
        );
        assert!(read(2_u64).is_err() && read(-1_i64).is_err() && read("2").is_err());
        let error = read("maybe").unwrap_err().to_string();
        assert!(
            error.ends_with("expected true or false, or 1 or 0"),
            "{error}"
        );
    }
}
