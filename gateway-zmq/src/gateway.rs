//! The gateway's life: opens the sockets, moves messages both ways, reports.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use gateway::{Client, ConfigError, DropReason, Fault, Gateway, LinkState, RunFuture, Status};
use gateway::{Delivery, SubscriptionRequest};
use tracing::warn;

use crate::config::Config;
use crate::io::{Frames, IoError, Publisher, Subscriber, Watch};
use crate::translation::Translation;

/// Messages moved before the other direction gets its turn.
const BATCH_MAX: usize = 256;

/// A `ZeroMQ` gateway.
#[derive(Debug)]
pub struct ZmqGateway {
    bridge: Arc<Bridge>,
}

#[derive(Debug)]
struct Bridge {
    /// The gateway's name in the log.
    label: String,
    config: Config,
    translation: Translation,
}

impl ZmqGateway {
    /// Checks the configuration and compiles its rules; touches no socket.
    ///
    /// # Errors
    /// The first key that cannot work, and why.
    pub fn new(name: &str, config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let translation = Translation::new(name, &config)?;
        let label = format!("zmq/{name}");
        let bridge = Arc::new(Bridge {
            label,
            config,
            translation,
        });
        Ok(Self { bridge })
    }
}

impl Gateway for ZmqGateway {
    fn subscriptions(&self) -> Vec<SubscriptionRequest> {
        self.bridge.translation.subscriptions()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn run(&self, client: Client, status: Arc<Status>) -> RunFuture {
        let bridge = Arc::clone(&self.bridge);
        Box::pin(async move {
            let Err(error) = bridge.serve(&client, &status).await;
            let sentence = error.to_string();
            status.set_link(LinkState::Down(sentence.clone()));
            Fault(sentence)
        })
    }
}

impl Bridge {
    async fn serve(&self, client: &Client, status: &Status) -> Result<Infallible, IoError> {
        status.set_link(LinkState::Starting);
        let subscriber = self.open_subscriber().await?;
        let publisher = self.open_publisher().await?;
        let (subscriber, publisher) = (subscriber.as_ref(), publisher.as_ref());
        tokio::select! {
            result = self.receive(subscriber, client, status) => result,
            result = self.send(publisher, client, status) => result,
            result = self.watch(subscriber, publisher, status) => result,
        }
    }

    async fn open_subscriber(&self) -> Result<Option<Subscriber>, IoError> {
        if self.config.to_mqtt.is_empty() {
            return Ok(None);
        }
        let socket = &self.config.subscribe;
        let prefixes = self.translation.prefixes();
        let subscriber = Subscriber::open(
            &socket.connect,
            &socket.bind,
            &prefixes,
            socket.receive_high_water_mark,
            self.config.message_bytes_max,
        );
        subscriber.await.map(Some)
    }

    async fn open_publisher(&self) -> Result<Option<Publisher>, IoError> {
        if self.config.from_mqtt.is_empty() {
            return Ok(None);
        }
        let socket = &self.config.publish;
        let publisher = Publisher::open(&socket.connect, &socket.bind, socket.send_high_water_mark);
        publisher.await.map(Some)
    }

    /// Moves messages from `ZeroMQ` to MQTT.
    async fn receive(
        &self,
        subscriber: Option<&Subscriber>,
        client: &Client,
        status: &Status,
    ) -> Result<Infallible, IoError> {
        let Some(subscriber) = subscriber else {
            return pending().await;
        };
        let mut batch = Vec::new();
        loop {
            subscriber.receive(BATCH_MAX, &mut batch).await?;
            for frames in batch.drain(..) {
                self.publish(&frames, client, status).await;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn publish(&self, frames: &Frames, client: &Client, status: &Status) {
        let messages = match self.translation.received(frames) {
            Ok(messages) => messages,
            Err(error) => return status.report_drop(&self.label, error.reason(), &error),
        };
        for message in messages {
            match client.publish(message).await {
                Ok(_receipt) => status.counters.count_received(1),
                Err(error) => status.report_drop(&self.label, DropReason::Refused, &error),
            }
        }
    }

    /// Moves messages from MQTT to `ZeroMQ`.
    async fn send(
        &self,
        publisher: Option<&Publisher>,
        client: &Client,
        status: &Status,
    ) -> Result<Infallible, IoError> {
        let Some(publisher) = publisher else {
            return pending().await;
        };
        let mut batch: Vec<Delivery> = Vec::new();
        loop {
            client.receive(BATCH_MAX, &mut batch).await;
            for delivery in batch.drain(..) {
                match self.translation.sent(&delivery.message) {
                    Ok(frames) => {
                        publisher.send(frames).await?;
                        status.counters.count_sent(1);
                    }
                    Err(error) => status.report_drop(&self.label, error.reason(), &error),
                }
                client.acknowledge(delivery.id);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Keeps the link state up to date.
    async fn watch(
        &self,
        subscriber: Option<&Subscriber>,
        publisher: Option<&Publisher>,
        status: &Status,
    ) -> Result<Infallible, IoError> {
        let mut subscriber = subscriber.map(Subscriber::watch);
        let mut publisher = publisher.map(Publisher::watch);
        let mut disconnected: u64 = 0;
        loop {
            let missing = match missing(subscriber.as_mut()).await? {
                None => missing(publisher.as_mut()).await?,
                missing => missing,
            };
            status.report_link(&self.label, LinkState::from_missing(missing));
            let error = tokio::select! {
                result = changed(subscriber.as_mut()) => result?,
                result = changed(publisher.as_mut()) => result?,
            };
            if let Some(error) = error {
                disconnected += 1;
                // A peer that comes back with the same mistake must not fill the log.
                if disconnected.is_power_of_two() {
                    let gateway = &self.label;
                    warn!(gateway, error, disconnected, "peer disconnected");
                }
            }
        }
    }
}

async fn missing(watch: Option<&mut Watch<'_>>) -> Result<Option<String>, IoError> {
    match watch {
        Some(watch) => watch.missing().await,
        None => Ok(None),
    }
}

async fn changed(watch: Option<&mut Watch<'_>>) -> Result<Option<String>, IoError> {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}
