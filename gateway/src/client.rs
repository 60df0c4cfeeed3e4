//! The gateway's end of its session with the broker.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt::{Message, QoS, TopicFilter};

/// What the daemon implements for one gateway's session.
///
/// The `poll_` functions follow the rules of [`std::future::Future::poll`]: on `Pending` the
/// waker of the context is woken when another call is worth while. One task calls each of them.
pub trait Broker: Send + Sync {
    /// Ready while the store has room for more messages.
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()>;

    /// Routes a message to every matching subscription and hands it to the store.
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere.
    fn publish(&self, message: Message) -> Result<Receipt, PublishError>;

    /// Ready once everything up to `receipt` has reached the configured durability.
    fn poll_stored(
        &self,
        receipt: Receipt,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotStored>>;

    /// Appends up to `count_max` deliveries to `deliveries`; ready when there is at least one.
    fn poll_deliveries(
        &self,
        count_max: usize,
        deliveries: &mut Vec<Delivery>,
        context: &mut Context<'_>,
    ) -> Poll<()>;

    /// Everything delivered and not acknowledged is to be delivered again, in order.
    fn redeliver(&self);

    /// The gateway is done with a delivery; a durable session forgets it.
    fn acknowledge(&self, delivery: DeliveryId);
}

/// A gateway's in-process connection to the broker. Its session outlives it.
#[derive(Clone)]
pub struct Client {
    broker: Arc<dyn Broker>,
}

impl Client {
    /// A client of the daemon's side of the session.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker }
    }

    /// Publishes once the store has room: this is where a flood of samples is slowed down.
    ///
    /// The message is routed when this returns; await [`Client::stored`] with the receipt where
    /// the sender must be told that it is safe.
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere.
    pub async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        poll_fn(|context| self.broker.poll_ready(context)).await;
        self.broker.publish(message)
    }

    /// Waits until everything published up to `receipt` has reached the configured durability.
    ///
    /// # Errors
    /// The store failed; the message must be treated as not accepted.
    pub async fn stored(&self, receipt: Receipt) -> Result<(), NotStored> {
        poll_fn(|context| self.broker.poll_stored(receipt, context)).await
    }

    /// Waits for deliveries and appends at least one, at most `count_max`, to `deliveries`.
    ///
    /// Each must be acknowledged with [`Client::acknowledge`]; those of a durable session that
    /// are not come again when the gateway runs again. Cancel safe.
    pub async fn receive(&self, count_max: usize, deliveries: &mut Vec<Delivery>) {
        poll_fn(|context| self.broker.poll_deliveries(count_max, deliveries, context)).await;
    }

    /// Asks for everything that was received and not acknowledged once more, in its order: the
    /// foreign side was lost before it took it.
    pub fn redeliver(&self) {
        self.broker.redeliver();
    }

    /// Tells the session that the gateway is done with a delivery.
    pub fn acknowledge(&self, delivery: DeliveryId) {
        self.broker.acknowledge(delivery);
    }
}

/// A message on its way from the broker to a gateway.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to acknowledge.
    pub id: DeliveryId,
    /// What was published.
    pub message: Arc<Message>,
    /// The lower of the publisher's and the subscription's QoS.
    pub qos: QoS,
    /// The retain flag as the subscription is to see it.
    pub retain: bool,
}

/// Names one delivery within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// A position in the store's log; everything up to it is durable or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt(pub u64);

/// One subscription of a gateway's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRequest {
    /// What to receive.
    pub filter: TopicFilter,
    /// The highest QoS to receive it with.
    pub qos: QoS,
    /// Whether retained messages are sent at the start.
    pub retained: bool,
}

/// A publish that the broker refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The message is larger than the broker's limit.
    #[error("the message is larger than the broker accepts")]
    TooLarge,
    /// Access control refused it.
    #[error("publishing to this topic is not allowed")]
    NotAuthorized,
    /// A durable queue or the store is full and its policy is to refuse.
    #[error("a quota is exceeded")]
    QuotaExceeded,
}

/// The store failed before the message was safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed before the message was safe")]
pub struct NotStored;
