//! The retained messages (§3.3.1.3): the last one of each topic that asked to be kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mqtt::{Message, NameTree, Timestamp, TopicFilter, TopicName};

use crate::exchange::Refusal;

/// Messages by their topics, and what they come to.
#[derive(Debug, Default)]
struct Messages {
    tree: NameTree<Arc<Message>>,
    /// Bytes of their topics, payloads and properties.
    bytes: usize,
}

/// Names that are looked at for one piece of an answer. Nobody retains a message meanwhile.
const LOOKS_MAX: usize = 1_024;

/// A part of the messages that a filter matches.
#[derive(Debug)]
pub(crate) struct Piece {
    /// In the order of their topics.
    pub(crate) messages: Vec<Arc<Message>>,
    /// The topic behind which there may be more; none if this was the last piece.
    pub(crate) reached: Option<TopicName>,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetainedLimits {
    /// Messages altogether; further topics have none.
    pub(crate) messages_max: usize,
    /// Bytes of the payload of one message.
    pub(crate) payload_bytes_max: usize,
    /// Bytes of the topics, payloads and properties of all of them.
    pub(crate) bytes_max: usize,
}

impl RetainedLimits {
    /// No limits.
    pub(crate) const NONE: Self = Self {
        messages_max: usize::MAX,
        payload_bytes_max: usize::MAX,
        bytes_max: usize::MAX,
    };
}

impl RetainedLimits {
    /// True if a message fits, were there no others.
    pub(crate) fn may_hold(&self, message: &Message) -> bool {
        message.payload.len() <= self.payload_bytes_max && message.byte_count() <= self.bytes_max
    }
}

impl Messages {
    fn remove(&mut self, topic: &TopicName) -> bool {
        let removed = self.tree.remove(topic);
        self.bytes -= removed.as_ref().map_or(0, |it| it.byte_count());
        removed.is_some()
    }

    fn insert(&mut self, message: Arc<Message>) {
        self.remove(&message.topic);
        self.bytes += message.byte_count();
        self.tree.insert(message);
    }

    /// Whether a message can take the place of the one before it, if there is one.
    fn has_room(&self, message: &Message, limits: &RetainedLimits) -> bool {
        let before = self.tree.get(&message.topic);
        let others = self.bytes - before.map_or(0, |it| it.byte_count());
        limits.may_hold(message)
            && others + message.byte_count() <= limits.bytes_max
            && (before.is_some() || self.tree.len() < limits.messages_max)
    }
}

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

    /// Sets the message of a topic; one without a payload removes it, and so does one that finds
    /// no room and whose publisher cannot be told: the one before is not the last any more.
    /// `submit` tells the store what is kept, which so sees the changes of each topic in their
    /// order.
    ///
    /// # Errors
    /// There is no room. It has what `submit` returned, if there was one before that is removed.
    pub(crate) fn set<R>(
        &self,
        message: &Arc<Message>,
        limits: &RetainedLimits,
        refusal: Refusal,
        submit: impl FnOnce(Option<Arc<Message>>) -> R,
    ) -> Result<R, Option<R>> {
        let mut messages = write(self.of(message.topic.as_str()));
        if message.payload.is_empty() {
            messages.remove(&message.topic);
            return Ok(submit(None));
        }
        if !messages.has_room(message, limits) {
            // It is not published, so the one before is still the last.
            if refusal == Refusal::Answer {
                return Err(None);
            }
            let was_there = messages.remove(&message.topic);
            return Err(was_there.then(|| submit(None)));
        }
        if let Some(at) = message.expires_at {
            self.next_expiry
                .fetch_min(at.as_millis(), Ordering::Relaxed);
        }
        messages.insert(Arc::clone(message));
        Ok(submit(Some(Arc::clone(message))))
    }

    /// The message of exactly this topic.
    pub(crate) fn get(&self, topic: &TopicName) -> Option<Arc<Message>> {
        read(self.of(topic.as_str())).tree.get(topic).cloned()
    }

    /// Gives `visit` up to `count` messages whose topics `filter` matches, in the order of
    /// topics, after the given one; none of them is replaced before it returns. There may be none,
    /// and more behind them all the same.
    pub(crate) fn visit<R>(
        &self,
        filter: &TopicFilter,
        after: Option<&TopicName>,
        count: usize,
        visit: impl FnOnce(Piece) -> R,
    ) -> R {
        let retained = read(self.of(filter.pattern()));
        let mut messages = Vec::new();
        let mut looks = 0;
        let mut reached = None;
        for (message, is_match) in retained.tree.search(filter, after) {
            messages.extend(is_match.then(|| Arc::clone(message)));
            looks += 1;
            if looks == LOOKS_MAX || messages.len() == count {
                reached = Some(message.topic.clone());
                break;
            }
        }
        visit(Piece { messages, reached })
    }

