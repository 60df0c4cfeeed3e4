//! The routes that a connection has used: publishers repeat their topics.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use mqtt::TopicName;

use crate::exchange::{Exchange, Route, Target};

/// Routes that are kept without being asked for twice: most publishers have no more topics.
const ROUTES_FEW: usize = 8;
/// Bytes that the routes of one connection take at most, with their topics: more than a thousand.
/// While memory is short, it is no more than a session may have (`Memory::share`). What is full
/// gives up any of them for a new one.
const ROUTES_BYTES_MAX: usize = 512 << 10;
/// Sessions of a route above which it is not kept: looking it up again is little beside them.
const TARGETS_MAX: usize = 1_024;
/// Bits that tell which topics have come. All are forgotten when one of eight is set.
const SEEN_BITS: usize = 32 << 10;
const SEEN_MAX: usize = SEEN_BITS / 8;

/// Routes by the topics in the packets, which rewriting may change. A connection that publishes
/// nothing takes no memory for them.
///
/// Beyond a few, a route is kept when its topic comes for the second time, so publishers that never
/// repeat one take little. Which route is given up is left to chance: of more topics in turn than
/// there is room for, the oldest would always be the next that is needed.
#[derive(Debug, Default)]
pub(super) struct Routes {
    table: HashTable<Arc<Known>>,
    /// Seeded anew for each connection, so that no client knows which topics collide.
    hasher: DefaultHashBuilder,
    /// Of what is in the table.
    bytes: usize,
    seen: Option<Box<Seen>>,
    chance: u64,
}

/// A route, and its topic as the packets have it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) topic: TopicName,
    pub(super) route: Route,
    pub(super) is_rewritten: bool,
}

/// Topics that have come, as far as bits can tell.
#[derive(Debug)]
struct Seen {
    words: [u64; SEEN_BITS / 64],
    count: usize,
}

impl Known {
    pub(super) fn new(topic: TopicName, route: Route) -> Self {
        Self {
            is_rewritten: topic != route.topic,
            topic,
            route,
        }
    }

    /// Bytes that it takes, about.
    fn bytes(&self) -> usize {
        let Route {
            topic,
            targets,
            groups,
            ..
        } = &self.route;
        let rewritten = topic.as_str().len() * usize::from(self.is_rewritten);
        let numbers = targets.iter().map(|it| size_of_val(&*it.identifiers));
        // Its place in the table takes two pointers, and so do the counts of each `Arc`.
        size_of::<Self>()
            + 6 * size_of::<usize>()
            + self.topic.as_str().len()
            + rewritten
            + targets.len() * size_of::<Target>()
            + numbers.sum::<usize>()
            + size_of_val(&**groups)
    }
}

impl Routes {
    /// The route of a topic, if it is known and current.
    pub(super) fn get(&self, topic: &str, exchange: &Exchange) -> Option<Arc<Known>> {
        if self.table.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(topic);
        let known = self.table.find(hash, |it| it.topic.as_str() == topic)?;
        exchange.is_current(&known.route).then(|| Arc::clone(known))
    }

    /// Keeps a route, if that is worth it, in place of the one of its topic.
    pub(super) fn put(&mut self, new: &Arc<Known>, exchange: &Exchange) {
        let hash = self.hasher.hash_one(new.topic.as_str());
        let old = self.table.find_entry(hash, |it| it.topic == new.topic);
        let is_known = old.is_ok();
        if let Ok(old) = old {
            self.bytes -= old.remove().0.bytes();
        }
        let bytes = new.bytes();
        let bytes_max = ROUTES_BYTES_MAX.min(exchange.memory.share());
        let is_large = new.route.targets.len() > TARGETS_MAX || bytes > bytes_max;
        let is_few = self.table.len() < ROUTES_FEW;
        if is_large || !(is_known || is_few || self.is_seen(hash)) {
            return;
        }
        while self.bytes + bytes > bytes_max {
            self.give_up_any(hash);
        }
        self.bytes += bytes;
        let rehash = |it: &Arc<Known>| self.hasher.hash_one(it.topic.as_str());
        self.table.insert_unique(hash, Arc::clone(new), rehash);
    }

    /// Whether a topic has come before; now it has.
    fn is_seen(&mut self, hash: u64) -> bool {
        let seen = self.seen.get_or_insert_with(|| Box::new(Seen::NOTHING));
        if seen.count >= SEEN_MAX {
            **seen = Seen::NOTHING;
        }
        seen.replace(hash)
    }

    /// Gives up a route by chance, to which a hash contributes.
    fn give_up_any(&mut self, hash: u64) {
        loop {
            // The high bits of the product depend on all others.
            self.chance = (self.chance ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let place = (self.chance >> 32) as usize % self.table.num_buckets();
            if let Ok(entry) = self.table.get_bucket_entry(place) {
                self.bytes -= entry.remove().0.bytes();
                return;
            }
        }
    }
}

impl Seen {
    const NOTHING: Self = Self {
        words: [0; SEEN_BITS / 64],
        count: 0,
    };

    /// Sets the bit of a hash; true if it was set.
    const fn replace(&mut self, hash: u64) -> bool {
        let place = hash as usize % SEEN_BITS;
        let (word, bit) = (&mut self.words[place / 64], 1 << (place % 64));
        let was_set = *word & bit != 0;
        *word |= bit;
        self.count += !was_set as usize;
        was_set
    }
}

#[cfg(test)]
mod tests;
