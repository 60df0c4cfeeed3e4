//! The rules of the house that the compiler does not know.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, also outside their functions"
)]

mod conformance;

use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Packages and what each may depend on.
const EDGES: [(&str, &[&str]); 9] = [
    ("mqtt", &[]),
    ("gateway", &["mqtt"]),
    ("persistence", &["mqtt"]),
    ("gateway-zmq", &["mqtt", "gateway"]),
    ("gateway-nng", &["mqtt", "gateway"]),
    ("gateway-dds", &["mqtt", "gateway"]),
    ("bridges", &["mqtt", "gateway"]),
    ("broker", &BELOW_BROKER),
    ("tests", &BELOW_TESTS),
];
const BELOW_BROKER: [&str; 7] = [
    "mqtt",
    "gateway",
    "persistence",
    "gateway-zmq",
    "gateway-nng",
    "gateway-dds",
    "bridges",
];
const BELOW_TESTS: [&str; 8] = [
    "mqtt",
    "gateway",
    "persistence",
    "gateway-zmq",
    "gateway-nng",
    "gateway-dds",
    "bridges",
    "broker",
];
/// Names that say nothing of what is in a file.
const EMPTY_NAMES: [&str; 6] = ["utils", "common", "helpers", "types", "manager", "misc"];
const LINES_MAX: usize = 500;
const WAY_FILES_MAX: usize = 14;
const WAY_LINES_MAX: usize = 3_000;

/// A Rust file of the workspace.
struct Source {
    /// From the workspace's root.
    path: String,
    text: String,
}

impl Source {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(tests::workspace().join(path));
        Self {
            path: path.to_owned(),
            text: text.unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }

    /// Whether all of it is test code.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
    }

    /// Lines before the test module at the end, if there is one.
    fn lines(&self) -> usize {
        let mut lines = self.text.lines();
        let mut count = 0;
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]"
                && lines
                    .next()
                    .is_some_and(|next| next.starts_with("mod tests {"))
            {
                break;
            }
            count += 1;
        }
        count
    }

    /// The numbered lines that have one of these, outside of comments.
    fn find<'a>(&'a self, words: &'a [String]) -> impl Iterator<Item = String> + 'a {
        let lines = self.text.lines().enumerate();
        lines.filter_map(move |(index, line)| {
            let code = line.split("//").next().unwrap_or_default();
            let found = words.iter().any(|word| code.contains(word));
            found.then(|| format!("{}:{}: {}", self.path, index + 1, line.trim()))
        })
    }
}

