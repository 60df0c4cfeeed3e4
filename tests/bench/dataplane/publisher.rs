//! One client of the load that publishes.

use std::io;
use std::time::Duration;

use crate::frame::{MARK_BYTES, take, unexpected};
use crate::peer::{Buffer, Peer};
use crate::scenario::Scenario;

/// From one of a publisher's topics to the next; it goes through all of them.
const STRIDE: u64 = 617;

pub(crate) struct Publisher {
    pub(crate) peer: Peer,
    template: Vec<u8>,
    identifier_at: usize,
    payload_at: usize,
    topics: u64,
    topic_end: usize,
    pub(crate) sent: u64,
    /// Messages for which PUBACK or PUBCOMP came.
    pub(crate) acknowledged: u64,
}

impl Publisher {
    pub(crate) fn new(peer: Peer, scenario: &Scenario, number: usize) -> Self {
        let (template, identifier_at) = scenario.template(number);
        let payload_at = template.len() - scenario.payload_bytes;
        Self {
            peer,
            // Where there is none, the payload is put over it.
            identifier_at: if scenario.qos == 0 {
                payload_at
            } else {
                identifier_at
            },
            payload_at,
            topics: scenario.topics,
            topic_end: identifier_at,
            template,
            sent: 0,
            acknowledged: 0,
        }
    }

    /// Puts the next message into the output.
    pub(crate) fn encode(&mut self, number: usize, now: Duration) {
        let start = self.peer.output.len();
        let output = &mut self.peer.output;
        output.extend_from_slice(&self.template);
        let packet = &mut output[start..];
        if self.topics > 1 {
            let topic = self.sent * STRIDE % self.topics;
            for (place, unit) in [(3, 100), (2, 10), (1, 1)] {
                let digit = u8::try_from(topic / unit % 10).unwrap_or(0);
                packet[self.topic_end - place] = b'0' + digit;
            }
        }
        let identifier = u16::try_from(self.sent % 65_535 + 1).unwrap_or(1);
        packet[self.identifier_at..][..2].copy_from_slice(&identifier.to_be_bytes());
        let publisher = u32::try_from(number).unwrap_or(0);
        let mark = u128::from(publisher) << 96
            | u128::from(self.sent & 0xffff_ffff) << 64
            | now.as_nanos() & u128::from(u64::MAX);
        packet[self.payload_at..][..MARK_BYTES].copy_from_slice(&mark.to_be_bytes());
        self.sent += 1;
    }

    pub(crate) fn read(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        let acknowledged = &mut self.acknowledged;
        self.peer.read(buffer, |bytes, output| {
            take(bytes, |frame| {
                let identifier = frame.acknowledged();
                match (frame.kind(), identifier) {
                    (4 | 7, Some(_)) => *acknowledged += 1,
                    (5, Some([high, low])) => output.extend([0x62, 2, high, low]),
                    _ => return Err(unexpected(frame)),
                }
                Ok(())
            })
        })
    }
}
