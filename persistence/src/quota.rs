//! Bounds of the store as a whole, and what the writer does when they are reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::handover::Submitted;
use crate::oldest::Excess;
use crate::statistics::{Meter, Usage};
use crate::store::{Shared, lock};
use crate::throttle::Throttle;
use crate::volume::RESERVE_BYTES;
use crate::{MakeWay, Store, Volume};

/// The time between two looks at what the file system has left.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A store that is full is so until this part of the bound is free: one of so many. Otherwise it
/// would change with each message that is drained.
const ROOM_PART: u64 = 20;

/// Bounds of the store as a whole.
///
/// They hold for messages only. What is submitted counts, and publishers are asked to look at
/// [`Store::is_full`] and [`Store::room`]: each bound may be exceeded by what they do at the same
/// moment. What makes room is taken in any case: acknowledgements, the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of the database that hold something, with those that wait for the writer.
    pub used_bytes_max: u64,
    /// Entries in all queues.
    pub queued_max: u64,
    /// Bytes that the file system has left to others at least, beside the
    /// [`crate::RESERVE_BYTES`] that the store itself needs; none for 64 MiB or a twentieth of the
    /// file system, whichever is less.
    pub left_bytes_min: Option<u64>,
    /// Makes room by dropping what is oldest in all queues, for which [`Store::drop_oldest`] has
    /// to say how. It costs an index of the queues. Otherwise nothing is dropped.
    pub drops_oldest: bool,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            used_bytes_max: u64::MAX,
            queued_max: u64::MAX,
            left_bytes_min: None,
            drops_oldest: false,
        }
    }
}

impl Quota {
    /// The same where the file system has room for so many bytes of the database.
    pub(crate) fn within(mut self, room_bytes: u64) -> Self {
        self.used_bytes_max = self.used_bytes_max.min(room_bytes);
        self
    }

    /// Whether nothing more is taken until there is room again.
    pub(crate) fn is_reached(&self, used_bytes: u64, queued: u64) -> bool {
        used_bytes >= self.used_bytes_max || queued >= self.queued_max
    }

    /// Entries that may be queued besides so many.
    pub(crate) fn room(&self, queued: u64) -> u64 {
        if self.drops_oldest || self.queued_max == u64::MAX {
            return u64::MAX;
        }
        self.queued_max.saturating_sub(queued)
    }

    fn has_room(&self, used_bytes: u64, queued: u64) -> bool {
        let below = |bound: u64| bound - bound / ROOM_PART;
        used_bytes < below(self.used_bytes_max) && queued < below(self.queued_max)
    }
}

impl Store {
    /// True while a message that would have to be kept must not be submitted: a bound of the
    /// [`Quota`] is reached, and nothing can be dropped for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|it| it.full.load(Ordering::Relaxed))
    }

    /// Entries that the queues have room for at this moment. Where the oldest are dropped, that is
    /// without limit.
    #[must_use]
    pub fn room(&self) -> u64 {
        let shared = self.shared.as_ref();
        shared.map_or(u64::MAX, |it| it.room.load(Ordering::Relaxed))
    }

    /// Who is asked before entries are dropped to keep the [`Quota`].
    pub fn drop_oldest(&self, make_way: MakeWay) {
        if let Some(shared) = &self.shared {
            lock(&shared.asked).0 = Some(make_way);
        }
    }
}

impl Shared {
    /// Something was submitted: it may be what the store has no room for.
    pub(crate) fn look_at(&self, submitted: &Submitted) {
        let quota = &self.options.quota.within(submitted.room_bytes);
        let used_bytes = submitted.used_bytes + submitted.bytes as u64;
        if quota.drops_oldest {
            return;
        }
        if quota.queued_max < u64::MAX {
            self.note_room(submitted);
        }
        if quota.is_reached(used_bytes, submitted.queued()) {
            self.full.store(true, Ordering::Relaxed);
        }
    }

    fn note_room(&self, submitted: &Submitted) {
        let room = self.options.quota.room(submitted.queued());
        self.room.store(room, Ordering::Relaxed);
    }

    /// The writer tells whether the store is full, given what there is of bytes and entries and
    /// how many bytes the file system has room for.
    fn set_full(
        &self,
        (used_bytes, room_bytes): (u64, u64),
        queued: u64,
        is_full: impl FnOnce(u64, u64, bool) -> bool,
    ) -> bool {
        let mut submitted = lock(&self.submitted);
        submitted.used_bytes = used_bytes;
        submitted.room_bytes = room_bytes;
        submitted.queued = queued;
        let used_bytes = used_bytes + submitted.bytes as u64;
        // Under the lock: what is submitted next finds it full or makes it so.
        let was_full = self.full.load(Ordering::Relaxed);
        let full = is_full(used_bytes, submitted.queued(), was_full);
        self.full.store(full, Ordering::Relaxed);
        self.note_room(&submitted);
        full
    }
}

/// Who is asked before entries are dropped.
#[derive(Default)]
pub(crate) struct Asked(pub(crate) Option<MakeWay>);

impl fmt::Debug for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Asked").finish_non_exhaustive()
    }
}

