//! Deliveries of Shared Subscriptions that do not find the member that was chosen first.

use std::sync::Arc;

use mqtt::session::Delivery;
use mqtt::{Message, TopicFilter};
use persistence::Position;

use super::{Exchange, Merged};
use crate::link::{NotDelivered, Storing};
use crate::metrics::DropCause;
use crate::share::Choice;

impl Exchange {
    /// Gives a message to the member of a group that is chosen now; sessions that end meanwhile
    /// are passed over.
    pub(super) fn deliver_shared(
        &self,
        share: &TopicFilter,
        choice: Choice<'_>,
        message: &Arc<Message>,
        storing: &mut Storing<'_>,
    ) -> Result<Position, NotDelivered> {
        if self.drop_expired(message) {
            return Ok(Position(0));
        }
        while let Some(member) = self.router.choose(share, choice) {
            let delivery = Merged::from(&member).delivery(message, storing);
            let delivered = member.link.deliver(delivery, storing);
            if delivered != Err(NotDelivered::Ended) {
                return delivered;
            }
        }
        self.counters.dropped.add(DropCause::SessionEnded, 1);
        Err(NotDelivered::Ended)
    }

    /// Deliveries of a Shared Subscription that its session, which has ended, did not make go to
    /// other members (§4.8.2). What the session shares and what it does not share is not told
    /// apart: where its filters overlap, a message may come twice.
    pub(crate) fn redistribute(&self, shares: &[TopicFilter], deliveries: Vec<Delivery>) {
        for Delivery { message, .. } in deliveries {
            let topic = message.topic.as_str();
            let mut storing = self.storing(&message);
            let choice = self.choice(&message.topic, "");
            for share in shares.iter().filter(|share| share.matches(topic)) {
                // What finds no room is counted, and there is nobody to tell.
                self.deliver_shared(share, choice, &message, &mut storing)
                    .ok();
            }
        }
    }
}
