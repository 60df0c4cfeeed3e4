//! The bridge's life: connect, serve, reconnect.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gateway::{
    Backoff, Client, ConfigError, Delivery, DeliveryId, DropReason, Fault, Gateway, LinkState,
    Receipt, RunFuture, Status, SubscriptionRequest,
};
use mqtt::Timestamp;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::io::{Hub, HubError, Incoming, Outcome, Sent};
use crate::site::Site;
use crate::translation::{BrokerId, Translation};

/// Deliveries taken from the outbox at a time.
const BATCH: usize = 64;
/// The cap of the first pause after a failed attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// One bridge to one hub.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The bridge's name in the log.
    label: String,
    config: Config,
    translation: Translation,
}

impl Bridge {
    /// Checks the configuration and compiles its rules; touches no socket.
    ///
    /// # Errors
    /// The first key that cannot work, and why.
    pub fn new(name: &str, config: Config) -> Result<Self, ConfigError> {
        Self::of_broker(name, config, None)
    }

    /// Like [`Bridge::new`]; what goes to the hub is marked with the identifier of the broker, and
    /// what comes back with it is dropped.
    ///
    /// # Errors
    /// As [`Bridge::new`].
    pub fn of_broker(
        name: &str,
        config: Config,
        broker: Option<BrokerId>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let site = Site::here(name);
        let translation = Translation::new(&site, &config, broker)?;
        Ok(Self {
            shared: Arc::new(Shared {
                label: format!("bridge/{name}"),
                config: config.placed(&site)?,
                translation,
            }),
        })
    }
}

impl Gateway for Bridge {
    fn subscriptions(&self) -> Vec<SubscriptionRequest> {
        self.shared.translation.local_subscriptions()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn run(&self, client: Client, status: Arc<Status>) -> RunFuture {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match shared.run(&client, &status).await {
                Ok(never) => match never {},
                Err(error) => Fault(error.to_string()),
            }
        })
    }
}

