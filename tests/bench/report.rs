//! Medians as tables of Markdown, and the section of BENCHMARKS.md that has them.

use std::fmt::Write;
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

/// One table for each title, in the order in which they were first recorded.
pub(crate) struct Report {
    /// The columns; the last one is what the others are compared with.
    contenders: Vec<String>,
    tables: Vec<Table>,
}

struct Table {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    /// For each contender what each round brought.
    cells: Vec<Vec<Vec<f64>>>,
}

impl Report {
    pub(crate) fn new(contenders: Vec<String>) -> Self {
        Self {
            contenders,
            tables: Vec::new(),
        }
    }

    /// Adds what a round brought: one value, or several that stand in one cell.
    pub(crate) fn record(&mut self, title: &str, row: &str, contender: usize, values: &[f64]) {
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
                cells: vec![Vec::new(); self.contenders.len()],
            });
            rows.len() - 1
        });
        rows[place].cells[contender].push(values.to_vec());
    }

    /// All tables.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        for Table { title, rows } in &self.tables {
            let head = self.contenders.join(" | ");
            let lines = "---:|".repeat(self.contenders.len());
            out += &format!("\n### {title}\n\n| | {head} |\n|---|{lines}\n");
            for row in rows {
                out += &format!("| {} |", row.name);
                for cell in &row.cells {
                    out += &format!(" {} |", show(cell, row.cells.last()));
                }
                out.push('\n');
            }
        }
        out
    }
}

/// The medians of a cell, and for a single value how many times that of the last column it is.
fn show(cell: &[Vec<f64>], compared: Option<&Vec<Vec<f64>>>) -> String {
    let values = medians(cell);
    if values.is_empty() {
        return "–".to_owned();
    }
    let mut text = values
        .iter()
        .map(|it| digits(*it))
        .collect::<Vec<_>>()
        .join(" / ");
    if let ([value], Some([base])) = (&values[..], compared.map(|it| medians(it)).as_deref())
        && compared.is_some_and(|it| it.as_slice() != cell)
        && RATIOS.contains(&(value / base))
    {
        write!(text, " ({:.2}×)", value / base).ok();
    }
    text
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
pub(crate) fn machine() -> io::Result<String> {
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
pub(crate) fn write_section(page: &Path, heading: &str, text: &str) -> io::Result<()> {
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
