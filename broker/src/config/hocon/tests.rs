use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::node::{DEPTH_MAX, NodeValue, Table};
use super::super::place::Origins;
use super::read;

/// Reads a text with `HOME=/home/me` and `PORT=1883` in the environment.
fn read_in(folder: &Path, text: &str) -> Result<Table, String> {
    let variables = [("HOME", "/home/me"), ("PORT", "1883"), ("dotted.name", "v")];
    let variables: BTreeMap<_, _> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut origins = Origins::default();
    let start = origins.add_file(folder.join("t.conf").display().to_string());
    read(text, start, folder, &mut origins, &variables)
        .map_err(|fault| fault.locate(&origins).to_string())
}

fn render(table: &Table) -> String {
    let mut text = String::new();
    render_table(table, &mut text);
    text
}

fn render_table(table: &Table, text: &mut String) {
    text.push('{');
    for (index, (key, entry)) in table.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, "{comma}{key}:").unwrap();
        render_value(&entry.node.value, text);
    }
    text.push('}');
}

fn render_value(value: &NodeValue, text: &mut String) {
    match value {
        NodeValue::Null => text.push_str("null"),
        NodeValue::Bool(value) => write!(text, "{value}").unwrap(),
        NodeValue::Integer(value) => write!(text, "{value}").unwrap(),
        NodeValue::Unsigned(value) => write!(text, "{value}").unwrap(),
        NodeValue::Float(value) => write!(text, "{value:?}").unwrap(),
        NodeValue::Text(value) => write!(text, "{value:?}").unwrap(),
        NodeValue::List(list) => {
            text.push('[');
            for (index, node) in list.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                render_value(&node.value, text);
            }
            text.push(']');
        }
        NodeValue::Table(table) => render_table(table, text),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let table = read_in(Path::new(""), text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    assert_eq!(render(&table), expected, "{text}");
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let result = read_in(Path::new(""), text).map(|table| render(&table));
    assert_eq!(result, Err(format!("t.conf:{expected}")), "{text}");
}

#[test]
fn scalars() {
    check("a = 1", "{a:1}");
    check("a = -1.5", "{a:-1.5}");
    check("a = true, b = false, c = null", "{a:true,b:false,c:null}");
    check("a = 18446744073709551615", "{a:18446744073709551615}");
    check(
        "a = 30s\nb = 2MB\nc = 80%",
        "{a:\"30s\",b:\"2MB\",c:\"80%\"}",
    );
    // These would change if they were numbers.
    check(
        "a = 007, b = 1.10, c = 1e3",
        "{a:\"007\",b:\"1.10\",c:\"1e3\"}",
    );
    check("a = truely, b = nan", "{a:\"truely\",b:\"nan\"}");
    check("a = \"1\"", "{a:\"1\"}");
}

#[test]
fn structure() {
    check("", "{}");
    check("{}", "{}");
    check(" \n { a : 1 } \n # end", "{a:1}");
    check("a { b = 1 }\na.c = 2", "{a:{b:1,c:2}}");
    check("a\n{ b = 1 }", "{a:{b:1}}");
    check("a =\n{ b = 1 }\nc =\n[1]", "{a:{b:1},c:[1]}");
    check("a { b = 1, }, c = 2,", "{a:{b:1},c:2}");
    check("a.b.c = 1, a.b.d = 2", "{a:{b:{c:1,d:2}}}");
    check("a.\"quoted.key\".b = 1", "{a:{quoted.key:{b:1}}}");
    check("a.\"\" = 1", "{a:{:1}}");
    check("a = {b = 1}, a = {c = 2}", "{a:{b:1,c:2}}");
    check("a = {b = 1}, a = 2", "{a:2}");
    check("a = 1, a = {c = 2}", "{a:{c:2}}");
    check("a = [1, 2\n3 # three\n\n4,]", "{a:[1,2,3,4]}");
    check("a = [{b = 1}\n{b = 2}]", "{a:[{b:1},{b:2}]}");
    check("a = []", "{a:[]}");
    check("a-b_c/d = 1, 5 = 6", "{5:6,a-b_c/d:1}");
}

#[test]
fn comments_need_a_space_before() {
    check("# a\n// b\na = 1 # c\nb = 2 // d\n## e", "{a:1,b:2}");
    check(
        "a = mqtt-tcp://127.0.0.1:1883",
        "{a:\"mqtt-tcp://127.0.0.1:1883\"}",
    );
    check("a = tcp://h:1 // b", "{a:\"tcp://h:1\"}");
    check("a = $SYS/#\nb = a/+/# # c", "{a:\"$SYS/#\",b:\"a/+/#\"}");
    check("a = \"x\"# c\nb = \"#\"", "{a:\"x\",b:\"#\"}");
    check("a { // c\n b = [ # d\n 1 ] }", "{a:{b:[1]}}");
}

#[test]
fn texts() {
    check("a = hello  wide world ", "{a:\"hello  wide world\"}");
    check(
        "a = \"tab\\t \\u00e9 \\ud83d\\ude00 \\\"q\\\" \\\\ \\/\"",
        "{a:\"tab\\t é 😀 \\\"q\\\" \\\\ /\"}",
    );
    check(
        "a = \"\"\"one\ntwo \"x\" \\n\"\"\"",
        "{a:\"one\\ntwo \\\"x\\\" \\\\n\"}",
    );
    check("a = \"\"\"\"quoted\"\"\"\"", "{a:\"\\\"quoted\\\"\"}");
    check("a = \"\"", "{a:\"\"}");
    check("a = one\" two \"three", "{a:\"one two three\"}");
    check("\"a b\" = 1 b", "{a b:\"1 b\"}");
}

#[test]
fn line_ends_and_byte_order_marks() {
    check("\u{feff}a = 1\r\nb = x y\r\n", "{a:1,b:\"x y\"}");
    check("a = \"\"\"one\r\ntwo\"\"\"\r\n", "{a:\"one\\ntwo\"}");
    check("a = [\r\n1\r\n2\r\n]", "{a:[1,2]}");
    check_error("a = 1\r\nb = \r\n", "2:6: expected a value");
}

#[test]
fn substitutions() {
    check("a = 1, b = ${a}", "{a:1,b:1}");
    check("b = ${a}, a = 1, a = 2", "{a:2,b:2}");
    check("a { b = 1 }, c = ${a.b}0", "{a:{b:1},c:\"10\"}");
    check("a = ${HOME}/data, b = ${?NO}", "{a:\"/home/me/data\"}");
    check("o = def\no = ${?UNSET}", "{o:\"def\"}");
    check("o = def\no = ${?PORT}", "{o:\"1883\"}");
    check("a = x ${?NO} y, b = ${?NO}${?NO}", "{a:\"x  y\"}");
    check(
        "base { x = 1, y = 2 }, a = ${base} { y = 3 }",
        "{a:{x:1,y:3},base:{x:1,y:2}}",
    );
    check(
        "base { x = 1 }, a = ${base}, a.y = 2",
        "{a:{x:1,y:2},base:{x:1}}",
    );
    check("a = [1] [2], b = ${a} [3]", "{a:[1,2],b:[1,2,3]}");
    check("a = [ ${?NO}, 1 ]", "{a:[1]}");
    check("a { x = 1, y = ${a.x} }", "{a:{x:1,y:1}}");
    check(
        "bar { foo = 42, baz = ${bar.foo} }, bar { foo = 43 }",
        "{bar:{baz:43,foo:43}}",
    );
    check("a = \"${b}\"", "{a:\"${b}\"}");
    check("a = ${ \"x.y\" }, \"x.y\" = 2", "{a:2,x.y:2}");
    check("a = null, b = ${a}", "{a:null,b:null}");
}

#[test]
fn references_to_earlier_values_of_the_same_key() {
    check(
        "path = /bin\npath = ${path}\":/usr\"",
        "{path:\"/bin:/usr\"}",
    );
    check(
        "a = [1]\na = ${a} [2]\na += 3\na += { b = 4 }",
        "{a:[1,2,3,{b:4}]}",
    );
    check("a += 1", "{a:[1]}");
    check("a = ${?a}", "{}");
    check("a { b = [1] }, a { b = ${a.b} [2] }", "{a:{b:[1,2]}}");
    check(
        "foo { a { c = 1 } }\nfoo = ${foo.a}\nfoo { a = 2 }",
        "{foo:{a:2,c:1}}",
    );
    check(
        "a = ${base}, a { c = ${a.b} }, base { b = 1 }",
        "{a:{b:1,c:1},base:{b:1}}",
    );
    let mut text = "a = x".to_owned();
    for _ in 0..1000 {
        text.push_str("\na = ${a}x");
    }
    check(&text, &format!("{{a:{:?}}}", "x".repeat(1001)));
}

#[test]
fn keys_that_begin_like_include() {
    check("included { a = 1 }", "{included:{a:1}}");
    check("include = 1", "{include:1}");
    check("include { a = 1 }", "{include:{a:1}}");
    check("include.x = 1\nincludes = 2", "{include:{x:1},includes:2}");
}

/// Reads a text beside some files that it may include.
fn read_beside_files(text: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    write("base.conf", "x = 1, y = ${x}, z = ${top}");
    write("sub/inner.conf", "include \"leaf.conf\"\n");
    write("sub/leaf.conf", "leaf = here\n");
    write("loop.conf", "include \"loop.conf\"\n");
    write("bad.conf", "a = 1\nb ~ 2\n");
    let prefix = format!("{}/", folder.path().display());
    read_in(folder.path(), text)
        .map(|table| render(&table))
        .map_err(|error| error.replace(&prefix, ""))
}

#[test]
fn includes() {
    let good = [
        ("top = 2\ninclude \"base.conf\"", "{top:2,x:1,y:1,z:2}"),
        (
            "top = 2, k = { include \"base\" }",
            "{k:{x:1,y:1,z:2},top:2}",
        ),
        (
            "top = 2\nk { include file(\"base.conf\"), x = 5 }",
            "{k:{x:5,y:5,z:2},top:2}",
        ),
        (
            "include required(file(\"sub/inner.conf\"))",
            "{leaf:\"here\"}",
        ),
        (
            "include required( \"sub/inner.conf\" ), a = 1",
            "{a:1,leaf:\"here\"}",
        ),
        ("include \"missing.conf\"\na = 1", "{a:1}"),
        (
            "a = [{ include \"sub/leaf.conf\" }]",
            "{a:[{leaf:\"here\"}]}",
        ),
    ];
    for (text, expected) in good {
        assert_eq!(read_beside_files(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn includes_that_fail() {
    let bad = [
        (
            "a = 1\n include required(\"missing.conf\")",
            "t.conf:2:2: cannot include `missing.conf`: the file does not exist",
        ),
        (
            "include \"loop.conf\"",
            "loop.conf:1:1: cannot include `loop.conf`: includes are more than 8 deep; \
             does a file include itself?",
        ),
        (
            "include \"bad.conf\"",
            "bad.conf:2:2: expected `=`, `:` or `{` after `b`",
        ),
        (
            "include url(\"http://x\")",
            "t.conf:1:9: only files can be included",
        ),
        (
            "include \"x.toml\"",
            "t.conf:1:1: cannot include `x.toml`: only HOCON files can be included",
        ),
        (
            "include required(x)",
            "t.conf:1:18: expected the name of a file in quotes",
        ),
    ];
    for (text, expected) in bad {
        assert_eq!(read_beside_files(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn mistakes_have_places() {
    check_error("a = 1\n  b 2", "2:4: expected `=`, `:` or `{` after `b`");
    check_error("a = ", "1:5: expected a value");
    check_error(
        "a = # c",
        "1:5: expected a value; a comment begins here, so write quotes around the value",
    );
    check_error(
        "a = 1 b = 2",
        "1:9: unexpected `=`; a value that contains it needs quotes, a further key on the line a \
         comma before it",
    );
    check_error("a = \"x", "1:5: this quote is not closed on the same line");
    check_error("a = \"\"\"x\n", "1:5: these three quotes are not closed");
    check_error(
        "a = \"é\\x\"",
        "1:7: `\\x` is not an escape; write `\\\\` for a backslash",
    );
    check_error(
        "a = \"\\ud800\"",
        "1:6: this `\\u` escape is half of a surrogate pair",
    );
    check_error(
        "a = \"\\u12g4\"",
        "1:6: `\\u` must be followed by four hexadecimal digits",
    );
    check_error("a {\n b = 1\n", "1:3: this `{` is not closed");
    check_error("a = [1, 2", "1:5: this `[` is not closed");
    check_error("a = [1 }", "1:8: expected `]`, found `}`");
    check_error("a = 1 }", "1:7: this `}` closes nothing");
    check_error("{ a = 1 } b", "1:11: there is text after the closing `}`");
    check_error("[1]", "1:1: a configuration is an object, not a list");
    check_error("a = 1\n, , b = 2", "2:3: expected a key, found `,`");
    check_error("a. = 1", "1:3: expected a key, found ` `");
    check_error("${a} = 1", "1:1: a key cannot be a substitution");
    check_error("a = ${b", "1:8: expected `}` after the substitution's path");
    check_error(
        "a = C:\\temp",
        "1:7: unexpected `\\`; a value that contains it needs quotes",
    );
}

#[test]
fn substitutions_that_lead_nowhere() {
    check_error(
        "a = ${b}",
        "1:5: `${b}` is neither a key with a value nor an environment variable",
    );
    check_error(
        "a = ${a}",
        "1:5: `${a}` is neither a key with a value nor an environment variable",
    );
    check_error(
        "a = ${b}\nb = ${c}\nc = ${a}",
        "3:5: `${a}` depends on itself",
    );
    check_error("a = ${?b}\nb = ${?a}", "2:5: `${a}` depends on itself");
    check_error("a { b = ${a} }", "1:9: `${a}` depends on itself");
    check_error(
        "a = 1\na += 2",
        "2:6: `+=` needs a list, but this key has a value that is none",
    );
    check_error(
        "a = [1] x",
        "1:5: a text cannot be joined to a list; is a comma missing?",
    );
    check_error(
        "a = x {b = 1}",
        "1:5: an object cannot be joined to a text; is a comma missing?",
    );
}

#[test]
fn limits() {
    let deep = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read_in(Path::new(""), &deep(DEPTH_MAX - 1)).is_ok());
    assert!(read_in(Path::new(""), &deep(DEPTH_MAX)).is_err());
    let objects = |depth: usize| "a {".repeat(depth) + &"}".repeat(depth);
    assert!(read_in(Path::new(""), &objects(DEPTH_MAX)).is_ok());
    let too_deep = [
        deep(100_000),
        objects(100_000),
        "a.".repeat(100_000) + "a = 1",
        format!("a = ${{{}a}}", "a.".repeat(100_000)),
        (0..1000).fold("a = [1]".to_owned(), |text, _| text + "\na = [${a}]"),
        (0..1000).fold("a0 = 1".to_owned(), |text, n| {
            format!("{text}\na{} = ${{a{n}}}", n + 1)
        }),
    ];
    for text in too_deep {
        let error = read_in(Path::new(""), &text).unwrap_err();
        assert!(error.contains("more than 64 deep"), "{error}");
    }
    // Each key is twice as long as the one before.
    let doubling = (0..60).fold("a0 = x".to_owned(), |text, n| {
        format!("{text}\na{} = ${{a{n}}}${{a{n}}}", n + 1)
    });
    let error = read_in(Path::new(""), &doubling).unwrap_err();
    assert!(error.contains("larger than 16777216 bytes"), "{error}");
}

#[test]
fn reading_takes_linear_time() {
    let lines = |count: usize| (0..count).map(|n| format!("k{n} {{ a = v{n}, b = [1, 2] }}\n"));
    let text: String = lines(30_000).collect();
    assert_eq!(
        read_in(Path::new(""), &text).unwrap().iter().count(),
        30_000
    );
    let same_key: String = lines(30_000)
        .map(|line| format!("same {{ {line} }}\n"))
        .collect();
    assert!(read_in(Path::new(""), &same_key).is_ok());
    let appended = "a += 1\n".repeat(30_000);
    assert!(read_in(Path::new(""), &appended).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ignored = read_in(Path::new(""), &text);
    }

    #[test]
    fn anything_like_hocon_is_read_or_refused(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just("a"), Just("b"), Just("."),
                Just("="), Just(":"), Just("+="), Just(","), Just("\n"), Just(" "), Just("#"),
                Just("//"), Just("\""), Just("\"\"\""), Just("${a}"), Just("${?b}"), Just("${a.b}"),
                Just("${?a.b}"), Just("\\u00e9"), Just("include"), Just("1"), Just("true"),
                Just("a = "), Just("b = "), Just("a {"), Just("a.b = "), Just("\r\n"),
            ],
            0..40,
        )
    ) {
        let _ignored = read_in(Path::new(""), &pieces.concat());
    }

    #[test]
    fn assignments_never_loop(
        lines in proptest::collection::vec(
            (
                prop_oneof!["a", "b", "c", "a.b", "b.a", "a.b.c"],
                prop_oneof![Just("="), Just("+=")],
                proptest::collection::vec(
                    prop_oneof![
                        "\\$\\{\\?(a|b|c|a.b|b.a|a.b.c)\\}", "\\$\\{(a|b|c|a.b|b.a)\\}",
                        Just("{ a = 1 }".to_owned()), Just("{ b = ${?a} }".to_owned()),
                        Just("[${?a}]".to_owned()), Just("[1]".to_owned()), Just("x".to_owned()),
                    ],
                    1..3,
                ),
            ),
            1..10,
        )
    ) {
        let lines = lines.iter().map(|(key, sign, value)| format!("{key} {sign} {}\n", value.concat()));
        let _ignored = read_in(Path::new(""), &lines.collect::<String>());
    }
}
