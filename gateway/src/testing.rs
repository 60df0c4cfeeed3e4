//! A broker for the tests of gateways, behind the feature `testing`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use mqtt::{Message, QoS, Timestamp, TopicFilter, TopicName};

use crate::{
    Broker, Client, Delivery, DeliveryId, Farewell, NotStored, Outgoing, PublishError, Receipt,
    Wanted,
};

/// A broker that keeps what is published and delivers what it is told to.
#[derive(Debug, Default)]
pub struct FakeBroker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    published: Vec<Message>,
    queued: VecDeque<Delivery>,
    delivered: u64,
    acknowledged: Vec<DeliveryId>,
    records: Vec<String>,
    is_full: bool,
    is_strict: bool,
    publisher: Option<Waker>,
    receiver: Option<Waker>,
    observer: Option<Waker>,
}

impl FakeBroker {
    /// A gateway's connection to this broker.
    #[must_use]
    pub fn client(self: &Arc<Self>) -> Client {
        Client::new(Arc::clone(self) as Arc<dyn Broker>)
    }

    /// Delivers a message to the gateway. Deliveries are numbered from 1.
    ///
    /// # Panics
    /// The topic is none.
    pub fn deliver(&self, topic: &str, payload: impl Into<bytes::Bytes>) {
        let mut state = self.state.lock().unwrap();
        state.delivered += 1;
        let delivery = Delivery {
            id: DeliveryId(u16::try_from(state.delivered).unwrap()),
            message: Arc::new(Message::new(TopicName::new(topic).unwrap(), payload)),
            qos: QoS::AtLeastOnce,
            retain: false,
            dup: false,
        };
        state.queued.push_back(delivery);
        wake(&mut state.receiver);
    }

    /// Whether the store has no room.
    pub fn set_full(&self, is_full: bool) {
        let mut state = self.state.lock().unwrap();
        state.is_full = is_full;
        wake(&mut state.publisher);
    }

    /// Whether access control refuses everything.
    pub fn set_strict(&self, is_strict: bool) {
        self.state.lock().unwrap().is_strict = is_strict;
    }

    /// Messages that were published and not taken.
    #[must_use]
    pub fn published(&self) -> usize {
        self.state.lock().unwrap().published.len()
    }

    /// Whether a message with this payload was published and not taken.
    #[must_use]
    pub fn has(&self, payload: &[u8]) -> bool {
        let published = &self.state.lock().unwrap().published;
        published.iter().any(|message| &*message.payload == payload)
    }

    /// Takes everything published so far.
    #[must_use]
    pub fn take_published(&self) -> Vec<Message> {
        std::mem::take(&mut self.state.lock().unwrap().published)
    }

    /// Takes everything published so far once `is_enough` says so. One task at a time waits.
    pub async fn take_when(&self, is_enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            if is_enough(&state.published) {
                return Poll::Ready(std::mem::take(&mut state.published));
            }
            state.observer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// How many messages were delivered, or are about to be.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.state.lock().unwrap().delivered
    }

    /// What the gateway wrote down, in its order.
    #[must_use]
    pub fn records(&self) -> Vec<String> {
        self.state.lock().unwrap().records.clone()
    }

    /// What the gateway is done with, in its order.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<DeliveryId> {
        self.state.lock().unwrap().acknowledged.clone()
    }
}

impl Broker for FakeBroker {
    /// Its time stands still.
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.is_full {
            state.publisher = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        let mut state = self.state.lock().unwrap();
        if state.is_strict {
            return Err(PublishError::NotAuthorized);
        }
        state.published.push(message);
        wake(&mut state.observer);
        Ok(Receipt::default())
    }

    fn publish_acknowledged(&self, message: Message) -> Result<Receipt, PublishError> {
        self.publish(message)
    }

    fn poll_stored(&self, _: Receipt, _: &mut Context<'_>) -> Poll<Result<(), NotStored>> {
        Poll::Ready(Ok(()))
    }

    fn publish_once(&self, message: Message, _: u16) -> Result<Receipt, PublishError> {
        self.publish(message)
    }

    fn release(&self, _: u16) -> Option<Receipt> {
        Some(Receipt::default())
    }

    fn connecting(&self) -> Option<Receipt> {
        None
    }

    fn connected(&self, _: bool) {}

    fn poll_outgoing(
        &self,
        count_max: usize,
        outgoing: &mut Vec<Outgoing>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.queued.is_empty() {
            state.receiver = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = count_max.min(state.queued.len());
        outgoing.extend(state.queued.drain(..count).map(Outgoing::Publish));
        Poll::Ready(())
    }

    /// Nothing: what is delivered here is delivered once.
    fn redeliver(&self, _: u16) {}

    /// Nothing: there is no window.
    fn keep_back(&self, _: u16, _: u32) {}

    fn received(&self, _: DeliveryId) -> Option<Receipt> {
        Some(Receipt::default())
    }

    fn acknowledge(&self, delivery: DeliveryId) {
        self.state.lock().unwrap().acknowledged.push(delivery);
    }

    /// It never stops.
    fn poll_stop(&self, _: &mut Context<'_>) -> Poll<Farewell> {
        Poll::Pending
    }

    /// It has no other clients.
    fn poll_wanted(&self, _: &mut Context<'_>) -> Poll<Wanted> {
        Poll::Pending
    }

    fn mirrored(&self) -> Vec<TopicFilter> {
        Vec::new()
    }

    fn note_mirrored(&self, _: &TopicFilter, _: bool) {}

    fn record(&self) -> Option<String> {
        self.state.lock().unwrap().records.last().cloned()
    }

    fn set_record(&self, record: String) {
        self.state.lock().unwrap().records.push(record);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