    /// False if no message is there for a filter at this moment. For one with wildcards, what may
    /// be there is not looked for.
    pub(crate) fn may_match(&self, filter: &TopicFilter) -> bool {
        let tree = &read(self.of(filter.pattern())).tree;
        if filter.has_wildcard() {
            !tree.is_empty()
        } else {
            tree.matches(filter, None).next().is_some()
        }
    }

    /// Removes what has expired; `submit` tells the store.
    pub(crate) fn remove_expired(&self, now: Timestamp, submit: impl Fn(&TopicName)) {
        if now.as_millis() < self.next_expiry.load(Ordering::Relaxed) {
            return;
        }
        let mut messages = write(&self.published);
        let Messages { tree, bytes } = &mut *messages;
        let mut next = u64::MAX;
        tree.retain(|message| {
            let is_expired = message.is_expired(now);
            if is_expired {
                *bytes -= message.byte_count();
                submit(&message.topic);
            } else if let Some(at) = message.expires_at {
                next = next.min(at.as_millis());
            }
            !is_expired
        });
        self.next_expiry.store(next, Ordering::Relaxed);
    }

    /// How many there are, with those that the daemon announced.
    pub(crate) fn count(&self) -> usize {
        read(&self.published).tree.len() + read(&self.announced).tree.len()
    }
}

fn read(lock: &RwLock<Messages>) -> RwLockReadGuard<'_, Messages> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(lock: &RwLock<Messages>) -> RwLockWriteGuard<'_, Messages> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: &str) -> Arc<Message> {
        let topic = TopicName::new(topic).unwrap();
        Arc::new(Message::new(topic, payload.to_owned()))
    }

    #[test]
    fn all_messages_together_have_a_bound_of_bytes() {
        let retained = Retained::new();
        let limits = RetainedLimits {
            bytes_max: 2 * ("r/1".len() + 10),
            ..RetainedLimits::NONE
        };
        let set_or = |refusal, topic: &str, payload: &str| {
            let kept = |it: Option<Arc<Message>>| it.map(|it| it.payload.clone());
            retained.set(&message(topic, payload), &limits, refusal, kept)
        };
        let set = |topic: &str, payload: &str| set_or(Refusal::Silence, topic, payload);
        let kept = |payload: &'static str| Ok(Some(payload.into()));
        assert_eq!(set("r/1", "0123456789"), kept("0123456789"));
        assert_eq!(set("r/2", "0123456789"), kept("0123456789"));
        assert_eq!(set("r/3", "x"), Err(None), "there is no room");
        // What is replaced makes room.
        assert_eq!(set("r/2", "9876543210"), kept("9876543210"));
        assert_eq!(set("r/2", "123456"), kept("123456"));
        assert_eq!(set("r/3", "x"), kept("x"));
        // Who is told keeps his message, and the one before is the last.
        assert_eq!(set_or(Refusal::Answer, "r/2", "1234567"), Err(None));
        assert_eq!(retained.count(), 3);
        // The one before is not the last any more.
        assert_eq!(set("r/2", "1234567"), Err(Some(None)));
        assert_eq!(retained.count(), 2);
        assert_eq!(set("r/1", ""), Ok(None));
        assert_eq!(set("r/2", "0123456789"), kept("0123456789"));
        assert_eq!(set("r/4", "123456"), kept("123456"));
        assert_eq!(set("r/5", ""), Ok(None), "nothing takes no room");
        // The daemon's own messages take no room.
        assert_eq!(set("$SYS/x", "0123456789"), kept("0123456789"));
    }

    #[test]
    fn what_expires_makes_room() {
        let retained = Retained::new();
        let mut expires = (*message("r/1", "0123456789")).clone();
        expires.expires_at = Some(Timestamp::from_millis(1));
        let limits = RetainedLimits {
            bytes_max: expires.byte_count(),
            ..RetainedLimits::NONE
        };
        let set = |it: &Arc<Message>| retained.set(it, &limits, Refusal::Silence, |_| {});
        assert_eq!(set(&Arc::new(expires)), Ok(()));
        assert_eq!(set(&message("r/2", "")), Ok(()));
        assert_eq!(set(&message("r/2", "x")), Err(None));
        retained.remove_expired(Timestamp::from_millis(1), |_| {});
        assert_eq!(set(&message("r/2", "x")), Ok(()));
    }
}
