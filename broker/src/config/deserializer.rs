//! Gives merged values to serde.
//!
//! The `config` crate could do that too, but it rounds 1.5 to 2, takes 2 for true, and reports
//! mistakes as finished sentences.

use ::config::{Map, Value, ValueKind};
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Expected, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_path_to_error::Segment;

use super::error::ConfigError;
use super::layer::Places;
use super::mismatch::{Mismatch, describe_text};
use super::node::Step;

/// Whole numbers up to this are exact as floating point numbers.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads a `T` out of merged values.
pub(super) fn deserialize<T: DeserializeOwned>(
    root: Map<String, Value>,
    places: &Places<'_>,
) -> Result<T, ConfigError> {
    let root = ValueDeserializer(ValueKind::Table(root));
    serde_path_to_error::deserialize(root).map_err(|error| {
        let path = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let path = path.collect();
        error.into_inner().locate(path, places)
    })
}

#[derive(Debug)]
struct ValueDeserializer(ValueKind);

impl IntoDeserializer<'_, Mismatch> for ValueDeserializer {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl ValueDeserializer {
    fn found(&self) -> String {
        match &self.0 {
            ValueKind::Nil => "null".to_owned(),
            ValueKind::Boolean(value) => value.to_string(),
            ValueKind::I64(number) => number.to_string(),
            ValueKind::I128(number) => number.to_string(),
            ValueKind::U64(number) => number.to_string(),
            ValueKind::U128(number) => number.to_string(),
            ValueKind::Float(number) => number.to_string(),
            ValueKind::String(text) => describe_text(text),
            ValueKind::Table(_) => "an object".to_owned(),
            ValueKind::Array(_) => "a list".to_owned(),
        }
    }

    fn unexpected(&self, expected: &str) -> Mismatch {
        Mismatch::unexpected(expected, self.found())
    }

    /// A whole number, also from a text or a floating point number that is one.
    fn to_whole(&self) -> Option<i128> {
        match &self.0 {
            ValueKind::I64(number) => Some(i128::from(*number)),
            ValueKind::I128(number) => Some(*number),
            ValueKind::U64(number) => Some(i128::from(*number)),
            ValueKind::U128(number) => i128::try_from(*number).ok(),
            ValueKind::Float(number) => whole_of(*number),
            ValueKind::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| whole_of(text.parse().ok()?))
            }
            ValueKind::Nil | ValueKind::Boolean(_) | ValueKind::Table(_) | ValueKind::Array(_) => {
                None
            }
        }
    }

    fn to_float(&self) -> Option<f64> {
        let number: f64 = match &self.0 {
            ValueKind::Float(number) => *number,
            ValueKind::String(text) => text.trim().parse().ok()?,
            ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                self.to_whole()?.to_string().parse().ok()?
            }
            ValueKind::Nil | ValueKind::Boolean(_) | ValueKind::Table(_) | ValueKind::Array(_) => {
                return None;
            }
        };
        number.is_finite().then_some(number)
    }

    fn to_bool(&self) -> Option<bool> {
        match &self.0 {
            ValueKind::Boolean(value) => Some(*value),
            ValueKind::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" => Some(true),
                "false" | "off" | "no" => Some(false),
                _ => None,
            },
            ValueKind::Nil
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::Table(_)
            | ValueKind::Array(_) => None,
        }
    }

    fn into_text(self) -> Result<String, Mismatch> {
        match self.0 {
            ValueKind::String(text) => Ok(text),
            ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_) => Ok(self.found()),
            ValueKind::Nil | ValueKind::Table(_) | ValueKind::Array(_) => {
                Err(self.unexpected("a text"))
            }
        }
    }

    fn visit_array<'de, V: Visitor<'de>>(
        array: Vec<Value>,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let mut elements = SeqDeserializer::new(array.into_iter().map(|value| Self(value.kind)));
        let read = visitor.visit_seq(&mut elements)?;
        elements.end()?;
        Ok(read)
    }

    fn visit_table<'de, V: Visitor<'de>>(
        table: Map<String, Value>,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let entries = table
            .into_iter()
            .map(|(key, value)| (key, Self(value.kind)));
        let mut entries = MapDeserializer::new(entries);
        let read = visitor.visit_map(&mut entries)?;
        entries.end()?;
        Ok(read)
    }
}

fn whole_of(number: f64) -> Option<i128> {
    let is_whole = number.fract() == 0.0 && number.abs() <= EXACT_FLOAT_MAX;
    is_whole.then_some(number as i128)
}

/// Whether the visitor is that of `NonZeroU16` or the like. Those of signed ones, which take
/// negative numbers, do not occur.
fn is_nonzero(visitor: &impl Expected) -> bool {
    let expected: &dyn Expected = visitor;
    expected.to_string().starts_with("a nonzero u")
}

macro_rules! deserialize_whole {
    ($($method:ident $visit:ident $number:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            let low = if is_nonzero(&visitor) { 1 } else { <$number>::MIN };
            let whole = self.to_whole().and_then(|number| <$number>::try_from(number).ok());
            let Some(number) = whole.filter(|number| *number >= low) else {
                let high = <$number>::MAX;
                return Err(self.unexpected(&format!("a whole number from {low} to {high}")));
            };
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = Mismatch;

    deserialize_whole! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(value),
            ValueKind::I64(number) => visitor.visit_i64(number),
            ValueKind::I128(number) => visitor.visit_i128(number),
            ValueKind::U64(number) => visitor.visit_u64(number),
            ValueKind::U128(number) => visitor.visit_u128(number),
            ValueKind::Float(number) => visitor.visit_f64(number),
            ValueKind::String(text) => visitor.visit_string(text),
            ValueKind::Array(array) => Self::visit_array(array, visitor),
            ValueKind::Table(table) => Self::visit_table(table, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.to_bool() {
            Some(value) => visitor.visit_bool(value),
            None => Err(self.unexpected("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.to_float() {
            Some(number) => visitor.visit_f64(number),
            None => Err(self.unexpected("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_string(self.into_text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_string(self.into_text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if matches!(self.0, ValueKind::Nil) {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if let ValueKind::Array(array) = self.0 {
            return Self::visit_array(array, visitor);
        }
        Err(self.unexpected("a list"))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if let ValueKind::Table(table) = self.0 {
            return Self::visit_table(table, visitor);
        }
        Err(self.unexpected("an object with keys"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_map(visitor)
    }

    /// Names of variants may be in any case, as they may in NanoMQ's files.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            ValueKind::String(text) => {
                let mut known = variants.iter();
                let known = known.find(|variant| variant.eq_ignore_ascii_case(text.trim()));
                let variant: StrDeserializer<'_, Mismatch> = known
                    .map_or(text.as_str(), |known| known)
                    .into_deserializer();
                visitor.visit_enum(variant)
            }
            ValueKind::Table(table) => {
                let entries = table
                    .into_iter()
                    .map(|(key, value)| (key, Self(value.kind)));
                let entries = MapDeserializer::new(entries);
                visitor.visit_enum(MapAccessDeserializer::new(entries))
            }
            other @ (ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::Array(_)) => {
                let expected = format!("one of {}", variants.join(", "));
                Err(Self(other).unexpected(&expected))
            }
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
