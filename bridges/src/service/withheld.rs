//! Messages that are kept back, see [`crate::suspicion`].

use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use gateway::{Delivery, DeliveryId, DropReason, Outgoing};
use tokio::time::{Sleep, sleep};

use super::Service;
use crate::hub::HubError;
use crate::record;
use crate::suspicion::WITHHELD_FOR;

/// Pauses after which the hub has room for others, if at all, but not for the message in front.
const NO_ROOM_PAUSES: u32 = 4;
/// Messages that are withheld beside the window of the hub, and their bytes in memory. What is more
/// takes its places like what is on its way, and when it has them all, everything behind waits until
/// the topic is given up or taken: nothing is lost for others. QoS 0 is dropped and counted.
const MESSAGES_MAX: u16 = 1_024;
const BYTES_MAX: u32 = 4 << 20;

/// What is kept back on this connection, in its order, and until when.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    deliveries: Vec<Delivery>,
    /// What they are beside the window.
    beside: Beside,
    /// There was no more room beside it, which was said.
    is_full: bool,
    end: Option<Pin<Box<Sleep>>>,
}

/// Messages beside the window of the hub, and their bytes in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beside {
    messages: u16,
    bytes: u32,
}

impl Beside {
    /// The same with a message of so many bytes; none if that is too much. The first never is.
    fn with(self, bytes: usize) -> Option<Self> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let bytes = self.bytes.saturating_add(bytes);
        let has_room = self.messages < MESSAGES_MAX && bytes <= BYTES_MAX;
        (has_room || self.messages == 0).then(|| Self {
            messages: self.messages + 1,
            bytes,
        })
    }
}

impl Withheld {
    /// Takes all of it out.
    pub(super) fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(self).deliveries
    }
}

impl Service<'_> {
    /// Keeps a delivery back for a time.
    pub(super) fn withhold(&mut self, delivery: Delivery, context: &mut Context<'_>) {
        let bytes = delivery.message.memory_bytes();
        // QoS 0 has no place in the window, and counts all the same.
        if let Some(beside) = self.withheld.beside.with(bytes) {
            self.withheld.beside = beside;
            self.client.keep_back(beside.messages, beside.bytes);
        } else if delivery.id == DeliveryId(0) {
            let error = "so much is withheld that it cannot wait";
            self.status
                .report_drop(self.label, DropReason::NoRoom, &error);
            return;
        } else if !std::mem::replace(&mut self.withheld.is_full, true) {
            let (bridge, topic) = (self.label, delivery.message.topic.as_str());
            tracing::warn!(
                bridge,
                topic,
                "so much is withheld that others may have to wait: the hub takes none of this topic"
            );
        }
        self.withheld.deliveries.push(delivery);
        let end = self.withheld.end.get_or_insert_with(|| {
            tracing::debug!(bridge = self.label, "a topic is withheld");
            Box::pin(sleep(WITHHELD_FOR))
        });
        if end.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    /// After a time what is withheld is next, if only to be kept aside.
    pub(super) fn poll_withheld(&mut self, context: &mut Context<'_>) {
        let end = self.withheld.end.as_mut();
        if end.is_some_and(|it| it.as_mut().poll(context).is_ready()) {
            self.suspicion.conclude(self.flight.is_empty());
            self.client.keep_back(0, 0);
            for delivery in self.withheld.take().into_iter().rev() {
                self.outgoing.push_front(Outgoing::Publish(delivery));
            }
        }
    }

    /// The hub has taken a message.
    pub(super) fn note_taken(&mut self, packet_id: u16) {
        if let Some(delivery) = self.flight.delivery(packet_id)
            && let Some(record) = self.suspicion.note_taken(&delivery.message)
        {
            record::put(self.client, &record);
        }
    }

    /// The hub has no room for a message.
    pub(super) fn note_no_room(&mut self, packet_id: u16) {
        let alone = self.hub_room.pauses() >= NO_ROOM_PAUSES;
        if let Some(delivery) = self.flight.delivery(packet_id) {
            self.suspicion.note_no_room(&delivery.message.topic, alone);
        }
    }

    /// Keeps a delivery aside that the hub would close the connection for, because of its topic, or
    /// of its size if it has so many bytes.
    pub(super) fn condemn(&self, delivery: &Delivery, size: Option<usize>) {
        if let Some(bytes) = size {
            let reason = format!(
                "the hub closes the connection when it gets a message of {bytes} bytes, and has \
                 taken smaller ones"
            );
            self.set_aside(delivery, DropReason::TooLarge, &reason);
        } else {
            let reason = "the hub closes the connection when it gets a message of this topic";
            self.set_aside(delivery, DropReason::Refused, reason);
        }
        self.client.acknowledge(delivery.id);
    }

    /// Counts a message that does not reach the hub, and makes a dead letter of it.
    pub(super) fn set_aside(&self, delivery: &Delivery, cause: DropReason, reason: &str) {
        let error = format!("one to `{}`: {reason}", delivery.message.topic);
        self.status.report_drop(self.label, cause, &error);
        self.dead_letter.put(&delivery.message, reason, self.client);
    }

    /// True while a message goes only once the one before it is answered: it is being found out at
    /// which the hub closes the connection, or for which it has no room.
    pub(super) fn is_one_by_one(&self) -> bool {
        self.suspicion.is_careful() || self.hub_room.pauses() > 0
    }

    /// True if the hub has answered the subscriptions, and taken something if it was sent something.
    pub(crate) fn is_answered(&self) -> bool {
        self.unanswered == 0 && !self.suspicion.is_fruitless()
    }

    /// True if the hub has taken something before the connection ended for this reason, which may be
    /// a message.
    pub(crate) fn has_progressed(&self, error: &HubError) -> bool {
        let may_be_message = error.end().is_some() && self.flight.unanswered().next().is_some();
        may_be_message && self.suspicion.has_progressed()
    }

    /// The connection has ended for this reason. True if a topic or a size is not sent from
    /// now on.
    pub(crate) fn note_ended(&mut self, error: &HubError) -> bool {
        let end = error.end();
        end.is_some_and(|end| self.suspicion.note_ended(end, self.flight.unanswered()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withheld_beside_the_window_is_bounded() {
        let count = |bytes: usize| {
            let more = |it: &Beside| it.with(bytes);
            std::iter::successors(Some(Beside::default()), more).count() - 1
        };
        let [messages_max, bytes_max] = [usize::from(MESSAGES_MAX), BYTES_MAX as usize];
        assert_eq!(count(0), messages_max);
        assert_eq!(count(bytes_max / messages_max), messages_max);
        assert_eq!(count(bytes_max / 10), 10);
        assert_eq!(count(bytes_max), 1);
        assert_eq!(count(usize::MAX), 1, "the first always is");
    }
}
