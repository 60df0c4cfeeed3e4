//! What the publishers publish: each message follows from its publisher and its number.

use mqtt::{Message, QoS, TopicName};

/// Every n-th message of a publisher is retained.
const RETAINED_EVERY: u64 = 8;
/// Topics with retained messages of each publisher: so many that at the end some were published to
/// before the last crashes and not since.
const RETAINED_TOPICS: u64 = 200;
/// Topics of each publisher with other messages.
const PLAIN_TOPICS: u64 = 3;
/// Every n-th message is large, so that the log of the store comes round.
const LARGE_EVERY: u64 = 61;
const LARGE_BYTES: u64 = 6_000;
const SMALL_BYTES_MAX: u64 = 200;

/// A message: who published it, and the number that it has there, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) publisher: usize,
    pub(super) number: u64,
}

impl Id {
    /// The message whole.
    pub(super) fn message(self, qos: QoS) -> Option<Message> {
        let topic = TopicName::new(&self.topic()).ok()?;
        Some(Message {
            qos,
            retain: self.is_retained(),
            ..Message::new(topic, self.payload())
        })
    }

    /// The message that a delivery is of; none if it is of none that could be published.
    pub(super) fn of(topic: &str, payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut words = text.split(' ');
        let publisher = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        let id = Self { publisher, number };
        (id.topic() == topic && id.payload() == payload).then_some(id)
    }

    pub(super) const fn is_retained(self) -> bool {
        self.number.is_multiple_of(RETAINED_EVERY)
    }

    /// Which of its publisher's topics it is published to.
    pub(super) const fn topic_index(self) -> u64 {
        if self.is_retained() {
            PLAIN_TOPICS + self.number / RETAINED_EVERY % RETAINED_TOPICS
        } else {
            self.number % PLAIN_TOPICS
        }
    }

    fn topic(self) -> String {
        let kind = if self.is_retained() { "kept" } else { "plain" };
        format!("data/{}/{kind}/{}", self.publisher, self.topic_index())
    }

    fn payload(self) -> Vec<u8> {
        let bytes = if self.number.is_multiple_of(LARGE_EVERY) {
            LARGE_BYTES
        } else {
            self.number % SMALL_BYTES_MAX
        };
        let filler = "x".repeat(usize::try_from(bytes).unwrap_or_default());
        format!("{} {} {filler}", self.publisher, self.number).into_bytes()
    }
}
