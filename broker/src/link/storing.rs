//! How one message waits and comes into the store, for all its deliveries.

use std::sync::Arc;

use mqtt::session::QueueClass;
use mqtt::{Message, QoS, Timestamp};
use persistence::{Durability, Operation, Position, Store, StoredMessage};

/// The store as one message uses it, and how the message waits.
#[derive(Debug)]
pub(crate) struct Storing<'a> {
    pub(crate) store: &'a Store,
    pub(crate) durability: Durability,
    /// How its deliveries wait.
    pub(crate) class: QueueClass,
    /// When those that begin to wait at this moment are given up.
    pub(crate) expires_at: Option<Timestamp>,
    /// The message as the store numbers it, made for the first delivery that is stored.
    body: Option<StoredMessage>,
}

impl<'a> Storing<'a> {
    pub(crate) const fn new(
        store: &'a Store,
        durability: Durability,
        class: QueueClass,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self {
            store,
            durability,
            class,
            expires_at,
            body: None,
        }
    }

    /// Whether a delivery into a durable session is stored although it has room in memory.
    ///
    /// One of QoS 2 always is, see [`Self::submit_delivery`].
    pub(super) fn keeps(&self, qos: QoS) -> bool {
        match qos {
            QoS::AtMostOnce => false,
            QoS::AtLeastOnce => self.durability > Durability::Memory,
            QoS::ExactlyOnce => true,
        }
    }

    /// Whether some session's queue in the store has the message.
    pub(crate) const fn is_stored(&self) -> bool {
        self.body.is_some()
    }

    pub(super) fn stored(&mut self, message: Arc<Message>) -> StoredMessage {
        let store = self.store;
        let body = self.body.get_or_insert_with(|| StoredMessage {
            id: store.next_message_id(),
            message,
        });
        body.clone()
    }

    /// Hands a change that the message causes to the store.
    pub(crate) fn submit(&self, operation: Operation) -> Position {
        self.store.submit_as(operation, self.durability)
    }

    /// Hands a delivery to the store. One of QoS 2 is always synced: its identifier follows from its
    /// place, and must not become that of another message while its receiver still knows it, which
    /// is so if a power cut takes the place back.
    pub(super) fn submit_delivery(&self, operation: Operation, qos: QoS) -> Position {
        let durability = match qos {
            QoS::ExactlyOnce => Durability::Full,
            QoS::AtMostOnce | QoS::AtLeastOnce => self.durability,
        };
        self.store.submit_as(operation, durability)
    }

    /// The position that the message's acknowledgement waits for, if it is stored at this one.
    pub(crate) fn awaited(&self, position: Position) -> Position {
        if self.durability == Durability::Memory {
            Position(0)
        } else {
            position
        }
    }
}
