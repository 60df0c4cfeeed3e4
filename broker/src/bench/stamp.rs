//! The first bytes of a payload: who published it and when, so that its way can be timed.

use std::time::{Instant, SystemTime};

/// Payloads that are shorter have no stamp.
pub(super) const STAMP_BYTES: usize = MARK_BYTES + 4 + 8;
const MARK_BYTES: usize = 4;

/// What tells stamped payloads from others.
pub(super) type Mark = [u8; MARK_BYTES];

/// The mark of `pub`, which `sub` in another process knows.
pub(super) const COMMON_MARK: Mark = *b"TGb\x01";

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of the publisher, counted from 0.
    pub(super) publisher: u32,
    /// When the message was published, or was due: [`Clock`]'s nanoseconds.
    pub(super) at: u64,
}

impl Stamp {
    pub(super) fn to_bytes(self, mark: Mark) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..MARK_BYTES].copy_from_slice(&mark);
        bytes[MARK_BYTES..8].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[8..].copy_from_slice(&self.at.to_be_bytes());
        bytes
    }

    /// The stamp of a payload; none if it does not begin with this mark.
    pub(super) fn read(payload: &[u8], mark: Mark) -> Option<Self> {
        let (found, rest) = payload.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (at, _) = rest.split_first_chunk()?;
        (*found == mark).then_some(Self {
            publisher: u32::from_be_bytes(*publisher),
            at: u64::from_be_bytes(*at),
        })
    }
}

/// Nanoseconds since 1970. It agrees with the clocks of other processes as well as theirs did when
/// they began, and never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begun: Instant,
    begun_at: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since.map_or(0, |it| it.as_nanos());
        Self {
            begun: Instant::now(),
            begun_at: u64::try_from(nanos).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn now(self) -> u64 {
        let nanos = u64::try_from(self.begun.elapsed().as_nanos());
        self.begun_at.saturating_add(nanos.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_where_its_mark_is() {
        let stamp = Stamp {
            publisher: 7,
            at: 1 << 60,
        };
        let mut payload = stamp.to_bytes(COMMON_MARK).to_vec();
        assert_eq!(Stamp::read(&payload, COMMON_MARK), Some(stamp));
        assert_eq!(Stamp::read(&payload, *b"else"), None);
        payload.push(b'x');
        assert_eq!(Stamp::read(&payload, COMMON_MARK), Some(stamp));
        assert_eq!(Stamp::read(&payload[..STAMP_BYTES - 1], COMMON_MARK), None);
    }
}
