//! From the hub to here.

use std::task::Context;

use gateway::{DropReason, PublishError, Receipt};
use mqtt::Message;
use mqtt::connection::{IncomingPublish, PendingAck};

use super::Service;
use crate::translation::Received;

impl Service<'_> {
    /// Publishes here what came, to be acknowledged once it is stored. What cannot be published
    /// is counted and done with.
    pub(super) fn on_publish(&mut self, incoming: &IncomingPublish<'_>) {
        let received = Received::new(incoming);
        let ack = incoming.ack;
        match self.translation.receive(received, self.client.now()) {
            Ok(message) => self.take_in(message, ack),
            Err(error) => {
                self.status.report_drop(self.label, error.reason(), &error);
                self.unstored.extend(ack.map(|it| (Receipt::default(), it)));
            }
        }
    }

    fn take_in(&mut self, message: Message, ack: Option<PendingAck>) {
        let Some(ack) = ack else {
            if let Err(error) = self.client.publish_now(message) {
                let reason = DropReason::Refused;
                self.status.report_drop(self.label, reason, &error);
            } else {
                self.status.counters.count_received(1);
            }
            return;
        };
        // Behind those that wait. What comes besides goes on: acknowledgements make room here.
        if !self.refused.is_empty() || !self.try_to_take_in(&message, ack) {
            self.refused.push_back((message, ack));
        }
    }

    /// False if there is no room for a message now.
    fn try_to_take_in(&mut self, message: &Message, ack: PendingAck) -> bool {
        let message = message.clone();
        let published = if ack.is_pubrec() {
            self.client.publish_once(message, ack.packet_id())
        } else {
            self.client.publish_now(message)
        };
        let receipt = match published {
            Ok(receipt) => {
                self.status.counters.count_received(1);
                receipt
            }
            Err(error @ PublishError::NotRetained(receipt)) => {
                let reason = DropReason::Refused;
                self.status.report_drop(self.label, reason, &error);
                receipt
            }
            // The hub keeps it until there is room.
            Err(PublishError::QuotaExceeded) => return false,
            Err(
                error @ (PublishError::TooLarge
                | PublishError::Limit(_)
                | PublishError::NotAuthorized),
            ) => {
                let reason = DropReason::Refused;
                self.status.report_drop(self.label, reason, &error);
                Receipt::default()
            }
        };
        self.unstored.push_back((receipt, ack));
        true
    }

    /// Tries those again that found no room, if their time has come.
    pub(super) fn try_refused(&mut self, context: &mut Context<'_>) {
        while !self.refused.is_empty() && self.room.poll(context).is_ready() {
            while let Some((message, ack)) = self.refused.pop_front() {
                if !self.try_to_take_in(&message, ack) {
                    self.refused.push_front((message, ack));
                    break;
                }
                self.room.reset();
            }
        }
    }
}
