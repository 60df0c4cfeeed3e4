//! A database with a damaged page that a commit cannot do without.
//!
//! It may be that only memory was damaged, so the database is opened again first. If that does
//! not help, all rows that can be reached are copied to a new database, which takes the place of
//! the damaged one; that one is kept. Each table is read from its beginning to the first damaged
//! page and from its end to the last. So what is lost is what stands on a damaged page, and what
//! stands between two of them.
//!
//! A page that cannot be read at all is no damage: the disk may recover.

use std::path::Path;

use rusqlite::ffi::{self, ErrorCode};
use rusqlite::types::Value;
use rusqlite::{Connection, Error, params_from_iter};

use super::Database;
use crate::error::WriteError;
use crate::{damage, schema};

/// Whether the database has a page that makes no sense.
pub(super) fn is_corrupt(error: &Error) -> bool {
    let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    error.sqlite_error().is_some_and(|it| {
        codes.contains(&it.code) || it.extended_code == ffi::SQLITE_IOERR_CORRUPTFS
    })
}

impl Database {
    /// Puts a database with all rows that can be read in the place of the damaged one.
    pub(super) fn salvage(&mut self) -> Result<(), WriteError> {
        let mut rows = 0;
        let kept = self.replace(|damaged, copy| {
            rows = write_readable(damaged, copy)?;
            Ok(())
        })?;
        self.corruptions = 0;
        let kept = kept.map(|it| it.display().to_string());
        tracing::error!(
            kept,
            rows,
            "the store is damaged; the rows that can be read are in a new file, \
             and the old one is kept"
        );
        Ok(())
    }
}

/// Writes the rows that can be read to a new file; how many there are.
fn write_readable(damaged: Option<&Connection>, copy: &Path) -> Result<u64, WriteError> {
    let mut whole = Connection::open(copy)?;
    whole.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    schema::migrate(&mut whole, 0)?;
    let transaction = whole.transaction()?;
    let mut rows = 0;
    for table in tables(&transaction)? {
        if let Some(damaged) = damaged {
            rows += table.copy(damaged, &transaction)?;
        }
    }
    // What belongs together may be on different pages.
    transaction.execute_batch(
        "DELETE FROM queue WHERE message_id NOT IN (SELECT id FROM message);
         DELETE FROM message WHERE id NOT IN (SELECT message_id FROM queue);
         UPDATE message SET refs = counted.refs FROM (
             SELECT message_id, count(*) AS refs FROM queue GROUP BY message_id) AS counted
         WHERE counted.message_id = id",
    )?;
    transaction.commit()?;
    whole.close().map_err(|(_, error)| error)?;
    Ok(rows)
}

/// A table of the present version.
struct Table {
    name: String,
    columns: Vec<String>,
    /// The columns in whose order it is stored.
    key: Vec<String>,
}

fn tables(connection: &Connection) -> Result<Vec<Table>, Error> {
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names = names.query_map([], |row| row.get(0))?;
    names.map(|it| Table::new(connection, it?)).collect()
}

impl Table {
    fn new(connection: &Connection, name: String) -> Result<Self, Error> {
        let column = |row: &rusqlite::Row<'_>| row.get(0);
        let mut all = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let mut columns: Vec<String> = all.query_map([&name], column)?.collect::<Result<_, _>>()?;
        let mut key = connection
            .prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
        let mut key: Vec<String> = key.query_map([&name], column)?.collect::<Result<_, _>>()?;
        if key.is_empty() {
            key.push("rowid".to_owned());
            columns.push("rowid".to_owned());
        }
        Ok(Self { name, columns, key })
    }

    /// Copies the rows that can be read; how many there are.
    fn copy(&self, from: &Connection, to: &Connection) -> Result<u64, Error> {
        match self.copy_ordered(from, to, "ASC")? {
            (rows, true) => Ok(rows),
            (rows, false) => Ok(rows + self.copy_ordered(from, to, "DESC")?.0),
        }
    }

    /// Copies rows until one cannot be read or, from the end, is there; true if none was left.
    fn copy_ordered(
        &self,
        from: &Connection,
        to: &Connection,
        order: &str,
    ) -> Result<(u64, bool), Error> {
        let (name, columns) = (&self.name, self.columns.join(", "));
        let key = self.key.iter().map(|it| format!("{it} {order}"));
        let key = key.collect::<Vec<_>>().join(", ");
        // What the first step of the schema puts there is replaced.
        let conflict = if order == "ASC" { "REPLACE" } else { "IGNORE" };
        let places = vec!["?"; self.columns.len()].join(", ");
        let insert = format!("INSERT OR {conflict} INTO {name}({columns}) VALUES({places})");
        let mut insert = to.prepare(&insert)?;
        let select = format!("SELECT {columns} FROM {name} ORDER BY {key}");
        let mut rows = 0;
        let mut copy = || {
            let mut select = from.prepare(&select)?;
            let mut found = select.query([])?;
            while let Some(row) = found.next()? {
                let values = (0..self.columns.len()).map(|column| row.get::<_, Value>(column));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                if insert.execute(params_from_iter(values))? == 0 {
                    break;
                }
                rows += 1;
            }
            Ok(())
        };
        match copy() {
            Ok(()) => Ok((rows, true)),
            Err(error) if damage::is_damage(&error) => Ok((rows, false)),
            Err(error) => Err(error),
        }
    }
}
