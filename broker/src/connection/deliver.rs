//! Deliveries of one client: from its session to its outbox.

use std::task::Context;

use mqtt::ReasonCode;
use mqtt::session::{Outgoing, Session};

use super::client::Client;
use crate::metrics::DropCause;

impl Client {
    /// Encodes the answers whose turn has come.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        self.sent.packets += self
            .outbox
            .release(&mut self.protocol, &self.exchange.store, context);
    }

    /// Encodes deliveries while there is room; true if there may be more, also for want of room.
    pub(super) fn fill(&mut self, context: &mut Context<'_>) -> bool {
        let store = &self.exchange.store;
        if self.link.stored().is_some() || !self.link.lock().replays.is_empty() {
            self.exchange.refill(&self.link);
        }
        // Where nothing can be stored, a delivery is worth more than its DUP flag.
        if store.durable() < self.resumed
            && !store.is_failing()
            && store.poll_durable(self.resumed, context).is_pending()
        {
            return false;
        }
        let now = self.exchange.now();
        let (mut expired, mut refused) = (Vec::new(), Vec::new());
        let share = self.exchange.memory.share();
        let mut state = self.link.lock();
        let order = state.order_for(self.owner);
        // What has come before a shutdown goes with the farewell.
        if order.is_some_and(|it| it != ReasonCode::ServerShuttingDown) {
            return false;
        }
        state.session.bound_memory(share);
        let unstored = state.hold_unstored(store);
        let mut more = !self.outbox.wants_more(share);
        if !more {
            let encoded = state.session.take_encoded(self.outbox.bytes());
            self.sent.encoded(encoded);
            more = encoded.packets > 0;
        }
        while self.outbox.wants_more(share) {
            let Some(outgoing) = state.session.next(now, &mut expired) else {
                break;
            };
            more = true;
            self.sent.packets += 1;
            if let Outgoing::Publish { delivery, .. } = &outgoing {
                self.sent.publish(&delivery.message.payload);
            }
            if !self
                .protocol
                .encode_outgoing(&outgoing, now, self.outbox.bytes())
            {
                self.exchange.counters.dropped.add(DropCause::TooLarge, 1);
                refused.extend(abandon(&mut state.session, &outgoing));
            }
        }
        self.has_backlog = !state.session.has_no_deliveries() || !state.replays.is_empty();
        state.settle();
        drop(state);
        self.exchange.forget_expired(&self.link, &expired);
        for sequence in refused {
            self.link.forget(sequence, &self.exchange.store);
        }
        if let Some(position) = unstored
            && std::mem::replace(&mut self.awaited, position) != position
        {
            more |= store.poll_durable(position, context).is_ready();
        }
        more
    }
}

/// Lets go of a delivery that the client does not accept; returns its sequence.
fn abandon(session: &mut Session, outgoing: &Outgoing) -> Option<u64> {
    let Outgoing::Publish {
        delivery,
        packet_id,
        ..
    } = outgoing
    else {
        return None;
    };
    session.inflight_mut().abandon(*packet_id);
    Some(delivery.sequence)
}
