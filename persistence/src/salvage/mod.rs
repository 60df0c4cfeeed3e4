//! Saving what can be read of a damaged database.
//!
//! Rows are copied one by one into tables of the current version, whatever columns both have. What
//! does not fit together afterwards is left out, and everything that is left out is counted.
//! Nothing is deleted: the damaged files stay as they are, under another name if they were in the
//! place of the database.

mod first_page;
mod keys;
mod merge;
mod rows;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error};
use tempfile::TempDir;

use crate::files::{Files, Lock};
use crate::inspect::{read_only, salvage_note};
use crate::{Findings, OpenStoreError, schema};

pub use merge::SalvagedTable;

/// What was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// The damaged database, as it was found.
    pub kept: PathBuf,
    /// Its tables.
    pub tables: Vec<SalvagedTable>,
    /// Queue entries that are left out because their messages cannot be read.
    pub entries_without_message: u64,
    /// Queue entries of sessions that cannot be read; the next start removes them from the store.
    pub entries_without_session: u64,
    /// Messages that are left out because no queue entry that can be read needs them.
    pub messages_without_entry: u64,
}

impl Salvage {
    /// Rows that are in the store now.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|it| it.saved).sum()
    }
}

/// Why nothing was saved; the files are as they were.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// A store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// There is no row that can be read.
    #[error("nothing of {0} can be read; it is left as it is")]
    Nothing(PathBuf),
    /// The store that it would be added to is damaged too.
    #[error("the store {0} is damaged itself; repair it first, without --from")]
    Damaged(PathBuf),
    /// It was done before.
    #[error("{file} was salvaged before, as {note} says; doing it again would double it")]
    Salvaged {
        /// The damaged database.
        file: PathBuf,
        /// The file that says so.
        note: PathBuf,
    },
    /// Something cannot be read or written, and not because it is damaged.
    #[error("{file} cannot be salvaged: {source}")]
    Database {
        /// Which.
        file: PathBuf,
        /// What SQLite said.
        source: Error,
    },
    /// The files cannot be put in their places.
    #[error("{file} cannot be written: {source}")]
    Write {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A bug.
    #[error("what was saved is not whole: {0}")]
    NotWhole(String),
}

/// Puts what can be read of the store in `directory` into a new database in its place. None if
/// the store is whole: then nothing is changed.
///
/// # Errors
/// There is no store, a daemon uses it, or nothing of it can be read.
pub fn repair(directory: &Path) -> Result<Option<Salvage>, SalvageError> {
    let files = Files::new(directory);
    let file = files.database();
    refuse_absent(&file)?;
    let _lock = Lock::take(&files)?;
    let findings = Findings::of(directory)?;
    if findings.problems.is_empty() {
        return Ok(None);
    }
    let mut salvage = into_new(&files, &file, findings.epoch.max(findings.noted_epoch))?;
    salvage.kept = file;
    replace(&files, &mut salvage)?;
    Ok(Some(salvage))
}

/// Adds what can be read of a damaged database, which was kept somewhere, to the store in
/// `directory`. What the store has itself counts as newer: its sessions keep their state, and what
/// waited for them in the damaged one is queued behind what waits already.
///
/// # Errors
/// There is no such file, a daemon uses the store, the store is damaged, or nothing of the file
/// can be read.
pub fn salvage(directory: &Path, from: &Path) -> Result<Salvage, SalvageError> {
    let files = Files::new(directory);
    let file = files.database();
    refuse_absent(from)?;
    let _lock = Lock::take(&files)?;
    let note = salvage_note(from);
    if note.exists() {
        let file = from.to_owned();
        return Err(SalvageError::Salvaged { file, note });
    }
    let mut salvage = if file.exists() {
        if !Findings::of(directory)?.problems.is_empty() {
            return Err(SalvageError::Damaged(file));
        }
        into_present(&files, from)?
    } else {
        let mut salvage = into_new(&files, from, files.epoch())?;
        replace(&files, &mut salvage)?;
        salvage
    };
    salvage.kept = from.to_owned();
    let text = format!("its {} rows are in {}\n", salvage.rows(), file.display());
    let written = fs::write(&note, text);
    written.map_err(|source| SalvageError::Write { file: note, source })?;
    Ok(salvage)
}

fn refuse_absent(file: &Path) -> Result<(), SalvageError> {
    if file.exists() {
        return Ok(());
    }
    Err(OpenStoreError::Absent(file.to_owned()).into())
}

/// Where the new database is until it takes its place.
fn copy_path(files: &Files) -> PathBuf {
    files.directory().join("tidegate.db.repair")
}

