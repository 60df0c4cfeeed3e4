//! Medians as tables of Markdown, and the section of BENCHMARKS.md that has them.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// Small writes with which the disk is introduced.
const SYNCS: usize = 100;
/// What is told of how many times another figure one is; the rest has no meaning.
const RATIOS: RangeInclusive<f64> = 0.01..=100.0;
/// A cell without a figure.
const NOTHING: &str = "–";

/// What the figures are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Each with the last column's, in parentheses.
    WithLast,
    /// The first column's with those of each other one, in further columns.
    OfFirst,
}

/// One table for each title, in the order in which they were first recorded.
#[derive(Debug)]
pub struct Report {
    /// The columns.
    contenders: Vec<String>,
    comparison: Comparison,
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    title: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// One for each contender.
    cells: Vec<Cell>,
}

/// What each round brought.
#[derive(Clone, Debug, Default)]
struct Cell {
    rounds: Vec<Vec<f64>>,
    failures: Vec<String>,
}

impl Report {
    /// One with these columns.
    #[must_use]
    pub fn new(contenders: Vec<String>, comparison: Comparison) -> Self {
        Self {
            contenders,
            comparison,
            tables: Vec::new(),
        }
    }

    /// Adds what a round brought: one value, or several that stand in one cell.
    pub fn record(&mut self, title: &str, row: &str, contender: usize, values: &[f64]) {
        self.cell(title, row, contender)
            .rounds
            .push(values.to_vec());
    }

    /// Adds that a round brought nothing, and why.
    pub fn fail(&mut self, title: &str, row: &str, contender: usize, why: &str) {
        let failures = &mut self.cell(title, row, contender).failures;
        failures.push(why.to_owned());
    }

    fn cell(&mut self, title: &str, row: &str, contender: usize) -> &mut Cell {
        let table = self.tables.iter().position(|it| it.title == title);
        let table = table.unwrap_or_else(|| {
            self.tables.push(Table {
                title: title.to_owned(),
                rows: Vec::new(),
            });
            self.tables.len() - 1
        });
        let rows = &mut self.tables[table].rows;
        let place = rows.iter().position(|it| it.name == row);
        let place = place.unwrap_or_else(|| {
            rows.push(Row {
                name: row.to_owned(),
                cells: vec![Cell::default(); self.contenders.len()],
            });
            rows.len() - 1
        });
        &mut rows[place].cells[contender]
    }

    /// All tables, each with what failed below it.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for Table { title, rows } in &self.tables {
            let mut head = self.contenders.clone();
            if let (Comparison::OfFirst, Some((first, others))) =
                (self.comparison, self.contenders.split_first())
            {
                head.extend(others.iter().map(|it| format!("{first} ÷ {it}")));
            }
            let lines = "---:|".repeat(head.len());
            let head = head.join(" | ");
            out += &format!("\n### {title}\n\n| | {head} |\n|---|{lines}\n");
            for row in rows {
                let cells = row.show(self.comparison).join(" | ");
                out += &format!("| {} | {cells} |\n", row.name);
            }
            out += &self.failures(rows);
        }
        out
    }

    /// Which cells of a table have rounds that failed.
    fn failures(&self, rows: &[Row]) -> String {
        let mut out = String::new();
        for row in rows {
            for (contender, cell) in self.contenders.iter().zip(&row.cells) {
                let Some(why) = cell.failures.first() else {
                    continue;
                };
                let count = cell.failures.len();
                out += &format!("\n- {}, {contender}: failed {count} times: {why}", row.name);
            }
        }
        if out.is_empty() { out } else { out + "\n" }
    }
}

impl Row {
    /// The cells of its line, behind its name.
    fn show(&self, comparison: Comparison) -> Vec<String> {
        let cells = self.cells.iter();
        match (comparison, &self.cells[..]) {
            (Comparison::WithLast, [others @ .., last]) => {
                let others = others.iter().map(|it| {
                    let ratios = it.ratios(last);
                    let comparable = matches!(&ratios[..], [ratio] if RATIOS.contains(ratio));
                    let ratio = if comparable {
                        show_ratios(&ratios)
                    } else {
                        None
                    };
                    let ratio = ratio.map(|it| format!(" ({it})")).unwrap_or_default();
                    it.show() + &ratio
                });
                others.chain([last.show()]).collect()
            }
            (Comparison::OfFirst, [first, others @ ..]) => {
                let ratios = others.iter().map(|it| show_ratios(&first.ratios(it)));
                let ratios = ratios.map(|it| it.unwrap_or_else(|| NOTHING.to_owned()));
                cells.map(Cell::show).chain(ratios).collect()
            }
            (_, []) => Vec::new(),
        }
    }
}

impl Cell {
    /// The medians, or that there is none.
    fn show(&self) -> String {
        let values: Vec<_> = self.medians().into_iter().map(digits).collect();
        match (&values[..], &self.failures[..]) {
            ([], []) => NOTHING.to_owned(),
            ([], _) => "failed".to_owned(),
            (values, _) => values.join(" / "),
        }
    }

    fn medians(&self) -> Vec<f64> {
        medians(&self.rounds)
    }

