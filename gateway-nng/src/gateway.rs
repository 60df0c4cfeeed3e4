//! The gateway's life: opens the sockets, moves messages both ways, reports.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use gateway::{Client, ConfigError, DropReason, Fault, Gateway, LinkState, RunFuture, Status};
use gateway::{Delivery, SubscriptionRequest};

use crate::config::Config;
use crate::io::{IoError, Publisher, Subscriber, Watch};
use crate::translation::Translation;

/// Messages moved before the other direction gets its turn.
const BATCH_MAX: usize = 256;

/// An NNG gateway.
#[derive(Debug)]
pub struct NngGateway {
    bridge: Arc<Bridge>,
}

#[derive(Debug)]
struct Bridge {
    /// The gateway's name in the log.
    label: String,
    config: Config,
    translation: Translation,
}

impl NngGateway {
    /// Checks the configuration and compiles its rules; touches no socket.
    ///
    /// # Errors
    /// The first key that cannot work, and why.
    pub fn new(name: &str, config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let translation = Translation::new(name, &config)?;
        let label = format!("nng/{name}");
        let bridge = Arc::new(Bridge {
            label,
            config,
            translation,
        });
        Ok(Self { bridge })
    }
}

impl Gateway for NngGateway {
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
            never = self.watch(subscriber, publisher, status) => match never {},
        }
    }

    async fn open_subscriber(&self) -> Result<Option<Subscriber>, IoError> {
        if self.config.to_mqtt.is_empty() {
            return Ok(None);
        }
        let socket = &self.config.subscribe;
        let prefixes = self.translation.prefixes();
        let subscriber = Subscriber::open(
            &socket.dial,
            &socket.listen,
            &prefixes,
            socket.receive_buffer_messages,
            self.config.message_bytes_max,
        );
        subscriber.await.map(Some)
    }

    async fn open_publisher(&self) -> Result<Option<Publisher>, IoError> {
        if self.config.from_mqtt.is_empty() {
            return Ok(None);
        }
        let socket = &self.config.publish;
        let publisher = Publisher::open(&socket.dial, &socket.listen, socket.send_buffer_messages);
        publisher.await.map(Some)
    }

    /// Moves messages from NNG to MQTT.
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
            for message in batch.drain(..) {
                self.publish(&message, client, status).await;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn publish(&self, message: &Bytes, client: &Client, status: &Status) {
        let message = match self.translation.received(message) {
            Ok(message) => message,
            Err(error) => return status.report_drop(&self.label, error.reason(), &error),
        };
        match client.publish(message).await {
            Ok(_receipt) => status.counters.count_received(1),
            Err(error) => status.report_drop(&self.label, DropReason::Refused, &error),
        }
    }

    /// Moves messages from MQTT to NNG.
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
                    Ok(message) => {
                        publisher.send(&message)?;
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
    ) -> Infallible {
        let subscriber = subscriber.map(Subscriber::watch);
        let publisher = publisher.map(Publisher::watch);
        loop {
            let mut watches = [&subscriber, &publisher].into_iter().flatten();
            let missing = watches.find_map(Watch::missing);
            status.report_link(&self.label, LinkState::from_missing(missing));
            tokio::select! {
                () = changed(subscriber.as_ref()) => {}
                () = changed(publisher.as_ref()) => {}
            }
        }
    }
}

async fn changed(watch: Option<&Watch<'_>>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}
