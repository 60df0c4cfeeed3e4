//! From JSON to bytes. Everything that the type says is checked here, so that a refusal names the
//! place in the JSON instead of being a mere "no" from the DDS stack.

use serde_json::{Map, Value};

use super::{Encoding, HEADER_BYTES};
use crate::type_tree::{Enumeration, Extensibility, Primitive, Structure, Type};

/// Why JSON is not a value of the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct WriteError {
    /// The place in the JSON, such as `$.tags[2]`.
    path: String,
    problem: String,
}

type Written = Result<(), WriteError>;

/// Turns JSON into a sample with its encapsulation header, little endian, padded to 4 bytes.
///
/// # Errors
/// The first place where `json` is not a value of `structure`: a member that is missing or
/// unknown, another type than expected, or a number out of range.
pub fn write(
    structure: &Structure,
    encoding: Encoding,
    json: &Value,
) -> Result<Vec<u8>, WriteError> {
    let [high, low] = encoding.identifier(structure.extensibility).to_be_bytes();
    let mut writer = Writer {
        sample: vec![high, low, 0, 0],
        encoding,
    };
    writer
        .structure(structure, json)
        .map_err(|error| error.inside("$"))?;
    let mut sample = writer.sample;
    let padding = sample.len().next_multiple_of(4) - sample.len();
    sample.resize(sample.len() + padding, 0);
    sample[3] = padding as u8;
    Ok(sample)
}

struct Writer {
    sample: Vec<u8>,
    encoding: Encoding,
}

impl WriteError {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            problem: problem.into(),
        }
    }

    fn inside(mut self, outer: &str) -> Self {
        self.path.insert_str(0, outer);
        self
    }

    fn expected(what: &str, found: &Value) -> Self {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "another number",
            Value::String(_) => "another string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Self::new(format!("expected {what}, found {found}"))
    }
}

impl Writer {
    fn align(&mut self, size: usize) {
        let size = size.min(self.encoding.alignment_max());
        let at = self.sample.len() - HEADER_BYTES;
        let gap = at.next_multiple_of(size) - at;
        self.sample.resize(self.sample.len() + gap, 0);
    }

    fn number(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.sample.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) -> Written {
        let length = u32::try_from(length).map_err(|_| WriteError::new("is too long"))?;
        self.number(&length.to_le_bytes());
        Ok(())
    }

    fn value(&mut self, value_type: &Type, json: &Value) -> Written {
        match value_type {
            Type::Primitive(primitive) => self.primitive(*primitive, json),
            Type::Text { bound } => self.text(*bound, json),
            Type::Sequence { element, bound } => self.sequence(element, *bound, json),
            Type::Array {
                element,
                dimensions,
            } => self.array(element, dimensions, json),
            Type::Enumeration(enumeration) => self.literal(enumeration, json),
            Type::Structure(structure) => self.structure(structure, json),
        }
    }

    fn primitive(&mut self, primitive: Primitive, json: &Value) -> Written {
        match primitive {
            Primitive::Boolean => {
                let value = json.as_bool();
                let value = value.ok_or_else(|| WriteError::expected("a boolean", json))?;
                self.number(&[u8::from(value)]);
            }
            Primitive::Char => self.number(&[character(json)?]),
            Primitive::Int8 => self.number(&signed::<i8>(json)?.to_le_bytes()),
            Primitive::Int16 => self.number(&signed::<i16>(json)?.to_le_bytes()),
            Primitive::Int32 => self.number(&signed::<i32>(json)?.to_le_bytes()),
            Primitive::Int64 => self.number(&signed::<i64>(json)?.to_le_bytes()),
            Primitive::Octet | Primitive::UInt8 => self.number(&[unsigned::<u8>(json)?]),
            Primitive::UInt16 => self.number(&unsigned::<u16>(json)?.to_le_bytes()),
            Primitive::UInt32 => self.number(&unsigned::<u32>(json)?.to_le_bytes()),
            Primitive::UInt64 => self.number(&unsigned::<u64>(json)?.to_le_bytes()),
            Primitive::Float32 => {
                let value = float(json)?;
                let narrow = value as f32;
                if value.is_finite() && !narrow.is_finite() {
                    return Err(WriteError::new("the number is out of range for a float"));
                }
                self.number(&narrow.to_le_bytes());
            }
            Primitive::Float64 => self.number(&float(json)?.to_le_bytes()),
        }
        Ok(())
    }

    fn text(&mut self, bound: Option<u32>, json: &Value) -> Written {
        let text = json.as_str();
        let text = text.ok_or_else(|| WriteError::expected("a string", json))?;
        if let Some(bound) = bound.filter(|&bound| text.len() as u64 > u64::from(bound)) {
            let problem = format!("the string is longer than its bound of {bound} bytes");
            return Err(WriteError::new(problem));
        }
        if text.contains('\0') {
            return Err(WriteError::new("the string has a null character"));
        }
        self.length(text.len() + 1)?;
        self.sample.extend_from_slice(text.as_bytes());
        self.sample.push(0);
        Ok(())
    }

    /// Leaves room for a length in bytes; returns where what it counts begins.
    fn begin_delimited(&mut self) -> usize {
        self.number(&[0; 4]);
        self.sample.len()
    }

