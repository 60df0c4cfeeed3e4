//! A client that takes messages, and acknowledges them at once.

use mqtt::packet::{AckKind, Publish};
use mqtt::{ProtocolVersion, QoS};

use super::acknowledgement::Acknowledgement;
use super::course::Course;
use super::stamp::Stamp;
use super::tally::Tally;

/// What one subscriber needs to answer and to time its messages.
#[derive(Debug)]
pub(super) struct Subscriber {
    puback: Acknowledgement,
    pubrec: Acknowledgement,
    pubcomp: Acknowledgement,
    /// The publisher of the last messages, and how many of these it is not credited with yet.
    credit: (u32, u64),
    /// Messages of this batch.
    taken: u64,
}

impl Subscriber {
    pub(super) fn new(version: ProtocolVersion) -> Self {
        Self {
            puback: Acknowledgement::new(AckKind::Puback, version),
            pubrec: Acknowledgement::new(AckKind::Pubrec, version),
            pubcomp: Acknowledgement::new(AckKind::Pubcomp, version),
            credit: (0, 0),
            taken: 0,
        }
    }

    /// A message has come.
    pub(super) fn take(
        &mut self,
        publish: &Publish<'_>,
        now: u64,
        course: &Course,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) {
        self.taken += 1;
        tally.counts.received_bytes += publish.payload.len() as u64;
        if let Some(stamp) = Stamp::read(publish.payload, course.mark) {
            tally.delivery.record(now.saturating_sub(stamp.at));
            self.credit(stamp.publisher, course);
        }
        let packet_id = publish.header.packet_id;
        match publish.header.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.puback.put(out, packet_id),
            QoS::ExactlyOnce => self.pubrec.put(out, packet_id),
        }
    }

    /// The broker lets go of a message of QoS 2.
    pub(super) fn release(&self, packet_id: u16, out: &mut Vec<u8>) {
        self.pubcomp.put(out, packet_id);
    }

    /// A batch has come to its end.
    pub(super) fn end_batch(&mut self, now: u64, course: &Course, tally: &mut Tally) {
        if self.taken == 0 {
            return;
        }
        tally.counts.received += self.taken;
        tally.extend_span(now);
        course.note_received(self.taken);
        self.taken = 0;
        self.settle(course);
    }

    fn credit(&mut self, publisher: u32, course: &Course) {
        if publisher != self.credit.0 {
            self.settle(course);
            self.credit.0 = publisher;
        }
        self.credit.1 += 1;
    }

    /// Tells the publisher what has come; only one of round trips waits for it.
    fn settle(&mut self, course: &Course) {
        if course.plan.has_round_trips() {
            course.credit(self.credit.0, self.credit.1);
        }
        self.credit.1 = 0;
    }
}
