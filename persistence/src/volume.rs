//! The file system that the store is on, and how much of it messages may have.
//!
//! Removing something needs room, too: it is written to the log first. So messages never get the
//! last [`RESERVE_BYTES`] of the file system, whatever else is to be left there.
//!
//! What the store may have is what its files have and what is left beside them, without the
//! reserve and without what is to be left to others. The store itself does not change that sum,
//! however it grows, so it need not be looked at more than once a second; and pages of the
//! database that are free again count as room at once, not only when the file is shorter.

use std::io;
use std::path::Path;

use crate::Quota;
use crate::files::Files;

/// What the store needs of its file system beside its database, to be drained, closed, and opened
/// again after a crash: 8 MiB. Near the end of the room it makes everything small, so this is
///
/// - 1 MiB of log, after which it is copied to the database, see `CHECKPOINT_PAGES_SCARCE`;
/// - 3 MiB for the transaction that ends it: the removal of `PART_ENTRIES` entries that each touch six
///   pages by themselves (of the message, the queue, its two indexes, the list and the map of free
///   pages), or `PENDING_BYTES_NEAR` of messages in as many pages, each of which may be half empty;
/// - 2 MiB by which these messages, the last that are taken, exceed the bound in the database;
/// - 2 MiB for what is never refused: sessions, subscriptions, wills, the places of QoS 2; for
///   the index of the log, 32 KiB for each 4096 of its pages, and the small files beside it.
///
/// Opening a store writes its log anew in place and copies it to the database, of which all pages
/// are counted already, those in the log too.
pub const RESERVE_BYTES: u64 = 8 << 20;
/// While there is less room than this, the log is kept short and little waits for the writer. It
/// is more than what may be under way before that: 16 MiB of log, and 16 MiB that wait, which are
/// written to the log and to the database.
pub(crate) const NEAR_BYTES: u64 = 64 << 20;
/// Bytes that may wait for the writer then, so that a transaction is small.
pub(crate) const PENDING_BYTES_NEAR: usize = 1 << 20;
/// What the file system has to have left unless the options say so: the smaller of these.
const LEFT_BYTES: u64 = 64 << 20;
const LEFT_PART: u64 = 20;
/// With less than this for messages a file system is worth a word.
const SMALL_BYTES: u64 = 16 << 20;

/// What a file system leaves to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Bytes that it has left.
    pub left_bytes: u64,
    /// Bytes that are to be left to others.
    pub left_bytes_min: u64,
    /// Bytes of the database that may hold something; 0 if it has no room for messages.
    pub room_bytes: u64,
}

impl Volume {
    /// Looks at the file system of a data directory, which need not be there yet.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of(directory: &Path, quota: &Quota) -> io::Result<Self> {
        let exists = directory.ancestors().find(|it| it.exists());
        // The last ancestor of a relative path is empty.
        let place = exists.filter(|it| !it.as_os_str().is_empty());
        let system = rustix::fs::statvfs(place.unwrap_or_else(|| Path::new(".")))?;
        let left_bytes = system.f_bavail.saturating_mul(system.f_frsize);
        let part = system.f_blocks.saturating_mul(system.f_frsize) / LEFT_PART;
        let left_bytes_min = quota.left_bytes_min.unwrap_or_else(|| part.min(LEFT_BYTES));
        let own_bytes = Files::new(directory).bytes();
        Ok(Self {
            left_bytes,
            left_bytes_min,
            room_bytes: (left_bytes + own_bytes)
                .saturating_sub(RESERVE_BYTES)
                .saturating_sub(left_bytes_min),
        })
    }

    /// What somebody should know if there is little room for messages.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let (room, left_bytes_min) = (self.room_bytes, self.left_bytes_min);
        self.is_small().then(|| {
            format!(
                "the file system of the store has room for {room} bytes of messages: {RESERVE_BYTES} \
                 are for the store to be drained, and {left_bytes_min} (`store.min_free_space`) \
                 for others"
            )
        })
    }

    const fn is_small(&self) -> bool {
        self.room_bytes < SMALL_BYTES
    }

    /// Whether the end of the room is near.
    pub(crate) const fn is_near(&self, used_bytes: u64) -> bool {
        self.room_bytes.saturating_sub(used_bytes) < NEAR_BYTES
    }

    /// Says if there is little room for messages.
    pub(crate) fn note_small(&self, directory: &Path) {
        if self.is_small() {
            tracing::warn!(
                directory = %directory.display(),
                room = self.room_bytes,
                reserve = RESERVE_BYTES,
                min_free_space = self.left_bytes_min,
                "the file system of the store has room for few messages"
            );
        }
    }
}
