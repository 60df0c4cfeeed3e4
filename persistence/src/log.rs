//! How far the write-ahead log has come, without looking into the file.

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, Error, MAIN_DB};

/// Bytes of the log before its first frame, and of a frame beside its page.
const HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// The log between two transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    /// Pages in it.
    frames: u64,
    /// Those of them that checkpoints have copied to the database. Once it is all of them, the
    /// next transaction writes from the beginning of the file.
    copied: u64,
}

impl LogState {
    /// Asks SQLite, which takes no lock and reads no file for it.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Error> {
        let (frames, copied) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::NOOP)?;
        // Both are -1 without a log.
        Ok(Self {
            frames: frames.try_into().unwrap_or(0),
            copied: copied.try_into().unwrap_or(0),
        })
    }

    /// Pages in it.
    pub(crate) const fn frames(self) -> u64 {
        self.frames
    }

    /// The bytes of the log that are in use.
    pub(crate) fn bytes(self, page_bytes: u64) -> u64 {
        match self.frames {
            0 => 0,
            frames => HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page_bytes),
        }
    }

    /// The bytes that one transaction has written since the log was in an earlier state.
    pub(crate) fn bytes_since(self, before: Self, page_bytes: u64) -> u64 {
        let has_grown = self.frames > before.frames;
        let was_copied = before.copied == before.frames;
        let begins_anew =
            self.frames < before.frames || self.copied < before.copied || (has_grown && was_copied);
        let kept = if begins_anew {
            0
        } else {
            before.bytes(page_bytes)
        };
        self.bytes(page_bytes) - kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BYTES: u64 = 4096;

    fn state(frames: u64, copied: u64) -> LogState {
        LogState { frames, copied }
    }

    #[test]
    fn what_a_transaction_has_written_is_what_the_log_has_more() {
        for (before, after, written, is_anew) in [
            ((0, 0), (3, 0), 3, true),
            ((3, 0), (3, 0), 0, false),
            ((3, 0), (10, 0), 7, false),
            // With a checkpoint behind it.
            ((990, 0), (1005, 1005), 15, false),
            // From the beginning.
            ((1005, 1005), (4, 0), 4, true),
            ((1005, 1005), (1005, 0), 1005, true),
            ((1005, 1005), (2000, 0), 2000, true),
            ((1005, 1005), (2000, 2000), 2000, true),
            // Not written at all.
            ((1005, 1005), (1005, 1005), 0, false),
            // A reader keeps a part of it from being copied.
            ((1005, 600), (1010, 600), 5, false),
        ] {
            let (before, after) = (state(before.0, before.1), state(after.0, after.1));
            let found = after.bytes_since(before, PAGE_BYTES);
            let header = if is_anew { HEADER_BYTES } else { 0 };
            let expected = header + written * (PAGE_BYTES + FRAME_HEADER_BYTES);
            assert_eq!(found, expected, "{before:?} {after:?}");
        }
    }
}
