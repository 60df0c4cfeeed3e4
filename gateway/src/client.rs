//! The gateway's end of its session with the broker.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use mqtt::{Message, QoS, Timestamp, TopicFilter};

use crate::Farewell;

/// What the daemon implements for one gateway's session.
///
/// The `poll_` functions follow the rules of [`std::future::Future::poll`]: on `Pending` the
/// waker of the context is woken when another call is worth while. One task calls each of them.
pub trait Broker: Send + Sync {
    /// The daemon's time, in which messages expire. It is not the wall clock: it never jumps.
    fn now(&self) -> Timestamp;

    /// Ready while the store has room for more messages.
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()>;

    /// Routes a message to every matching subscription and hands it to the store.
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
    fn publish(&self, message: Message) -> Result<Receipt, PublishError>;

    /// The same for a message that its sender keeps until it is acknowledged: it is also refused if
    /// the outbox of a bridge has no room for it that refuses when it is full. There [`Broker::publish`]
    /// drops it and counts it.
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
    fn publish_acknowledged(&self, message: Message) -> Result<Receipt, PublishError>;

    /// Ready once everything up to `receipt` has reached the configured durability.
    fn poll_stored(
        &self,
        receipt: Receipt,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotStored>>;

    /// [`Broker::publish_acknowledged`] for a message of QoS 2 that came under this Packet Identifier,
    /// unless one under it is there already. Both are in one commit, so that a crash neither loses nor repeats it.
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
    fn publish_once(&self, message: Message, packet_id: u16) -> Result<Receipt, PublishError>;

    /// The Packet Identifier of a message of QoS 2 is free again; none if there was no such
    /// message.
    fn release(&self, packet_id: u16) -> Option<Receipt>;

    /// The foreign side is about to be asked for its session, and may begin a new one at that. With
    /// a receipt that has to wait until it is stored: there is something that it may forget.
    fn connecting(&self) -> Option<Receipt>;

    /// The foreign side has answered. Unless it has kept its session, all Packet Identifiers of QoS 2
    /// are free again, and what it has not completed is to be delivered again.
    fn connected(&self, is_kept: bool);

    /// Appends up to `count_max` packets to `outgoing`; ready when there is at least one.
    fn poll_outgoing(
        &self,
        count_max: usize,
        outgoing: &mut Vec<Outgoing>,
        context: &mut Context<'_>,
    ) -> Poll<()>;

    /// Everything delivered and not acknowledged is to be delivered again, in order; from here on
    /// so many deliveries may be unacknowledged.
    fn redeliver(&self, window: u16);

    /// Of what was delivered and is not acknowledged, the gateway keeps so many messages with so
    /// many bytes of memory back for a time: until this is called again, or what is unacknowledged is
    /// redelivered, they take no room from others.
    fn keep_back(&self, messages: u16, bytes: u32);

    /// The receiver has a delivery of QoS 2. Once the receipt is stored its release may be sent. Its
    /// message is kept until it is acknowledged. None if there was no such delivery.
    fn received(&self, delivery: DeliveryId) -> Option<Receipt>;

    /// The gateway is done with a delivery; a durable session forgets it.
    fn acknowledge(&self, delivery: DeliveryId);

    /// Ready when the gateway is to stop, and from then on. It has [`crate::Gateway::farewell_max`] to
    /// tell the foreign side, and then returns.
    fn poll_stop(&self, context: &mut Context<'_>) -> Poll<Farewell>;

    /// Ready with what clients subscribe to: with everything at first, then with what has changed.
    /// Nothing is watched before the first call.
    fn poll_wanted(&self, context: &mut Context<'_>) -> Poll<Wanted>;

    /// The filters that were noted with [`Broker::note_mirrored`] and are not taken back, also
    /// before a restart.
    fn mirrored(&self) -> Vec<TopicFilter>;

    /// Notes that the foreign side may have a subscription to a filter, or that it has none.
    fn note_mirrored(&self, filter: &TopicFilter, is_mirrored: bool);

    /// What the gateway wrote down last, also before a restart of the daemon.
    fn record(&self) -> Option<String>;

    /// Writes something down in place of what was, for as long as the gateway is configured. Each
    /// time costs a write, so it is worth it only now and then.
    fn set_record(&self, record: String);
}

/// What clients subscribe to, see [`Broker::poll_wanted`].
///
/// Filters are without the prefix of a Shared or exclusive Subscription. Those of gateways and
/// bridges, and those that begin with `$`, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// No others are subscribed to. If false, nothing is said of others.
    pub is_all: bool,
    /// Each with the highest QoS that is asked for; none if nobody subscribes to it any more.
    pub filters: Vec<(TopicFilter, Option<QoS>)>,
}

/// What a session has to send.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A message.
    Publish(Delivery),
    /// The release of a message of QoS 2, which the receiver has.
    Release(DeliveryId),
}

/// Deliveries that a gateway may hold unacknowledged, unless it says otherwise.
pub const INFLIGHT_MESSAGES_MAX: u16 = 4_096;

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
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
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

    /// [`Client::publish_now`] for a message of QoS 1 that can be sent again, see
    /// [`Broker::publish_acknowledged`].
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
    pub fn publish_acknowledged(&self, message: Message) -> Result<Receipt, PublishError> {
        self.broker.publish_acknowledged(message)
    }

    /// [`Client::publish_now`] for a message of QoS 2, see [`Broker::publish_once`].
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
    pub fn publish_once(&self, message: Message, packet_id: u16) -> Result<Receipt, PublishError> {
        self.broker.publish_once(message, packet_id)
    }