    fn end_delimited(&mut self, start: usize) -> Written {
        let length = self.sample.len() - start;
        let length = u32::try_from(length).map_err(|_| WriteError::new("is too long"))?;
        self.sample[start - 4..start].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn begin_collection(&mut self, element: &Type) -> Option<usize> {
        let is_delimited = self.encoding == Encoding::Xcdr2 && !element.is_primitive();
        is_delimited.then(|| self.begin_delimited())
    }

    fn sequence(&mut self, element: &Type, bound: Option<u32>, json: &Value) -> Written {
        let values = list(json)?;
        if let Some(bound) = bound.filter(|&bound| values.len() as u64 > u64::from(bound)) {
            let problem = format!("the array has more values than its bound of {bound}");
            return Err(WriteError::new(problem));
        }
        let start = self.begin_collection(element);
        self.length(values.len())?;
        for (index, value) in values.iter().enumerate() {
            self.value(element, value)
                .map_err(|error| error.inside(&format!("[{index}]")))?;
        }
        start.map_or(Ok(()), |start| self.end_delimited(start))
    }

    fn array(&mut self, element: &Type, dimensions: &[u32], json: &Value) -> Written {
        let start = self.begin_collection(element);
        self.dimension(element, dimensions, json)?;
        start.map_or(Ok(()), |start| self.end_delimited(start))
    }

    fn dimension(&mut self, element: &Type, dimensions: &[u32], json: &Value) -> Written {
        let Some((&length, inner)) = dimensions.split_first() else {
            return self.value(element, json);
        };
        let values = list(json)?;
        if values.len() as u64 != u64::from(length) {
            let found = values.len();
            let problem = format!("expected an array of {length} values, found {found}");
            return Err(WriteError::new(problem));
        }
        for (index, value) in values.iter().enumerate() {
            self.dimension(element, inner, value)
                .map_err(|error| error.inside(&format!("[{index}]")))?;
        }
        Ok(())
    }

    fn literal(&mut self, enumeration: &Enumeration, json: &Value) -> Written {
        let index = json
            .as_str()
            .and_then(|name| enumeration.literals.iter().position(|known| known == name));
        let index = index.ok_or_else(|| {
            let what = format!("a literal of the enum `{}`", enumeration.name);
            WriteError::expected(&what, json)
        })?;
        self.length(index)
    }

    fn structure(&mut self, structure: &Structure, json: &Value) -> Written {
        let object = json
            .as_object()
            .ok_or_else(|| WriteError::expected("an object", json))?;
        check_names(structure, object)?;
        let is_delimited = self.encoding == Encoding::Xcdr2
            && structure.extensibility == Extensibility::Appendable;
        let start = is_delimited.then(|| self.begin_delimited());
        for member in &structure.members {
            let name = &member.name;
            let value = object
                .get(name)
                .ok_or_else(|| WriteError::new(format!("the member `{name}` is missing")))?;
            self.value(&member.member_type, value)
                .map_err(|error| error.inside(&format!(".{name}")))?;
        }
        start.map_or(Ok(()), |start| self.end_delimited(start))
    }
}

fn check_names(structure: &Structure, object: &Map<String, Value>) -> Written {
    // A misspelled name is both unknown and missing; what is unknown is the better hint.
    let mut members = structure.members.iter().map(|member| &member.name);
    let mut expected = members.clone();
    if object.keys().eq(&mut expected) {
        return Ok(());
    }
    match object
        .keys()
        .find(|name| !members.clone().any(|known| known == *name))
    {
        Some(unknown) => {
            let problem = format!("`{}` has no member `{unknown}`", structure.name);
            Err(WriteError::new(problem))
        }
        None => match members.find(|name| !object.contains_key(*name)) {
            Some(missing) => Err(WriteError::new(format!(
                "the member `{missing}` is missing"
            ))),
            None => Ok(()),
        },
    }
}

fn list(json: &Value) -> Result<&Vec<Value>, WriteError> {
    json.as_array()
        .ok_or_else(|| WriteError::expected("an array", json))
}

fn character(json: &Value) -> Result<u8, WriteError> {
    let mut characters = json.as_str().unwrap_or_default().chars();
    match (characters.next().map(u8::try_from), characters.next()) {
        (Some(Ok(byte)), None) => Ok(byte),
        _ => {
            let what = "a string of one character up to U+00FF";
            Err(WriteError::expected(what, json))
        }
    }
}

fn signed<T: TryFrom<i64>>(json: &Value) -> Result<T, WriteError> {
    if !json.is_i64() && !json.is_u64() {
        return Err(WriteError::expected("an integer", json));
    }
    let value = json.as_i64().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| out_of_range(json))
}

fn unsigned<T: TryFrom<u64>>(json: &Value) -> Result<T, WriteError> {
    if !json.is_i64() && !json.is_u64() {
        return Err(WriteError::expected("an integer", json));
    }
    let value = json.as_u64().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| out_of_range(json))
}

fn out_of_range(json: &Value) -> WriteError {
    WriteError::new(format!("the number {json} is out of range for its type"))
}

fn float(json: &Value) -> Result<f64, WriteError> {
    let named = json.as_str().and_then(|text| match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    });
    named.or_else(|| json.as_f64()).ok_or_else(|| {
        WriteError::expected("a number, \"NaN\", \"Infinity\" or \"-Infinity\"", json)
    })
}
