//! Which numbered messages have come, so that each is taken once.
//!
//! Of each origin the last [`WINDOW`] numbers are remembered, one bit for each, in blocks that are
//! rows of a store: a message changes one small row, which goes into the commit of the message
//! itself. What is older than the window cannot be told from a repetition.

use std::collections::{HashMap, VecDeque};

use super::{BrokerId, Stamp};

/// Bytes of a block, and of a row.
pub const BLOCK_BYTES: usize = 128;
/// Numbers of a block.
const BLOCK_NUMBERS: u64 = BLOCK_BYTES as u64 * 8;
/// Blocks of an origin, 12.4 KiB.
const BLOCKS_MAX: u64 = 99;
/// Numbers of one origin that are remembered at least, back from the greatest.
pub const WINDOW: u64 = (BLOCKS_MAX - 1) * BLOCK_NUMBERS;
/// Origins that are remembered, 3.1 MiB with full windows. The one that was silent for longest
/// makes way for another, and its repetitions are no longer recognised.
pub const ORIGINS_MAX: usize = 256;

const _: () = assert!(WINDOW >= 100_000);

type Block = [u8; BLOCK_BYTES];

/// The numbers that have come, of each origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    origins: HashMap<BrokerId, Numbers>,
    /// Counts messages, to tell who was silent for longest.
    turn: u64,
}

/// Whether a number has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It has not.
    New,
    /// It has.
    Repeated,
    /// It is too old to tell.
    TooOld,
}

/// What has to be stored of a number that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first part of the row's key.
    pub origin: BrokerId,
    /// The second part of the row's key.
    pub block: u64,
    /// The row's value.
    pub bytes: [u8; BLOCK_BYTES],
    /// Rows of this origin whose blocks are below this one are no longer needed.
    pub oldest_block: u64,
    /// An origin that made way: none of its rows is needed any longer.
    pub forgotten: Option<BrokerId>,
}

/// The numbers that have come of one origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbers {
    /// The number of the first block.
    first: u64,
    blocks: VecDeque<Block>,
    /// When the last one came.
    turn: u64,
}

impl Seen {
    /// Puts rows that were stored back together, in any order. Rows below the window of their
    /// origin, which a crash may have left, have no effect.
    pub fn from_rows(rows: impl IntoIterator<Item = (BrokerId, u64, [u8; BLOCK_BYTES])>) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(_, block, _)| *block);
        let mut seen = Self::default();
        for (origin, block, bytes) in rows {
            let (numbers, _) = seen.numbers(&origin);
            if let Some(place) = numbers.block(block) {
                *place = bytes;
            }
        }
        seen
    }

    /// Notes that a message has come. A row, for a new one only, has to be stored with it.
    pub fn insert(&mut self, stamp: &Stamp) -> (Novelty, Option<Row>) {
        let number = stamp.sequence / BLOCK_NUMBERS;
        let (index, mask) = bit(stamp.sequence);
        let (numbers, forgotten) = self.numbers(&stamp.origin);
        let Some(block) = numbers.block(number) else {
            return (Novelty::TooOld, None);
        };
        let Some(byte) = block.get_mut(index) else {
            return (Novelty::TooOld, None);
        };
        if *byte & mask != 0 {
            return (Novelty::Repeated, None);
        }
        *byte |= mask;
        let row = Row {
            origin: stamp.origin.clone(),
            block: number,
            bytes: *block,
            oldest_block: numbers.first,
            forgotten,
        };
        (Novelty::New, Some(row))
    }

    /// Takes back what [`Seen::insert`] noted as new: the message was not taken after all.
    pub fn remove(&mut self, stamp: &Stamp) {
        let (index, mask) = bit(stamp.sequence);
        let Some(numbers) = self.origins.get_mut(&stamp.origin) else {
            return;
        };
        let place = (stamp.sequence / BLOCK_NUMBERS).checked_sub(numbers.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let block = place.and_then(|place| numbers.blocks.get_mut(place));
        if let Some(byte) = block.and_then(|block| block.get_mut(index)) {
            *byte &= !mask;
        }
    }

    /// The numbers of an origin, and the origin that made way for them.
    fn numbers(&mut self, origin: &BrokerId) -> (&mut Numbers, Option<BrokerId>) {
        self.turn += 1;
        let is_full = self.origins.len() >= ORIGINS_MAX;
        let mut forgotten = None;
        if is_full && !self.origins.contains_key(origin) {
            let silent = self.origins.iter().min_by_key(|(_, it)| it.turn);
            forgotten = silent.map(|(silent, _)| silent.clone());
        }
        if let Some(silent) = &forgotten {
            self.origins.remove(silent);
        }
        let numbers = self.origins.entry(origin.clone()).or_default();
        numbers.turn = self.turn;
        (numbers, forgotten)
    }
}

impl Numbers {
    /// The block of this number; those before the last [`BLOCKS_MAX`] make way for it. None if it
    /// is before them itself.
    fn block(&mut self, number: u64) -> Option<&mut Block> {
        if self.blocks.is_empty() {
            self.first = number;
        }
        if number < self.first {
            return self.block_before(number);
        }
        let oldest = (number + 1).saturating_sub(BLOCKS_MAX);
        while self.first < oldest && self.blocks.pop_front().is_some() {
            self.first += 1;
        }
        self.first = self.first.max(oldest);
        let place = usize::try_from(number - self.first).ok()?;
        while self.blocks.len() <= place {
            self.blocks.push_back([0; BLOCK_BYTES]);
        }
        self.blocks.get_mut(place)
    }

