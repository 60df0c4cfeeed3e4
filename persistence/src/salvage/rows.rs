//! Reading the rows of a table that is damaged.
//!
//! SQLite stops at the first page that it cannot make sense of. So a table is read from both ends;
//! what is left between them is cut in two, and each piece is read from both ends again, until
//! nothing is left or the pieces are too many.

use std::collections::VecDeque;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Row, params_from_iter};

use super::keys::{Key, Part};
use crate::damage::is_damage;

/// Pieces of a table that are looked at: more are not worth the time.
const PIECES_MAX: usize = 1_000;

/// A table with the columns that are read.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// The columns of its key.
    pub(crate) key: Vec<String>,
    /// All columns, those of the key in front.
    pub(crate) columns: Vec<String>,
    /// The key with values of no meaning, which tells its form.
    pub(crate) form: Key,
}

/// How reading went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Rows that are there, but have something that is no value.
    pub(crate) unreadable: u64,
    /// Ranges of keys in which nothing can be read.
    pub(crate) gaps: u64,
}

/// Keys from the first on and below the second.
type Range = (Key, Key);

impl Table {
    /// Hands over every row that can be read, in no order, with the columns in their order.
    ///
    /// # Errors
    /// What `take` fails with, or something that is no damage.
    pub(crate) fn read(
        &self,
        source: &Connection,
        take: &mut dyn FnMut(Vec<Value>) -> Result<(), Error>,
    ) -> Result<Progress, Error> {
        let mut reader = Reader {
            table: self,
            source,
            take,
            unreadable: 0,
        };
        let mut pieces = VecDeque::from([self.form.range()]);
        let mut lost: Vec<Range> = Vec::new();
        let mut count = 0;
        while let Some(piece) = pieces.pop_front() {
            count += 1;
            let Some((low, high)) = reader.both_ways(piece)? else {
                continue;
            };
            match low.between(&high).filter(|_| count < PIECES_MAX) {
                Some(middle) => pieces.extend([(low, middle.clone()), (middle, high)]),
                None => lost.push((low, high)),
            }
        }
        Ok(Progress {
            unreadable: reader.unreadable,
            gaps: count_gaps(lost),
        })
    }
}

/// Counts ranges; those that touch are one.
fn count_gaps(mut ranges: Vec<Range>) -> u64 {
    ranges.sort();
    let mut gaps = 0;
    let mut end = None;
    for (low, high) in ranges {
        gaps += u64::from(end != Some(low));
        end = Some(high);
    }
    gaps
}

struct Reader<'a> {
    table: &'a Table,
    source: &'a Connection,
    take: &'a mut dyn FnMut(Vec<Value>) -> Result<(), Error>,
    unreadable: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Reader<'_> {
    /// Reads a range from both ends, and returns what is left of it.
    fn both_ways(&mut self, (low, high): Range) -> Result<Option<Range>, Error> {
        let rest = self.one_way(Direction::Up, (low, high))?;
        match rest {
            Some(rest) => self.one_way(Direction::Down, rest),
            None => Ok(None),
        }
    }

    fn one_way(&mut self, direction: Direction, range: Range) -> Result<Option<Range>, Error> {
        let (mut low, mut high) = range;
        if low >= high {
            return Ok(None);
        }
        let mut statement = match self.source.prepare_cached(&self.sql(direction)) {
            Err(error) if is_damage(&error) => return Ok(Some((low, high))),
            statement => statement?,
        };
        let limits: Vec<_> = low.0.iter().chain(&high.0).cloned().collect();
        let mut rows = statement.query(params_from_iter(limits))?;
        loop {
            let row = match rows.next() {
                Ok(None) => return Ok(None),
                Ok(Some(row)) => row,
                Err(error) if is_damage(&error) => return Ok(Some((low, high))),
                Err(error) => return Err(error),
            };
            let Some(key) = self.key(row).filter(|it| low <= *it && *it < high) else {
                // Out of order, so that nobody knows what is between.
                return Ok(Some((low, high)));
            };
            match direction {
                Direction::Up => low = key.next(),
                Direction::Down => high = key,
            }
            match values(row, self.table.columns.len()) {
                Some(values) => (self.take)(values)?,
                None => self.unreadable += 1,
            }
        }
    }

    fn key(&self, row: &Row<'_>) -> Option<Key> {
        let parts = (0..self.table.key.len()).map(|column| match row.get_ref(column) {
            Ok(ValueRef::Integer(number)) => Some(Part::Number(number)),
            Ok(ValueRef::Text(text)) => Some(Part::Text(text.to_owned())),
            // This program makes no such keys.
            Ok(_) | Err(_) => None,
        });
        parts.collect::<Option<_>>().map(Key)
    }

    fn sql(&self, direction: Direction) -> String {
        let Table {
            name, key, columns, ..
        } = self.table;
        let order = match direction {
            Direction::Up => "ASC",
            Direction::Down => "DESC",
        };
        let marks = vec!["?"; key.len()].join(", ");
        let ordered: Vec<_> = key.iter().map(|it| format!("{it} {order}")).collect();
        let (columns, key, ordered) = (columns.join(", "), key.join(", "), ordered.join(", "));
        format!(
            "SELECT {columns} FROM {name} WHERE ({key}) >= ({marks}) AND ({key}) < ({marks})
             ORDER BY {ordered}"
        )
    }
}

/// The first values of a row; none if one of them is a text that is no UTF-8.
fn values(row: &Row<'_>, count: usize) -> Option<Vec<Value>> {
    (0..count).map(|column| row.get(column).ok()).collect()
}
