//! Whether a store is whole: what SQLite can tell, and what only this program knows.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Row, Rows};

use super::{Columns, Inspection};
use crate::files::Files;
use crate::schema::SCHEMA_VERSION;
use crate::{OpenStoreError, names, row, schema};

/// What was found in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The database.
    pub file: PathBuf,
    /// The version of its tables; none if it cannot be read.
    pub version: Option<usize>,
    /// The version that this program writes; an older one is brought to it at the next start.
    pub current_version: usize,
    /// The commits that were synced, as the database counts them.
    pub epoch: u64,
    /// The same as the file beside it has it, 0 if it has none. It is never ahead of the database
    /// unless the database has lost something.
    pub noted_epoch: u64,
    /// Rows that were read and understood.
    pub rows: u64,
    /// Damage.
    pub problems: Vec<Problem>,
    /// What looks odd and is in order.
    pub remarks: Vec<String>,
}

/// Something that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub what: &'static str,
    /// How often; what cannot be counted is 1.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

impl Findings {
    /// Looks at everything in the store of `directory`, also beside a running daemon.
    ///
    /// # Errors
    /// There is no store, it cannot be read, or a newer version wrote it. Damage is no error.
    pub fn of(directory: &Path) -> Result<Self, OpenStoreError> {
        let files = Files::new(directory);
        // Before the database, which may go on counting.
        let noted_epoch = files.epoch();
        let mut findings = Self {
            file: files.database(),
            current_version: SCHEMA_VERSION,
            noted_epoch,
            ..Self::default()
        };
        match Inspection::open(directory) {
            Ok(mut inspection) => {
                findings.epoch = noted_epoch;
                while !findings.fill(&inspection) {
                    inspection.refresh()?;
                    findings.problems.clear();
                }
            }
            Err(OpenStoreError::Absent(_)) if noted_epoch > 0 => {
                findings.problem("no database", "there was one");
            }
            Err(error) if error.is_damage() => findings.problem("no readable database", error),
            Err(error) => return Err(error),
        }
        let is_emptied = files.is_emptied(noted_epoch);
        if is_emptied && findings.problems.is_empty() {
            findings.problem("no database", "the file is empty");
        }
        Ok(findings)
    }

    /// Looks at everything; false if somebody has begun to write meanwhile.
    fn fill(&mut self, inspection: &Inspection) -> bool {
        let connection = &inspection.connection;
        self.version = Some(inspection.version);
        self.rows = 0;
        self.remarks.clear();
        self.structure(connection, inspection.version);
        self.compare_epochs(connection, inspection.version);
        match connection.unchecked_transaction() {
            Ok(snapshot) => self.content(&snapshot, inspection.version),
            Err(error) => self.problem("no readable database", error),
        }
        !inspection.is_outdated()
    }

    fn problem(&mut self, what: &'static str, first: impl std::fmt::Display) {
        if let Some(known) = self.problems.iter_mut().find(|it| it.what == what) {
            known.count += 1;
            return;
        }
        let problem = Problem {
            what,
            count: 1,
            first: first.to_string(),
        };
        self.problems.push(problem);
    }

    /// What SQLite says of its pages and indexes.
    fn structure(&mut self, connection: &Connection, version: usize) {
        const WHAT: &str = "damaged pages, indexes or rows";
        let found = strings(connection, "PRAGMA integrity_check");
        match found {
            Ok(found) => {
                let found = found.iter().filter(|it| *it != "ok");
                found.for_each(|it| self.problem(WHAT, it));
            }
            Err(error) => self.problem(WHAT, error),
        }
        let tables = strings(connection, "SELECT name FROM sqlite_schema");
        if version == 0 && tables.is_ok_and(|it| !it.is_empty()) {
            self.problem("tables of no version", "they are not of a store");
        }
    }

    fn compare_epochs(&mut self, connection: &Connection, version: usize) {
        match schema::epoch(connection, version) {
            Ok(epoch) => self.epoch = epoch,
            Err(error) => return self.problem("no epoch", error),
        }
        if self.epoch < self.noted_epoch && version >= 2 {
            let lost = format!(
                "{} commits were synced, {} are in the database",
                self.noted_epoch, self.epoch
            );
            self.problem("lost changes", lost);
        }
        if self.noted_epoch == 0 && self.epoch > 0 {
            let remark =
                "tidegate.epoch is missing or unreadable, it is written at the next commit";
            self.remarks.push(remark.to_owned());
        }
    }