/// Salvages a database into a new one beside the store.
fn into_new(files: &Files, from: &Path, epoch: u64) -> Result<Salvage, SalvageError> {
    let copy = copy_path(files);
    // What an attempt before has left is worth nothing, and only of these attempts.
    remove(&copy)?;
    let salvage = write_salvaged(from, &copy, epoch);
    if salvage.is_err() {
        remove(&copy)?;
    }
    salvage
}

/// Salvages a database into a new file, which is not synced.
pub(crate) fn write_salvaged(
    from: &Path,
    copy: &Path,
    epoch: u64,
) -> Result<Salvage, SalvageError> {
    let failed = |source| failed(from, source);
    let directory = copy.parent().unwrap_or_else(|| Path::new("."));
    let (source, _folder) = open(from, directory)?;
    let mut target = Connection::open(copy).map_err(failed)?;
    target
        .pragma_update(None, "auto_vacuum", "INCREMENTAL")
        // It counts only once it is finished and synced.
        .and_then(|()| target.pragma_update(None, "journal_mode", "OFF"))
        .and_then(|()| target.pragma_update(None, "synchronous", "OFF"))
        .and_then(|()| schema::migrate(&mut target, 0))
        .and_then(|()| merge::copy_store(&source, &target))
        .map_err(failed)?;
    fill(&source, &mut target, from, |it| epoch.max(it))
}

/// Salvages a database into the store, wholly or not at all.
fn into_present(files: &Files, from: &Path) -> Result<Salvage, SalvageError> {
    let file = files.database();
    let failed = |source| failed(&file, source);
    let (source, _folder) = open(from, files.directory())?;
    let mut target = Connection::open(&file).map_err(failed)?;
    let version = schema::version(&target).map_err(failed)?;
    schema::migrate(&mut target, version).map_err(failed)?;
    let salvage = fill(&source, &mut target, from, |epoch| epoch)?;
    target.close().map_err(|(_, source)| failed(source))?;
    Ok(salvage)
}

/// Copies all rows in one transaction, which ends well only if the result is whole.
fn fill(
    source: &Connection,
    target: &mut Connection,
    from: &Path,
    epoch: impl Fn(u64) -> u64,
) -> Result<Salvage, SalvageError> {
    let failed = |source| failed(from, source);
    let transaction = target.transaction().map_err(failed)?;
    let salvage = merge::merge(source, &transaction).map_err(failed)?;
    if salvage.rows() == 0 {
        return Err(SalvageError::Nothing(from.to_owned()));
    }
    let known = schema::epoch(&transaction, schema::SCHEMA_VERSION).map_err(failed)?;
    transaction
        .execute("UPDATE store SET epoch = ?1", [epoch(known)])
        .map_err(failed)?;
    let mut findings = Findings::default();
    findings.content(&transaction, schema::SCHEMA_VERSION);
    if let Some(problem) = findings.problems.first() {
        let text = format!("{}: {}", problem.what, problem.first);
        return Err(SalvageError::NotWhole(text));
    }
    transaction.commit().map_err(failed)?;
    Ok(salvage)
}

/// Opens a damaged database, which is not changed, or a copy in a folder that is to be dropped.
fn open(from: &Path, directory: &Path) -> Result<(Connection, Option<TempDir>), SalvageError> {
    let opened = read_only(from).and_then(|(source, _)| {
        let version = schema::version(&source);
        let file = from.to_owned();
        match version {
            Ok(found) if found > schema::SCHEMA_VERSION => {
                Err(OpenStoreError::Newer { file, found })
            }
            Ok(version) => Ok((source, version)),
            Err(source) => Err(OpenStoreError::Database { file, source }),
        }
    });
    match opened {
        Ok((source, version)) if !first_page::is_lost(&source, version) => Ok((source, None)),
        Err(error) if !error.is_damage() => Err(error.into()),
        Ok(_) | Err(_) => {
            let (source, folder) = first_page::replace(from, directory)?;
            Ok((source, Some(folder)))
        }
    }
}

/// Puts the new database in its place, and what is there out of the way.
fn replace(files: &Files, salvage: &mut Salvage) -> Result<(), SalvageError> {
    let copy = copy_path(files);
    let placed = File::open(&copy)
        .and_then(|it| it.sync_all())
        .and_then(|()| files.set_aside())
        .and_then(|kept| {
            if let Some(kept) = kept {
                salvage.kept = kept;
            }
            fs::rename(&copy, files.database())
        })
        .and_then(|()| files.sync());
    let file = files.database();
    placed.map_err(|source| SalvageError::Write { file, source })
}

fn remove(copy: &Path) -> Result<(), SalvageError> {
    match fs::remove_file(copy) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let file = copy.to_owned();
            Err(SalvageError::Write { file, source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn failed(file: &Path, source: Error) -> SalvageError {
    let file = file.to_owned();
    SalvageError::Database { file, source }
}
