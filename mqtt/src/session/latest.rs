//! The topics of which only the last waiting delivery is kept.

use std::collections::{BTreeMap, HashMap};

use super::number_of;
use super::queue::Amount;
use crate::TopicName;

/// Topics of one session at most; deliveries of further ones are kept as others are.
const TOPICS_MAX: usize = 10_000;

/// The last waiting delivery of each of these topics.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    topics: HashMap<TopicName, Last>,
    /// Which topic a sequence is of.
    sequences: BTreeMap<u64, TopicName>,
    /// Up to this number deliveries are sent in the order of their numbers, whichever side's turn
    /// it is: a restart found several of one topic on both, and the last of them is to come last.
    pub(super) ordered_to: u64,
}

/// A delivery that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) sequence: u64,
    pub(super) bytes: u64,
    pub(super) tie: Tie,
}

/// What keeps a delivery in its place, or on its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    /// Nothing.
    Free,
    /// An earlier one of its topic waited before it on its side when it came, or when it was
    /// recovered, and would come later than those that overtake it.
    Behind,
    /// It may have been sent before a restart, and keeps its place.
    Sent,
}

impl Last {
    /// What is free when a later one takes its place.
    pub(super) fn amount(self) -> Amount {
        if self.tie == Tie::Sent {
            return Amount::ZERO;
        }
        Amount {
            messages: 1,
            bytes: self.bytes,
        }
    }
}

impl Latest {
    pub(super) fn get(&self, topic: &TopicName) -> Option<Last> {
        self.topics.get(topic).copied()
    }

    /// Notes a delivery that waits, unless a later one of its topic is known.
    pub(super) fn put(&mut self, topic: &TopicName, last: Last) {
        let sequence = last.sequence;
        if let Some(known) = self.get(topic) {
            if number_of(known.sequence) > number_of(sequence) {
                return;
            }
            self.sequences.remove(&known.sequence);
        } else if self.topics.len() >= TOPICS_MAX {
            return;
        }
        self.topics.insert(topic.clone(), last);
        self.sequences.insert(sequence, topic.clone());
    }

    /// None of the deliveries from one sequence to below another waits any more.
    pub(super) fn forget_between(&mut self, from: u64, to: u64) {
        while let Some((&sequence, _)) = self.sequences.range(from..to.max(from)).next() {
            if let Some(topic) = self.sequences.remove(&sequence) {
                self.topics.remove(&topic);
            }
        }
    }
}
