//! A broker for one gateway, and a domain that nobody else uses.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use gateway::{Broker, Client, Delivery, DeliveryId, NotStored, PublishError, Receipt};
use mqtt::{Message, QoS, TopicName};

/// Keeps what is published, delivers what it is given.
#[derive(Default)]
pub(crate) struct FakeBroker {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    published: Vec<Message>,
    queued: VecDeque<Delivery>,
    acknowledged: Vec<DeliveryId>,
    next_id: u64,
    waker: Option<Waker>,
    /// While it is closed the store has no room.
    is_closed: bool,
    publisher: Option<Waker>,
}

impl FakeBroker {
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        Client::new(Arc::clone(self) as Arc<dyn Broker>)
    }

    pub(crate) fn deliver(&self, topic: &str, payload: impl Into<String>) {
        let mut state = self.state.lock().unwrap();
        state.next_id += 1;
        let message = Message::new(TopicName::new(topic).unwrap(), payload.into());
        let delivery = Delivery {
            id: DeliveryId(state.next_id),
            message: Arc::new(message),
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        state.queued.push_back(delivery);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn set_closed(&self, is_closed: bool) {
        let mut state = self.state.lock().unwrap();
        state.is_closed = is_closed;
        if let Some(waker) = state.publisher.take() {
            waker.wake();
        }
    }

    pub(crate) fn published(&self) -> usize {
        self.state.lock().unwrap().published.len()
    }

    pub(crate) fn take_published(&self) -> Vec<Message> {
        std::mem::take(&mut self.state.lock().unwrap().published)
    }

    pub(crate) fn delivered(&self) -> usize {
        self.state.lock().unwrap().next_id as usize
    }

    pub(crate) fn acknowledged(&self) -> Vec<DeliveryId> {
        self.state.lock().unwrap().acknowledged.clone()
    }
}

impl Broker for FakeBroker {
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.is_closed {
            state.publisher = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        self.state.lock().unwrap().published.push(message);
        Ok(Receipt(0))
    }

    fn poll_stored(
        &self,
        _receipt: Receipt,
        _context: &mut Context<'_>,
    ) -> Poll<Result<(), NotStored>> {
        Poll::Ready(Ok(()))
    }

    fn poll_deliveries(
        &self,
        count_max: usize,
        deliveries: &mut Vec<Delivery>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.queued.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = count_max.min(state.queued.len());
        deliveries.extend(state.queued.drain(..count));
        Poll::Ready(())
    }

    fn acknowledge(&self, delivery: DeliveryId) {
        self.state.lock().unwrap().acknowledged.push(delivery);
    }
}

/// A domain from 1 to 230 that differs between tests and, most likely, between processes.
pub(crate) fn free_domain() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let micros = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros();
    let start = std::process::id().wrapping_mul(31).wrapping_add(micros);
    NEXT.compare_exchange(0, start % 230 + 1, Ordering::Relaxed, Ordering::Relaxed)
        .ok();
    NEXT.fetch_add(1, Ordering::Relaxed) % 230 + 1
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "never happened: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a gateway and a scenario beside each other until the scenario ends; then the gateway is
/// dropped.
pub(crate) fn run(gateway: gateway::RunFuture, scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::select! {
            fault = gateway => panic!("the gateway stopped: {fault}"),
            () = scenario => {}
        }
    });
}
