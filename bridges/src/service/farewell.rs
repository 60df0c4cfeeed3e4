//! How a bridge that is to stop takes its leave.

use std::sync::Arc;
use std::task::{Context, Waker};

use gateway::{Delivery, DeliveryId};
use mqtt::{Message, QoS};

use super::Service;

impl Service<'_> {
    /// Sends the acknowledgements that are due, what the bridge says last of itself if a rule is for
    /// that, and DISCONNECT; then waits until the hub has closed the connection. What waits in the
    /// outbox stays there.
    pub(crate) async fn farewell(&mut self, last_words: Option<Arc<Message>>) {
        self.acknowledge(&mut Context::from_waker(Waker::noop()));
        self.send_packed();
        if let Some(message) = last_words {
            self.send_last_words(message);
        }
        self.hub.end().await;
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
