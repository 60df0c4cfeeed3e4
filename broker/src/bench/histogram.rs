//! How often which time was measured, in fixed memory.

/// Buckets of each power of two, as a power of two: a value is off by less than 1 %.
const LINEAR_BITS: u32 = 7;
/// Nanoseconds, as a power of two, from which on all values are in the last bucket: 73 minutes.
const VALUE_BITS: u32 = 42;
const BUCKETS: usize = ((VALUE_BITS - LINEAR_BITS) as usize + 1) << LINEAR_BITS;

/// Times in nanoseconds, in buckets whose width grows with the value.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into(),
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
    }

    /// Adds what another one has.
    pub(super) fn merge(&mut self, other: &Self) {
        for (own, others) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += others;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The greatest value, exactly.
    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    /// The average; 0 if there is nothing.
    pub(super) fn mean(&self) -> u64 {
        let mean = self.sum.checked_div(u128::from(self.count));
        mean.and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
    }

    /// The value that this many of 1,000 values do not exceed; 0 if there is nothing.
    pub(super) fn permille(&self, share: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(share)).div_ceil(1_000);
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += u128::from(count);
            if count > 0 && seen >= rank {
                return greatest(index).min(self.max);
            }
        }
        self.max
    }
}

/// The bucket of a value.
fn bucket(nanos: u64) -> usize {
    let value = nanos.min((1 << VALUE_BITS) - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(LINEAR_BITS + 1);
    let index = (u64::from(shift) << LINEAR_BITS) + (value >> shift);
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

/// The greatest value of a bucket.
const fn greatest(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> LINEAR_BITS).saturating_sub(1);
    ((index - (shift << LINEAR_BITS) + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_is_narrow() {
        let mut last = 0;
        let powers = (0..VALUE_BITS).map(|bit| 1_u64 << bit);
        let values = powers.flat_map(|it| [it - 1, it, it + it / 3, it + it / 2, 2 * it - 1]);
        for value in values {
            let index = bucket(value);
            assert!(index < BUCKETS, "{value}");
            assert!(index >= last || value < 2, "{value}");
            last = index;
            let greatest = greatest(index);
            assert!(greatest >= value, "{value}: {greatest}");
            assert!((greatest - value) * 100 <= value, "{value}: {greatest}");
            assert_eq!(bucket(greatest), index, "{value}");
            assert_eq!(
                bucket(greatest + 1),
                (index + 1).min(BUCKETS - 1),
                "{value}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.permille(500), histogram.mean()), (0, 0));
        for value in 1..=100_000 {
            histogram.record(value * 1_000);
        }
        for (share, expected) in [(500, 50_000_000), (900, 90_000_000), (999, 99_900_000)] {
            let found = histogram.permille(share);
            assert!(found >= expected, "{share}: {found}");
            assert!(found - expected <= expected / 100, "{share}: {found}");
        }
        assert_eq!(histogram.permille(1_000), 100_000_000);
        assert_eq!(histogram.max(), 100_000_000);
        assert_eq!(histogram.mean(), 50_000_500);
    }

    #[test]
    fn two_have_together_what_each_has() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.record(10);
        other.record(3_000_000);
        other.record(u64::MAX);
        one.merge(&other);
        assert_eq!(one.count(), 3);
        assert_eq!(one.permille(1), 10);
        assert_eq!(one.permille(600), greatest(bucket(3_000_000)));
        assert_eq!(one.max(), u64::MAX);
    }
}
