use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::idl::Idl;
use crate::type_tree::{Enumeration, Member, Primitive, Type};

fn structure(idl: &str) -> Arc<Structure> {
    let idl = Idl::parse(idl).unwrap();
    let last = idl.names().last().unwrap().to_owned();
    Arc::clone(idl.find(&last).unwrap())
}

fn json_of(structure: &Structure, sample: &[u8]) -> Result<Value, ReadError> {
    let reading = read(structure, sample)?;
    for span in &reading.members {
        let member = reading.json.get(span.clone()).unwrap();
        serde_json::from_str::<Value>(member).unwrap();
    }
    Ok(serde_json::from_str(&reading.json).unwrap())
}

const ROBOT: &str = "
    enum Mode { OFF, ON };
    @appendable struct Inner { octet a; double b; };
    @appendable struct Robot {
        @key string name; long long n; sequence<string> tags; Mode mode; Inner inner;
        sequence<octet> raw;
    };";

#[test]
fn bytes_are_laid_out_as_specified() {
    let robot = structure(ROBOT);
    let value = json!({
        "name": "a", "n": -2, "tags": ["x"], "mode": "ON", "inner": {"a": 7, "b": 0.5},
        "raw": [1, 2],
    });
    let classic = [
        0, 1, 0, 2, // XCDR1, little endian, two bytes of padding
        2, 0, 0, 0, b'a', 0, 0, 0, // name, gap
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // n
        1, 0, 0, 0, 2, 0, 0, 0, b'x', 0, 0, 0, // tags, gap
        1, 0, 0, 0, // mode
        7, 0, 0, 0, 0, 0, 0, 0, // inner.a, gap up to 8
        0, 0, 0, 0, 0, 0, 0xe0, 0x3f, // inner.b
        2, 0, 0, 0, 1, 2, 0, 0, // raw, padding
    ];
    assert_eq!(write(&robot, Encoding::Xcdr1, &value).unwrap(), classic);
    assert_eq!(json_of(&robot, &classic).unwrap(), value);
    let delimited = [
        0, 9, 0, 2, // XCDR2 with a length in front, little endian, two bytes of padding
        58, 0, 0, 0, // length of the struct
        2, 0, 0, 0, b'a', 0, 0, 0, // name, gap
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // n, aligned to 4
        10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'x', 0, 0, 0, // tags with its length, gap
        1, 0, 0, 0, // mode
        12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, // inner with its length
        2, 0, 0, 0, 1, 2, 0, 0, // raw: primitives have no length in bytes
    ];
    assert_eq!(write(&robot, Encoding::Xcdr2, &value).unwrap(), delimited);
    assert_eq!(json_of(&robot, &delimited).unwrap(), value);
}

#[test]
fn big_endian_is_read() {
    let point = structure("struct Point { short x; unsigned long y; float z; };");
    let sample = [
        0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0, 0, 1, 0, 0x3d, 0xcc, 0xcc, 0xcd,
    ];
    let value = json_of(&point, &sample).unwrap();
    assert_eq!(value, json!({"x": -2, "y": 256, "z": 0.1}));
}

#[test]
fn members_added_later_are_skipped_and_missing_ones_are_zero() {
    let old = structure("@appendable struct S { long x; };");
    let new = structure(
        "enum E { FIRST, SECOND }; @appendable struct S { long x; string s; sequence<long> l;
         E e; boolean b; double d; short a[2]; };",
    );
    let newer = json!({
        "x": 1, "s": "text", "l": [1, 2], "e": "SECOND", "b": true, "d": 1.5, "a": [3, 4],
    });
    let sample = write(&new, Encoding::Xcdr2, &newer).unwrap();
    assert_eq!(json_of(&old, &sample).unwrap(), json!({"x": 1}));
    let sample = write(&old, Encoding::Xcdr2, &json!({"x": 5})).unwrap();
    let expected = json!({
        "x": 5, "s": "", "l": [], "e": "FIRST", "b": false, "d": 0.0, "a": [0, 0],
    });
    assert_eq!(json_of(&new, &sample).unwrap(), expected);
}

#[test]
fn extreme_values_survive() {
    let all = structure(
        "struct All { int8 a; uint8 b; int64 c; uint64 d; double e; float f; char g; string h; };",
    );
    let table = [
        json!({"a": -128, "b": 255, "c": i64::MIN, "d": u64::MAX, "e": "NaN", "f": "-Infinity",
            "g": "\u{ff}", "h": "quote \" back \\ line \n bell \u{7} ü 🤖"}),
        json!({"a": 127, "b": 0, "c": i64::MAX, "d": 9_007_199_254_740_993_u64, "e": 1e300,
            "f": 0.1, "g": "\0", "h": ""}),
        json!({"a": 0, "b": 0, "c": 0, "d": 0, "e": "Infinity", "f": "NaN", "g": "x", "h": "/"}),
        json!({"a": 0, "b": 0, "c": 0, "d": 0, "e": -0.0, "f": 16_777_216.0, "g": "x", "h": ""}),
    ];
    for value in table {
        for encoding in [Encoding::Xcdr1, Encoding::Xcdr2] {
            let sample = write(&all, encoding, &value).unwrap();
            assert_eq!(json_of(&all, &sample).unwrap(), value);
        }
    }
}

