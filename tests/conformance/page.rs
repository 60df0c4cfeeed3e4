//! The page that shows the statements and their tests.

use std::fmt::Write;

use super::statement::{List, Statement};
use super::{Claim, Survey, UNTESTABLE};

const INTRODUCTION: &str = "\
# Conformance

The normative statements of MQTT, in our own words, and the tests that fail if Tidegate violates them. A statement that binds a
client only needs no test. This page is generated from `mqtt/conformance` and the `Conforms` lines above tests and vectors:
`TIDEGATE_BLESS=1 cargo test -p tests --test tidy conformance` writes it, the same without the variable checks it.

";

/// The whole page.
pub(super) fn render(survey: &Survey) -> String {
    let mut page = INTRODUCTION.to_owned();
    write_overview(&mut page, survey).unwrap();
    for list in &survey.lists {
        write_list(&mut page, survey, list).unwrap();
    }
    page
}

fn write_overview(page: &mut String, survey: &Survey) -> std::fmt::Result {
    writeln!(
        page,
        "| | statements | bind a server | tested | pending | [not testable]({UNTESTABLE}) |"
    )?;
    writeln!(page, "|---|---:|---:|---:|---:|---:|")?;
    for list in &survey.lists {
        let duties = || {
            list.statements()
                .filter(|it| it.binds_server())
                .map(|it| &it.reference)
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            list.title,
            list.statements().count(),
            duties().count(),
            duties().filter(|it| survey.is_tested(it)).count(),
            duties().filter(|it| survey.pending.contains(*it)).count(),
            duties()
                .filter(|it| survey.untestable.contains_key(*it))
                .count(),
        )?;
    }
    Ok(())
}

fn write_list(page: &mut String, survey: &Survey, list: &List) -> std::fmt::Result {
    writeln!(page, "\n## {}", list.title)?;
    for section in &list.sections {
        writeln!(page, "\n### {}\n", section.title)?;
        writeln!(page, "| statement | binds | what it demands | shown by |")?;
        writeln!(page, "|---|---|---|---|")?;
        for statement in &section.statements {
            let id = statement.reference.id.trim_matches(['[', ']']);
            let Statement { binds, summary, .. } = statement;
            writeln!(
                page,
                "| {id} | {binds} | {summary} | {} |",
                shown_by(survey, statement)
            )?;
        }
    }
    Ok(())
}

/// Tests of one file that are shown; its `Conforms` lines have the others.
const SHOWN_MAX: usize = 6;

/// The tests, one file after the other; or why there is none.
fn shown_by(survey: &Survey, statement: &Statement) -> String {
    if let Some(reason) = survey.untestable.get(&statement.reference) {
        return format!("*{reason}*");
    }
    if survey.pending.contains(&statement.reference) {
        return "**pending**".to_owned();
    }
    let claims: Vec<_> = survey.claims_of(&statement.reference).collect();
    let files = claims.chunk_by(|one, other| one.file == other.file);
    let cells: Vec<String> = files.map(tests_of_one_file).collect();
    cells.join("<br>")
}

fn tests_of_one_file(claims: &[&Claim]) -> String {
    let tests: Vec<_> = claims.iter().map(|it| it.test.as_str()).collect();
    let shown = &tests[..tests.len().min(SHOWN_MAX)];
    let more = match tests.len() - shown.len() {
        0 => String::new(),
        count => format!("; {count} more"),
    };
    let file = &claims[0].file;
    format!("[{file}]({file}): {}{more}", shown.join("; "))
}
