//! What of a publisher's messages is still on its way to the subscribers of this process.

/// Nanoseconds without any delivery after which what is on its way counts as lost.
const LOST_AFTER: u64 = 2_000_000_000;

/// The deliveries that the messages of one publisher cause.
#[derive(Debug)]
pub(super) struct RoundTrips {
    /// Deliveries of each message.
    deliveries: u64,
    /// Messages that may be on their way.
    window: u64,
    /// Deliveries that came.
    returned: u64,
    /// When the last one came, or the first one could be on its way.
    moved_at: u64,
    /// Deliveries that are not awaited any more.
    lost: u64,
}

impl RoundTrips {
    pub(super) const fn new(deliveries: u32, window: u64) -> Self {
        Self {
            deliveries: deliveries as u64,
            window,
            returned: 0,
            moved_at: 0,
            lost: 0,
        }
    }

    /// So many deliveries have come by now, of so many messages that were sent.
    pub(super) fn update(&mut self, returned: u64, sent: u64, now: u64) {
        if returned != self.returned || self.under_way(sent) == 0 {
            self.returned = returned;
            self.moved_at = now;
        } else if now.saturating_sub(self.moved_at) >= LOST_AFTER {
            self.lost += self.under_way(sent);
            self.moved_at = now;
        }
    }

    /// Deliveries that are awaited.
    pub(super) const fn under_way(&self, sent: u64) -> u64 {
        (sent * self.deliveries).saturating_sub(self.returned + self.lost)
    }

    /// Messages that may be sent.
    pub(super) const fn room(&self, sent: u64) -> u64 {
        let messages = self.under_way(sent).div_ceil(self.deliveries);
        self.window.saturating_sub(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_under_way_until_all_its_deliveries_have_come() {
        let mut trips = RoundTrips::new(3, 2);
        assert_eq!(trips.room(0), 2);
        trips.update(2, 2, 10);
        assert_eq!((trips.under_way(2), trips.room(2)), (4, 0));
        trips.update(3, 2, 11);
        assert_eq!((trips.under_way(2), trips.room(2)), (3, 1));
        trips.update(6, 2, 12);
        assert_eq!((trips.under_way(2), trips.room(2)), (0, 2));
    }

    #[test]
    fn what_does_not_come_makes_room_after_a_while() {
        let mut trips = RoundTrips::new(1, 1);
        trips.update(0, 0, 5 * LOST_AFTER);
        trips.update(0, 1, 6 * LOST_AFTER - 1);
        assert_eq!(trips.room(1), 0);
        trips.update(0, 1, 6 * LOST_AFTER);
        assert_eq!((trips.under_way(1), trips.room(1)), (0, 1));
        trips.update(1, 2, 7 * LOST_AFTER);
        assert_eq!(trips.under_way(2), 0);
    }
}
