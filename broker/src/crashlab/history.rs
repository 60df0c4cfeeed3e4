//! What clients and broker did, and what that says about the broker.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use mqtt::QoS;

use super::workload::Id;

/// When something came from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Which of the broker's processes it came from, counted from 0.
    pub(super) life: usize,
    /// Since the beginning of the run.
    pub(super) at: Duration,
}

/// One message of a publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Publication {
    /// PUBLISH packets.
    pub(super) sends: u32,
    /// The first PUBACK or PUBREC.
    pub(super) acknowledged: Option<Moment>,
}

/// One PUBLISH that came to a subscriber, but for repetitions at QoS 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// The message; none if nobody could have published it.
    pub(super) message: Option<Id>,
    pub(super) qos: QoS,
    pub(super) dup: bool,
    /// The subscriber had to take it for the repetition of another message, because its Packet
    /// Identifier at QoS 2 was not released.
    pub(super) is_mistaken: bool,
    /// RETAIN: it was published before the subscription.
    pub(super) is_retained: bool,
    pub(super) packet_id: u16,
    /// Counts the subscriber's connections.
    pub(super) connection: u32,
    pub(super) at: Moment,
    /// Since when it is sure that the broker has the acknowledgement on its disk.
    pub(super) settled_at: Option<Duration>,
}

/// Subscribers that share every message: one, or a Shared Subscription.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) name: &'static str,
    /// What each of them got, in the order in which it came.
    pub(super) logs: Vec<Vec<Delivery>>,
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The publications of each publisher; the first has number 1.
    pub(super) publishers: Vec<Vec<Publication>>,
    pub(super) consumers: Vec<Consumer>,
    /// The retained messages at the end.
    pub(super) retained: Vec<Delivery>,
    /// For each life of the broker when its power was cut, if it was.
    pub(super) cuts: Vec<Option<Duration>>,
    /// What happened no longer than this before a power cut may be lost; nothing if none.
    pub(super) unsynced_max: Option<Duration>,
}

/// What the broker has promised and not kept. A message counts once for each consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) sent: u64,
    /// PUBACK or PUBREC came.
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    /// Acknowledged and never delivered.
    pub(super) lost: u64,
    /// The same, and the level allows it: acknowledged just before a power cut, and so is all
    /// behind it.
    pub(super) lost_unsynced: u64,
    /// The longest time before a power cut that one of these was acknowledged.
    pub(super) unsynced_age_max: Duration,
    /// Delivered again although that was not needed.
    pub(super) duplicated: u64,
    /// Delivered for the first time behind a later one of its publisher and topic.
    pub(super) reordered: u64,
    /// Topics whose retained message is neither the last acknowledged nor a later one.
    pub(super) retained_wrong: u64,
    /// Delivered under the Packet Identifier of another message, so that the subscriber had to
    /// take it for a repetition.
    pub(super) mistaken: u64,
    /// Delivered and never published.
    pub(super) phantom: u64,
    /// The first broken promises in words.
    pub(super) findings: Vec<String>,
}

/// Further findings of a kind are not worth a line each.
const FINDINGS_MAX: u64 = 5;

impl Verdict {
    /// Notes a finding, if it is one of the first `count` ones of its kind.
    fn note(&mut self, count: u64, finding: impl FnOnce() -> String) {
        if count <= FINDINGS_MAX {
            self.findings.push(finding());
        }
    }
}

/// The deliveries of each message to one consumer, with the log in which they are.
type Occurrences<'h> = HashMap<Id, Vec<(usize, &'h Delivery)>>;

impl History {
    /// Compares what was promised with what came.
    pub(super) fn judge(&self) -> Verdict {
        let publications = || self.publishers.iter().flatten();
        let mut verdict = Verdict {
            sent: publications().filter(|it| it.sends > 0).count() as u64,
            acknowledged: publications()
                .filter(|it| it.acknowledged.is_some())
                .count() as u64,
            ..Verdict::default()
        };
        for consumer in &self.consumers {
            self.judge_consumer(consumer, &mut verdict);
        }
        self.judge_retained(&mut verdict);
        verdict
    }

