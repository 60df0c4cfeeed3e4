//! How a bridge that is to stop takes its leave.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gateway::{Delivery, DeliveryId, Farewell};
use mqtt::{Message, QoS};
use tokio::time::timeout;

use super::{ROUNDS_MAX, Service};
use crate::hub::HubError;

/// How long the hub has to answer what was sent. The rest of the farewell has as long.
const ANSWERS_TIME_MAX: Duration = Duration::from_millis(500);

impl Service<'_> {
    /// Waits until the hub has answered what is on its way, which would be sent once more by the next
    /// connection. Sends the acknowledgements that are due, what the bridge says last of itself if a
    /// rule is for that, and DISCONNECT; then waits until the hub has closed the connection. What
    /// waits in the outbox stays there. A bridge that is removed ends its subscriptions first: the hub
    /// keeps its session, and would collect messages for nobody.
    pub(crate) async fn farewell(&mut self, farewell: Farewell) {
        self.send_last_batch();
        let answers = self.serve_until(|service| service.flight.is_empty());
        let answered = timeout(ANSWERS_TIME_MAX, answers).await;
        if answered.is_ok_and(|it| it.is_err()) {
            return;
        }
        // Nothing is packed any more.
        self.batching = None;
        if let Some(message) = farewell.last_words {
            self.send_last_words(message);
        }
        if farewell.is_for_good {
            self.mirror.end_all();
            if let Err(error) = self.serve_until(|it| it.mirror.is_settled()).await {
                let bridge = self.label;
                tracing::debug!(bridge, %error, "not all subscriptions are ended at the hub");
                return;
            }
        }
        self.hub.end().await;
    }

    /// Takes in what the hub sends and forwards nothing, until this is so and everything is written.
    async fn serve_until(&mut self, is_over: impl Fn(&Self) -> bool) -> Result<(), HubError> {
        poll_fn(|context| {
            for _ in 0..ROUNDS_MAX {
                let has_read = self.read(context)?;
                self.acknowledge(context);
                self.mirror(context);
                let is_written = self.hub.poll_write(context)?.is_ready();
                if is_written && is_over(self) {
                    return Poll::Ready(Ok(()));
                }
                if !has_read {
                    return Poll::Pending;
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
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