/// A place in a good value, what stands there instead, and how the error begins.
const REFUSALS: &str = r#"
/mode      | "AUTO"          | $.mode: expected a literal of the enum `Mode`, found another string
/mode      | 1               | $.mode: expected a literal of the enum `Mode`, found another number
/list      | {}              | $.list: expected an array, found an object
/list      | [{"a":1},{"a":1},{"a":1}] | $.list: the array has more values than its bound of 2
/list/0/a  | 256             | $.list[0].a: the number 256 is out of range
/list/0/a  | -1              | $.list[0].a: the number -1 is out of range
/list/0/a  | 1.5             | $.list[0].a: expected an integer, found another number
/list/0    | {"a":1,"b":2}   | $.list[0]: `Inner` has no member `b`
/list/0    | {"A":1}         | $.list[0]: `Inner` has no member `A`
/list/0    | {}              | $.list[0]: the member `a` is missing
/list/0    | null            | $.list[0]: expected an object, found null
/grid/0    | [1]             | $.grid[0]: expected an array of 2 values, found 1
/grid/0/1  | 40000           | $.grid[0][1]: the number 40000 is out of range
/s         | "abcd"          | $.s: the string is longer than its bound of 3
/s         | "a\u0000"       | $.s: the string has a null character
/f         | 1e39            | $.f: the number is out of range for a float
/f         | "nan"           | $.f: expected a number, "NaN"
/c         | "cc"            | $.c: expected a string of one character
/c         | "\u0100"        | $.c: expected a string of one character
/b         | 1               | $.b: expected a boolean, found another number
           | []              | $: expected an object, found an array
"#;

#[test]
fn refusals_name_the_place() {
    let robot = structure(
        "enum Mode { OFF, ON }; struct Inner { octet a; };
         struct Robot { Mode mode; sequence<Inner, 2> list; short grid[1][2]; string<3> s; float f;
         char c; boolean b; };",
    );
    let good = json!({"mode": "ON", "list": [{"a": 1}], "grid": [[1, 2]], "s": "abc", "f": 1,
        "c": "c", "b": true});
    assert!(write(&robot, Encoding::Xcdr1, &good).is_ok());
    for line in REFUSALS.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let mut value = good.clone();
        *value.pointer_mut(parts[0]).unwrap() = serde_json::from_str(parts[1]).unwrap();
        let error = write(&robot, Encoding::Xcdr1, &value).unwrap_err();
        assert!(error.to_string().starts_with(parts[2]), "{line}: {error}");
    }
}

#[test]
fn malformed_samples_are_refused() {
    let s =
        structure("enum E { A }; struct S { boolean b; E e; string<2> s; sequence<long, 2> l; };");
    let sample = |body: &[u8]| [&[0, 1, 0, 0], body].concat();
    let table = [
        (vec![], ReadError::Truncated),
        (vec![0, 1, 0], ReadError::Truncated),
        (vec![0, 1, 0, 3], ReadError::Truncated),
        (vec![0, 2, 0, 0], ReadError::Encoding(2)),
        (vec![0, 9, 0, 0], ReadError::Encoding(9)),
        (sample(&[2]), ReadError::Value("boolean")),
        (
            sample(&[1, 0, 0, 0, 1, 0, 0, 0]),
            ReadError::Value("enum literal"),
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ReadError::Value("string"),
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
            ReadError::Value("string"),
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0xff, 0]),
            ReadError::Value("UTF-8 string"),
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 1, 1, 0]),
            ReadError::Bound(2),
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            ReadError::Truncated,
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]),
            ReadError::Bound(2),
        ),
        (
            sample(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]),
            ReadError::Truncated,
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(read(&s, &bytes).unwrap_err(), expected, "{bytes:?}");
    }
}

#[test]
fn json_does_not_grow_without_limit() {
    let name = "n".repeat(200);
    let s = structure(&format!(
        "struct I {{ octet {name}; }}; struct S {{ sequence<I> l; }};"
    ));
    let mut sample = vec![0, 1, 0, 0, 0x40, 0x42, 0x0f, 0];
    sample.resize(1_000_008, 0);
    assert_eq!(read(&s, &sample).unwrap_err(), ReadError::TooLarge);
}

fn any_primitive() -> impl Strategy<Value = Primitive> {
    prop::sample::select(vec![
        Primitive::Boolean,
        Primitive::Octet,
        Primitive::Char,
        Primitive::Int8,
        Primitive::UInt8,
        Primitive::Int16,
        Primitive::UInt16,
        Primitive::Int32,
        Primitive::UInt32,
        Primitive::Int64,
        Primitive::UInt64,
        Primitive::Float32,
        Primitive::Float64,
    ])
}

fn structure_of(types: Vec<Type>, is_appendable: bool) -> Structure {
    let members = types.into_iter().enumerate();
    let members = members.map(|(index, member_type)| Member {
        name: format!("m{index}"),
        member_type,
        is_key: false,
    });
    Structure {
        name: "S".to_owned(),
        extensibility: if is_appendable {
            Extensibility::Appendable
        } else {
            Extensibility::Final
        },
        members: members.collect(),
    }
}

