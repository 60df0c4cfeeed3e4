//! The two sides of each lane: the backlog of an outage, and what is live.
//!
//! What comes joins the live side. When a connection begins and one side is empty, the other one
//! becomes the backlog. So each side keeps its order, and is one range of the store; after a
//! restart the live side is the one with the greatest number.

use super::Queue;
use crate::session::lane::Lane;
use crate::session::{LANE_MAX, SIDE, number_of};

/// All of what is shared.
const WHOLE_PERCENT: u8 = 100;

/// How the sides share the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides {
    /// The side that is live, see [`SIDE`].
    pub(super) live: u8,
    /// Of 100 deliveries, so many are live ones while both sides wait; with 0 the oldest goes.
    percent: u8,
    /// What the live side has earned of its next turn, below [`WHOLE_PERCENT`].
    earned: u8,
}

impl Sides {
    /// The first side is used alone.
    pub(super) const NONE: Self = Self {
        live: 0,
        percent: 0,
        earned: 0,
    };

    /// The order of ranges: by their lane, and the live side above the other.
    pub(super) fn rank(self, range: u8) -> (u8, bool) {
        (range & LANE_MAX, self.is_live(range))
    }

    const fn is_live(self, range: u8) -> bool {
        range & SIDE == self.live
    }

    pub(super) const fn is_shared(self) -> bool {
        self.percent > 0
    }

    const fn is_live_turn(self) -> bool {
        self.earned + self.percent >= WHOLE_PERCENT
    }
}

impl Queue {
    pub(in crate::session) fn share_live(&mut self, percent: u8) {
        self.sides.percent = percent.min(WHOLE_PERCENT);
    }

    /// A connection begins: what waits is the backlog, unless one waits already.
    pub(in crate::session) fn begin_backlog(&mut self) {
        if self.sides.percent == 0 {
            return;
        }
        let sides = self.sides;
        self.lanes
            .retain(|it| sides.is_live(it.range) || !it.is_at_rest());
        let has_backlog = self.lanes.iter().any(|it| !sides.is_live(it.range));
        if !has_backlog && self.lanes.iter().any(|it| !it.is_empty()) {
            self.sides.live ^= SIDE;
        }
    }

    /// True if both sides wait of the lane whose live one is at this place.
    pub(super) fn has_backlog(&self, place: usize) -> bool {
        let [live, backlog] = [place, place + 1].map(|it| self.lanes.get(it));
        let lane = live.filter(|it| !it.is_empty()).map(|it| it.lane());
        backlog.is_some_and(|it| Some(it.lane()) == lane && !it.is_empty())
    }

    /// Whose turn it is of the two sides from this place on. One whose first delivery is in the
    /// store only, or may not go yet, does not hold up the other.
    pub(super) fn is_live_next(&self, place: usize, held_from: u64) -> bool {
        let (live, backlog) = (&self.lanes[place], &self.lanes[place + 1]);
        let [first_live, first_backlog] = [live, backlog].map(Lane::first_number);
        let ordered_to = self.latest.as_ref().map_or(0, |it| it.ordered_to);
        let is_ordered = first_live.min(first_backlog) <= ordered_to;
        if self.sides.percent == 0 || is_ordered {
            return first_live < first_backlog;
        }
        let [may_live, may_backlog] = [live, backlog].map(|it| {
            let front = it.front();
            front.is_some_and(|it| number_of(it.sequence) < held_from)
        });
        if self.sides.is_live_turn() {
            may_live || !may_backlog
        } else {
            may_live && !may_backlog
        }
    }

    /// The first delivery of the lane at this place is about to be sent. Who goes because the
    /// other cannot uses up no turn.
    pub(in crate::session) fn take_turn(&mut self, place: usize) {
        let Sides {
            percent, earned, ..
        } = self.sides;
        if percent == 0 {
            return;
        }
        let is_live = self
            .lanes
            .get(place)
            .is_some_and(|it| self.sides.is_live(it.range));
        let first = if is_live {
            Some(place)
        } else {
            place.checked_sub(1)
        };
        let is_shared = first.is_some_and(|it| self.has_backlog(it));
        if is_shared && is_live == self.sides.is_live_turn() {
            self.sides.earned = (earned + percent) % WHOLE_PERCENT;
        }
    }
}
