//! A gateway's session with the broker: the in-process counterpart of a connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gateway::{
    Broker, Delivery, DeliveryId, Gateway, NotStored, PublishError, Receipt, SubscriptionRequest,
};
use mqtt::packet::{RetainHandling, SubscriptionOptions};
use mqtt::session::{Acknowledged, Outgoing};
use mqtt::{Message, ReasonCode, TopicFilter};
use persistence::Position;

use super::GATEWAY_PREFIX;
use crate::exchange::{Exchange, Refusal};
use crate::link::{Link, Owner};
use crate::metrics::count;
use crate::registry::{Attached, Claim, Ending};

/// Deliveries that a gateway may hold unacknowledged.
const INFLIGHT_MESSAGES_MAX: u16 = 4_096;
/// A durable gateway's session lasts as long as it is configured: for good.
const DURABLE_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);

/// Implements the contract's [`Broker`] for one gateway. The session is given back on drop.
#[derive(Debug)]
pub(crate) struct GatewaySession {
    exchange: Arc<Exchange>,
    link: Arc<Link>,
    owner: Owner,
}

impl GatewaySession {
    /// Takes over the gateway's session, with exactly the subscriptions that it asks for.
    pub(crate) fn open(exchange: &Arc<Exchange>, name: &str, gateway: &dyn Gateway) -> Self {
        let durable = gateway.is_durable();
        let Attached {
            link,
            owner,
            session_present,
            ..
        } = exchange.attach(Claim {
            client_id: &format!("{GATEWAY_PREFIX}{name}"),
            clean_start: !durable,
            expiry: if durable {
                DURABLE_EXPIRY
            } else {
                Duration::ZERO
            },
            inflight_messages_max: INFLIGHT_MESSAGES_MAX,
            keep_alive_millis: None,
            will: None,
        });
        let session = Self {
            exchange: Arc::clone(exchange),
            link,
            owner,
        };
        session.subscribe(&gateway.subscriptions());
        if session_present {
            let backlog = session.link.lock().session.backlog();
            tracing::info!(gateway = name, backlog, "the gateway resumes its session");
        }
        session
    }

    fn subscribe(&self, requests: &[SubscriptionRequest]) {
        let wanted: BTreeSet<&TopicFilter> = requests.iter().map(|it| &it.filter).collect();
        let known: Vec<TopicFilter> = self.link.lock().subscriptions.iter().cloned().collect();
        for filter in known.iter().filter(|filter| !wanted.contains(filter)) {
            self.exchange.unsubscribe(&self.link, filter);
        }
        for request in requests {
            let handling = if request.retained {
                RetainHandling::SendIfNew
            } else {
                RetainHandling::DoNotSend
            };
            let options = SubscriptionOptions {
                qos: request.qos,
                // What a gateway brought in must not go out through it again.
                no_local: true,
                retain_as_published: true,
                retain_handling: handling,
            };
            let filter = request.filter.clone();
            let made = self.exchange.subscribe(&self.link, filter, options, None);
            if made.is_none() {
                let (gateway, filter) = (&*self.link.client_id, &request.filter);
                tracing::error!(gateway, %filter, "another client has this filter exclusively");
            }
        }
    }
}

impl Drop for GatewaySession {
    fn drop(&mut self) {
        let ending = Ending {
            will: None,
            session_expiry: None,
        };
        self.exchange.detach(&self.link, self.owner, ending);
    }
}

impl Broker for GatewaySession {
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.exchange.store.poll_room(context)
    }

    fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        if message.byte_count() > self.exchange.limits.packet_bytes_max as usize {
            return Err(PublishError::TooLarge);
        }
        if self.exchange.is_full_for(&message) {
            count(&self.exchange.counters.refused);
            return Err(PublishError::QuotaExceeded);
        }
        let published = self
            .exchange
            .publish(message, Some(&self.link), Refusal::Silence);
        let published = published.map_err(|reason| {
            if reason == ReasonCode::QuotaExceeded {
                PublishError::QuotaExceeded
            } else {
                PublishError::NotAuthorized
            }
        })?;
        Ok(Receipt(published.outcome.position.0))
    }

    fn poll_stored(
        &self,
        receipt: Receipt,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotStored>> {
        self.exchange
            .store
            .poll_durable(Position(receipt.0), context)
            .map(Ok)
    }

    fn poll_deliveries(
        &self,
        count_max: usize,
        deliveries: &mut Vec<Delivery>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.link.lock().register(context.waker());
        self.exchange.refill(&self.link);
        let now = self.exchange.now();
        let before = deliveries.len();
        let mut expired = Vec::new();
        let mut state = self.link.lock();
        while deliveries.len() - before < count_max {
            let Some(outgoing) = state.session.next(now, &mut expired) else {
                break;
            };
            // A release is never sent: a gateway acknowledges in one step.
            let Outgoing::Publish {
                delivery,
                packet_id,
                ..
            } = outgoing
            else {
                continue;
            };
            deliveries.push(Delivery {
                id: DeliveryId(packet_id.into()),
                message: delivery.message,
                qos: delivery.qos,
                retain: delivery.retain,
            });
        }
        drop(state);
        self.exchange.forget_expired(&self.link, &expired);
        if deliveries.len() > before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn redeliver(&self) {
        self.link.lock().session.resume(INFLIGHT_MESSAGES_MAX);
    }

    fn acknowledge(&self, delivery: DeliveryId) {
        let Ok(packet_id) = u16::try_from(delivery.0) else {
            return;
        };
        if packet_id == 0 {
            return;
        }
        let mut state = self.link.lock();
        let outcome = state.session.inflight_mut().abandon(packet_id);
        // The window may have been full: whoever waits for deliveries looks again.
        let waker = state.notify();
        drop(state);
        waker.into_iter().for_each(std::task::Waker::wake);
        if let Acknowledged::Done(sequence) = outcome {
            self.link.forget(sequence, &self.exchange.store);
        }
    }
}
