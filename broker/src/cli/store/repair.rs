//! `tidegate store repair`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use persistence::{OpenStoreError, Salvage, SalvageError, repair, salvage};

use super::Place;
use crate::terminal::Terminal;

/// Which store is repaired, and from what.
#[derive(Debug, Args)]
pub(super) struct Repair {
    #[command(flatten)]
    place: Place,
    /// A damaged database that was kept, such as tidegate.db.damaged-1: what can be read of it is
    /// added to the store.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

pub(super) fn run(command: &Repair) -> ExitCode {
    match command.place.directory() {
        Ok(directory) => {
            let outcome = command.repair(&directory);
            Terminal.exit_code(outcome.map_err(explain))
        }
        Err(code) => code,
    }
}

impl Repair {
    fn repair(&self, directory: &Path) -> Result<(), SalvageError> {
        let Some(from) = &self.from else {
            match repair(directory)? {
                Some(salvage) => print(&salvage, directory),
                None => {
                    Terminal.line("the store is whole, nothing is changed");
                }
            }
            return Ok(());
        };
        print(&salvage(directory, from)?, directory);
        Ok(())
    }
}

/// The error with what can be done about it.
fn explain(error: SalvageError) -> String {
    let tip = if matches!(error, SalvageError::Open(OpenStoreError::InUse(_))) {
        "; stop the daemon first"
    } else {
        ""
    };
    format!("{error}{tip}")
}

fn print(salvage: &Salvage, directory: &Path) {
    for table in &salvage.tables {
        let counts = [
            (table.damaged, "damaged"),
            (table.superseded, "superseded"),
            (table.gaps, "unreadable ranges"),
        ];
        let lost = counts.iter().filter(|(count, _)| *count > 0);
        let lost: String = lost
            .map(|(count, what)| format!(", {count} {what}"))
            .collect();
        let (name, saved) = (&table.name, table.saved);
        Terminal.line(format_args!("{name}: {saved} rows saved{lost}"));
    }
    for (count, what) in [
        (
            salvage.entries_without_message,
            "queue entries are lost with their messages",
        ),
        (
            salvage.entries_without_session,
            "queue entries are of sessions that cannot be read",
        ),
        (
            salvage.messages_without_entry,
            "messages are in no queue that can be read",
        ),
    ] {
        if count > 0 {
            Terminal.line(format_args!("{count} {what}"));
        }
    }
    let (kept, directory) = (salvage.kept.display(), directory.display());
    Terminal.line(format_args!(
        "the store in {directory} is whole; {kept} is kept"
    ));
}
