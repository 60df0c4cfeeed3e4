//! How the store begins and ends.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex};

use crate::database::Database;
use crate::handover::Submitted;
use crate::hold::Gate;
use crate::recovery::Numbers;
use crate::statistics::Meter;
use crate::store::{Shared, lock};
use crate::{CloseStoreError, OpenStoreError, Options, Recovered, Store, Volume, writer};

impl Store {
    /// Opens the store in `directory`, which is made if need be, and loads what it knew.
    ///
    /// Damaged files do not keep a gateway from its work, and are never deleted: what cannot be
    /// read is renamed to `tidegate.db.damaged-1` or the next free number, with `-wal` and `-shm`
    /// beside it so that SQLite's own tools can open it, and the store begins empty. What has
    /// only lost its end goes on with what is left, and a copy of its log is kept. Both are said
    /// in [`Recovered::damage`] and in one line of the log. They are found by reading the whole
    /// database once, and by comparing the number of synced commits with the one in the file
    /// `tidegate.epoch`.
    ///
    /// Every message carries a sum of its bytes, which is compared when it is read: one that the disk
    /// has changed is left out, counted in [`Recovered::left_out`] or
    /// [`crate::Statistics::left_out`], and logged. It stays in the file.
    ///
    /// Not found are: changed bytes inside a value that is no message, such as a Client Identifier
    /// or the place of a queue entry; messages of versions before 7 whose bytes have changed; and
    /// damage to that part of the log that was not synced yet, which with
    /// [`crate::Durability::Normal`] is at most the last second before a crash.
    ///
    /// # Errors
    /// The directory or the database cannot be used or is read-only, for a reason that may pass;
    /// another process uses it; or a newer version wrote it.
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Recovered), OpenStoreError> {
        let (mut database, recovered, last) = Database::open(directory)?;
        database.keep_age_index(options.quota.drops_oldest);
        if let Some(damage) = &recovered.damage {
            tracing::error!(%damage, "the store is damaged");
        }
        let store = Self::start(database, last, options).map_err(|source| {
            let directory = directory.into();
            OpenStoreError::Directory { directory, source }
        })?;
        store.note_left_out(recovered.left_out);
        Ok((store, recovered))
    }

    /// Starts the writer.
    pub(crate) fn start(database: Database, last: Numbers, options: Options) -> io::Result<Self> {
        let meter = Meter::of(&database);
        let used_bytes = meter.usage.used_bytes;
        let volume = Volume::of(database.files.directory(), &options.quota).ok();
        volume
            .iter()
            .for_each(|it| it.note_small(database.files.directory()));
        let room_bytes = volume.map_or(u64::MAX, |it| it.room_bytes);
        let bounds = options.quota.within(room_bytes);
        let full = bounds.is_reached(used_bytes, meter.queued);
        let shared = Arc::new(Shared {
            full: AtomicBool::new(full && !options.quota.drops_oldest),
            room: AtomicU64::new(options.quota.room(meter.queued)),
            pending_bytes_max: AtomicUsize::new(options.pending_bytes_max),
            options,
            submitted: Mutex::new(Submitted {
                used_bytes,
                room_bytes,
                queued: meter.queued,
                ..Submitted::default()
            }),
            asked: Mutex::default(),
            gate: Gate::default(),
            arrived: Condvar::new(),
            crowded: AtomicBool::new(false),
            durable: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            waiters: Mutex::default(),
            meter: Mutex::new(meter),
            next_message: AtomicU64::new(last.message + 1),
            next_session: AtomicU64::new(last.session + 1),
            next_delayed: AtomicU64::new(last.delayed + 1),
            next_will: AtomicU64::new(last.will + 1),
            next_deadline: AtomicU64::new(0),
            writer: Mutex::default(),
            file: database.files.database(),
            clock: database.clock,
        });
        let writer = writer::start(database, Arc::clone(&shared))?;
        *lock(&shared.writer) = Some(writer);
        let shared = Some(shared);
        Ok(Self { shared })
    }

    /// Writes everything that was submitted and closes the database. Blocks until done, which
    /// does not wait for a disk that cannot be written. Only the first call has something to do.
    ///
    /// # Errors
    /// Something is not on the disk that was submitted.
    pub fn close(&self) -> Result<(), CloseStoreError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        lock(&shared.submitted).closing = true;
        shared.arrived.notify_one();
        let Some(writer) = lock(&shared.writer).take() else {
            return Ok(());
        };
        let end = writer.join();
        let operations = lock(&shared.submitted).position - self.durable().0;
        match end {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if operations == 0 => Err(CloseStoreError::Gone(error.to_string())),
            Ok(Err(error)) => Err(CloseStoreError::Unwritten {
                operations,
                reason: error.to_string(),
            }),
            Err(_) => Err(CloseStoreError::Panicked(operations)),
        }
    }
}
