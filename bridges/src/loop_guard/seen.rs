//! Which messages have come, so that each is taken once.
//!
//! Of each run of a broker the last [`WINDOW`] numbers are remembered, one bit for each. What is
//! older than the window cannot be told from a repetition.

use std::collections::{HashMap, VecDeque};

use super::{Run, Stamp};

/// Bytes of a block.
const BLOCK_BYTES: usize = 128;
/// Numbers of a block.
const BLOCK_NUMBERS: u64 = BLOCK_BYTES as u64 * 8;
/// Blocks of a run, 12.4 KiB.
const BLOCKS_MAX: u64 = 99;
/// Numbers of one run that are remembered at least, back from the greatest.
pub const WINDOW: u64 = (BLOCKS_MAX - 1) * BLOCK_NUMBERS;
/// Runs of brokers that are remembered, 3.1 MiB with full windows. The one that was silent for
/// longest makes way for another, and its repetitions are no longer recognised.
pub const ORIGINS_MAX: usize = 256;

const _: () = assert!(WINDOW >= 100_000);

type Block = [u8; BLOCK_BYTES];

/// The numbers that have come, of each run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    runs: HashMap<Run, Numbers>,
    /// Counts messages, to tell who was silent for longest.
    turn: u64,
}

/// Whether a number has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// It has not.
    New,
    /// It has.
    Repeated,
    /// It is too old to tell.
    TooOld,
}

/// The numbers that have come of one run.
#[derive(Debug, Default)]
struct Numbers {
    /// The number of the first block.
    first: u64,
    blocks: VecDeque<Block>,
    /// When the last one came.
    turn: u64,
}

impl Seen {
    /// Notes that a message has come.
    pub(super) fn insert(&mut self, stamp: &Stamp) -> Novelty {
        let (index, mask) = bit(stamp.number);
        let block = self.numbers(&stamp.run).block(stamp.number / BLOCK_NUMBERS);
        let Some(byte) = block.and_then(|it| it.get_mut(index)) else {
            return Novelty::TooOld;
        };
        if *byte & mask != 0 {
            return Novelty::Repeated;
        }
        *byte |= mask;
        Novelty::New
    }

    /// Notes numbers of a run, each a bit, from `first` on, which is a multiple of 8.
    pub(super) fn recover(&mut self, run: &Run, first: u64, bits: &[u8]) {
        let numbers = self.numbers(run);
        for (place, bits) in (0..).zip(bits).filter(|(_, bits)| **bits != 0) {
            let Some(number) = first.checked_add(8 * place) else {
                return;
            };
            let (index, _) = bit(number);
            let block = numbers.block(number / BLOCK_NUMBERS);
            if let Some(byte) = block.and_then(|it| it.get_mut(index)) {
                *byte |= bits;
            }
        }
    }

    /// Takes back what [`Seen::insert`] noted as new: the message was not taken after all.
    pub(super) fn remove(&mut self, stamp: &Stamp) {
        let (index, mask) = bit(stamp.number);
        let Some(numbers) = self.runs.get_mut(&stamp.run) else {
            return;
        };
        let place = (stamp.number / BLOCK_NUMBERS).checked_sub(numbers.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let block = place.and_then(|place| numbers.blocks.get_mut(place));
        if let Some(byte) = block.and_then(|block| block.get_mut(index)) {
            *byte &= !mask;
        }
    }

    /// The numbers of a run; the one that was silent for longest makes way for another.
    fn numbers(&mut self, run: &Run) -> &mut Numbers {
        self.turn += 1;
        if self.runs.len() >= ORIGINS_MAX && !self.runs.contains_key(run) {
            let silent = self.runs.iter().min_by_key(|(_, it)| it.turn);
            let silent = silent.map(|(silent, _)| silent.clone());
            silent.and_then(|it| self.runs.remove(&it));
        }
        let numbers = self.runs.entry(run.clone()).or_default();
        numbers.turn = self.turn;
        numbers
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
const fn bit(number: u64) -> (usize, u8) {
    let place = number % BLOCK_NUMBERS;
    ((place / 8) as usize, 1 << (place % 8))
}

#[cfg(test)]
mod tests {
    use super::super::BrokerId;
    use super::*;

    fn stamp(origin: &str, number: u64) -> Stamp {
        let origin = BrokerId::new(origin).unwrap();
        Stamp {
            run: Run { origin, run: 1 },
            number,
        }
    }

    fn insert(seen: &mut Seen, sequence: u64) -> Novelty {
        seen.insert(&stamp("a", sequence))
    }

    #[test]
    fn numbers_are_taken_once_in_any_order() {
        let mut seen = Seen::default();
        for sequence in [5, 3, 2_000, 0, 1_023, 1_024, 4] {
            assert_eq!(insert(&mut seen, sequence), Novelty::New, "{sequence}");
            assert_eq!(insert(&mut seen, sequence), Novelty::Repeated, "{sequence}");
        }
        // Origins have nothing to do with each other.
        assert_eq!(seen.insert(&stamp("b", 5)), Novelty::New);
        let mut restarted = stamp("a", 5);
        restarted.run.run = 2;
        assert_eq!(seen.insert(&restarted), Novelty::New);
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
        let numbers = seen.runs.values().next().unwrap();
        assert!(numbers.blocks.len() as u64 <= BLOCKS_MAX);
    }

    #[test]
    fn what_is_recovered_is_what_had_come() {
        // Blocks that are as long as ours, shorter or longer.
        for length in [1, 8, BLOCK_BYTES as u64, 300] {
            let numbers: Vec<u64> = (0..WINDOW).step_by(37).collect();
            let mut bits: std::collections::BTreeMap<u64, Vec<u8>> = Default::default();
            for number in &numbers {
                let first = number / (8 * length) * (8 * length);
                let place = number - first;
                let block = bits
                    .entry(first)
                    .or_insert_with(|| vec![0; length as usize]);
                block[(place / 8) as usize] |= 1 << (place % 8);
            }
            let mut seen = Seen::default();
            let run = stamp("a", 0).run;
            for (first, bits) in &bits {
                seen.recover(&run, *first, bits);
            }
            for number in 0..WINDOW {
                let expected = if number % 37 == 0 {
                    Novelty::Repeated
                } else {
                    Novelty::New
                };
                assert_eq!(insert(&mut seen, number), expected, "{length} {number}");
            }
        }
        let mut seen = Seen::default();
        seen.recover(&stamp("a", 0).run, u64::MAX - 7, &[1, 1, 1]);
        assert_eq!(insert(&mut seen, u64::MAX - 7), Novelty::Repeated);
    }

    #[test]
    fn the_run_that_was_silent_for_longest_makes_way() {
        let mut seen = Seen::default();
        for origin in 0..ORIGINS_MAX {
            let stamp = stamp(&origin.to_string(), 1);
            assert_eq!(seen.insert(&stamp), Novelty::New);
        }
        seen.insert(&stamp("0", 2));
        seen.insert(&stamp("new", 1));
        assert_eq!(seen.runs.len(), ORIGINS_MAX);
        assert_eq!(seen.insert(&stamp("0", 1)), Novelty::Repeated);
        assert_eq!(seen.insert(&stamp("1", 1)), Novelty::New);
    }
}
