//! The topics of which only the last waiting delivery is kept.

use std::collections::HashMap;

use super::number_of;
use super::queue::Amount;
use crate::TopicName;

/// Topics of one session at most; deliveries of further ones are kept as others are.
const TOPICS_MAX: usize = 10_000;

/// The last waiting delivery of each of these topics.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    topics: HashMap<TopicName, Last>,
}

/// A delivery that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) sequence: u64,
    bytes: u64,
}

impl Last {
    pub(super) const fn amount(self) -> Amount {
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
    pub(super) fn put(&mut self, topic: &TopicName, sequence: u64, bytes: u64) {
        let last = Last { sequence, bytes };
        if let Some(known) = self.topics.get_mut(topic) {
            if number_of(known.sequence) < number_of(sequence) {
                *known = last;
            }
        } else if self.topics.len() < TOPICS_MAX {
            self.topics.insert(topic.clone(), last);
        }
    }

    /// The delivery with this sequence does not wait any more.
    pub(super) fn forget(&mut self, topic: &TopicName, sequence: u64) {
        if self.get(topic).is_some_and(|it| it.sequence == sequence) {
            self.topics.remove(topic);
        }
    }

    /// None of the deliveries from one sequence to below another waits any more.
    pub(super) fn forget_between(&mut self, from: u64, to: u64) {
        self.topics
            .retain(|_, it| !(from..to).contains(&it.sequence));
    }
}
