//! The page that shows the statements and their tests.

use std::fmt::Write;

use super::statement::{List, Statement};
use super::{Survey, UNTESTABLE};

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

/// The tests, one file after the other; or why there is none.
fn shown_by(survey: &Survey, statement: &Statement) -> String {
    let mut text = String::new();
    let mut file = "";
    for claim in survey.claims_of(&statement.reference) {
        if claim.file == file {
            text += ", ";
        } else {
            let separator = if file.is_empty() { "" } else { "<br>" };
            text += &format!("{separator}[{0}]({0}): ", claim.file);
            file = &claim.file;
        }
        text += &claim.test;
    }
    if let Some(reason) = survey.untestable.get(&statement.reference) {
        return format!("*{reason}*");
    }
    if text.is_empty() && survey.pending.contains(&statement.reference) {
        return "**pending**".to_owned();
    }
    text
}