    fn judge_consumer(&self, consumer: &Consumer, verdict: &mut Verdict) {
        let mut occurrences = Occurrences::new();
        let logs = consumer.logs.iter().enumerate();
        let deliveries = logs.flat_map(|(log, all)| all.iter().map(move |it| (log, it)));
        for (log, delivery) in deliveries.filter(|(_, it)| !it.is_retained) {
            if let Some(id) = delivery.message.filter(|id| self.is_sent(*id)) {
                verdict.mistaken += u64::from(delivery.is_mistaken);
                occurrences.entry(id).or_default().push((log, delivery));
            } else {
                verdict.phantom += 1;
                let name = consumer.name;
                verdict.note(verdict.phantom, || format!("{name}: phantom: {delivery:?}"));
            }
        }
        verdict.delivered += occurrences.len() as u64;
        for (id, found) in &occurrences {
            let needless = self.needless_repeats(*id, found);
            verdict.duplicated += needless;
            if needless > 0 {
                let publication = self.publication(*id);
                verdict.note(verdict.duplicated, || {
                    format!("{}: repeated: {publication:?} {found:?}", consumer.name)
                });
            }
        }
        for publisher in 0..self.publishers.len() {
            self.judge_losses(consumer.name, publisher, &occurrences, verdict);
        }
        if let [log] = consumer.logs.as_slice() {
            judge_order(consumer.name, log, verdict);
        }
    }

    fn publication(&self, id: Id) -> Option<&Publication> {
        let index = usize::try_from(id.number.checked_sub(1)?).ok()?;
        self.publishers.get(id.publisher)?.get(index)
    }

    fn is_sent(&self, id: Id) -> bool {
        self.publication(id).is_some_and(|it| it.sends > 0)
    }

    /// When the power was cut in this life of the broker.
    fn cut(&self, life: usize) -> Option<Duration> {
        self.cuts.get(life).copied().flatten()
    }

    /// True if a power cut followed before the broker had to have synced what it did then.
    fn is_unsynced(&self, moment: Moment) -> bool {
        let limits = self.unsynced_max.zip(self.cut(moment.life));
        limits.is_some_and(|(unsynced_max, cut)| moment.at + unsynced_max >= cut)
    }

    /// The repeats of a message that the broker had no reason for. At QoS 2 there is none. At
    /// QoS 1 there are two:
    ///
    /// - The publisher sent the message again, so that it may be two for the broker.
    /// - The connection ended before the broker had to know the subscriber's PUBACK. Then the
    ///   repeat is on another connection, with DUP and the same Packet Identifier. That the
    ///   broker knows it is sure once it has acknowledged something that the subscriber sent
    ///   behind it on the same connection and that is stored.
    fn needless_repeats(&self, id: Id, found: &[(usize, &Delivery)]) -> u64 {
        let Some((log, first)) = found.first() else {
            return 0;
        };
        if self.is_unsynced(first.at) {
            return 0;
        }
        let sends = self.publication(id).map_or(0, |it| it.sends);
        let is_needless = |(place, (other, again)): &(usize, &(usize, &Delivery))| {
            let is_first_again = other == log && again.dup && again.packet_id == first.packet_id;
            let is_known = found.iter().take(*place).any(|(_, earlier)| {
                earlier.connection == again.connection
                    || earlier.settled_at.is_some_and(|at| at <= again.at.at)
            });
            again.qos != QoS::AtLeastOnce || sends <= 1 && (!is_first_again || is_known)
        };
        found.iter().enumerate().skip(1).filter(is_needless).count() as u64
    }