    /// Whether every row is what this program writes, and fits the others.
    pub(crate) fn content(&mut self, connection: &Connection, version: usize) {
        if version == 0 {
            return;
        }
        let known = match Columns::of(connection) {
            Ok(known) => known,
            Err(error) => return self.problem("no readable database", error),
        };
        for table in &TABLES {
            if table.since <= version
                && let Err(error) = self.table(connection, table, &known)
            {
                self.problem("tables that cannot be read to their end", error);
            }
        }
        if let Err(error) = self.references(connection) {
            self.problem("references that cannot be read to their end", error);
        }
        self.orphans(connection, version);
    }

    fn table(
        &mut self,
        connection: &Connection,
        table: &Table,
        known: &Columns,
    ) -> Result<(), Error> {
        let mut statement = connection.prepare(&table.sql(known))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match (table.read)(row) {
                Ok(()) => self.rows += 1,
                Err(error) => {
                    let key = key(row, table.key.len());
                    self.problem(table.what, format!("{key}: {}", reason(&error)));
                }
            }
        }
        Ok(())
    }

    /// Goes through the messages and the entries that need them side by side, both in the order
    /// of the messages' numbers.
    fn references(&mut self, connection: &Connection) -> Result<(), Error> {
        let mut queued = connection.prepare(
            "SELECT message_id, count(*), min(session_id), min(sequence) FROM queue
             GROUP BY message_id ORDER BY message_id",
        )?;
        let mut queued = queued.query([])?;
        let mut bodies = connection.prepare("SELECT id, refs FROM message ORDER BY id")?;
        let mut bodies = bodies.query([])?;
        let mut need = next_need(&mut queued)?;
        while let Some(row) = bodies.next()? {
            let (id, refs): (i64, i64) = (row.get(0)?, row.get(1)?);
            while let Some(missing) = need.take_if(|it| it.message < id) {
                self.missing(&missing);
                need = next_need(&mut queued)?;
            }
            let found = need.take_if(|it| it.message == id);
            let entries = found.as_ref().map_or(0, |it| it.entries);
            if found.is_some() {
                need = next_need(&mut queued)?;
            }
            if entries != refs {
                let first = format!("message {id} counts {refs}, {entries} entries have it");
                self.problem(
                    "messages that stand in more or fewer queues than they count",
                    first,
                );
            }
        }
        while let Some(missing) = need {
            self.missing(&missing);
            need = next_need(&mut queued)?;
        }
        Ok(())
    }

    fn missing(&mut self, need: &Need) {
        let Need {
            message,
            entries,
            session,
            sequence,
        } = need;
        let first = format!("message {message} of session {session}, sequence {sequence}");
        for _ in 0..*entries {
            self.problem("queue entries without their message", &first);
        }
    }

    /// What belongs to no session. It is no damage: a session that does not outlive the daemon
    /// has no record, and yet may have a queue that was too long for the memory.
    fn orphans(&mut self, connection: &Connection, version: usize) {
        for (table, since) in [
            ("queue", 1),
            ("subscription", 1),
            ("inbound", 1),
            ("outbound", 3),
        ] {
            let sql = format!(
                "SELECT count(*) FROM {table} WHERE session_id NOT IN (SELECT id FROM session)"
            );
            if since > version {
                continue;
            }
            let count = connection.query_row(&sql, [], |row| row.get::<_, u64>(0));
            // What cannot be read has been said.
            let count = count.unwrap_or(0);
            if count > 0 {
                self.remarks.push(format!(
                    "{count} rows of `{table}` belong to sessions that do not outlive the daemon; \
                     the next start removes them"
                ));
            }
        }
    }
}

/// Rows that are read one by one.
pub(crate) struct Table {
    /// What a row that cannot be understood is called.
    what: &'static str,
    pub(crate) name: &'static str,
    /// The version that brought it.
    since: usize,
    /// The columns that name a row.
    pub(crate) key: &'static [&'static str],
    /// What is read behind them.
    columns: &'static [&'static str],
    pub(crate) read: fn(&Row<'_>) -> Result<(), Error>,
}

impl Table {
    /// Whether a file of this version has it.
    pub(crate) const fn has_version(&self, version: usize) -> bool {
        self.since <= version
    }

    /// Reads all rows; what the version of the file does not have yet is null.
    pub(crate) fn sql(&self, known: &Columns) -> String {
        let columns = [self.key, self.columns].concat();
        let columns: Vec<_> = columns.iter().map(|it| known.name(self.name, it)).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.name)
    }
}

