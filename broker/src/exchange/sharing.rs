//! Deliveries of Shared Subscriptions that do not find the member that was chosen first.

use std::sync::Arc;

use mqtt::session::Delivery;
use mqtt::{Message, TopicFilter};
use persistence::Position;

use super::Exchange;
use super::route::Target;
use crate::link::{NotDelivered, Storing};
use crate::metrics::DropCause;
use crate::share::{Choice, ShareGroup};

impl Exchange {
    /// Gives a message to the member of a group that is chosen now; sessions that end meanwhile
    /// are passed over. None if there is nobody to choose.
    pub(super) fn deliver_shared(
        &self,
        group: &ShareGroup,
        choice: Choice<'_>,
        message: &Arc<Message>,
        storing: &mut Storing<'_>,
    ) -> Option<Result<Position, NotDelivered>> {
        if self.drop_expired(message) {
            return Some(Ok(Position(0)));
        }
        let mut member = group.choose(choice)?;
        loop {
            // An exclusive subscription may have it [MQTT-3.8.3-3].
            if member.options.no_local && *member.link.client_id == *choice.publisher {
                return None;
            }
            let target = Target::from(member);
            let delivery = target.delivery(message, storing);
            let delivered = target.link.deliver(delivery, storing);
            if delivered != Err(NotDelivered::Ended) {
                return Some(delivered);
            }
            let Some(next) = group.choose(choice) else {
                self.counters.dropped.add(DropCause::SessionEnded, 1);
                return Some(delivered);
            };
            member = next;
        }
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
                let group = self.router.group(share);
                let delivered = group
                    .and_then(|group| self.deliver_shared(&group, choice, &message, &mut storing));
                if delivered.is_none() {
                    self.counters.dropped.add(DropCause::SessionEnded, 1);
                }
            }
        }
    }
}