fn any_type() -> impl Strategy<Value = Type> {
    let literals = vec!["A".to_owned(), "B".to_owned(), "C".to_owned()];
    let enumeration = Enumeration {
        name: "E".to_owned(),
        literals,
    };
    let leaf = prop_oneof![
        6 => any_primitive().prop_map(Type::Primitive),
        2 => prop::option::of(20..40_u32).prop_map(|bound| Type::Text { bound }),
        1 => Just(Type::Enumeration(Arc::new(enumeration))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            (boxed.clone(), prop::option::of(5..9_u32))
                .prop_map(|(element, bound)| Type::Sequence { element, bound }),
            (boxed, vec(1..3_u32, 1..3)).prop_map(|(element, dimensions)| Type::Array {
                element,
                dimensions
            }),
            (vec(inner, 1..4), any::<bool>()).prop_map(|(types, is_appendable)| {
                Type::Structure(Arc::new(structure_of(types, is_appendable)))
            }),
        ]
    })
}

fn any_structure() -> impl Strategy<Value = Structure> {
    (vec(any_type(), 1..5), any::<bool>())
        .prop_map(|(types, is_appendable)| structure_of(types, is_appendable))
}

fn float_json(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => json!("NaN"),
        None if value > 0.0 => json!("Infinity"),
        None => json!("-Infinity"),
    }
}

/// A value of a type that is a function of a seed.
fn value_of(value_type: &Type, seed: &mut u64) -> Value {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let raw = *seed ^ (*seed >> 29);
    match value_type {
        Type::Primitive(Primitive::Boolean) => json!(raw & 1 == 1),
        Type::Primitive(Primitive::Char) => json!(char::from(raw as u8).to_string()),
        Type::Primitive(Primitive::Octet | Primitive::UInt8) => json!(raw as u8),
        Type::Primitive(Primitive::Int8) => json!(raw as i8),
        Type::Primitive(Primitive::Int16) => json!(raw as i16),
        Type::Primitive(Primitive::UInt16) => json!(raw as u16),
        Type::Primitive(Primitive::Int32) => json!(raw as i32),
        Type::Primitive(Primitive::UInt32) => json!(raw as u32),
        Type::Primitive(Primitive::Int64) => json!(raw as i64),
        Type::Primitive(Primitive::UInt64) => json!(raw),
        Type::Primitive(Primitive::Float32) => float_json(f64::from(f32::from_bits(raw as u32))),
        Type::Primitive(Primitive::Float64) => float_json(f64::from_bits(raw)),
        Type::Text { .. } => json!(
            "aß\"\\\n🤖"
                .chars()
                .take(raw as usize % 7)
                .collect::<String>()
        ),
        Type::Enumeration(enumeration) => json!(enumeration.literals[raw as usize % 3]),
        Type::Sequence { element, .. } => (0..raw % 5).map(|_| value_of(element, seed)).collect(),
        Type::Array {
            element,
            dimensions,
        } => array_of(element, dimensions, seed),
        Type::Structure(structure) => object_of(structure, seed),
    }
}

fn array_of(element: &Type, dimensions: &[u32], seed: &mut u64) -> Value {
    match dimensions.split_first() {
        None => value_of(element, seed),
        Some((&length, inner)) => (0..length)
            .map(|_| array_of(element, inner, seed))
            .collect(),
    }
}

fn object_of(structure: &Structure, seed: &mut u64) -> Value {
    let members = structure.members.iter();
    let members = members.map(|member| (member.name.clone(), value_of(&member.member_type, seed)));
    Value::Object(members.collect())
}

proptest! {
    #[test]
    fn samples_survive_both_encodings(structure in any_structure(), seed: u64) {
        let value = object_of(&structure, &mut { seed });
        for encoding in [Encoding::Xcdr1, Encoding::Xcdr2] {
            let sample = write(&structure, encoding, &value).unwrap();
            prop_assert_eq!(sample.len() % 4, 0);
            let read = json_of(&structure, &sample).unwrap();
            // Floats of 32 bits come back in their shortest form; the bytes must be the same.
            prop_assert_eq!(write(&structure, encoding, &read).unwrap(), sample);
        }
    }

    #[test]
    fn damaged_samples_do_not_panic(
        structure in any_structure(),
        seed: u64,
        flips in vec((any::<prop::sample::Index>(), 0..8_u8), 0..4),
        cut in any::<prop::sample::Index>(),
        noise in vec(any::<u8>(), 0..64),
    ) {
        let value = object_of(&structure, &mut { seed });
        for encoding in [Encoding::Xcdr1, Encoding::Xcdr2] {
            let mut sample = write(&structure, encoding, &value).unwrap();
            for (at, bit) in &flips {
                let at = at.index(sample.len());
                sample[at] ^= 1 << bit;
            }
            read(&structure, &sample).ok();
            sample.truncate(cut.index(sample.len() + 1));
            read(&structure, &sample).ok();
        }
        read(&structure, &noise).ok();
    }
}
