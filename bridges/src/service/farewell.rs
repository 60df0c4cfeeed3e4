//! How a bridge that is to stop takes its leave.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gateway::{Delivery, DeliveryId, Farewell};
use mqtt::{Message, QoS};

use super::Service;
use crate::hub::HubError;

impl Service<'_> {
    /// Sends the acknowledgements that are due, what the bridge says last of itself if a rule is for
    /// that, and DISCONNECT; then waits until the hub has closed the connection. What waits in the
    /// outbox stays there. A bridge that is removed ends its subscriptions first: the hub keeps its
    /// session, and would collect messages for nobody.
    pub(crate) async fn farewell(&mut self, farewell: Farewell) {
        self.acknowledge(&mut Context::from_waker(Waker::noop()));
        self.send_packed();
        if let Some(message) = farewell.last_words {
            self.send_last_words(message);
        }
        if farewell.is_for_good {
            self.mirror.end_all();
            if let Err(error) = poll_fn(|context| self.poll_ended(context)).await {
                let bridge = self.label;
                tracing::debug!(bridge, %error, "not all subscriptions are ended at the hub");
                return;
            }
        }
        self.hub.end().await;
    }

    /// Ready when the hub has ended all subscriptions. What it still sends meanwhile is taken in.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<Result<(), HubError>> {
        loop {
            let has_read = self.read(context)?;
            self.acknowledge(context);
            self.mirror(context);
            let is_written = self.hub.poll_write(context)?.is_ready();
            if is_written && self.mirror.is_settled() {
                return Poll::Ready(Ok(()));
            }
            if !has_read {
                return Poll::Pending;
            }
        }
    }

    /// Before what waits in the outbox, where it would come too late.
    fn send_last_words(&mut self, message: Arc<Message>) {
        let delivery = Delivery {
            id: DeliveryId(0),
            retain: message.retain,
            message,
            qos: QoS::AtMostOnce,
            dup: false,
        };
        let mut forwarded = Vec::new();
        let now = self.client.now();
        // Most bridges have no rule for it.
        if self
            .translation
            .forward(&delivery, now, &mut forwarded)
            .is_err()
        {
            return;
        }
        for mut message in forwarded {
            message.qos = QoS::AtMostOnce;
            self.send_one(&delivery, &message, &mut 0);
        }
    }
}