    /// How many times those of another cell its values are: the medians of what that is in each
    /// round, because what disturbs a round disturbs both.
    fn ratios(&self, other: &Self) -> Vec<f64> {
        if self.rounds.len() != other.rounds.len() {
            let (own, others) = (self.medians(), other.medians());
            return own.iter().zip(&others).map(|(own, it)| own / it).collect();
        }
        let rounds = self.rounds.iter().zip(&other.rounds);
        let ratios = rounds.map(|(own, other)| {
            let values = own.iter().zip(other);
            values.map(|(own, other)| own / other).collect()
        });
        medians(&ratios.collect::<Vec<_>>())
    }
}

/// None if there is nothing to compare, as with zero.
fn show_ratios(ratios: &[f64]) -> Option<String> {
    if ratios.is_empty() || ratios.iter().any(|it| !it.is_finite()) {
        return None;
    }
    let ratios = ratios.iter().map(|it| match it {
        0.1.. => format!("{it:.2}×"),
        _ => format!("{it:.3}×"),
    });
    Some(ratios.collect::<Vec<_>>().join(" / "))
}

fn medians(cell: &[Vec<f64>]) -> Vec<f64> {
    let count = cell.first().map_or(0, Vec::len);
    let values = (0..count).map(|place| {
        let mut values: Vec<f64> = cell
            .iter()
            .filter_map(|it| it.get(place).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    });
    values.collect()
}

/// With separated thousands, and fractions only of small numbers.
fn digits(value: f64) -> String {
    if value < 10.0 && value > 0.0 {
        return format!("{value:.3}");
    }
    if value < 100.0 && value > 0.0 {
        return format!("{value:.2}");
    }
    let mut text = format!("{value:.0}");
    let mut at = text.len();
    while at > 3 {
        at -= 3;
        text.insert(at, ',');
    }
    text
}

/// What the figures depend on.
///
/// # Errors
/// The system does not tell, or the folder of temporary files cannot be written.
pub fn machine() -> io::Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models = || cpus.lines().filter(|line| line.starts_with("model name"));
    let model = models().next().and_then(|line| line.split(": ").nth(1));
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.split_whitespace().nth(1);
    let memory = memory.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    let system = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{} processors ({}), {} GiB, Linux {}; a synced write of 4 KiB takes {:.2} ms",
        models().count(),
        model.unwrap_or("unknown"),
        memory >> 20,
        system.trim(),
        sync_millis()?
    ))
}

/// The median of small synced writes in the folder of temporary files.
fn sync_millis() -> io::Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = File::create(folder.path().join("synced"))?;
    let mut times = Vec::new();
    for number in 0..SYNCS {
        let start = Instant::now();
        file.write_all_at(&[1; 4096], number as u64 * 4096)?;
        file.sync_data()?;
        times.push(vec![start.elapsed().as_secs_f64() * 1e3]);
    }
    Ok(medians(&times).first().copied().unwrap_or(0.0))
}

/// Puts a section into a page in place of the one with its heading, or at the end.
///
/// # Errors
/// The page cannot be written.
pub fn write_section(page: &Path, heading: &str, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(page).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
    let heading = format!("\n## {heading}\n");
    let (before, after) = old.split_once(&heading).unwrap_or((&old, ""));
    let after = after.find("\n## ").and_then(|at| after.get(at..));
    let text = text.trim_end();
    let before = before.trim_end();
    let after = after.unwrap_or("\n").trim_start_matches('\n');
    let gap = if after.is_empty() { "" } else { "\n" };
    fs::write(page, format!("{before}\n{heading}\n{text}\n{gap}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_medians_of_those_within_a_round() {
        let names = ["ours", "other"].map(str::to_owned).to_vec();
        let mut report = Report::new(names, Comparison::OfFirst);
        // The second round was disturbed, for both.
        for (ours, other) in [(1.0, 2.0), (50.0, 100.0), (3.0, 2.0)] {
            report.record("µs", "row", 0, &[ours]);
            report.record("µs", "row", 1, &[other]);
        }
        let text = report.markdown();
        assert!(text.contains("| | ours | other | ours ÷ other |"), "{text}");
        assert!(text.contains("| row | 3.000 | 2.000 | 0.50× |"), "{text}");
    }

    #[test]
    fn a_failure_is_told_below_its_table() {
        let names = ["ours", "other"].map(str::to_owned).to_vec();
        let mut report = Report::new(names, Comparison::OfFirst);
        report.record("µs", "row", 0, &[1.0]);
        report.fail("µs", "row", 1, "it has ended");
        let text = report.markdown();
        assert!(text.contains("| row | 1.000 | failed | – |"), "{text}");
        let told = "\n- row, other: failed 1 times: it has ended\n";
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn what_is_compared_with_the_last_has_its_ratio_in_parentheses() {
        let names = ["ours", "other"].map(str::to_owned).to_vec();
        let mut report = Report::new(names, Comparison::WithLast);
        report.record("µs", "row", 0, &[150.0]);
        report.record("µs", "row", 1, &[100.0]);
        report.record("MiB", "row", 0, &[1.0, 2.0]);
        report.record("MiB", "row", 1, &[1.0, 4.0]);
        let text = report.markdown();
        assert!(text.contains("| row | 150 (1.50×) | 100 |"), "{text}");
        assert!(
            text.contains("| row | 1.000 / 2.000 | 1.000 / 4.000 |"),
            "{text}"
        );
    }
}
