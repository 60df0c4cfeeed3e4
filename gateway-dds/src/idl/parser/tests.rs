use super::*;
use crate::idl::Idl;

const RICH: &str = r#"
#include "ignored.idl"
// A comment. /* not a second one
module Demo {
  /* Of several
     lines. */
  enum Color { RED, @default_literal GREEN, BLUE };
  @appendable
  struct Point { @key long x, y; };
  module Inner {
    @final @nested struct All {
      boolean b; octet o; char c;
      int8 i8; uint8 u8;
      short i16; unsigned short u16; int16 j16; uint16 v16;
      long i32; unsigned long u32; int32 j32; uint32 v32;
      long long i64; unsigned long long u64; int64 j64; uint64 v64;
      float f; double d;
      string s; string<8> t;
      sequence<octet> so; sequence<string<4>, 0x10> ss; sequence<sequence<Point>> sp;
      long a[2][3]; Color colors[2];
      ::Demo::Point p; Demo::Color q; Color r;
      long _struct;
    };
  };
};
struct Plain { Demo::Inner::All all; };
"#;

#[test]
fn the_subset_is_understood() {
    let idl = Idl::parse(RICH).unwrap();
    let names: Vec<&str> = idl.names().collect();
    assert_eq!(names, ["Demo::Point", "Demo::Inner::All", "Plain"]);
    let point = idl.find("::Demo::Point").unwrap();
    assert_eq!(point.extensibility, Extensibility::Appendable);
    assert!(point.members.iter().all(|member| member.is_key));
    let all = idl.find("Demo::Inner::All").unwrap();
    assert_eq!(all.extensibility, Extensibility::Final);
    let member = |name: &str| {
        let found = all.members.iter().find(|member| member.name == name);
        found.unwrap().member_type.clone()
    };
    let text = |bound| Type::Text { bound };
    let primitive = Type::Primitive;
    assert_eq!(member("v16"), primitive(Primitive::UInt16));
    assert_eq!(member("u64"), primitive(Primitive::UInt64));
    assert_eq!(member("t"), text(Some(8)));
    let strings = Type::Sequence {
        element: Box::new(text(Some(4))),
        bound: Some(16),
    };
    assert_eq!(member("ss"), strings);
    let matrix = Type::Array {
        element: Box::new(primitive(Primitive::Int32)),
        dimensions: vec![2, 3],
    };
    assert_eq!(member("a"), matrix);
    assert!(matches!(member("p"), Type::Structure(_)));
    assert!(matches!(member("r"), Type::Enumeration(_)));
    assert_eq!(member("struct"), primitive(Primitive::Int32));
    assert!(idl.find("Point").is_none());
}

#[test]
fn errors_say_where_and_what() {
    let table = [
        ("struct S { long x }", "1:19", "expected `;`, found `}`"),
        ("struct S {\n  lang x;\n};", "2:3", "unknown type `lang`"),
        ("struct S { };", "1:8", "no members"),
        (
            "struct S { long x; long x; };",
            "1:25",
            "`x` is declared twice",
        ),
        (
            "struct S { long x; }; struct S { long y; };",
            "1:30",
            "`S` is declared twice",
        ),
        (
            "@mutable struct S { long x; };",
            "1:1",
            "`@mutable` is not supported",
        ),
        ("@final @appendable struct S { long x; };", "1:8", "either"),
        ("struct S { @optional long x; };", "1:12", "`@optional`"),
        ("struct S { @id(3) long x; };", "1:12", "parentheses"),
        (
            "union U switch (long) { case 1: long x; };",
            "1:1",
            "`union` is not supported",
        ),
        ("typedef long T;", "1:1", "`typedef` is not supported"),
        ("struct S;", "1:9", "forward"),
        ("struct S : T { long x; };", "1:10", "inheritance"),
        ("struct S { wstring x; };", "1:12", "`wstring`"),
        ("struct S { long double x; };", "1:17", "`long double`"),
        (
            "struct S { string<0> x; };",
            "1:19",
            "a length is a number from 1",
        ),
        (
            "struct S { long x[99999999999]; };",
            "1:19",
            "a length is a number from 1",
        ),
        ("struct S { long x[1024][1024]; };", "1:8", "bytes at least"),
        (
            "struct S { @key sequence<long> x; };",
            "1:32",
            "cannot be a key",
        ),
        ("struct S { @key string x[2]; };", "1:24", "cannot be a key"),
        ("struct S { S x; };", "1:12", "unknown type `S`"),
        (
            "module M { struct S { long x; };",
            "1:33",
            "the end of the text",
        ),
        ("/* never closed", "1:1", "comment is not closed"),
        (
            "struct S { long 3; };",
            "1:17",
            "expected the name of the member, found `3`",
        ),
        ("struct S { long x; }; \u{1}", "1:23", "found `\\u{1}`"),
        ("@ struct S { long x; };", "1:1", "followed by the name"),
    ];
    for (text, place, part) in table {
        let error = Idl::parse(text).unwrap_err();
        assert_eq!(
            format!("{}:{}", error.line, error.column),
            place,
            "{text}: {error}"
        );
        assert!(error.detail.contains(part), "{text}: {error}");
    }
}

#[test]
fn nothing_explodes() {
    // Each level doubles the number of types.
    let mut text = "struct T0 { long a; long b; };".to_owned();
    for level in 1..40 {
        let below = level - 1;
        text.push_str(&format!("struct T{level} {{ T{below} a; T{below} b; }};"));
    }
    assert!(Idl::parse(&text).is_err());
    let nested = format!(
        "struct S {{ {} long {} x; }};",
        "sequence<".repeat(5000),
        ">".repeat(5000)
    );
    let error = Idl::parse(&nested).unwrap_err();
    assert!(error.detail.contains("nested"), "{error}");
    assert!(Idl::parse(&"module m {".repeat(5000)).is_err());
    assert!(Idl::parse(&" ".repeat(TEXT_BYTES_MAX + 1)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(struct |module |enum |S|T|@key |long |string|sequence|<|>|\\{|\\}|;|,|\\[|\\]|3|::|\n|.){0,40}") {
        if let Err(error) = Idl::parse(&text) {
            proptest::prop_assert!(error.line > 0 && error.column > 0);
        }
    }
}
