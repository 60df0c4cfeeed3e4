//! The lists of statements in `mqtt/conformance`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

/// Each version with its title and its file.
const LISTS: [(&str, &str, &str); 4] = [
    ("5.0", "MQTT 5.0", "mqtt/conformance/mqtt-5.0.txt"),
    ("3.1.1", "MQTT 3.1.1", "mqtt/conformance/mqtt-3.1.1.txt"),
    ("3.1", "MQTT 3.1", "mqtt/conformance/mqtt-3.1.txt"),
    ("bridge", "Bridge bit", "mqtt/conformance/bridge.txt"),
];

/// A statement as a test names it: the same identifier is in more than one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) version: String,
    pub(super) id: String,
}

/// The statements of one version.
pub(super) struct List {
    pub(super) title: &'static str,
    pub(super) sections: Vec<Section>,
}

/// The statements of one section of the standard.
pub(super) struct Section {
    pub(super) title: String,
    pub(super) statements: Vec<Statement>,
}

/// One statement.
pub(super) struct Statement {
    pub(super) reference: Reference,
    /// `server`, `client` or `both`.
    pub(super) binds: String,
    pub(super) summary: String,
}

impl Statement {
    pub(super) fn binds_server(&self) -> bool {
        self.binds != "client"
    }
}

impl List {
    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.sections.iter().flat_map(|it| &it.statements)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.version, self.id)
    }
}

/// Parses a version and one or more identifiers: `5.0 [MQTT-3.1.0-1] [MQTT-3.1.0-2]`.
pub(super) fn references(text: &str) -> Result<Vec<Reference>, String> {
    let mut words = text.split(' ');
    let version = words.next().unwrap_or_default();
    if !LISTS.iter().any(|(known, ..)| *known == version) {
        return Err(format!("no version: {version:?}"));
    }
    let ids: Vec<&str> = words.collect();
    if let Some(wrong) = ids.iter().find(|it| !is_id(it)) {
        return Err(format!("no identifier: {wrong:?}"));
    }
    if ids.is_empty() {
        return Err(format!("no identifier in {text:?}"));
    }
    let references = ids.iter().map(|id| Reference {
        version: version.to_owned(),
        id: (*id).to_owned(),
    });
    Ok(references.collect())
}

/// Letters, digits, points and hyphens in brackets; whether it exists is for the lists to say.
fn is_id(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '.';
    inner.is_some_and(|it| !it.is_empty() && it.chars().all(plain))
}

/// The versions that a test may name.
pub(super) fn versions() -> impl Iterator<Item = &'static str> {
    LISTS.iter().map(|(version, ..)| *version)
}

/// All lists, in their order.
pub(super) fn lists() -> Vec<List> {
    let mut seen = BTreeSet::new();
    let lists = LISTS.map(|(version, title, file)| {
        let list = list(version, title, file);
        for statement in list.statements() {
            let is_first = seen.insert(statement.reference.clone());
            assert!(is_first, "{file}: {} stands twice", statement.reference);
        }
        list
    });
    lists.into()
}

fn list(version: &str, title: &'static str, file: &str) -> List {
    let mut sections: Vec<Section> = Vec::new();
    for line in read(file).lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section {
                title: title.to_owned(),
                statements: Vec::new(),
            });
        } else if !line.starts_with('#') {
            let section = sections
                .last_mut()
                .unwrap_or_else(|| panic!("{file}: no section"));
            section.statements.push(statement(version, file, line));
        }
    }
    List { title, sections }
}

fn statement(version: &str, file: &str, line: &str) -> Statement {
    let columns: Vec<_> = line.split(" | ").collect();
    let [id, binds, summary] = columns[..] else {
        panic!("{file}: not three columns: {line}");
    };
    assert!(
        ["server", "client", "both"].contains(&binds),
        "{file}: {line}"
    );
    assert!(
        summary.ends_with('.') && !summary.contains('|'),
        "{file}: {line}"
    );
    let reference = references(&format!("{version} {id}"));
    Statement {
        reference: reference
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .remove(0),
        binds: binds.to_owned(),
        summary: summary.to_owned(),
    }
}

/// One statement a line, for example `5.0 [MQTT-3.1.0-1]`. No file is none.
pub(super) fn pending(file: &str) -> BTreeSet<Reference> {
    let path = tests::workspace().join(file);
    if !path.exists() {
        return BTreeSet::new();
    }
    let text = read(file);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| reference(file, line)).collect()
}

/// One statement and its reason a line, for example `5.0 [MQTT-6.0.0-1] | no WebSocket`.
pub(super) fn untestable(file: &str) -> BTreeMap<Reference, String> {
    let text = read(file);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| {
        let (statement, reason) = line
            .split_once(" | ")
            .unwrap_or_else(|| panic!("{file}: {line}"));
        assert!(
            reason.ends_with('.') && !reason.contains('|'),
            "{file}: {line}"
        );
        (reference(file, statement), reason.to_owned())
    });
    rows.collect()
}

fn reference(file: &str, text: &str) -> Reference {
    let references = references(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(references.len(), 1, "{file}: one statement a line: {text}");
    references[0].clone()
}

fn read(file: &str) -> String {
    let text = fs::read_to_string(tests::workspace().join(file));
    text.unwrap_or_else(|error| panic!("{file}: {error}"))
}
