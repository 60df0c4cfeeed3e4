//! `Conforms` lines: which test shows which statement.
//!
//! The one form is `// Conforms: 5.0 [MQTT-3.1.0-1] [MQTT-3.1.0-2]; 3.1.1 [MQTT-3.1.0-1]`, directly
//! above `#[test]`; more such lines may follow each other. Above a vector it begins with `#`.
//! A test that names a statement fails if it is violated; one that demands several things may be
//! named by several tests that show them together.

use super::statement::{self, Reference};

/// A test says that it fails if a statement is violated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// From the workspace's root.
    pub(super) file: String,
    pub(super) line: usize,
    /// The function or the vector.
    pub(super) test: String,
    pub(super) statement: Reference,
}

/// What was found and what is wrong.
type Found = (Vec<Claim>, Vec<String>);

/// Reads a Rust file.
pub(super) fn in_rust(file: &str, text: &str) -> Found {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    collect(file, &lines, "// ", |below| {
        let mut below = below.iter().skip_while(|line| is_claim(line, "// "));
        if !matches!(below.next(), Some(&("#[test]" | "#[tokio::test]"))) {
            return Err("stands above no #[test]".to_owned());
        }
        let name = below.find_map(|line| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            line.strip_prefix("fn ")?.split('(').next()
        });
        let name = name.ok_or("stands above a #[test] without a function")?;
        Ok((name.to_owned(), None))
    })
}

/// Reads a file of vectors: version, name and more in columns.
pub(super) fn in_vectors(file: &str, text: &str) -> Found {
    let lines: Vec<&str> = text.lines().collect();
    let (claims, mut errors) = collect(file, &lines, "# ", |below| {
        let mut below = below.iter().skip_while(|line| is_claim(line, "# "));
        let vector = below.next().filter(|line| !line.starts_with('#'));
        let mut columns = vector.ok_or("stands above no vector")?.split(" | ");
        let version = columns.next().unwrap_or_default();
        let name = columns
            .next()
            .ok_or("stands above a vector without a name")?;
        Ok((name.to_owned(), Some(version.to_owned())))
    });
    let vectors = lines.iter().filter(|line| !line.starts_with('#'));
    let mut names: Vec<_> = vectors
        .filter_map(|line| line.split(" | ").nth(1))
        .collect();
    names.sort_unstable();
    let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
    errors.extend(twice.map(|pair| format!("{file}: two vectors are called {}", pair[0])));
    (claims, errors)
}

/// Goes through the lines; `name_below` finds the test, and its version if it is a vector.
fn collect(
    file: &str,
    lines: &[&str],
    comment: &str,
    name_below: impl Fn(&[&str]) -> Result<(String, Option<String>), String>,
) -> Found {
    let (mut claims, mut errors) = Found::default();
    for (index, line) in lines.iter().enumerate() {
        if !looks_like_claim(line) {
            continue;
        }
        let claimed = parse(line, comment).and_then(|statements| {
            let (test, version) = name_below(&lines[index + 1..])?;
            check_version(version.as_deref(), &statements)?;
            Ok((test, statements))
        });
        match claimed {
            Ok((test, statements)) => {
                claims.extend(statements.into_iter().map(|statement| Claim {
                    file: file.to_owned(),
                    line: index + 1,
                    test: test.clone(),
                    statement,
                }))
            }
            Err(why) => errors.push(format!("{file}:{}: {line}: {why}", index + 1)),
        }
    }
    (claims, errors)
}

fn is_claim(line: &str, comment: &str) -> bool {
    line.strip_prefix(comment)
        .is_some_and(|it| it.starts_with("Conforms: "))
}

/// Also finds those that are misspelt: the word in any form, or any other word before a version
/// and an identifier.
fn looks_like_claim(line: &str) -> bool {
    let has_word = line.to_lowercase().contains("conforms:");
    let is_comment = line.starts_with("//") || line.starts_with('#');
    let mut versions = statement::versions();
    has_word || is_comment && versions.any(|it| line.contains(&format!(": {it} [")))
}

