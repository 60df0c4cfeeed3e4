//! What was taken from the outbox and does not reach the hub on this connection. The session delivers
//! it again, but for QoS 0, which nothing keeps and which is counted here.

use gateway::{Delivery, DeliveryId, DropReason, Outgoing};

use super::Service;

/// Why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The connection has ended.
    Ended,
    /// The hub had no room, and gets again in its order what is kept.
    NoRoom,
}

impl Cause {
    const fn reason(self) -> DropReason {
        match self {
            Self::Ended => DropReason::LinkDown,
            Self::NoRoom => DropReason::NoRoom,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Ended => "the connection to the hub ended before it was sent, with QoS 0",
            Self::NoRoom => "the hub had no room when it was to be sent, with QoS 0",
        }
    }
}

impl Service<'_> {
    /// Gives up everything that is not sent, packed or not.
    pub(crate) fn give_up(&mut self, cause: Cause) {
        self.give_up_batch(cause);
        let withheld = self.withheld.take().into_iter();
        let taken = self.outgoing.drain(..).filter_map(|it| match it {
            Outgoing::Publish(delivery) => Some(delivery),
            Outgoing::Release(_) => None,
        });
        let is_live = |it: &Delivery| it.id == DeliveryId(0);
        let live = taken.chain(withheld).filter(is_live).count();
        self.count_given_up(live, cause);
    }

    /// Counts messages of QoS 0 that are not sent.
    pub(super) fn count_given_up(&self, live: usize, cause: Cause) {
        for _ in 0..live {
            self.status
                .report_drop(self.label, cause.reason(), &cause.describe());
        }
    }
}
