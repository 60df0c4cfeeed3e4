//! Random choices that a seed repeats.

use std::env;
use std::hash::{BuildHasher, RandomState};

/// A generator (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The seed that the environment variable `SEED` gives, or any.
    #[must_use]
    pub fn seed() -> u64 {
        let given = env::var("SEED").ok().and_then(|it| it.parse().ok());
        given.unwrap_or_else(|| RandomState::new().hash_one(0))
    }

    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Another generator, whose choices do not depend on how many are made here meanwhile.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// A number below this one.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        let length = from.len() as u64;
        let index = self.below(length);
        from[usize::try_from(index).unwrap_or_default()]
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}
