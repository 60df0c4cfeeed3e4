//! Places in a session's queue, as one number each.
//!
//! A session numbers its deliveries from 1, whatever lane they wait in. In a sequence the lane
//! stands above the number, so that what waits in one lane is one range, in a store too. For the
//! default lane that makes no difference: there the sequence is the number.

/// The lane of what no other is configured for.
pub const DEFAULT_LANE: u8 = 1;
/// The lane that is sent first.
pub const LANE_MAX: u8 = 3;

const NUMBER_BITS: u32 = 56;
const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;

/// The sequence of the delivery with this number in this lane.
#[must_use]
pub const fn sequence(lane: u8, number: u64) -> u64 {
    ((lane ^ DEFAULT_LANE) as u64) << NUMBER_BITS | number
}

/// The number in a sequence.
#[must_use]
pub const fn number_of(sequence: u64) -> u64 {
    sequence & NUMBER_MAX
}

/// The lane in a sequence.
#[must_use]
pub const fn lane_of(sequence: u64) -> u8 {
    let [tag, ..] = sequence.to_be_bytes();
    tag ^ DEFAULT_LANE
}
