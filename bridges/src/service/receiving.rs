//! From the hub to here.

use std::task::Context;

use gateway::{DropReason, PublishError, Receipt};
use mqtt::connection::{IncomingPublish, PendingAck};
use mqtt::{Message, ReasonCode};

use super::Service;
use crate::hub::HubError;
use crate::translation::Received;

impl Service<'_> {
    /// Handles what is complete of what came.
    pub(super) fn handle_input(&mut self) -> Result<(), HubError> {
        let input = self.hub.take_input();
        let mut used = 0;
        let handled = loop {
            match self.handle_next(&input[used..]) {
                Ok(0) => break Ok(()),
                Ok(length) => used += length,
                Err(error) => break Err(error),
            }
        };
        self.hub.put_back(input, used);
        if let Err(HubError::Violation(violation)) = &handled {
            let text = Some(violation.detail);
            self.hub.say_goodbye(violation.reason, text);
        }
        handled
    }

    /// Handles what is in front; returns the bytes that it took, none if more have to come.
    fn handle_next(&mut self, input: &[u8]) -> Result<usize, HubError> {
        if self.skipped.is_some() {
            return Ok(self.skip(input));
        }
        match self.hub.split(input) {
            Ok(Some((frame, length))) => {
                let action = self.hub.connection.handle(frame)?;
                self.on(action)?;
                Ok(length)
            }
            Ok(None) => Ok(0),
            Err(violation) if violation.reason == ReasonCode::PacketTooLarge => {
                self.begin_skipping(input)
            }
            Err(violation) => Err(violation.into()),
        }
    }

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
            self.client.publish_acknowledged(message)
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
