//! What the clients of one worker have counted.

use mqtt::ReasonCode;

use super::histogram::Histogram;

/// Counts and times. A worker has one for all its clients, who take it once for each batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    /// From the beginning of a connection to its CONNACK.
    pub(super) connect: Histogram,
    /// From a PUBLISH, or when it was due, to its PUBACK or PUBCOMP.
    pub(super) acknowledgement: Histogram,
    /// From a PUBLISH, or when it was due, to its delivery.
    pub(super) delivery: Histogram,
    /// Why the last message was refused.
    pub(super) refusal: Option<ReasonCode>,
    /// When the first and the last message moved, in the clock's nanoseconds.
    pub(super) span: Option<(u64, u64)>,
}

/// Messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    /// With a reason that says no.
    pub(super) refused: u64,
    pub(super) received: u64,
    /// Bytes of payload.
    pub(super) received_bytes: u64,
}

impl Tally {
    /// Messages move now.
    pub(super) fn extend_span(&mut self, now: u64) {
        let (first, _) = self.span.unwrap_or((now, now));
        self.span = Some((first, now));
    }

    /// Adds what another one has.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.add(other.counts);
        self.connect.merge(&other.connect);
        self.acknowledgement.merge(&other.acknowledgement);
        self.delivery.merge(&other.delivery);
        self.refusal = self.refusal.or(other.refusal);
        self.span = match (self.span, other.span) {
            (Some(own), Some(others)) => Some((own.0.min(others.0), own.1.max(others.1))),
            (own, others) => own.or(others),
        };
    }
}

impl Counts {
    pub(super) const fn add(&mut self, other: Self) {
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
    }
}