fn manifest(package: &str) -> Table {
    let path = tests::workspace().join(package).join("Cargo.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn members() -> Vec<String> {
    let members = manifest(".");
    let members = members["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|it| it.as_str().unwrap().to_owned())
        .collect()
}

/// What a package depends on, in any way; under the name that the registry knows.
fn dependencies(manifest: &Table) -> Vec<String> {
    const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let tables = targets.chain([manifest]);
    let sections = tables.flat_map(|table| SECTIONS.map(|section| table.get(section)));
    let entries = sections.flatten().filter_map(Value::as_table).flatten();
    let names = entries.map(|(name, value)| {
        let package = value.get("package").and_then(Value::as_str);
        package.unwrap_or(name).to_owned()
    });
    names.collect()
}

/// All Rust files of the members.
fn sources() -> Vec<Source> {
    let root = tests::workspace();
    let mut found = Vec::new();
    for member in members() {
        visit(&root.join(member), &mut |path| {
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
            if relative.ends_with(".rs") {
                found.push(Source::read(relative));
            }
        });
    }
    assert!(found.len() > 50, "only {} files", found.len());
    found
}

fn visit(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path: PathBuf = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "target" {
                visit(&path, see);
            }
        } else {
            see(&path);
        }
    }
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn packages_depend_only_on_what_is_below_them() {
    let mut known: Vec<_> = EDGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut members = members();
    known.sort();
    members.sort();
    assert_eq!(members, known, "folders of the workspace");
    for (package, allowed) in EDGES {
        let manifest = manifest(package);
        assert_eq!(
            manifest["package"]["name"].as_str(),
            Some(package),
            "name is folder"
        );
        let inside = dependencies(&manifest)
            .into_iter()
            .filter(|it| known.contains(it));
        let wrong: Vec<_> = inside
            .filter(|it| !allowed.contains(&it.as_str()))
            .collect();
        assert_none(&format!("{package} must not depend on"), &wrong);
    }
}

#[test]
fn mqtt_and_gateway_have_no_runtime() {
    for package in ["mqtt", "gateway"] {
        let found = dependencies(&manifest(package)).into_iter();
        let runtimes = ["tokio", "kameo", "async-std", "smol", "mio", "socket2"];
        let wrong: Vec<_> = found.filter(|it| runtimes.contains(&it.as_str())).collect();
        assert_none(&format!("{package} must not depend on"), &wrong);
    }
}

#[test]
fn actors_are_not_traced() {
    let root = manifest(".");
    let mut wrong = Vec::new();
    let workspace = &root["workspace"]["dependencies"]["kameo"];
    if workspace.get("default-features").and_then(Value::as_bool) != Some(false) {
        wrong.push("the workspace takes kameo's default features".to_owned());
    }
    let packages = members().into_iter().map(|it| (manifest(&it), it));
    let uses = packages.filter_map(|(manifest, name)| {
        Some((name, manifest.get("dependencies")?.get("kameo")?.clone()))
    });
    for (name, kameo) in uses.chain([("the workspace".to_owned(), workspace.clone())]) {
        let features = kameo.get("features").and_then(Value::as_array);
        let has_tracing =
            features.is_some_and(|it| it.iter().any(|it| it.as_str() == Some("tracing")));
        let has_defaults = kameo.get("default-features").and_then(Value::as_bool) == Some(true);
        if has_tracing || has_defaults {
            wrong.push(name);
        }
    }
    assert_none("kameo's tracing feature is on in", &wrong);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let sources = sources()
        .into_iter()
        .filter(|it| !it.is_test() || it.path.starts_with("tests/"));
    let long = sources.filter(|it| it.lines() > LINES_MAX);
    let long: Vec<_> = long
        .map(|it| format!("{}: {}", it.path, it.lines()))
        .collect();
    assert_none("files with too many lines that are no tests", &long);
}

#[test]
fn nothing_is_left_to_be_done_and_no_test_is_left_out() {
    // Put together, or this file would have them.
    let words = ["todo!", "unimplemented!", "dbg!"].map(|it| format!("{it}("));
    let words: Vec<_> = words
        .into_iter()
        .chain([format!("#[{}", "ignore")])
        .collect();
    let sources = sources();
    let found: Vec<_> = sources.iter().flat_map(|it| it.find(&words)).collect();
    assert_none("unfinished", &found);
}

#[test]
fn names_of_files_say_what_is_in_them() {
    let root = tests::workspace();
    let mut found = Vec::new();
    for member in members() {
        visit(&root.join(member), &mut |path| {
            let path = path.strip_prefix(&root).unwrap();
            let mut names = path.iter().map(|it| it.to_str().unwrap());
            let is_empty =
                names.any(|it| EMPTY_NAMES.contains(&it.split('.').next().unwrap_or(it)));
            if is_empty {
                found.push(path.display().to_string());
            }
        });
    }
    assert_none("names that say nothing", &found);
}

#[test]
fn unsafe_code_is_in_one_folder() {
    let words = ["{", "impl ", "fn ", "extern "].map(|it| format!("{} {it}", "unsafe"));
    let allowances = ["allow", "expect"].map(|it| format!("{it}({}", "unsafe_code"));
    let words: Vec<_> = words.into_iter().chain(allowances).collect();
    let sources = sources();
    // The line that allows it to the folder is where the folder is declared.
    let elsewhere = sources
        .iter()
        .filter(|it| !it.path.starts_with("gateway-dds/src/io"));
    let found = elsewhere.flat_map(|it| it.find(&words));
    let found = found.filter(|it| !it.starts_with("gateway-dds/src/lib.rs:"));
    let found: Vec<_> = found.collect();
    assert_none("unsafe code", &found);
    let inside = sources
        .iter()
        .filter(|it| it.path.starts_with("gateway-dds/src/io"));
    assert!(
        inside.flat_map(|it| it.find(&words)).next().is_some(),
        "the words are found"
    );
    let lib = Source::read("gateway-dds/src/lib.rs");
    assert_eq!(
        lib.find(&words).count(),
        1,
        "one module may have unsafe code"
    );
}

/// What stands between backticks and looks like a path of the workspace.
fn paths(text: &str) -> Vec<&str> {
    // Fenced blocks are drawings and commands.
    let prose = text.split("```").step_by(2);
    let quoted = prose.flat_map(|it| it.split('`').skip(1).step_by(2));
    let is_path = |it: &&str| {
        let plain = it
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "-_./".contains(it));
        let is_file = [".rs", ".toml", ".md", ".sh", ".txt", ".conf", ".py"];
        plain && it.contains('/') && !it.starts_with('/')
            || plain && is_file.iter().any(|end| it.ends_with(end))
    };
    quoted.filter(is_path).collect()
}

