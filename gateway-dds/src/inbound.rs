//! The thread that takes samples from DDS and turns them into messages.
//!
//! It ends in a bounded queue. When the broker is slow the thread waits, the readers' histories
//! fill up, and reliable writers have to wait in turn: the flood is slowed down at its source.

use std::sync::Arc;
use std::thread::JoinHandle;

use gateway::{DropReason, Fault, Status};
use mqtt::Message;
use tokio::sync::mpsc;

use crate::io::{DdsError, Participant, Reader, WaitSet};
use crate::rate_limit::RateLimit;
use crate::translation::ToMqtt;

/// Messages between the thread and the task that publishes them.
const QUEUE_MAX: usize = 1024;

/// Messages made from samples; dropping it ends the thread and deletes the readers.
#[derive(Debug)]
pub(crate) struct Inbound {
    messages: mpsc::Receiver<Message>,
    waitset: Arc<WaitSet>,
    thread: Option<JoinHandle<()>>,
}

impl Inbound {
    /// Starts the thread. Reader and rule at the same position belong together.
    pub(crate) fn start(
        label: Arc<str>,
        participant: &Arc<Participant>,
        readers: Vec<Reader>,
        rules: Vec<Arc<ToMqtt>>,
        status: Arc<Status>,
    ) -> Result<Self, Fault> {
        let waitset = WaitSet::new(participant, &readers);
        let waitset = Arc::new(waitset.map_err(|error| Fault(error.to_string()))?);
        let (sender, messages) = mpsc::channel(QUEUE_MAX);
        let worker = Worker {
            label,
            waitset: Arc::clone(&waitset),
            readers,
            rules,
            sender,
            status,
            limit: RateLimit::new(),
        };
        let thread = std::thread::Builder::new()
            .name("dds-read".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| Fault(format!("the DDS reading thread cannot start: {error}")))?;
        Ok(Self {
            messages,
            waitset,
            thread: Some(thread),
        })
    }

    /// Waits for at least one message and appends up to `count_max`; false once the thread has
    /// ended. Cancel safe.
    pub(crate) async fn receive(&mut self, count_max: usize, messages: &mut Vec<Message>) -> bool {
        self.messages.recv_many(messages, count_max).await > 0
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        // Both places where the thread may wait.
        self.messages.close();
        self.waitset.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the DDS reading thread panicked");
        }
    }
}

struct Worker {
    label: Arc<str>,
    waitset: Arc<WaitSet>,
    readers: Vec<Reader>,
    rules: Vec<Arc<ToMqtt>>,
    sender: mpsc::Sender<Message>,
    status: Arc<Status>,
    limit: RateLimit,
}

impl Worker {
    fn run(mut self) {
        loop {
            match self.round() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!("the DDS reading thread ends: {error}");
                    return;
                }
            }
        }
    }

    /// One batch of each reader that has something; false if the gateway is being stopped.
    fn round(&mut self) -> Result<bool, DdsError> {
        let Some(ready) = self.waitset.wait()? else {
            return Ok(false);
        };
        for index in ready {
            let (Some(reader), Some(rule)) = (self.readers.get(index), self.rules.get(index))
            else {
                continue;
            };
            for trouble in reader.troubles() {
                if let Some(left_out) = self.limit.admit() {
                    tracing::warn!(dds_topic = reader.topic(), left_out, "{trouble}");
                }
            }
            let taken = reader.take()?;
            if taken.notices > 0 {
                let dds_topic = reader.topic();
                tracing::debug!(dds_topic, notices = taken.notices, "instances ended");
            }
            let rule = Arc::clone(rule);
            for sample in taken.samples {
                if !self.forward(&rule, &sample) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn forward(&self, rule: &ToMqtt, sample: &[u8]) -> bool {
        match rule.message(sample) {
            Ok(message) => self.sender.blocking_send(message).is_ok(),
            Err(error) => {
                let error = format_args!("of the DDS topic {}: {error}", rule.dds_topic());
                self.status
                    .report_drop(&self.label, DropReason::Malformed, &error);
                true
            }
        }
    }
}