/// What the writer knows of the bounds.
#[derive(Debug)]
pub(crate) struct Guard {
    quota: Quota,
    directory: PathBuf,
    looked: Option<Instant>,
    /// None if the file system does not tell.
    volume: Option<Volume>,
    /// Bytes that the database keeps if what is oldest is dropped for others.
    kept_bytes: u64,
    /// The file system has no room for more messages.
    is_scarce: bool,
    was_full: bool,
    drops: Throttle,
    dropped: u64,
}

impl Guard {
    pub(crate) fn new(quota: Quota, directory: PathBuf) -> Self {
        Self {
            quota,
            directory,
            looked: None,
            volume: None,
            kept_bytes: u64::MAX,
            is_scarce: false,
            was_full: false,
            drops: Throttle::default(),
            dropped: 0,
        }
    }

    /// When what the file system has left is looked at although nothing is committed; none if
    /// there is enough.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        let looked = self.looked.filter(|_| self.is_scarce)?;
        Some(LOOK_INTERVAL.saturating_sub(looked.elapsed()))
    }

    /// Whether the end of what the file system has room for is near.
    pub(crate) fn is_near(&self, usage: Usage) -> bool {
        let volume = self.volume.as_ref();
        volume.is_some_and(|it| it.is_near(usage.used_bytes))
    }

    /// Whether the file system has no room for more messages.
    pub(crate) const fn is_scarce(&self) -> bool {
        self.is_scarce
    }

    /// Looks at what the file system has left, unless that was a moment ago. What the file of the
    /// database has already, with so many bytes, it keeps if others take the rest.
    pub(crate) fn look(&mut self, file_bytes: u64) {
        if self.looked.is_some_and(|it| it.elapsed() < LOOK_INTERVAL) {
            return;
        }
        self.looked = Some(Instant::now());
        // What cannot be asked cannot be kept free.
        self.volume = Volume::of(&self.directory, &self.quota).ok();
        self.kept_bytes = self.room_bytes().max(self.kept_bytes.min(file_bytes));
    }

    /// Bytes of the database that the file system has room for.
    fn room_bytes(&self) -> u64 {
        self.volume.map_or(u64::MAX, |it| it.room_bytes)
    }

    /// By how much the bounds are exceeded, if that can be helped by dropping what is oldest.
    ///
    /// Where others take what the file system had left, the database uses its free pages again
    /// and does not grow: it is not its fault, and nothing that it drops would help.
    pub(crate) fn excess(&self, meter: &Meter) -> Option<Excess> {
        let used_max = self.kept_bytes.min(self.quota.used_bytes_max);
        let excess = Excess {
            bytes: meter.usage.used_bytes.saturating_sub(used_max),
            entries: meter.queued.saturating_sub(self.quota.queued_max),
        };
        let is_any = excess.bytes > 0 || excess.entries > 0;
        Some(excess).filter(|_| is_any && self.quota.drops_oldest)
    }

    /// Notes that entries were dropped.
    pub(crate) fn count_dropped(&mut self, count: u64) {
        self.dropped += count;
        if count > 0 && self.drops.lets_through() {
            let dropped = self.dropped;
            tracing::warn!(dropped, "the store is full: what waits longest is dropped");
        }
    }

    /// Tells the others whether the store is full, after what could be dropped was.
    pub(crate) fn judge(&mut self, meter: &Meter, shared: &Shared) {
        let (used_bytes, queued) = (meter.usage.used_bytes, meter.queued);
        let room_bytes = self.room_bytes();
        let quota = self.quota.within(room_bytes);
        let mut used_with_pending = used_bytes;
        let full = shared.set_full(
            (used_bytes, room_bytes),
            queued,
            |used, queued, was_full| {
                used_with_pending = used;
                if quota.drops_oldest {
                    return self.excess(meter).is_some();
                }
                quota.is_reached(used, queued) || was_full && !quota.has_room(used, queued)
            },
        );
        self.note_scarce(used_with_pending, full);
        if full && !self.was_full {
            tracing::warn!(
                used_bytes,
                queued,
                "the store is full, messages that it would have to keep are refused"
            );
        } else if !full && self.was_full {
            tracing::info!(used_bytes, queued, "the store has room again");
        }
        self.was_full = full;
    }

    /// Notes and says whether the file system has no room for more messages.
    fn note_scarce(&mut self, used_bytes: u64, is_full: bool) {
        let Some(volume) = self.volume else {
            self.is_scarce = false;
            return;
        };
        let (room, left) = (volume.room_bytes, volume.left_bytes);
        let directory = self.directory.display();
        let below = room - room / ROOM_PART;
        // It may have been full for a moment only, and stays so until it is below.
        let is_reached = used_bytes >= room || is_full && used_bytes >= below;
        if !self.is_scarce && is_reached {
            let (min, reserve) = (volume.left_bytes_min, RESERVE_BYTES);
            tracing::warn!(%directory, left, min, reserve, "the file system of the store has little space left");
            self.is_scarce = true;
        } else if self.is_scarce && used_bytes < below {
            tracing::info!(%directory, left, "the file system of the store has space again");
            self.is_scarce = false;
        }
    }
}
