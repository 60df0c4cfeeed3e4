//! The names of messages that came from other brokers and were taken, so that each is taken once
//! also over a restart. A name is a run of the broker where the message was published, and its
//! number there.
//!
//! The numbers of a run are bits in blocks, and each block is a row. Of a run its last
//! [`NAMES_MAX`] numbers are kept at least, of those that come behind them nothing. The run that
//! was silent for longest makes way for another. So the table has at most 6 MiB.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt::Timestamp;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, Error, Row, params};

use crate::damage::is_damage;
use crate::{checksum, row};

/// Bytes of a block.
const BLOCK_BYTES: usize = 128;
/// Numbers of a block.
const BLOCK_NUMBERS: u64 = BLOCK_BYTES as u64 * 8;
/// Blocks of a run.
const BLOCKS_MAX: u64 = 99;
/// Numbers of one run that are kept at least, back from the greatest.
pub const NAMES_MAX: u64 = (BLOCKS_MAX - 1) * BLOCK_NUMBERS;
/// Runs that are kept.
pub const RUNS_MAX: u64 = 256;

type Block = [u8; BLOCK_BYTES];

/// Some of the numbers that have come of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredNames {
    /// The run, as it was noted.
    pub run: String,
    /// The number that the first bit stands for, a multiple of 8.
    pub first: u64,
    /// A bit for each number, the lowest of a byte first.
    pub bits: Vec<u8>,
}

/// What a batch notes.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<Arc<str>, Numbers>);

#[derive(Default)]
struct Numbers {
    blocks: BTreeMap<u64, Block>,
    /// When the last one was noted.
    at: Timestamp,
}

impl Names {
    pub(crate) fn note(&mut self, run: Arc<str>, number: u64, at: Timestamp) {
        let numbers = self.0.entry(run).or_default();
        numbers.at = numbers.at.max(at);
        let block = numbers.blocks.entry(number / BLOCK_NUMBERS);
        let place = number % BLOCK_NUMBERS;
        let bits = block.or_insert([0; BLOCK_BYTES]);
        if let Some(byte) = bits.get_mut((place / 8) as usize) {
            *byte |= 1 << (place % 8);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn apply(&self, connection: &Connection) -> Result<(), Error> {
        let mut has_new = false;
        for (run, numbers) in &self.0 {
            has_new |= numbers.apply(connection, run)?;
        }
        if has_new {
            make_way(connection)?;
        }
        Ok(())
    }
}

impl Numbers {
    /// Adds them to those that are known of the run; true if none were.
    fn apply(&self, connection: &Connection, run: &str) -> Result<bool, Error> {
        let mut newest = connection.prepare_cached("SELECT max(block) FROM seen WHERE run = ?1")?;
        let known: Option<u64> = match newest.query_row([run], |row| row.get(0)) {
            Err(error) if is_no_block(&error) => None,
            known => known?,
        };
        let added = self.blocks.last_key_value().map(|(block, _)| *block);
        let last = known.max(added).unwrap_or(0);
        let oldest = (last + 1).saturating_sub(BLOCKS_MAX);
        for (block, bits) in self.blocks.range(oldest..) {
            put(connection, run, *block, bits, self.at)?;
        }
        let mut delete =
            connection.prepare_cached("DELETE FROM seen WHERE run = ?1 AND block < ?2")?;
        delete.execute(params![run, oldest])?;
        Ok(known.is_none())
    }
}

/// Adds numbers to those of a block.
fn put(
    connection: &Connection,
    run: &str,
    block: u64,
    bits: &Block,
    at: Timestamp,
) -> Result<(), Error> {
    let mut known = connection.prepare_cached(
        "SELECT run, block, bits, checksum FROM seen WHERE run = ?1 AND block = ?2",
    )?;
    let known = match known.query_row(params![run, block], read) {
        // It is not there, or not to be believed.
        Err(error) if is_no_block(&error) => Vec::new(),
        known => known?.bits,
    };
    let mut all = *bits;
    for (to, from) in all.iter_mut().zip(&known) {
        *to |= from;
    }
    let mut put =
        connection.prepare_cached("INSERT OR REPLACE INTO seen VALUES(?1, ?2, ?3, ?4, ?5)")?;
    put.execute(params![
        run,
        block,
        &all[..],
        row::timestamp(at),
        sum(run, block, &all),
    ])?;
    Ok(())
}

/// Has the runs that were silent for longest make way if there are too many.
fn make_way(connection: &Connection) -> Result<(), Error> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM seen WHERE run NOT IN
             (SELECT run FROM seen GROUP BY run ORDER BY max(noted_at) DESC, run LIMIT ?1)",
    )?;
    delete.execute([RUNS_MAX])?;
    Ok(())
}

fn is_no_block(error: &Error) -> bool {
    error.sqlite_error().is_none() && is_damage(error)
}

fn sum(run: &str, block: u64, bits: &[u8]) -> i64 {
    checksum::of_parts([run.as_bytes(), &block.to_le_bytes(), bits])
}

/// Reads run, block, bits and checksum, and compares the last with the others: a bit too many would
/// be a message that is never taken.
pub(crate) fn read(row: &Row<'_>) -> Result<RecoveredNames, Error> {
    let (run, block, bits): (String, u64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    if row.get::<_, i64>(3)? != sum(&run, block, &bits) || bits.len() != BLOCK_BYTES {
        let problem = "its bytes have changed";
        return Err(row::corrupt(3, Type::Integer, problem));
    }
    Ok(RecoveredNames {
        run,
        first: block * BLOCK_NUMBERS,
        bits,
    })
}

/// Removes what the disk has changed. Nothing is lost with it: at worst a message is taken twice.
pub(crate) fn remove_damaged(connection: &Connection) -> Result<(), Error> {
    let mut statement = connection.prepare("SELECT run, block, bits, checksum FROM seen")?;
    let mut delete = connection.prepare("DELETE FROM seen WHERE run IS ?1 AND block IS ?2")?;
    let mut rows = statement.query([])?;
    let mut damaged: Vec<(Value, Value)> = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Err(error) if is_no_block(&error) => {
                // A key that is no value cannot be found again either.
                if let (Ok(run), Ok(block)) = (row.get(0), row.get(1)) {
                    damaged.push((run, block));
                }
            }
            found => drop(found?),
        }
    }
    for (run, block) in damaged {
        delete.execute(params![run, block])?;
    }
    Ok(())
}

/// Reads all of them, those of the run that was silent for longest in front.
pub(crate) fn recover(connection: &Connection) -> Result<Vec<RecoveredNames>, Error> {
    let mut statement = connection.prepare(
        "SELECT seen.run, block, bits, checksum FROM seen
         JOIN (SELECT run, max(noted_at) AS last FROM seen GROUP BY run) AS runs
             ON runs.run = seen.run
         ORDER BY last, seen.run, block",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Err(error) if is_no_block(&error) => {}
            names => found.push(names?),
        }
    }
    Ok(found)
}
