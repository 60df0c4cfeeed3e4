//! Putting rows into a store that may have some already.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Error, params, params_from_iter};

use super::Salvage;
use super::keys::{Key, Part};
use super::rows::Table;
use crate::damage::is_damage;
use crate::inspect::Columns;
use crate::inspect::check::{self, TABLES};
use crate::schema::{Column, columns};

/// What a client and the broker were about in a session that the client has begun again since.
const ENDED: [&str; 3] = ["inbound", "outbound", "will"];

/// The greatest number in a sequence. What is above it stays as it is when a number is added.
const NUMBER_MAX: i64 = (1 << 56) - 1;

/// What became of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvagedTable {
    /// Its name.
    pub name: String,
    /// Rows that are in the store now.
    pub saved: u64,
    /// Rows that are left out because their values are none that this program writes.
    pub damaged: u64,
    /// Rows that are left out because the store has newer ones in their place.
    pub superseded: u64,
    /// Ranges of keys in which nothing can be read.
    pub gaps: u64,
}

/// Copies every row that can be read, and leaves out what does not fit together.
pub(super) fn merge(source: &Connection, target: &Connection) -> Result<Salvage, Error> {
    let mut salvage = Salvage::default();
    let mut places = Places::in_store(target)?;
    for table in tables(source, target)? {
        salvage
            .tables
            .push(copy(source, target, &table, &mut places)?);
    }
    let known = Columns::of(target)?;
    for check in &TABLES {
        let removed = remove_damaged(target, check, &known)?;
        let mut tables = salvage.tables.iter_mut();
        if let Some(table) = tables.find(|it| it.name == check.name) {
            table.saved = table.saved.saturating_sub(removed);
            table.damaged += removed;
        }
    }
    settle_references(target, &mut salvage)?;
    salvage.entries_without_session = target.query_row(
        "SELECT count(*) FROM queue WHERE session_id NOT IN (SELECT id FROM session)",
        [],
        |row| row.get(0),
    )?;
    Ok(salvage)
}

/// The tables that both have, with the columns that both have, the sessions first.
fn tables(source: &Connection, target: &Connection) -> Result<Vec<Table>, Error> {
    let known = columns(target)?;
    let found = match columns(source) {
        // Without a list of its tables nothing can be read.
        Err(error) if is_damage(&error) => BTreeMap::new(),
        found => found?,
    };
    let mut tables = Vec::new();
    for (name, known) in known {
        let Some(found) = found.get(&name) else {
            continue;
        };
        // There is one row, of a meaning of its own.
        if name == "store" {
            continue;
        }
        let has = |it: &&Column| found.iter().any(|other| other.name == it.name);
        let mut key: Vec<&Column> = known.iter().filter(|it| it.place_in_key > 0).collect();
        key.sort_by_key(|it| it.place_in_key);
        if key.is_empty() || !key.iter().all(has) {
            continue;
        }
        let form = key.iter().map(|it| match it.is_number {
            true => Part::Number(0),
            false => Part::Text(Vec::new()),
        });
        let form = Key(form.collect());
        let rest = known.iter().filter(|it| it.place_in_key == 0).filter(has);
        let key: Vec<String> = key.iter().map(|it| it.name.clone()).collect();
        let columns = key.iter().cloned().chain(rest.map(|it| it.name.clone()));
        tables.push(Table {
            columns: columns.collect(),
            name,
            key,
            form,
        });
    }
    tables.sort_by_key(|it| it.name != "session");
    Ok(tables)
}

/// Takes over what is known of the store as a whole, above all its time; not the count of commits.
pub(super) fn copy_store(source: &Connection, target: &Connection) -> Result<(), Error> {
    let (known, found) = (columns(target)?, columns(source).unwrap_or_default());
    let (Some(known), Some(found)) = (known.get("store"), found.get("store")) else {
        return Ok(());
    };
    for Column { name, .. } in known {
        let is_there = found.iter().any(|it| it.name == *name);
        if !is_there || name == "epoch" {
            continue;
        }
        let sql = format!("SELECT {name} FROM store");
        // What cannot be read is as if it had never been written.
        let value = source.query_row(&sql, [], |row| row.get::<_, Value>(0));
        if let Ok(value) = value {
            target.execute(&format!("UPDATE store SET {name} = ?1"), [value])?;
        }
    }
    Ok(())
}

