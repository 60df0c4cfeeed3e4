//! The thread that turns messages into samples and writes them to DDS.
//!
//! A reliable write waits for peers that do not keep up, which must not hold up the runtime. All
//! writers of a gateway share the thread: while one waits, the others do too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use gateway::{Client, Delivery, DropReason, Fault, Status};
use mqtt::TopicFilter;
use tokio::sync::mpsc;

use crate::io::{DdsError, Writer};
use crate::translation::{self, PayloadError};
use crate::type_tree::Structure;

/// Deliveries between the task that receives them and the thread.
const QUEUE_MAX: usize = 256;

/// One rule with its writer.
#[derive(Debug)]
pub(crate) struct OutboundRule {
    pub(crate) filter: TopicFilter,
    pub(crate) structure: Arc<Structure>,
    pub(crate) writer: Writer,
    /// Bytes of the largest sample; the DDS stack would drop a larger one without an error.
    pub(crate) sample_bytes_max: usize,
}

/// Takes deliveries and acknowledges each once it is written or dropped; dropping this ends the
/// thread and deletes the writers. What is still queued then is not acknowledged.
#[derive(Debug)]
pub(crate) struct Outbound {
    deliveries: Option<mpsc::Sender<Delivery>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The thread has ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl Outbound {
    /// Starts the thread.
    pub(crate) fn start(
        label: Arc<str>,
        rules: Vec<OutboundRule>,
        client: Client,
        status: Arc<Status>,
    ) -> Result<Self, Fault> {
        let (sender, deliveries) = mpsc::channel(QUEUE_MAX);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            label,
            rules,
            client,
            status,
            is_stopped: Arc::clone(&is_stopped),
        };
        let thread = std::thread::Builder::new()
            .name("dds-write".to_owned())
            .spawn(move || worker.run(deliveries))
            .map_err(|error| Fault(format!("the DDS writing thread cannot start: {error}")))?;
        Ok(Self {
            deliveries: Some(sender),
            is_stopped,
            thread: Some(thread),
        })
    }

    /// Queues a delivery, waiting for room.
    pub(crate) async fn send(&self, delivery: Delivery) -> Result<(), Ended> {
        let sender = self.deliveries.as_ref().ok_or(Ended)?;
        sender.send(delivery).await.map_err(|_| Ended)
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.deliveries = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the DDS writing thread panicked");
        }
    }
}

struct Worker {
    label: Arc<str>,
    rules: Vec<OutboundRule>,
    client: Client,
    status: Arc<Status>,
    is_stopped: Arc<AtomicBool>,
}

/// Why a message was not written.
#[derive(Debug, thiserror::Error)]
enum WriteFailure {
    #[error("no rule applies")]
    NoRule,
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("the sample has {0} bytes, more than `sample_bytes_max`")]
    TooLarge(usize),
    #[error(transparent)]
    Dds(#[from] DdsError),
}

impl WriteFailure {
    const fn reason(&self) -> DropReason {
        match self {
            Self::NoRule => DropReason::Unmapped,
            Self::Payload(_) | Self::TooLarge(_) => DropReason::Untranslatable,
            Self::Dds(_) => DropReason::NoRoom,
        }
    }
}

impl Worker {
    fn run(self, mut deliveries: mpsc::Receiver<Delivery>) {
        while let Some(delivery) = deliveries.blocking_recv() {
            if self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
            self.write(&delivery);
            self.client.acknowledge(delivery.id);
        }
    }

    /// Writes the sample of the first rule whose filter matches.
    fn write(&self, delivery: &Delivery) {
        let message = &*delivery.message;
        let topic = message.topic.as_str();
        let mut rules = self.rules.iter();
        let result = match rules.find(|rule| rule.filter.matches(topic)) {
            Some(rule) => rule.write(&message.payload),
            None => Err(WriteFailure::NoRule),
        };
        match result {
            Ok(()) => self.status.counters.count_sent(1),
            Err(failure) => {
                let error = format_args!("of the topic {topic}: {failure}");
                self.status
                    .report_drop(&self.label, failure.reason(), &error);
            }
        }
    }
}

impl OutboundRule {
    fn write(&self, payload: &[u8]) -> Result<(), WriteFailure> {
        let encoding = self.writer.encoding();
        let sample = translation::sample(&self.structure, encoding, payload)?;
        if sample.len() > self.sample_bytes_max {
            return Err(WriteFailure::TooLarge(sample.len()));
        }
        Ok(self.writer.write(&sample)?)
    }
}
