//! The largest message that a hub has taken: pure. It is written down, since a hub that closes the
//! connection at each message behind a restart may be one that takes smaller ones.

use serde::{Deserialize, Serialize};

/// It is written down when it has grown by one part in so many, so 200 times at most.
const PARTS: usize = 8;

/// The largest message that was taken, see [`mqtt::Message::byte_count`]; 0 if none was.
#[derive(Debug, Default)]
pub(super) struct Largest {
    /// In this run.
    pub(super) bytes: usize,
    /// In all runs before this one, of the same hubs. A hub may have become stricter, so no more is
    /// concluded from it than that larger ones may be too large.
    pub(super) before: usize,
    record: Record,
}

/// The form in which it is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    #[serde(default)]
    taken_by: String,
    #[serde(default)]
    largest_taken: usize,
}

impl Largest {
    /// Begins with what was written down, if it was of the same hubs.
    pub(super) fn resume(hubs: String, record: &str) -> Self {
        // Nothing was, or by a later version.
        let record: Record = serde_json::from_str(record).unwrap_or_default();
        let is_same = record.taken_by == hubs;
        let before = if is_same { record.largest_taken } else { 0 };
        Self {
            bytes: 0,
            before,
            record: Record {
                taken_by: hubs,
                largest_taken: before,
            },
        }
    }

    /// A message of so many bytes was taken. Returns what is to be written down, if it is time to.
    pub(super) fn note(&mut self, bytes: usize) -> Option<String> {
        self.bytes = self.bytes.max(bytes);
        let recorded = self.record.largest_taken;
        if self.bytes <= recorded + recorded / PARTS {
            return None;
        }
        self.record.largest_taken = self.bytes;
        Some(serde_json::to_string(&self.record).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(hubs: &str, record: &str) -> Largest {
        Largest::resume(hubs.to_owned(), record)
    }

    #[test]
    fn it_outlasts_a_restart_for_the_same_hubs() {
        let mut largest = resume("a", "");
        assert_eq!((largest.before, largest.bytes), (0, 0));
        let record = largest.note(1_000).unwrap();
        assert_eq!(largest.note(900), None);
        assert_eq!((largest.before, largest.bytes), (0, 1_000));
        let mut largest = resume("a", &record);
        assert_eq!((largest.before, largest.bytes), (1_000, 0));
        assert_eq!(resume("b", &record).before, 0);
        // A run in which the hub took little does not make it one that takes little.
        assert_eq!(largest.note(10), None);
        let record = largest.note(2_000).unwrap();
        assert_eq!(resume("a", &record).before, 2_000);
        for strange in ["{}", "{\"largest_taken\":\"x\"}", "5"] {
            assert_eq!(resume("a", strange).before, 0, "{strange}");
        }
    }

    #[test]
    fn it_is_rarely_written_and_never_far_behind() {
        let mut largest = resume("a", "");
        let (mut records, mut last) = (0, 0);
        for bytes in 1..1_000_000 {
            if let Some(record) = largest.note(bytes) {
                records += 1;
                last = resume("a", &record).before;
            }
            assert_eq!(largest.bytes, bytes);
            assert!(last <= bytes && bytes <= last + last / PARTS);
        }
        assert!(records < 150, "{records}");
    }
}
