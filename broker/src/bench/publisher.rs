//! A client that publishes: one PUBLISH is encoded, and every message is a copy of it with a Packet
//! Identifier and a stamp of its own.

use mqtt::packet::{Ack, AckKind, PublishHeader, encode_publish};
use mqtt::{ProtocolVersion, QoS};

use super::acknowledgement::Acknowledgement;
use super::course::{Course, Stage};
use super::fault::Fault;
use super::plan::{Member, Publishing};
use super::round_trips::RoundTrips;
use super::schedule::Schedule;
use super::stamp::{STAMP_BYTES, Stamp};
use super::tally::Tally;
use super::window::Window;

/// Bytes that a publisher writes at once, unless one message has more.
const BATCH_BYTES: usize = 32 << 10;
/// Bytes that all publishers may write at once.
const BATCHES_BYTES: usize = 64 << 20;

/// What one publisher has published, and may publish.
#[derive(Debug)]
pub(super) struct Publisher {
    member: Member,
    /// The packet that all messages are copies of.
    template: Vec<u8>,
    /// Where its Packet Identifier is.
    packet_id_at: usize,
    /// Where its stamp is, if the payload has room for one.
    stamp_at: Option<usize>,
    /// Messages that fit a batch; at least 1.
    batch: u64,
    sent: u64,
    /// Messages that it publishes at most.
    limit: u64,
    /// When messages are due; none if at once.
    schedule: Option<Schedule>,
    /// What awaits an acknowledgement; none for QoS 0.
    window: Option<Window>,
    /// What awaits its delivery, if that is in this process.
    round_trips: Option<RoundTrips>,
    pubrel: Acknowledgement,
    is_finished: bool,
}

impl Publisher {
    /// A publisher on a connection whose broker takes so many unacknowledged messages.
    pub(super) fn new(
        course: &Course,
        member: Member,
        publishing: &Publishing,
        schedule: Option<Schedule>,
        receive_maximum: u16,
    ) -> Self {
        let plan = &course.plan;
        let template = template(
            plan.version,
            publishing,
            &plan.topic_name(publishing, member),
        );
        let properties_bytes = usize::from(plan.version.is_v5());
        let payload_at = template.len() - publishing.size;
        let clients = plan.clients as usize;
        let batch_bytes = BATCH_BYTES.min(BATCHES_BYTES / clients);
        let batch = (batch_bytes / template.len()).max(1);
        let window = publishing.window.min(receive_maximum);
        let is_acknowledged = publishing.qos.is_acknowledged();
        // At a rate nothing waits for deliveries.
        let trips_window = schedule.map_or_else(|| publishing.window.into(), |_| u64::MAX);
        let trips = || RoundTrips::new(plan.deliveries(), trips_window);
        Self {
            member,
            packet_id_at: payload_at.saturating_sub(properties_bytes + 2),
            stamp_at: (publishing.size >= STAMP_BYTES).then_some(payload_at),
            batch: batch as u64,
            sent: 0,
            limit: plan.share(member.place),
            schedule,
            window: is_acknowledged.then(|| Window::new(window)),
            round_trips: plan.has_round_trips().then(trips),
            pubrel: Acknowledgement::new(AckKind::Pubrel, plan.version),
            template,
            is_finished: false,
        }
    }

    /// Appends the messages that may leave now.
    pub(super) fn produce(
        &mut self,
        course: &Course,
        stage: Stage,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) {
        let now = course.clock.now();
        if let Some(trips) = &mut self.round_trips {
            trips.update(course.returned(self.member.index), self.sent, now);
        }
        if stage != Stage::Load {
            return;
        }
        let began_at = course.load_began_at();
        let count = self.room(now.saturating_sub(began_at)).min(self.batch);
        for _ in 0..count {
            let due = self.schedule.map(|it| began_at + it.at(self.sent));
            let at = due.unwrap_or(now);
            let start = out.len();
            out.extend_from_slice(&self.template);
            if let Some(packet_id) = self.window.as_mut().and_then(|it| it.take(at)) {
                patch(out, start + self.packet_id_at, packet_id.to_be_bytes());
            }
            if let Some(stamp_at) = self.stamp_at {
                let publisher = self.member.place;
                let stamp = Stamp { publisher, at }.to_bytes(course.mark);
                patch(out, start + stamp_at, stamp);
            }
            self.sent += 1;
        }
        if count > 0 {
            tally.counts.published += count;
            tally.extend_span(now);
        }
    }

    /// The messages that may leave so many nanoseconds after the load began.
    fn room(&self, elapsed: u64) -> u64 {
        let left = self.limit - self.sent;
        let due = self.schedule.map(|it| it.due(elapsed) - self.sent);
        let unacknowledged = self.window.as_ref().map(|it| it.room() as u64);
        let trips = self.round_trips.as_ref().map(|it| it.room(self.sent));
        let rooms = [due, unacknowledged, trips].into_iter().flatten();
        rooms.fold(left, u64::min)
    }

    /// An acknowledgement has come.
    pub(super) fn handle(
        &mut self,
        ack: Ack<'_>,
        now: u64,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let unexpected = Fault::Unexpected("an acknowledgement of nothing");
        let Some(window) = &mut self.window else {
            return Err(unexpected);
        };
        if ack.kind == AckKind::Pubrec && !ack.reason.is_error() && window.holds(ack.packet_id) {
            self.pubrel.put(out, ack.packet_id);
            return Ok(());
        }
        let at = window.release(ack.packet_id).ok_or(unexpected)?;
        tally.extend_span(now);
        if ack.reason.is_error() {
            tally.counts.refused += 1;
            tally.refusal = Some(ack.reason);
        } else {
            tally.counts.acknowledged += 1;
            tally.acknowledgement.record(now.saturating_sub(at));
        }
        Ok(())
    }

    /// True once, when there is nothing left to publish or to wait for.
    pub(super) fn finish(&mut self, stage: Stage) -> bool {
        let is_over = stage >= Stage::Finish || self.sent == self.limit;
        let trips = self.round_trips.as_ref();
        let is_finished = is_over
            && self.window.as_ref().is_none_or(|it| it.awaited() == 0)
            && trips.is_none_or(|it| it.under_way(self.sent) == 0);
        let is_first = is_finished && !self.is_finished;
        self.is_finished |= is_finished;
        is_first
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.is_finished
    }
}

/// A message of this publisher.
fn template(version: ProtocolVersion, publishing: &Publishing, topic: &str) -> Vec<u8> {
    let header = PublishHeader {
        dup: false,
        qos: publishing.qos,
        retain: publishing.retain,
        topic,
        packet_id: match publishing.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => 1,
        },
    };
    let payload = vec![b'a'; publishing.size];
    let mut packet = Vec::new();
    encode_publish(&mut packet, version, &header, &[], &payload);
    packet
}

fn patch<const N: usize>(out: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = out.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}