    /// [`Client::publish`] for who has waited for [`Client::poll_ready`].
    ///
    /// # Errors
    /// The message is refused as a whole and went nowhere, unless the error says otherwise.
    pub fn publish_now(&self, message: Message) -> Result<Receipt, PublishError> {
        self.broker.publish(message)
    }

    /// The daemon's time, see [`Broker::now`].
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.broker.now()
    }

    /// Ready while the store has room for more messages.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.broker.poll_ready(context)
    }

    /// Ready once everything published up to `receipt` has reached the configured durability.
    pub fn poll_stored(
        &self,
        receipt: Receipt,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotStored>> {
        self.broker.poll_stored(receipt, context)
    }

    /// A message of QoS 2 is released, see [`Broker::release`].
    #[must_use]
    pub fn release(&self, packet_id: u16) -> Option<Receipt> {
        self.broker.release(packet_id)
    }

    /// Waits until the foreign side may be asked for its session, see [`Broker::connecting`].
    pub async fn connecting(&self) {
        if let Some(receipt) = self.broker.connecting() {
            // A store that fails goes on trying.
            let _stored = self.stored(receipt).await;
        }
    }

    /// The foreign side has answered, see [`Broker::connected`]. What is to be delivered again comes
    /// with [`Client::redeliver`].
    pub fn connected(&self, is_kept: bool) {
        self.broker.connected(is_kept);
    }

    /// Waits for deliveries and appends at least one, at most `count_max`, to `deliveries`.
    ///
    /// Each must be acknowledged with [`Client::acknowledge`]; those of a durable session that
    /// are not come again when the gateway runs again. Cancel safe.
    pub async fn receive(&self, count_max: usize, deliveries: &mut Vec<Delivery>) {
        let (before, mut outgoing) = (deliveries.len(), Vec::new());
        while deliveries.len() == before {
            poll_fn(|context| self.poll_outgoing(count_max, &mut outgoing, context)).await;
            deliveries.extend(outgoing.drain(..).filter_map(|it| match it {
                Outgoing::Publish(delivery) => Some(delivery),
                // Who acknowledges in one step has none.
                Outgoing::Release(_) => None,
            }));
        }
    }

    /// Appends what is to be sent, see [`Broker::poll_outgoing`].
    pub fn poll_outgoing(
        &self,
        count_max: usize,
        outgoing: &mut Vec<Outgoing>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.broker.poll_outgoing(count_max, outgoing, context)
    }

    /// Asks for everything that was received and not acknowledged once more, in its order: the
    /// foreign side was lost before it took it. So many may be unacknowledged there.
    pub fn redeliver(&self, window: u16) {
        self.broker.redeliver(window);
    }

    /// Tells the session how much is kept back, see [`Broker::keep_back`].
    pub fn keep_back(&self, messages: u16, bytes: u32) {
        self.broker.keep_back(messages, bytes);
    }

    /// Tells the session that the receiver has a delivery of QoS 2, see [`Broker::received`].
    #[must_use]
    pub fn received(&self, delivery: DeliveryId) -> Option<Receipt> {
        self.broker.received(delivery)
    }

    /// What the gateway wrote down last, see [`Broker::record`].
    #[must_use]
    pub fn record(&self) -> Option<String> {
        self.broker.record()
    }

    /// Writes something down, see [`Broker::set_record`].
    pub fn set_record(&self, record: String) {
        self.broker.set_record(record);
    }

    /// Tells the session that the gateway is done with a delivery.
    pub fn acknowledge(&self, delivery: DeliveryId) {
        self.broker.acknowledge(delivery);
    }

    /// Waits until the gateway is to stop, see [`Broker::poll_stop`].
    pub async fn stopped(&self) -> Farewell {
        poll_fn(|context| self.broker.poll_stop(context)).await
    }

    /// What clients subscribe to, see [`Broker::poll_wanted`].
    pub fn poll_wanted(&self, context: &mut Context<'_>) -> Poll<Wanted> {
        self.broker.poll_wanted(context)
    }

    /// What the foreign side may be subscribed to, see [`Broker::mirrored`].
    #[must_use]
    pub fn mirrored(&self) -> Vec<TopicFilter> {
        self.broker.mirrored()
    }

    /// Notes what the foreign side may be subscribed to, see [`Broker::note_mirrored`].
    pub fn note_mirrored(&self, filter: &TopicFilter, is_mirrored: bool) {
        self.broker.note_mirrored(filter, is_mirrored);
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
    /// It was sent before.
    pub dup: bool,
}

/// Names one delivery within a session: its Packet Identifier, 0 for QoS 0.
///
/// It is the same after a restart as long as the delivery is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u16);

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
    /// Its topic or its properties exceed a limit of the broker, which is named.
    #[error("{0}")]
    Limit(&'static str),
    /// Access control refused it.
    #[error("publishing to this topic is not allowed")]
    NotAuthorized,
    /// It went to those who are there, as safe as the receipt says. It is not retained: there is no
    /// room for that, and the message that was retained before is not either.
    #[error("it is not retained: a limit in `retain` is reached")]
    NotRetained(Receipt),
    /// A durable queue or the store is full and its policy is to refuse.
    #[error("a quota is exceeded")]
    QuotaExceeded,
}

/// The store failed before the message was safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed before the message was safe")]
pub struct NotStored;