    /// A loss just before a power cut is allowed as long as nothing behind it in its topic, from
    /// the same life, was there after the cut.
    fn judge_losses(
        &self,
        name: &str,
        publisher: usize,
        found: &Occurrences<'_>,
        verdict: &mut Verdict,
    ) {
        // The life from which the topic has kept something later.
        let mut kept = HashMap::new();
        for number in (1..=self.publishers[publisher].len() as u64).rev() {
            let id = Id { publisher, number };
            let acknowledged = self.publication(id).and_then(|it| it.acknowledged);
            let Some(moment) = acknowledged else {
                continue;
            };
            if let Some(occurrences) = found.get(&id) {
                if occurrences.iter().any(|(_, it)| it.at.life > moment.life) {
                    kept.insert(id.topic_index(), moment.life);
                }
            } else if self.is_unsynced(moment) && kept.get(&id.topic_index()) != Some(&moment.life)
            {
                verdict.lost_unsynced += 1;
                let cut = self.cut(moment.life).unwrap_or_default();
                let age = cut.saturating_sub(moment.at);
                verdict.unsynced_age_max = verdict.unsynced_age_max.max(age);
            } else {
                verdict.lost += 1;
                verdict.note(verdict.lost, || {
                    format!("{name}: lost: {id:?}, acknowledged {moment:?}")
                });
            }
        }
    }

    fn judge_retained(&self, verdict: &mut Verdict) {
        let mut found = BTreeMap::new();
        for delivery in self.retained.iter().filter(|it| it.is_retained) {
            match delivery.message.filter(|id| self.is_sent(*id)) {
                Some(id) if found.insert((id.publisher, id.topic_index()), id).is_none() => {}
                Some(_) => verdict.retained_wrong += 1,
                None => verdict.phantom += 1,
            }
        }
        for (topic, acceptable) in self.retained_acceptable() {
            let id = found.get(&topic).copied();
            if !acceptable.contains(&id) {
                verdict.retained_wrong += 1;
                verdict.note(verdict.retained_wrong, || {
                    format!("retained: {id:?} in place of one of {acceptable:?}")
                });
            }
        }
    }

    /// What may be retained for each topic: the last one that was acknowledged and could not be
    /// lost, or one of those that were sent behind it; none at all if there is no such one.
    fn retained_acceptable(&self) -> BTreeMap<(usize, u64), Vec<Option<Id>>> {
        let mut acceptable = BTreeMap::<_, Vec<Option<Id>>>::new();
        for (publisher, publications) in self.publishers.iter().enumerate() {
            for (number, publication) in (1..).zip(publications) {
                let id = Id { publisher, number };
                if !id.is_retained() || publication.sends == 0 {
                    continue;
                }
                let topic = (publisher, id.topic_index());
                let ids = acceptable.entry(topic).or_insert_with(|| vec![None]);
                let acknowledged = publication.acknowledged;
                if acknowledged.is_some_and(|it| !self.is_unsynced(it)) {
                    ids.clear();
                }
                ids.push(Some(id));
            }
        }
        acceptable
    }

    /// Topics that have a retained message, or may have one.
    pub(super) fn retained_topics(&self) -> usize {
        self.retained_acceptable().len()
    }
}

/// Looks for deliveries behind a later one of their publisher and topic; repeats do not count.
fn judge_order(name: &str, log: &[Delivery], verdict: &mut Verdict) {
    let mut seen = HashSet::new();
    let mut last = HashMap::new();
    for delivery in log.iter().filter(|it| !it.is_retained) {
        let Some(id) = delivery.message.filter(|id| seen.insert(*id)) else {
            continue;
        };
        let last = last
            .entry((id.publisher, id.topic_index()))
            .or_insert(id.number);
        if id.number < *last {
            verdict.reordered += 1;
            verdict.note(verdict.reordered, || {
                format!("{name}: behind number {last}: {delivery:?}")
            });
        }
        *last = id.number.max(*last);
    }
}

#[cfg(test)]
mod tests;
