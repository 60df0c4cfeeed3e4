//! The retained messages (§3.3.1.3): the last one of each topic that asked to be kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqtt::{Message, NameTree, Timestamp, TopicFilter, TopicName};

type Messages = NameTree<Arc<Message>>;

/// The retained messages, shared by all.
#[derive(Debug)]
pub(crate) struct Retained {
    published: RwLock<Messages>,
    /// What the daemon says of itself; it takes no room from what is published.
    announced: RwLock<Messages>,
    /// No message expires before this, in milliseconds.
    next_expiry: AtomicU64,
}

impl Retained {
    pub(crate) fn new() -> Self {
        Self {
            published: RwLock::default(),
            announced: RwLock::default(),
            next_expiry: AtomicU64::new(u64::MAX),
        }
    }

    /// Where topics are that begin like this name or filter.
    fn of(&self, text: &str) -> &RwLock<Messages> {
        if text.split('/').next() == Some("$SYS") {
            &self.announced
        } else {
            &self.published
        }
    }

    /// Sets the message of a topic, or removes it. `submit` tells the store, which so sees the
    /// changes of each topic in their order. None if a new topic is one too many.
    pub(crate) fn set<R>(
        &self,
        topic: &TopicName,
        message: Option<Arc<Message>>,
        count_max: usize,
        submit: impl FnOnce() -> R,
    ) -> Option<R> {
        let mut messages = write(self.of(topic.as_str()));
        if let Some(message) = message {
            if messages.len() >= count_max && messages.get(topic).is_none() {
                return None;
            }
            if let Some(at) = message.expires_at {
                self.next_expiry
                    .fetch_min(at.as_millis(), Ordering::Relaxed);
            }
            messages.insert(topic.clone(), message);
        } else {
            messages.remove(topic);
        }
        Some(submit())
    }

    /// Gives `visit` up to `count` messages whose topics `filter` matches, in the order of
    /// topics, after the given one. None of them is replaced before it returns.
    pub(crate) fn visit<R>(
        &self,
        filter: &TopicFilter,
        after: Option<&TopicName>,
        count: usize,
        visit: impl FnOnce(Vec<Arc<Message>>) -> R,
    ) -> R {
        let messages = read(self.of(filter.pattern()));
        let found = messages.matches(filter, after).take(count);
        visit(found.map(|(_, message)| Arc::clone(message)).collect())
    }

    /// Removes what has expired; `submit` tells the store.
    pub(crate) fn remove_expired(&self, now: Timestamp, submit: impl Fn(&TopicName)) {
        if now.as_millis() < self.next_expiry.load(Ordering::Relaxed) {
            return;
        }
        let mut messages = write(&self.published);
        let mut next = u64::MAX;
        messages.retain(|topic, message| {
            let is_expired = message.is_expired(now);
            if is_expired {
                submit(topic);
            } else if let Some(at) = message.expires_at {
                next = next.min(at.as_millis());
            }
            !is_expired
        });
        self.next_expiry.store(next, Ordering::Relaxed);
    }

    /// How many there are, with those that the daemon announced.
    pub(crate) fn count(&self) -> usize {
        read(&self.published).len() + read(&self.announced).len()
    }
}

fn read(lock: &RwLock<Messages>) -> RwLockReadGuard<'_, Messages> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(lock: &RwLock<Messages>) -> RwLockWriteGuard<'_, Messages> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