fn copy(
    source: &Connection,
    target: &Connection,
    table: &Table,
    places: &mut Places,
) -> Result<SalvagedTable, Error> {
    let mut copied = SalvagedTable {
        name: table.name.clone(),
        ..SalvagedTable::default()
    };
    let (name, columns) = (&table.name, table.columns.join(", "));
    let marks = vec!["?"; table.columns.len()].join(", ");
    let mut insert = target.prepare(&format!(
        "INSERT INTO {name}({columns}) VALUES({marks}) ON CONFLICT DO NOTHING"
    ))?;
    let progress = table.read(source, &mut |mut row| {
        match places.find(target, table, &mut row)? {
            Fate::Goes => {}
            Fate::Superseded => {
                copied.superseded += 1;
                return Ok(());
            }
            Fate::Damaged => {
                copied.damaged += 1;
                return Ok(());
            }
        }
        match insert.execute(params_from_iter(row)) {
            Ok(0) => copied.superseded += 1,
            Ok(_) => copied.saved += 1,
            // A value is missing that every row has.
            Err(error) if is_constraint(&error) => copied.damaged += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    copied.damaged += progress.unreadable;
    copied.gaps = progress.gaps;
    Ok(copied)
}

fn is_constraint(error: &Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ffi::ErrorCode::ConstraintViolation)
}

/// Where rows go in a store that has others: behind all numbers that are in use.
struct Places {
    /// Sessions that were there before, by the numbers of the salvaged ones.
    sessions: BTreeMap<i64, Place>,
    /// The greatest numbers in use.
    session: i64,
    message: i64,
    delayed: i64,
    will: i64,
}

/// The session that takes the place of a salvaged one.
#[derive(Clone, Copy)]
struct Place {
    /// What its number is greater by.
    offset: i64,
    /// The last number of a sequence in use, if it was there before; none if it comes with its
    /// state.
    taken: Option<i64>,
}

/// What becomes of a row.
enum Fate {
    Goes,
    Superseded,
    Damaged,
}

impl Places {
    fn in_store(target: &Connection) -> Result<Self, Error> {
        let last = |sql| target.query_row(sql, [], |row| row.get(0));
        Ok(Self {
            sessions: BTreeMap::new(),
            session: last(
                "SELECT max((SELECT coalesce(max(id), 0) FROM session),
                            (SELECT coalesce(max(session_id), 0) FROM queue))",
            )?,
            message: last("SELECT coalesce(max(id), 0) FROM message")?,
            delayed: last("SELECT coalesce(max(id), 0) FROM delayed")?,
            will: last("SELECT coalesce(max(id), 0) FROM will")?,
        })
    }

    /// Gives a row its numbers in the store.
    fn find(
        &mut self,
        target: &Connection,
        table: &Table,
        row: &mut [Value],
    ) -> Result<Fate, Error> {
        if table.name == "session" {
            return self.find_session(target, table, row);
        }
        let mut last = 0;
        for (name, value) in table.columns.iter().zip(row) {
            let offset = match (&*table.name, &**name) {
                ("message", "id") | (_, "message_id") => self.message,
                ("delayed", "id") => self.delayed,
                ("will", "id") => self.will,
                (_, "session_id") => match self.place(value) {
                    Place {
                        taken: None,
                        offset,
                    } => offset,
                    _ if ENDED.contains(&&*table.name) => {
                        return Ok(Fate::Superseded);
                    }
                    Place {
                        taken: Some(it),
                        offset,
                    } => {
                        last = it;
                        offset
                    }
                },
                ("queue", "sequence") => last,
                _ => continue,
            };
            if !add(value, offset) {
                return Ok(Fate::Damaged);
            }
        }
        Ok(Fate::Goes)
    }

    /// What has to be added to the number of a session, and whether it was there before.
    fn place(&self, session: &Value) -> Place {
        let mut known = None;
        if let Value::Integer(id) = session {
            known = self.sessions.get(id).copied();
        }
        known.unwrap_or(Place {
            offset: self.session,
            taken: None,
        })
    }

    fn find_session(
        &mut self,
        target: &Connection,
        table: &Table,
        row: &mut [Value],
    ) -> Result<Fate, Error> {
        let mut id = None;
        let mut client_id = None;
        for (name, value) in table.columns.iter().zip(row) {
            match (&**name, value) {
                ("id", number) => id = Some(number),
                ("client_id", Value::Text(text)) => client_id = Some(&*text),
                _ => {}
            }
        }
        let (Some(id), Some(client_id)) = (id, client_id) else {
            return Ok(Fate::Damaged);
        };
        let Value::Integer(old) = *id else {
            return Ok(Fate::Damaged);
        };
        let Some((new, last)) = namesake(target, client_id)? else {
            let is_number = add(id, self.session);
            return Ok(if is_number { Fate::Goes } else { Fate::Damaged });
        };
        let place = Place {
            offset: new.saturating_sub(old),
            taken: Some(last),
        };
        self.sessions.insert(old, place);
        Ok(Fate::Superseded)
    }
}

/// Adds to a number; false if it is none, or none that is in use.
fn add(value: &mut Value, offset: i64) -> bool {
    let Value::Integer(number) = value else {
        return false;
    };
    let sum = number.checked_add(offset).filter(|_| *number >= 0);
    *number = sum.unwrap_or(*number);
    sum.is_some()
}

/// The session of this name in the store, and the last number in a sequence that it uses.
fn namesake(target: &Connection, client_id: &str) -> Result<Option<(i64, i64)>, Error> {
    let mut statement = target.prepare_cached(
        "SELECT id, max(
             (SELECT coalesce(max(sequence & ?2), 0) FROM queue WHERE session_id = id),
             (SELECT coalesce(max(sequence & ?2), 0) FROM outbound WHERE session_id = id))
         FROM session WHERE client_id = ?1",
    )?;
    let mut rows = statement.query(params![client_id, NUMBER_MAX])?;
    let row = rows.next()?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Removes the rows that this program cannot have written, and returns how many.
fn remove_damaged(
    target: &Connection,
    table: &check::Table,
    known: &Columns,
) -> Result<u64, Error> {
    let mut damaged: Vec<Vec<Value>> = Vec::new();
    let mut statement = target.prepare(&table.sql(known))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if (table.read)(row).is_err() {
            let key = (0..table.key.len()).map(|column| row.get(column));
            damaged.push(key.collect::<Result<_, _>>()?);
        }
    }
    let conditions: Vec<_> = table.key.iter().map(|it| format!("{it} IS ?")).collect();
    let (name, conditions) = (table.name, conditions.join(" AND "));
    let mut delete = target.prepare(&format!("DELETE FROM {name} WHERE {conditions}"))?;
    let mut removed = 0;
    for key in damaged {
        removed += delete.execute(params_from_iter(key))?;
    }
    Ok(removed as u64)
}