fn parse(line: &str, comment: &str) -> Result<Vec<Reference>, String> {
    let rest = line
        .strip_prefix(comment)
        .and_then(|it| it.strip_prefix("Conforms: "));
    let groups = rest.ok_or_else(|| format!("has to begin with {comment:?} and \"Conforms: \""))?;
    let mut all = Vec::new();
    for group in groups.split("; ") {
        all.extend(statement::references(group)?);
    }
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} stands twice", pair[0])),
        None => Ok(all),
    }
}

/// A vector is of one version and can show only what that version says.
fn check_version(vector: Option<&str>, statements: &[Reference]) -> Result<(), String> {
    let allowed: &[&str] = match vector {
        None => return Ok(()),
        Some("5") => &["5.0"],
        Some("3.1.1") => &["3.1.1", "bridge"],
        Some("3.1") => &["3.1", "bridge"],
        Some(other) => return Err(format!("stands above a vector of version {other:?}")),
    };
    let wrong = statements
        .iter()
        .find(|it| !allowed.contains(&it.version.as_str()));
    wrong.map_or(Ok(()), |it| {
        Err(format!("the vector is not of the version of {it}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "#[test]\nfn shown() {}";

    fn names(found: &Found) -> Vec<String> {
        assert_eq!(found.1, [""; 0]);
        let claims = found.0.iter();
        claims
            .map(|it| format!("{} {} {}", it.test, it.statement.version, it.statement.id))
            .collect()
    }

    #[test]
    fn lines_above_tests_are_read() {
        let text = "    // Conforms: 5.0 [A-1] [A-2]; 3.1.1 [A-1]\n    // Conforms: bridge [B-1]\n    \
                    #[test]\n    #[expect(x)]\n    fn shown(a: u8) {}";
        let expected = [
            "shown 5.0 [A-1]",
            "shown 5.0 [A-2]",
            "shown 3.1.1 [A-1]",
            "shown bridge [B-1]",
        ];
        assert_eq!(names(&in_rust("a.rs", text)), expected);
        assert_eq!(
            names(&in_rust("a.rs", "// [A-1]\n#[test]\nfn other() {}")),
            [""; 0]
        );
    }

    #[test]
    fn wrong_lines_are_refused() {
        let wrong = [
            "/// Conforms: 5.0 [A-1]",
            "//Conforms: 5.0 [A-1]",
            "// conforms: 5.0 [A-1]",
            "// Conforms 5.0: 5.0 [A-1]",
            "// Confroms: 5.0 [A-1]",
            "// Conforms:  5.0 [A-1]",
            "// Conforms: 5 [A-1]",
            "// Conforms: 5.0",
            "// Conforms: 5.0 ",
            "// Conforms: 5.0 A-1",
            "// Conforms: 5.0 [A-1], [A-2]",
            "// Conforms: 5.0 [A-1];3.1.1 [A-1]",
            "// Conforms: 5.0 [A-1] [A-1]",
            "// Conforms: 5.0 [A-1].",
            "let x = 1; // Conforms: 5.0 [A-1]",
            "// Conforms: 5.0 [A-1]\n// Something else.",
            "// Conforms: 5.0 [A-1]\n",
            "// Conforms: 5.0 [A-1]\nfn helper() {}",
        ];
        for line in wrong {
            let (claims, errors) = in_rust("a.rs", &format!("{line}\n{TEST}"));
            assert!(
                claims.is_empty() && errors.len() == 1,
                "{line}: {claims:?} {errors:?}"
            );
        }
    }

    #[test]
    fn lines_above_vectors_are_read() {
        let text = "# Vectors.\n# Conforms: 5.0 [A-1]\n5 | a name | 00\n5 | other | 00";
        assert_eq!(names(&in_vectors("a.txt", text)), ["a name 5.0 [A-1]"]);
        let wrong = [
            "# Conforms: 5.0 [A-1]\n3.1.1 | a | 00",
            "# Conforms: 5.0 [A-1]\n# More.\n5 | a | 00",
            "# Conforms: 5.0 [A-1]",
            "// Conforms: 5.0 [A-1]\n5 | a | 00",
            "5 | a | 00\n3.1.1 | a | 00",
        ];
        for text in wrong {
            let (claims, errors) = in_vectors("a.txt", text);
            assert!(
                claims.is_empty() && errors.len() == 1,
                "{text}: {claims:?} {errors:?}"
            );
        }
    }
}