pub(crate) const TABLES: [Table; 11] = [
    Table {
        what: "sessions that cannot be understood",
        since: 1,
        name: "session",
        key: &["id", "client_id"],
        columns: &["expiry_seconds", "expires_at"],
        read: |row| {
            row.get::<_, u64>(0)?;
            row.get::<_, String>(1)?;
            row.get::<_, u64>(2)?;
            row.get::<_, Option<u64>>(3).map(|_| ())
        },
    },
    Table {
        what: "sessions that cannot be understood",
        since: 2,
        name: "session",
        key: &["id"],
        columns: &["sent_sequence"],
        read: |row| row.get::<_, Option<u64>>(1).map(|_| ()),
    },
    Table {
        what: "subscriptions that cannot be understood",
        since: 1,
        name: "subscription",
        key: &["session_id", "filter"],
        columns: &["options", "identifier"],
        read: |row| row::subscription(row, 1).map(|_| ()),
    },
    Table {
        what: "messages that cannot be understood",
        since: 1,
        name: "message",
        key: &["id"],
        columns: &[
            "topic",
            "payload",
            "properties",
            "qos",
            "retain",
            "expires_at",
            "checksum",
        ],
        read: |row| row::checked_message(row, 1).map(|_| ()),
    },
    Table {
        what: "queue entries that cannot be understood",
        since: 1,
        name: "queue",
        key: &["session_id", "sequence"],
        columns: &["qos", "retain", "subscription_ids"],
        read: entry,
    },
    Table {
        what: "identifiers that cannot be understood",
        since: 1,
        name: "inbound",
        key: &["session_id", "packet_id"],
        columns: &[],
        read: |row| row.get::<_, u16>(1).map(|_| ()),
    },
    Table {
        what: "identifiers that cannot be understood",
        since: 3,
        name: "outbound",
        key: &["session_id", "sequence"],
        columns: &[],
        read: |row| row.get::<_, u64>(1).map(|_| ()),
    },
    Table {
        what: "retained messages that cannot be understood",
        since: 1,
        name: "retained",
        key: &["topic"],
        columns: &[
            "payload",
            "properties",
            "qos",
            "retain",
            "expires_at",
            "checksum",
        ],
        read: |row| row::checked_message(row, 0).map(|_| ()),
    },
    Table {
        what: "delayed messages that cannot be understood",
        since: 2,
        name: "delayed",
        key: &["id"],
        columns: &[
            "due",
            "topic",
            "payload",
            "properties",
            "qos",
            "retain",
            "expires_at",
            "checksum",
        ],
        read: |row| {
            row.get::<_, u64>(1)?;
            row::checked_message(row, 2).map(|_| ())
        },
    },
    Table {
        what: "wills that cannot be understood",
        since: 4,
        name: "will",
        key: &["id"],
        columns: &[
            "session_id",
            "due",
            "delay_seconds",
            "topic",
            "payload",
            "properties",
            "qos",
            "retain",
            "expiry_seconds",
        ],
        read: |row| {
            row.get::<_, u64>(1)?;
            row.get::<_, Option<u64>>(2)?;
            row.get::<_, u64>(3)?;
            row::message(row, 4).map(|_| ())
        },
    },
    Table {
        what: "names that cannot be understood",
        since: 10,
        name: "seen",
        key: &["run", "block"],
        columns: &["bits", "checksum", "noted_at"],
        read: |row| {
            row.get::<_, u64>(4)?;
            names::read(row).map(|_| ())
        },
    },
];

fn entry(row: &Row<'_>) -> Result<(), Error> {
    row.get::<_, u64>(1)?;
    row::qos(row, 2)?;
    row.get::<_, bool>(3)?;
    row::read_subscription_ids(row, 4).map(|_| ())
}

/// The entries of queues that need one message.
struct Need {
    message: i64,
    entries: i64,
    /// One that does.
    session: i64,
    sequence: i64,
}

fn next_need(rows: &mut Rows<'_>) -> Result<Option<Need>, Error> {
    let row = rows.next()?;
    row.map(|row| {
        Ok(Need {
            message: row.get(0)?,
            entries: row.get(1)?,
            session: row.get(2)?,
            sequence: row.get(3)?,
        })
    })
    .transpose()
}

/// What is wrong with a value, without where it stands in a query.
fn reason(error: &Error) -> String {
    if let Error::FromSqlConversionFailure(_, _, reason) = error {
        return reason.to_string();
    }
    error.to_string()
}

/// The first columns of a row, for a person.
fn key(row: &Row<'_>, columns: usize) -> String {
    let text = |column| match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Text(text)) => format!("{:?}", String::from_utf8_lossy(text)),
        Ok(_) | Err(_) => "?".to_owned(),
    };
    let texts: Vec<String> = (0..columns).map(text).collect();
    texts.join(", ")
}

fn strings(connection: &Connection, sql: &str) -> Result<Vec<String>, Error> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}
