//! The routes that a connection has used: publishers repeat their topics.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::exchange::{Exchange, Route};

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
    table: HashTable<Arc<Route>>,
    /// Seeded anew for each connection, so that no client knows which topics collide.
    hasher: DefaultHashBuilder,
    /// Of what is in the table.
    bytes: usize,
    seen: Option<Box<Seen>>,
    chance: u64,
}

/// Topics that have come, as far as bits can tell.
#[derive(Debug)]
struct Seen {
    words: [u64; SEEN_BITS / 64],
    count: usize,
}

/// Bytes that a route takes, about.
fn bytes(route: &Route) -> usize {
    let stated = route.stated.as_ref().map_or(0, |it| it.as_str().len());
    let numbers = route.targets.iter().map(|it| size_of_val(&*it.identifiers));
    // Its place in the table takes two pointers, and so do the counts of each `Arc`.
    size_of::<Route>()
        + 6 * size_of::<usize>()
        + route.topic.as_str().len()
        + stated
        + size_of_val(&*route.targets)
        + numbers.sum::<usize>()
        + size_of_val(&*route.groups)
}

fn is(topic: &[u8]) -> impl Fn(&Arc<Route>) -> bool {
    move |it| it.stated().as_str().as_bytes() == topic
}

impl Routes {
    /// The route of a topic, if it is known and current.
    pub(super) fn get(&self, topic: &[u8], exchange: &Exchange) -> Option<Arc<Route>> {
        if self.table.is_empty() {
            return None;
        }
        let known = self.table.find(self.hasher.hash_one(topic), is(topic))?;
        exchange.is_current(known).then(|| Arc::clone(known))
    }

    /// Keeps a route, if that is worth it, in place of the one of its topic.
    pub(super) fn put(&mut self, new: &Arc<Route>, exchange: &Exchange) {
        let topic = new.stated().as_str().as_bytes();
        let hash = self.hasher.hash_one(topic);
        let old = self.table.find_entry(hash, is(topic));
        let is_known = old.is_ok();
        if let Ok(old) = old {
            self.bytes -= bytes(&old.remove().0);
        }
        let more = bytes(new);
        let bytes_max = ROUTES_BYTES_MAX.min(exchange.memory.share());
        let is_large = new.targets.len() > TARGETS_MAX || more > bytes_max;
        let is_few = self.table.len() < ROUTES_FEW;
        if is_large || !(is_known || is_few || self.is_seen(hash)) {
            return;
        }
        while self.bytes + more > bytes_max {
            self.give_up_any(hash);
        }
        self.bytes += more;
        let rehash = |it: &Arc<Route>| self.hasher.hash_one(it.stated().as_str().as_bytes());
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
                self.bytes -= bytes(&entry.remove().0);
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
