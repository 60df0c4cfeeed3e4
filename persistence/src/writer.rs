//! The thread that owns the database.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Operation;
use crate::batch::{Batch, Page, load_page};
use crate::database::Database;
use crate::error::WriteError;
use crate::store::{Durability, Shared};
use crate::throttle::Throttle;

/// With `normal` durability, the longest time between two commits that are synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before a failed commit is tried again; it doubles with each failure.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

pub(crate) fn start(database: Database, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            Writer {
                database,
                shared,
                complaints: Throttle::default(),
                last_commit: None,
                last_sync: Instant::now(),
            }
            .run();
        })
}

struct Writer {
    database: Database,
    shared: Arc<Shared>,
    complaints: Throttle,
    last_commit: Option<Instant>,
    last_sync: Instant,
}

impl Writer {
    fn run(mut self) {
        while let Some((operations, position)) = self.shared.take(self.pause()) {
            if let Err(error) = self.apply(operations) {
                tracing::error!(%error, "the store is closed with operations that are not written");
                return;
            }
            self.shared.advance(position);
        }
        if let Err(error) = self.insist(|it| it.database.prepare()) {
            tracing::error!(%error, "the store's files are gone");
        }
        // What is committed but not synced is synced by the checkpoint that closing makes.
        let file = self.database.files.database().display().to_string();
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

    /// Writes operations in their order.
    fn apply(&mut self, operations: Vec<Operation>) -> Result<(), WriteError> {
        let mut batch = Batch::default();
        for operation in operations {
            if let Some(page) = batch.fold(operation) {
                self.commit(&std::mem::take(&mut batch))?;
                self.answer(page);
            }
        }
        self.commit(&batch)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), WriteError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.insist(|it| it.try_commit(batch))?;
        self.insist(|it| it.database.confirm())?;
        self.last_commit = Some(Instant::now());
        Ok(())
    }

    /// Tries again and again until it succeeds. Fails only if the store is to be closed and it
    /// still does not.
    fn insist(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut pause = RETRY_PAUSE;
        let mut was_said = false;
        let mut is_last = false;
        while let Err(error) = attempt(self) {
            if is_last {
                return Err(error);
            }
            if self.complaints.lets_through() {
                tracing::error!(%error, "the store cannot be written, nothing is acknowledged");
                was_said = true;
            }
            is_last = self.shared.wait_closing(pause);
            pause = RETRY_PAUSE_MAX.min(pause * 2);
        }
        if was_said {
            tracing::info!("the store can be written again");
        }
        Ok(())
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<(), WriteError> {
        self.database.prepare()?;
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
