//! Reading a database whose first page is lost, which says where its tables begin.
//!
//! The tables of a store begin on the same pages in every file: they are made in the same order,
//! and a file that can be shrunk (`auto_vacuum`) keeps the first pages of all tables at its front.
//! So the first page of an empty store serves for a copy of a damaged one. Where that is wrong,
//! the rows are none that this program writes, and are left out.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, Error};
use tempfile::TempDir;

use super::SalvageError;
use crate::files::with_suffix;
use crate::inspect::check::TABLES;
use crate::inspect::read_only;
use crate::schema;

const PAGE_BYTES: usize = 4096;
/// Where the header says how a database is written, and read.
const FORMATS: std::ops::Range<usize> = 18..20;
/// What it says if there is a write-ahead log.
const WITH_LOG: u8 = 2;
/// Where it says how many pages there are. They are counted anew if the two numbers of changes,
/// which come before this one and at the end of the header, differ.
const CHANGES: std::ops::Range<usize> = 24..28;

/// Whether the tables that a database of this version has cannot all be found.
pub(super) fn is_lost(source: &Connection, version: usize) -> bool {
    let Ok(found) = schema::columns(source) else {
        return true;
    };
    let mut expected = TABLES.iter().filter(|it| it.has_version(version));
    expected.any(|it| !found.contains_key(it.name))
}

/// Opens a copy of a database with another first page. It is gone when the folder is dropped.
pub(super) fn replace(
    from: &Path,
    directory: &Path,
) -> Result<(Connection, TempDir), SalvageError> {
    let written = |source| SalvageError::Write {
        file: directory.to_owned(),
        source,
    };
    let folder = tempfile::tempdir_in(directory).map_err(written)?;
    let copy = folder.path().join("copy");
    let empty = folder.path().join("empty");
    let failed = |source| super::failed(from, source);
    make_empty(&empty).map_err(failed)?;
    transplant(from, &copy, &empty).map_err(written)?;
    let (source, _) = read_only(&copy)?;
    Ok((source, folder))
}

fn make_empty(file: &Path) -> Result<(), Error> {
    let mut empty = Connection::open(file)?;
    empty.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    schema::migrate(&mut empty, 0)?;
    empty.close().map_err(|(_, error)| error)
}

fn transplant(from: &Path, copy: &Path, empty: &Path) -> io::Result<()> {
    let mut page = [0; PAGE_BYTES];
    File::open(empty)?.read_exact_at(&mut page, 0)?;
    fs::copy(from, copy)?;
    let log = with_suffix(from, "-wal");
    if log.exists() {
        fs::copy(log, with_suffix(copy, "-wal"))?;
        page[FORMATS].fill(WITH_LOG);
    }
    page[CHANGES].fill(0xff);
    File::options()
        .write(true)
        .open(copy)?
        .write_all_at(&page, 0)
}
