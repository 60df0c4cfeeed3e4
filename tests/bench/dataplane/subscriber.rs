//! One client of the load that subscribes, and what has arrived at all of them.

use std::io;
use std::time::{Duration, Instant};

use crate::frame::{Frame, MARK_BYTES, take, unexpected};
use crate::peer::{Buffer, Peer};

pub(crate) struct Subscriber {
    pub(crate) peer: Peer,
    pub(crate) number: usize,
}

/// What has arrived.
pub(crate) struct Tally {
    /// The next number of each publisher, for one subscriber after the other.
    next: Vec<u32>,
    publishers: usize,
    /// Deliveries of each publisher's messages.
    pub(crate) of: Vec<u64>,
    pub(crate) total: u64,
    /// Since when the payloads count nanoseconds.
    pub(crate) start: Instant,
    /// How long messages took, in nanoseconds, if that is wanted.
    pub(crate) latencies: Option<Vec<u32>>,
}

impl Subscriber {
    pub(crate) fn read(
        &mut self,
        buffer: &mut Buffer,
        payload_bytes: usize,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let number = self.number;
        self.peer.read(buffer, |bytes, output| {
            let now = tally.start.elapsed();
            take(bytes, |frame| match frame.head {
                0x30 => tally.take(frame, payload_bytes, number, now),
                0x32 | 0x34 => {
                    let [high, low] = frame
                        .publish_identifier()
                        .ok_or_else(|| unexpected(frame))?;
                    let answer = if frame.head == 0x32 { 0x40 } else { 0x50 };
                    output.extend([answer, 2, high, low]);
                    tally.take(frame, payload_bytes, number, now)
                }
                0x62 => {
                    let [high, low] = frame.acknowledged().ok_or_else(|| unexpected(frame))?;
                    output.extend([0x70, 2, high, low]);
                    Ok(())
                }
                _ => Err(unexpected(frame)),
            })
        })
    }
}

impl Tally {
    pub(crate) fn new(publishers: usize, subscribers: usize) -> Self {
        Self {
            next: vec![0; publishers * subscribers],
            publishers,
            of: vec![0; publishers],
            total: 0,
            start: Instant::now(),
            latencies: None,
        }
    }

    /// Messages of a publisher that all its subscribers have.
    pub(crate) fn arrived(&self, publisher: usize, is_paired: bool) -> u64 {
        let subscribers = self.next.chunks_exact(self.publishers);
        let place = if is_paired { publisher } else { 0 };
        let count = if is_paired { 1 } else { usize::MAX };
        let next = subscribers.skip(place).take(count).map(|it| it[publisher]);
        next.min().unwrap_or(0).into()
    }

    /// Counts a message, which must be its publisher's next one.
    fn take(
        &mut self,
        frame: Frame<'_>,
        payload_bytes: usize,
        subscriber: usize,
        now: Duration,
    ) -> io::Result<()> {
        let at = frame.body.len().checked_sub(payload_bytes);
        let mark = at.and_then(|at| frame.body[at..].first_chunk::<MARK_BYTES>());
        let mark = u128::from_be_bytes(*mark.ok_or_else(|| unexpected(frame))?);
        let publisher = usize::try_from(mark >> 96).unwrap_or(usize::MAX);
        let number = u32::try_from(mark >> 64 & 0xffff_ffff).unwrap_or(0);
        if publisher >= self.publishers {
            return Err(unexpected(frame));
        }
        let next = &mut self.next[subscriber * self.publishers + publisher];
        if *next != number {
            return Err(io::Error::other(format!(
                "message {number} of publisher {publisher} came in place of {next}"
            )));
        }
        *next = number.wrapping_add(1);
        self.of[publisher] += 1;
        self.total += 1;
        if let Some(latencies) = &mut self.latencies {
            let taken = now.as_nanos().saturating_sub(mark & u128::from(u64::MAX));
            latencies.push(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}
