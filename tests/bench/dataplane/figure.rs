//! What a measurement brings.

use std::time::Duration;

use tests::contender::{Broker, Usage};

/// What a cell of the report gets.
pub(crate) struct Figure {
    pub(crate) table: &'static str,
    pub(crate) row: String,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    /// One value.
    pub(crate) fn new(table: &'static str, row: impl Into<String>, value: f64) -> Self {
        Self {
            table,
            row: row.into(),
            values: vec![value],
        }
    }
}

/// How much longer its threads have run, in microseconds for each of so many.
pub(crate) fn micros_each(before: Duration, after: Duration, count: u64) -> f64 {
    after.saturating_sub(before).as_secs_f64() * 1e6 / count as f64
}

/// How much more memory it has, in bytes for each of so many; 0 if it has less.
pub(crate) fn bytes_each(before: Usage, after: Usage, count: u64) -> f64 {
    after.memory.saturating_sub(before.memory) as f64 / count as f64
}

/// A broker's memory.
pub(crate) fn mebibytes(broker: &Broker) -> std::io::Result<f64> {
    Ok(broker.usage()?.memory as f64 / f64::from(1 << 20))
}