/// Leaves out entries without their message and messages without an entry, and counts again how
/// many entries need each of the others.
fn settle_references(target: &Connection, salvage: &mut Salvage) -> Result<(), Error> {
    let removed = target.execute(
        "DELETE FROM queue WHERE message_id NOT IN (SELECT id FROM message)",
        [],
    )?;
    salvage.entries_without_message = removed as u64;
    target.execute_batch(
        "CREATE TEMP TABLE need(message_id INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
         INSERT INTO need SELECT message_id, count(*) FROM queue GROUP BY message_id;",
    )?;
    let removed = target.execute(
        "DELETE FROM message WHERE id NOT IN (SELECT message_id FROM need)",
        [],
    )?;
    salvage.messages_without_entry = removed as u64;
    target.execute(
        "UPDATE message SET refs = entries FROM need
         WHERE need.message_id = message.id AND refs <> entries",
        [],
    )?;
    // Earlier versions did not write it down.
    target.execute(
        "UPDATE queue SET bytes =
             octet_length(topic) + octet_length(payload) + octet_length(properties)
         FROM message WHERE message.id = message_id AND bytes = 0",
        [],
    )?;
    for (name, removed) in [
        ("queue", salvage.entries_without_message),
        ("message", salvage.messages_without_entry),
    ] {
        let mut tables = salvage.tables.iter_mut();
        if let Some(table) = tables.find(|it| it.name == name) {
            table.saved = table.saved.saturating_sub(removed);
        }
    }
    target.execute_batch("DROP TABLE need")
}