impl Shared {
    async fn run(&self, client: &Client, status: &Status) -> Result<Infallible, HubError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, self.config.backoff_max.0, seed());
        loop {
            let error = match Hub::connect(&self.config).await {
                Ok((hub, incoming)) => {
                    backoff.reset();
                    status.report_link(&self.label, LinkState::Up);
                    client.redeliver(gateway::INFLIGHT_MESSAGES_MAX);
                    let Err(error) = self.serve(&hub, incoming, client, status).await;
                    error
                }
                Err(error) => error,
            };
            let server = &self.config.server;
            let state = LinkState::Down(format!("not connected to {server}: {error}"));
            status.report_link(&self.label, state);
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    async fn serve(
        &self,
        hub: &Hub,
        incoming: mpsc::Receiver<Incoming>,
        client: &Client,
        status: &Status,
    ) -> Result<Infallible, HubError> {
        for request in self.translation.remote_subscriptions() {
            hub.subscribe(&request.filter, request.qos).await?;
        }
        tokio::select! {
            error = hub.drive() => Err(error),
            result = self.forward(hub, client, status) => result,
            result = self.receive(hub, incoming, client, status) => result,
        }
    }

    /// Sends the outbox to the hub, and forgets what the hub has acknowledged.
    async fn forward(
        &self,
        hub: &Hub,
        client: &Client,
        status: &Status,
    ) -> Result<Infallible, HubError> {
        let window = usize::from(self.config.max_inflight);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        let mut batch = Vec::new();
        loop {
            let room = window.saturating_sub(pending.len()).min(BATCH);
            tokio::select! {
                // Without a bias one direction could starve the other's wake-ups.
                outcome = first(&mut pending), if !pending.is_empty() => {
                    let outcome = outcome?;
                    let Some(done) = pending.pop_front() else { continue };
                    self.finish(&done, &outcome, client, status);
                }
                () = client.receive(room, &mut batch), if room > 0 => {
                    for delivery in batch.drain(..) {
                        let sent = self.send(hub, &delivery, client, status).await?;
                        pending.extend(sent);
                    }
                }
            }
        }
    }

    /// Hands one delivery to the client library, once for each rule; none if it is done at once.
    async fn send(
        &self,
        hub: &Hub,
        delivery: &Delivery,
        client: &Client,
        status: &Status,
    ) -> Result<Option<Pending>, HubError> {
        let mut sent = Vec::new();
        let mut forwarded = Vec::new();
        if let Err(error) = self.translation.forward(delivery, now(), &mut forwarded) {
            status.report_drop(&self.label, error.reason(), &error);
        }
        for message in forwarded {
            if hub.fits(&message) {
                sent.push(hub.publish(message).await?);
            } else {
                let error = "the hub does not accept a packet of this size";
                status.report_drop(&self.label, DropReason::NoRoom, &error);
            }
        }
        if sent.is_empty() {
            client.acknowledge(delivery.id);
            return Ok(None);
        }
        Ok(Some(Pending {
            id: delivery.id,
            sent,
        }))
    }

    fn finish(&self, done: &Pending, outcome: &Outcome, client: &Client, status: &Status) {
        match outcome {
            Outcome::Acknowledged => status.counters.count_sent(1),
            Outcome::Refused(reason) => {
                let error = format!("the hub refused it: {reason}");
                status.report_drop(&self.label, DropReason::Refused, &error);
            }
        }
        client.acknowledge(done.id);
    }

    /// Publishes here what comes from the hub, and acknowledges it there once it is stored.
    async fn receive(
        &self,
        hub: &Hub,
        mut incoming: mpsc::Receiver<Incoming>,
        client: &Client,
        status: &Status,
    ) -> Result<Infallible, HubError> {
        let mut unstored: VecDeque<(Receipt, Incoming)> = VecDeque::new();
        loop {
            let oldest = unstored.front().map(|(receipt, _)| *receipt);
            tokio::select! {
                stored = client.stored(oldest.unwrap_or_default()), if oldest.is_some() => {
                    let Some((_, message)) = unstored.pop_front() else { continue };
                    if stored.is_ok() {
                        hub.acknowledge(message).await?;
                    }
                }
                message = incoming.recv() => {
                    // The channel ends with the connection, which `drive` reports.
                    let Some(message) = message else { return Err(HubError::Closed) };
                    let receipt = self.publish(&message, client, status).await;
                    unstored.push_back((receipt, message));
                }
            }
        }
    }

    /// Publishes a message from the hub; what cannot be published is counted and done with.
    async fn publish(&self, message: &Incoming, client: &Client, status: &Status) -> Receipt {
        let message = match self.translation.receive(message.received(), now()) {
            Ok(message) => message,
            Err(error) => {
                status.report_drop(&self.label, error.reason(), &error);
                return Receipt::default();
            }
        };
        match client.publish(message).await {
            Ok(receipt) => {
                status.counters.count_received(1);
                receipt
            }
            Err(error) => {
                status.report_drop(&self.label, DropReason::Refused, &error);
                Receipt::default()
            }
        }
    }
}

/// A delivery that the hub has not acknowledged: every message that was made of it.
struct Pending {
    id: DeliveryId,
    sent: Vec<Sent>,
}

/// Waits until the oldest delivery is acknowledged. Cancel safe.
async fn first(pending: &mut VecDeque<Pending>) -> Result<Outcome, HubError> {
    let Some(oldest) = pending.front_mut() else {
        return std::future::pending().await;
    };
    let mut outcome = Outcome::Acknowledged;
    for sent in &mut oldest.sent {
        if let Outcome::Refused(reason) = sent.outcome().await? {
            outcome = Outcome::Refused(reason);
        }
    }
    Ok(outcome)
}

/// Different on every gateway of a fleet, so that they do not all come back at once.
fn seed() -> u64 {
    u64::from(since_epoch().subsec_nanos()) << 32 | u64::from(std::process::id())
}

fn now() -> Timestamp {
    Timestamp::default().after(since_epoch())
}

/// The wall clock, which is what the daemon's clock begins with.
fn since_epoch() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
