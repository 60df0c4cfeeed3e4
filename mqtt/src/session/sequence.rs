//! Places in a session's queue, as one number each.
//!
//! A session numbers its deliveries from 1, whatever lane they wait in. In a sequence the lane
//! stands above the number, so that what waits in one lane is one range, in a store too. For the
//! default lane that makes no difference: there the sequence is the number.
//!
//! A lane has two sides, of which most sessions use one, see [`super::Session::share_live`]. Each
//! is a range of its own, whose number is the lane with a bit for the side.

/// The lane of what no other is configured for.
pub const DEFAULT_LANE: u8 = 1;
/// The lane that is sent first.
pub const LANE_MAX: u8 = 3;
/// The bit of the second side. A side is named by it: 0 is the first.
pub const SIDE: u8 = LANE_MAX + 1;

const NUMBER_BITS: u32 = 56;
const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;

/// The sequence of the delivery with this number in this lane, or in the range that a lane and a
/// side make together.
#[must_use]
pub const fn sequence(range: u8, number: u64) -> u64 {
    ((range ^ DEFAULT_LANE) as u64) << NUMBER_BITS | number
}

/// The number in a sequence.
#[must_use]
pub const fn number_of(sequence: u64) -> u64 {
    sequence & NUMBER_MAX
}

/// The lane in a sequence, with its side.
#[must_use]
pub const fn range_of(sequence: u64) -> u8 {
    let [tag, ..] = sequence.to_be_bytes();
    tag ^ DEFAULT_LANE
}

/// The lane in a sequence, whatever its side.
#[must_use]
pub const fn lane_of(sequence: u64) -> u8 {
    range_of(sequence) & LANE_MAX
}

/// The side in a sequence.
#[must_use]
pub const fn side_of(sequence: u64) -> u8 {
    range_of(sequence) & SIDE
}
