//! Delayed messages: what is published to `$delayed/{seconds}/{topic}` is published to `{topic}`
//! when so many seconds have passed. They are in the store like retained ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mqtt::{Message, QoS, ReasonCode, Timestamp, TopicName};
use persistence::{DelayedMessage, Operation};

use crate::exchange::{Exchange, Outcome, Published, Refusal};

const PREFIX: &str = "$delayed/";

/// The messages that wait, by when they are due.
#[derive(Debug)]
pub(crate) struct Delayed {
    waiting: Mutex<BTreeMap<(Timestamp, u64), Arc<Message>>>,
    messages_max: Option<usize>,
}

impl Delayed {
    pub(crate) fn new(messages_max: Option<usize>) -> Self {
        Self {
            waiting: Mutex::default(),
            messages_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Timestamp, u64), Arc<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// True if a topic asks for a delay, and there may be delays.
    pub(crate) fn is_asked_for(&self, topic: &TopicName) -> bool {
        self.messages_max.is_some() && topic.as_str().starts_with(PREFIX)
    }

    /// The delay that a message asks for, and the message that is then due; none if it is to go
    /// at once.
    ///
    /// # Errors
    /// The topic asks for a delay that is no number of seconds, or has no topic behind it.
    pub(crate) fn of(&self, message: &Message) -> Result<Option<(Duration, Message)>, ReasonCode> {
        let asked = message.topic.as_str().strip_prefix(PREFIX);
        let Some(asked) = asked.filter(|_| self.messages_max.is_some()) else {
            return Ok(None);
        };
        let invalid = ReasonCode::TopicNameInvalid;
        let (seconds, topic) = asked.split_once('/').ok_or(invalid)?;
        let seconds: u32 = seconds.parse().map_err(|_| invalid)?;
        let topic = TopicName::new(topic).map_err(|_| invalid)?;
        if topic.is_system() {
            return Err(ReasonCode::NotAuthorized);
        }
        let message = Message {
            topic,
            ..message.clone()
        };
        Ok(Some((Duration::from_secs(seconds.into()), message)))
    }
}

impl Exchange {
    /// Keeps a message until it is due.
    ///
    /// # Errors
    /// As many wait as may wait.
    pub(crate) fn delay(&self, delay: Duration, message: Message) -> Result<Published, ReasonCode> {
        let due = self.clock.after(delay);
        let id = self.store.next_delayed_id();
        let message = Arc::new(message);
        let storing = self.storing(&message);
        let durability = storing.durability;
        let mut waiting = self.delayed.lock();
        if waiting.len() >= self.delayed.messages_max.unwrap_or(0) {
            return Err(ReasonCode::QuotaExceeded);
        }
        waiting.insert((due, id), Arc::clone(&message));
        drop(waiting);
        // QoS 0 promises nothing.
        let mut outcome = Outcome::default();
        if message.qos != QoS::AtMostOnce {
            let position = storing.submit(Operation::Delay { id, due, message });
            outcome.wait_for(storing.awaited(position));
        }
        // It is not known yet who will subscribe.
        Ok(Published {
            outcome,
            subscribers: 1,
            durability,
            is_unretained: false,
        })
    }

    /// Puts back the delayed messages that the store knew.
    pub(crate) fn recover_delayed(&self, recovered: Vec<DelayedMessage>) {
        let entries = recovered.into_iter();
        let entries = entries.map(|DelayedMessage { id, due, message }| ((due, id), message));
        self.delayed.lock().extend(entries);
    }

    /// Publishes the delayed messages that are due.
    pub(crate) fn release_delayed(&self) {
        let now = self.now();
        loop {
            let mut waiting = self.delayed.lock();
            let Some(first) = waiting.first_entry().filter(|it| it.key().0 <= now) else {
                return;
            };
            let ((_, id), message) = first.remove_entry();
            drop(waiting);
            let is_stored = message.qos.is_acknowledged();
            // In one commit with what routing stores, so that a crash neither loses nor repeats it.
            let _together = is_stored.then(|| self.store.hold());
            // Its publisher has had its answer.
            self.route(message, None, Refusal::Silence).ok();
            if is_stored {
                self.store.submit(Operation::Undelay(id));
            }
        }
    }
}
