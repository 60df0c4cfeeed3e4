//! The thread that owns the database.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Operation;
use crate::batch::{Batch, Page, load_page};
use crate::schema::Database;
use crate::store::{Durability, Shared};

/// With `normal` durability, the longest time between two commits that are synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before a failed commit is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn start(database: Database, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            Writer {
                database,
                shared,
                last_commit: None,
                last_sync: Instant::now(),
            }
            .run();
        })
}

struct Writer {
    database: Database,
    shared: Arc<Shared>,
    last_commit: Option<Instant>,
    last_sync: Instant,
}

impl Writer {
    fn run(mut self) {
        while let Some((operations, position)) = self.shared.take(self.pause()) {
            if !self.apply(operations) {
                return;
            }
            self.shared.advance(position);
        }
        // What is committed but not synced is synced by the checkpoint that closing makes.
        let file = self.database.file.display().to_string();
        if let Err((_, error)) = self.database.connection.close() {
            tracing::error!(%error, file, "the store could not be closed in order");
        }
    }

    /// How long to collect more operations: nothing after a quiet time, so that a lone message
    /// is acknowledged at once, and up to the commit interval under load.
    fn pause(&self) -> Duration {
        let interval = self.shared.options.commit_interval;
        self.last_commit.map_or(Duration::ZERO, |last| {
            interval.saturating_sub(last.elapsed())
        })
    }

    /// Writes operations in their order; false if the store was closed over a failure.
    fn apply(&mut self, operations: Vec<Operation>) -> bool {
        let mut batch = Batch::default();
        for operation in operations {
            let Some(page) = batch.fold(operation) else {
                continue;
            };
            if !self.commit(&std::mem::take(&mut batch)) {
                return false;
            }
            self.answer(page);
        }
        self.commit(&batch)
    }

    /// Commits a batch, again and again until it succeeds; false if the store is closing and it
    /// still fails.
    fn commit(&mut self, batch: &Batch) -> bool {
        if batch.is_empty() {
            return true;
        }
        let mut failures = 0_u32;
        while let Err(error) = self.try_commit(batch) {
            if failures == 0 {
                tracing::error!(%error, "the store cannot be written, nothing is acknowledged");
            }
            failures += 1;
            if self.shared.is_closing() {
                tracing::error!("the store is closed with operations that could not be written");
                return false;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
        if failures > 0 {
            tracing::info!(failures, "the store can be written again");
        }
        self.last_commit = Some(Instant::now());
        true
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<(), rusqlite::Error> {
        let sync = self.shared.options.durability == Durability::Full
            || self.last_sync.elapsed() >= SYNC_INTERVAL;
        let level = if sync { "FULL" } else { "NORMAL" };
        let connection = &mut self.database.connection;
        connection.pragma_update(None, "synchronous", level)?;
        batch.commit(connection)?;
        if sync {
            self.last_sync = Instant::now();
        }
        Ok(())
    }

    fn answer(&self, page: Page) {
        match load_page(&self.database.connection, page.session, page.request) {
            Ok((deliveries, complete)) => (page.reply)(deliveries, complete),
            Err(error) => {
                tracing::error!(%error, "a queue cannot be read from the store");
                // Not complete: the session asks again with its next delivery.
                (page.reply)(Vec::new(), false);
            }
        }
    }
}
