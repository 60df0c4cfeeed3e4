//! What stands in the database, and how it came to be over the versions.

use std::collections::BTreeMap;

use rusqlite::{Connection, Error};

/// What leads from each version of the tables to the next, the first from an empty file. A new
/// version is a new step at the end; those that files have gone through are never changed.
const MIGRATIONS: [&str; 10] = [
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8,
    VERSION_9, VERSION_10,
];
pub(crate) const SCHEMA_VERSION: usize = MIGRATIONS.len();

/// `refs` counts the queue entries that a message body stands in.
const VERSION_1: &str = "
CREATE TABLE session(
    id INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE,
    expiry_seconds INTEGER NOT NULL, expires_at INTEGER);
CREATE TABLE subscription(
    session_id INTEGER NOT NULL, filter TEXT NOT NULL,
    options INTEGER NOT NULL, identifier INTEGER,
    PRIMARY KEY(session_id, filter)) WITHOUT ROWID;
CREATE TABLE message(
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER, refs INTEGER NOT NULL);
CREATE TABLE queue(
    session_id INTEGER NOT NULL, sequence INTEGER NOT NULL, message_id INTEGER NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, subscription_ids BLOB NOT NULL,
    PRIMARY KEY(session_id, sequence)) WITHOUT ROWID;
CREATE TABLE inbound(
    session_id INTEGER NOT NULL, packet_id INTEGER NOT NULL,
    PRIMARY KEY(session_id, packet_id)) WITHOUT ROWID;
CREATE TABLE retained(
    topic TEXT PRIMARY KEY, payload BLOB NOT NULL, properties BLOB NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;
";
/// `sent_sequence` is null while a connection may be sending; `epoch` counts the commits that were
/// synced.
const VERSION_2: &str = "
CREATE TABLE store(epoch INTEGER NOT NULL);
INSERT INTO store VALUES(0);
CREATE TABLE delayed(
    id INTEGER PRIMARY KEY, due INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    expires_at INTEGER);
ALTER TABLE session ADD COLUMN sent_sequence INTEGER;
";

/// `outbound` has the QoS 2 entries between PUBREC and PUBCOMP. They are not in `queue` any more, but
/// for those of bridges, whose hubs may forget them. For sequence 0 see `in_flight.rs`.
const VERSION_3: &str = "
CREATE TABLE outbound(
    session_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY(session_id, sequence)) WITHOUT ROWID;
";

/// `due` is null while the connection of the will lives; `expiry_seconds` count from when it is
/// published.
const VERSION_4: &str = "
CREATE TABLE will(
    id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, delay_seconds INTEGER NOT NULL,
    due INTEGER, topic TEXT NOT NULL, payload BLOB NOT NULL, properties BLOB NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, expiry_seconds INTEGER);
";

/// The last moment that was written down: the store's own time, and the clocks of the machine.
/// Times are in milliseconds.
const VERSION_5: &str = "
ALTER TABLE store ADD COLUMN time INTEGER;
ALTER TABLE store ADD COLUMN wall INTEGER;
ALTER TABLE store ADD COLUMN boot_id TEXT;
ALTER TABLE store ADD COLUMN boot_clock INTEGER;
";

/// `bytes` is what the content of the message counts, so that the sum of a queue needs no bodies.
/// The lane of an entry is in its `sequence`; what came before is in the default lane. Of the
/// topic of a `latest_only` entry only the last one counts.
const VERSION_6: &str = "
ALTER TABLE queue ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue ADD COLUMN latest_only INTEGER NOT NULL DEFAULT 0;
CREATE INDEX latest ON queue(session_id, sequence) WHERE latest_only;
UPDATE queue SET bytes = coalesce((
    SELECT length(CAST(topic AS BLOB)) + length(payload) + length(properties)
    FROM message WHERE id = message_id), 0);
";

/// `checksum` is null in rows of earlier versions.
const VERSION_7: &str = "
ALTER TABLE message ADD COLUMN checksum INTEGER;
ALTER TABLE retained ADD COLUMN checksum INTEGER;
ALTER TABLE delayed ADD COLUMN checksum INTEGER;
";

/// `expires_at` is when an entry is given up if it still waits.
const VERSION_8: &str = "
ALTER TABLE queue ADD COLUMN expires_at INTEGER;
UPDATE queue SET expires_at = (SELECT expires_at FROM message WHERE id = message_id)
    WHERE message_id IN (SELECT id FROM message WHERE expires_at IS NOT NULL);
CREATE INDEX queue_expiry ON queue(expires_at) WHERE expires_at IS NOT NULL;
";

/// Which broker this is: as long as the store lives, and no longer.
const VERSION_9: &str = "
ALTER TABLE store ADD COLUMN broker_id TEXT;
UPDATE store SET broker_id = lower(hex(randomblob(8)));
";

/// `bits` has one for each number of a block that has come; `noted_at` is when the last one did.
const VERSION_10: &str = "
CREATE TABLE seen(
    run TEXT NOT NULL, block INTEGER NOT NULL, bits BLOB NOT NULL, noted_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY(run, block)) WITHOUT ROWID;
";

/// The version of the tables in a file, 0 if it has none.
pub(crate) fn version(connection: &Connection) -> Result<usize, Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The tables with their columns, as they are in a file.
pub(crate) fn columns(connection: &Connection) -> Result<BTreeMap<String, Vec<Column>>, Error> {
    let mut statement = connection.prepare(
        "SELECT t.name, c.name, c.type, c.pk FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid",
    )?;
    let mut rows = statement.query([])?;
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let column = Column {
            name: row.get(1)?,
            is_number: row.get::<_, String>(2)? == "INTEGER",
            place_in_key: row.get(3)?,
        };
        columns.entry(row.get(0)?).or_default().push(column);
    }
    Ok(columns)
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) is_number: bool,
    /// From 1 on; 0 if it is no part of the key.
    pub(crate) place_in_key: u32,
}

/// The commits that were synced, as far as the database knows.
pub(crate) fn epoch(connection: &Connection, version: usize) -> Result<u64, Error> {
    // The first version does not count them.
    if version < 2 {
        return Ok(0);
    }
    connection.query_row("SELECT epoch FROM store", [], |row| row.get(0))
}

/// Takes the steps from a version to the current one, each wholly or not at all.
pub(crate) fn migrate(connection: &mut Connection, from: usize) -> Result<(), Error> {
    for (version, step) in MIGRATIONS.iter().enumerate().skip(from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