#[test]
fn paths_in_the_architecture_exist() {
    let root = tests::workspace();
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let paths = paths(&text);
    assert!(paths.len() > 10, "only {paths:?}");
    // What is said not to exist does not have to.
    let absent = |path: &&&str| !text.contains(&format!("No `{path}`"));
    let missing = paths
        .iter()
        .filter(|it| !root.join(it).exists())
        .filter(absent);
    let missing: Vec<_> = missing.map(|it| (*it).to_owned()).collect();
    assert_none("ARCHITECTURE.md names what does not exist", &missing);
}

#[test]
fn the_way_of_a_publish_is_short() {
    let text = fs::read_to_string(tests::workspace().join("ARCHITECTURE.md")).unwrap();
    let (_, rest) = text.split_once("\n## The way of a PUBLISH\n").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let is_step = |line: &&str| line.starts_with(|it: char| it.is_ascii_digit());
    let steps = section.lines().filter(is_step);
    let mut files: Vec<&str> = steps.flat_map(|it| paths(it).into_iter().take(1)).collect();
    files.sort_unstable();
    files.dedup();
    assert!((5..=WAY_FILES_MAX).contains(&files.len()), "{files:?}");
    let sizes: Vec<_> = files
        .iter()
        .map(|it| (Source::read(it).lines(), *it))
        .collect();
    let lines: usize = sizes.iter().map(|(lines, _)| lines).sum();
    assert!(lines <= WAY_LINES_MAX, "{lines} lines: {sizes:?}");
}

/// A test that no module names is never run.
#[test]
fn every_file_is_a_module_of_one_beside_or_above_it() {
    let sources = sources();
    let is_root = |source: &Source| {
        let package = source.path.split('/').next().unwrap_or_default();
        let target = source.path.strip_prefix(&format!("{package}/"));
        let text = fs::read_to_string(tests::workspace().join(package).join("Cargo.toml"));
        let is_named = text.unwrap().contains(&format!("\"{}\"", target.unwrap()));
        // Cargo finds these by itself.
        let folders = ["src/lib.rs", "src/main.rs", "build.rs"];
        is_named || folders.iter().any(|it| target == Some(it)) || {
            let parts: Vec<_> = source.path.split('/').collect();
            matches!(
                parts[..],
                [_, "tests" | "benches", _] | [_, "tests", _, "main.rs"]
            )
        }
    };
    let is_declared = |source: &Source| {
        let path = Path::new(&source.path);
        let (folder, stem) = (path.parent().unwrap(), path.file_stem().unwrap());
        let (folder, stem) = match stem.to_str().unwrap() {
            "mod" => (folder.parent().unwrap(), folder.file_name().unwrap()),
            _ => (folder, stem),
        };
        let line = format!("mod {};", stem.to_str().unwrap());
        let above = folder.with_extension("rs");
        let mut places = sources.iter().filter(|it| {
            let place = Path::new(&it.path);
            place.parent() == Some(folder) || place == above
        });
        let by_path = format!("{}\"", path.file_name().unwrap().to_str().unwrap());
        places.any(|it| it.text.contains(&line))
            || sources.iter().any(|it| {
                let mut lines = it.text.lines().filter(|it| it.contains("#[path = "));
                lines.any(|it| it.contains(&by_path))
            })
    };
    let left_out = sources.iter().filter(|it| !is_root(it) && !is_declared(it));
    let left_out: Vec<_> = left_out.map(|it| it.path.clone()).collect();
    assert_none("files that no module names", &left_out);
}
