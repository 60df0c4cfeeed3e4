//! The thread that owns the database.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mqtt::session::Trimmed;

use crate::batch::{Batch, Read};
use crate::crash_point::{CrashPlace, CrashPoint};
use crate::database::Database;
use crate::error::WriteError;
use crate::oldest::Way;
use crate::page::{Page, load_page};
use crate::quota::Guard;
use crate::store::{Shared, lock};
use crate::throttle::Throttle;
use crate::trim::{Trim, oldest};
use crate::volume::PENDING_BYTES_NEAR;
use crate::{MakeWay, Operation, QueueEntry, SessionId, Sweep};

/// With `normal` durability, the longest time that a commit is not synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before a failed commit is tried again; it doubles with each failure.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The pause between two steps in which the file is made shorter.
const SHRINK_PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn start(
    database: Database,
    shared: Arc<Shared>,
) -> io::Result<JoinHandle<Result<(), WriteError>>> {
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            let directory = database.files.directory().to_owned();
            Writer {
                guard: Guard::new(shared.options.quota, directory),
                way: Way::default(),
                crash_point: shared.options.crash_point,
                database,
                shared,
                complaints: Throttle::default(),
                last_commit: None,
                last_sync: None,
                unsynced: true,
                shrink_at: Some(Instant::now()),
            }
            .run()
        })
}

struct Writer {
    database: Database,
    shared: Arc<Shared>,
    guard: Guard,
    /// How far entries were dropped.
    way: Way,
    crash_point: Option<CrashPoint>,
    complaints: Throttle,
    last_commit: Option<Instant>,
    last_sync: Option<Instant>,
    /// There may be commits that are not synced.
    unsynced: bool,
    /// When some of the file is given back, if nobody waits then; none if there is nothing.
    shrink_at: Option<Instant>,
}

impl Writer {
    fn run(mut self) -> Result<(), WriteError> {
        self.keep_quota()?;
        while let Some(taken) = self.shared.take(self.pause(), self.idle()) {
            self.apply(taken.operations, taken.sync)?;
            self.shared.advance(taken.position);
            self.pass(CrashPlace::AfterAdvance);
            self.keep_quota()?;
            self.shrink();
        }
        self.finish()
    }

    /// Leaves the database as a restart will find it.
    fn finish(mut self) -> Result<(), WriteError> {
        // The files may have gone since the last commit.
        self.insist(|it| it.database.prepare())?;
        // In any case, since it notes the time.
        let synced = self.sync(&Batch::default());
        // Once more, since after an error all is written anew.
        if let Err(error) = synced.or_else(|_| self.sync(&Batch::default()))
            && self.unsynced
        {
            tracing::warn!(%error, "the last changes are written to the store, but not synced");
        }
        let file = self.database.files.database().display().to_string();
        if let Err(error) = self.database.close() {
            tracing::error!(%error, file, "the store could not be closed in order");
        }
        Ok(())
    }

    /// How long to collect more operations: nothing after a quiet time, so that a lone message
    /// is acknowledged at once, and up to the commit interval under load.
    fn pause(&self) -> Duration {
        let interval = self.shared.options.commit_interval;
        self.last_commit.map_or(Duration::ZERO, |last| {
            interval.saturating_sub(last.elapsed())
        })
    }

    /// Writes operations in one commit, then reads what is asked for: a read amid operations
    /// that belong together does not part them.
    fn apply(&mut self, operations: Vec<Operation>, sync: bool) -> Result<(), WriteError> {
        let mut batch = Batch::default();
        let operations = operations.into_iter();
        let reads: Vec<_> = operations.filter_map(|it| batch.fold(it)).collect();
        self.commit(&batch, sync)?;
        let mut trimmed = Batch::default();
        for read in reads {
            if !trimmed.is_empty() {
                self.commit(&std::mem::take(&mut trimmed), false)?;
            }
            match read {
                Read::Page(page) => self.answer(page),
                Read::Expired(sweep) => self.expire(sweep)?,
                Read::Trim(trim) => self.trim(trim, &mut trimmed),
            }
        }
        if trimmed.is_empty() {
            return Ok(());
        }
        self.commit(&trimmed, false)
    }