    /// The block of a number before the first one, if the window reaches that far.
    fn block_before(&mut self, number: u64) -> Option<&mut Block> {
        let end = self.first + self.blocks.len() as u64;
        if end - number > BLOCKS_MAX {
            return None;
        }
        while self.first > number {
            self.blocks.push_front([0; BLOCK_BYTES]);
            self.first -= 1;
        }
        self.blocks.front_mut()
    }
}

/// The byte of a number within its block, and its bit.
const fn bit(sequence: u64) -> (usize, u8) {
    let place = sequence % BLOCK_NUMBERS;
    ((place / 8) as usize, 1 << (place % 8))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn stamp(origin: &str, sequence: u64) -> Stamp {
        Stamp {
            origin: BrokerId::new(origin).unwrap(),
            sequence,
        }
    }

    fn insert(seen: &mut Seen, sequence: u64) -> Novelty {
        seen.insert(&stamp("a", sequence)).0
    }

    #[test]
    fn numbers_are_taken_once_in_any_order() {
        let mut seen = Seen::default();
        for sequence in [5, 3, 2_000, 0, 1_023, 1_024, 4] {
            assert_eq!(insert(&mut seen, sequence), Novelty::New, "{sequence}");
            assert_eq!(insert(&mut seen, sequence), Novelty::Repeated, "{sequence}");
        }
        // Origins have nothing to do with each other.
        assert_eq!(seen.insert(&stamp("b", 5)).0, Novelty::New);
        seen.remove(&stamp("a", 5));
        assert_eq!(insert(&mut seen, 5), Novelty::New);
        seen.remove(&stamp("c", 5));
        seen.remove(&stamp("a", u64::MAX));
        assert_eq!(insert(&mut seen, 2_000), Novelty::Repeated);
    }

    #[test]
    fn the_window_moves_and_is_never_smaller_than_it_says() {
        let mut seen = Seen::default();
        let last = 3 * WINDOW;
        for sequence in (0..=last).filter(|it| it % 2 == 0) {
            assert_eq!(insert(&mut seen, sequence), Novelty::New);
        }
        for sequence in last - WINDOW..=last {
            let expected = if sequence % 2 == 0 {
                Novelty::Repeated
            } else {
                Novelty::New
            };
            assert_eq!(insert(&mut seen, sequence), expected, "{sequence}");
        }
        let oldest = last - WINDOW - BLOCK_NUMBERS;
        assert_eq!(insert(&mut seen, oldest), Novelty::TooOld);
        // Far ahead nothing of the window is left, and it costs no more.
        assert_eq!(insert(&mut seen, u64::MAX), Novelty::New);
        assert_eq!(insert(&mut seen, u64::MAX), Novelty::Repeated);
        assert_eq!(insert(&mut seen, u64::MAX - WINDOW), Novelty::New);
        assert_eq!(insert(&mut seen, last), Novelty::TooOld);
        let numbers = seen.origins.values().next().unwrap();
        assert!(numbers.blocks.len() as u64 <= BLOCKS_MAX);
    }

    #[test]
    fn rows_are_all_that_has_to_be_kept() {
        let mut seen = Seen::default();
        let mut stored: BTreeMap<(String, u64), Block> = BTreeMap::new();
        let mut state = 1_u64;
        for count in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let sequence = count * 20 + (state >> 33) % 5_000;
            let (_, row) = seen.insert(&stamp(["a", "b"][count as usize % 2], sequence));
            let Some(row) = row else { continue };
            let origin = row.origin.as_str().to_owned();
            stored.insert((origin.clone(), row.block), row.bytes);
            stored.retain(|(it, block), _| *it != origin || *block >= row.oldest_block);
        }
        assert!(stored.len() <= 2 * BLOCKS_MAX as usize, "{}", stored.len());
        let rows = stored.into_iter();
        let rows = rows.map(|((origin, block), it)| (BrokerId::new(&origin).unwrap(), block, it));
        let mut restored = Seen::from_rows(rows);
        for sequence in 0..20_000 * 20 + 5_000 {
            for origin in ["a", "b"] {
                let stamp = stamp(origin, sequence);
                let (before, after) = (seen.insert(&stamp).0, restored.insert(&stamp).0);
                assert_eq!(before, after, "{origin} {sequence}");
            }
        }
    }

    #[test]
    fn the_origin_that_was_silent_for_longest_makes_way() {
        let mut seen = Seen::default();
        for origin in 0..ORIGINS_MAX {
            let (_, row) = seen.insert(&stamp(&origin.to_string(), 1));
            assert_eq!(row.unwrap().forgotten, None);
        }
        seen.insert(&stamp("0", 2));
        let (_, row) = seen.insert(&stamp("new", 1));
        let forgotten = row.unwrap().forgotten;
        assert_eq!(forgotten, Some(BrokerId::new("1").unwrap()));
        assert_eq!(seen.origins.len(), ORIGINS_MAX);
        assert_eq!(seen.insert(&stamp("0", 1)).0, Novelty::Repeated);
        assert_eq!(seen.insert(&stamp("1", 1)).0, Novelty::New);
    }
}