    /// Commits a batch, and syncs it and all before it if `sync` is true or due.
    fn commit(&mut self, batch: &Batch, sync: bool) -> Result<(), WriteError> {
        let sync = sync || self.sync_due() == Some(Duration::ZERO);
        // An empty one is worth a commit if it syncs those before it.
        if batch.is_empty() && !(sync && self.unsynced) {
            self.measure(batch.elided(), None);
            return Ok(());
        }
        let start = Instant::now();
        self.pass(CrashPlace::BeforeCommit);
        self.insist(|it| it.try_commit(batch, sync))?;
        self.insist(|it| it.database.confirm())?;
        self.last_commit = Some(Instant::now());
        self.pass(CrashPlace::AfterCommit);
        self.measure(batch.elided(), Some(start.elapsed()));
        if !batch.is_empty() {
            self.shrink_at.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Notes what [`crate::Store::statistics`] tells.
    fn measure(&self, elided: u64, commit: Option<Duration>) {
        let usage = self.database.usage().ok();
        let mut meter = lock(&self.shared.meter);
        meter.note(&self.database, usage);
        meter.elided += elided;
        commit.into_iter().for_each(|time| meter.time(time));
    }

    /// Drops what is oldest if that is wanted, and tells whether the store is full.
    fn keep_quota(&mut self) -> Result<(), WriteError> {
        let meter = *lock(&self.shared.meter);
        self.guard.look(self.database.file_bytes());
        self.keep_small(self.guard.is_near(meter.usage));
        if self.guard.excess(&meter).is_some() {
            // Nobody else takes it, so it is not missed.
            let mut asked = std::mem::take(&mut *lock(&self.shared.asked));
            let done = asked.0.as_mut().map(|it| self.drop_oldest(it));
            *lock(&self.shared.asked) = asked;
            done.transpose()?;
        }
        let meter = *lock(&self.shared.meter);
        self.guard.judge(&meter, &self.shared);
        if self.guard.is_scarce() {
            self.database.fill_out();
        }
        Ok(())
    }

    /// Near the end of what the file system has room for, the log is kept short and transactions
    /// small.
    fn keep_small(&mut self, is_near: bool) {
        self.database.spare_log(is_near);
        let pending = self.shared.options.pending_bytes_max;
        let pending = if is_near {
            pending.min(PENDING_BYTES_NEAR)
        } else {
            pending
        };
        self.shared
            .pending_bytes_max
            .store(pending, Ordering::Relaxed);
    }

    /// Drops what is oldest until the quota is kept, or nothing more makes way.
    fn drop_oldest(&mut self, make_way: &mut MakeWay) -> Result<(), WriteError> {
        // What did not make way before may do so by now.
        let mut turns = if self.way.is_at_start() { 1 } else { 2 };
        while turns > 0 {
            let meter = *lock(&self.shared.meter);
            let Some(excess) = self.guard.excess(&meter) else {
                return Ok(());
            };
            let connection = self.database.connection();
            let mut oldest = match connection.and_then(|it| self.way.next(it, excess)) {
                Ok(oldest) => oldest,
                Err(error) => {
                    if self.complaints.lets_through() {
                        tracing::error!(%error, "the store cannot be read to make room in it");
                    }
                    return Ok(());
                }
            };
            if oldest.is_empty() {
                turns -= 1;
                continue;
            }
            make_way(&mut oldest);
            self.guard.count_dropped(oldest.len() as u64);
            self.remove(oldest)?;
        }
        Ok(())
    }

    /// Gives back a part of the file unless somebody waits for a commit.
    fn shrink(&mut self) {
        if self.shrink_at.is_none_or(|at| at > Instant::now()) || self.shared.has_submitted() {
            return;
        }
        self.shrink_at = match self.database.give_back() {
            Ok(true) => Some(Instant::now() + SHRINK_PAUSE),
            Ok(false) => None,
            // It can wait for ever; what cannot says it when it is committed.
            Err(error) => {
                tracing::debug!(%error, "the store's file does not get shorter");
                None
            }
        };
        self.measure(0, None);
    }

    /// How long the writer has nothing to do if nothing is submitted; none if for ever.
    fn idle(&self) -> Option<Duration> {
        let shrink = self
            .shrink_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let look = self.guard.next_look();
        [self.sync_due(), shrink, look].into_iter().flatten().min()
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
            self.shared.set_failing(true);
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
        self.shared.set_failing(false);
        if was_said {
            tracing::info!("the store can be written again");
        }
        Ok(())
    }

    fn try_commit(&mut self, batch: &Batch, sync: bool) -> Result<(), WriteError> {
        let is_due = self
            .last_sync
            .is_none_or(|it| it.elapsed() >= SYNC_INTERVAL);
        if sync || batch.notes_time || is_due {
            return self.sync(batch);
        }
        self.database.commit(batch, false)?;
        self.unsynced = true;
        Ok(())
    }

    /// Commits a batch and syncs it and all before it.
    fn sync(&mut self, batch: &Batch) -> Result<(), WriteError> {
        self.pass(CrashPlace::BeforeSync);
        self.database.commit(batch, true)?;
        self.pass(CrashPlace::AfterSync);
        self.unsynced = false;
        self.last_sync = Some(Instant::now());
        Ok(())
    }

    /// A crash test may want the process to end here.
    fn pass(&mut self, place: CrashPlace) {
        if let Some(point) = &mut self.crash_point {
            point.pass(place);
        }
    }

    /// How long commits that are not synced may stay so; none if there are none.
    fn sync_due(&self) -> Option<Duration> {
        let synced = self.last_sync.map_or(SYNC_INTERVAL, |it| it.elapsed());
        self.unsynced.then(|| SYNC_INTERVAL.saturating_sub(synced))
    }

    /// Has the next commit remove what is to be trimmed.
    fn trim(&mut self, Trim(session, request, reply): Trim, batch: &mut Batch) {
        let connection = self.database.connection();
        match connection.and_then(|it| oldest(it, session, &request)) {
            Ok((sequences, trimmed)) => {
                for sequence in sequences {
                    batch.fold(Operation::Dequeue(session, sequence));
                }
                reply(trimmed);
            }
            Err(error) => {
                self.excuse(session, &error);
                reply(Trimmed::default());
            }
        }
    }

    /// Looks at what has expired, and removes what is given up.
    fn expire(&mut self, sweep: Sweep) -> Result<(), WriteError> {
        match sweep.step(self.database.connection(), &self.shared) {
            Ok(found) => self.remove(found.into_iter().map(|it| it.entry)),
            Err(error) => {
                if self.complaints.lets_through() {
                    tracing::error!(%error, "what has expired cannot be read from the store");
                }
                Ok(())
            }
        }
    }

    /// Removes what sessions have let go of.
    fn remove(&mut self, entries: impl IntoIterator<Item = QueueEntry>) -> Result<(), WriteError> {
        let mut batch = Batch::default();
        for entry in entries {
            batch.fold(Operation::Dequeue(entry.session, entry.sequence));
        }
        self.commit(&batch, false)
    }

    fn excuse(&mut self, SessionId(session): SessionId, error: &rusqlite::Error) {
        if self.complaints.lets_through() {
            tracing::error!(session, %error, "a queue cannot be read from the store");
        }
        // The session asks again, which it would do at once.
        self.shared.wait_closing(RETRY_PAUSE);
    }

    fn answer(&mut self, page: Page) {
        let connection = self.database.connection();
        match connection.and_then(|it| load_page(it, page.session, page.request)) {
            Ok((deliveries, complete, left_out)) => {
                lock(&self.shared.meter).left_out += left_out;
                (page.reply)(deliveries, complete);
            }
            Err(error) => {
                self.excuse(page.session, &error);
                (page.reply)(Vec::new(), false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
