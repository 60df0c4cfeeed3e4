//! Messages because of which a hub ends the connection: pure.
//!
//! Some hubs have no other way to refuse a message than to close the connection, and so they do
//! whenever it is sent again. It must not keep the others from going through, and it must not be
//! taken for guilty because a hub has other reasons to close connections. So:
//!
//! 1. When connections end without an acknowledgement, messages are sent one by one, which shows
//!    at which of them that happens.
//! 2. A topic at which the hub has closed [`STRIKES`] connections in a row, soon after the message
//!    was sent, is withheld, and the others go on.
//! 3. If the connection lasts for [`WITHHELD_FOR`] without it, and the hub takes others, or took
//!    some before and owes no answer now, it is sent once more. If the hub closes the connection
//!    again, what comes of that topic are dead letters for [`CONDEMNED_FOR`]. If the connection ends
//!    without it too, the fault is the hub's or the network's. What the hub refuses before it closes
//!    needs no such proof.
//! 4. If the message is larger than all that the hub has taken, it may be its size: then smaller ones
//!    of that topic go on. Once the hub takes one of these, it is the size, whatever the topic, until
//!    the hub takes one as large. What it took before a restart shows no more than that one which
//!    is larger than all of it may be too large.
//!
//! A topic for which the hub has no room (0x97), and has for others, is withheld too, but never
//! given up.

mod largest;

use std::collections::HashMap;
use std::time::Duration;

use mqtt::{Message, TopicName};
use tokio::time::Instant;

use largest::Largest;

/// Connections in a row that end without an acknowledgement before messages are sent one by one.
const FRUITLESS_MAX: u32 = 2;
/// Connections in a row that the hub ends at messages of a topic before that is withheld.
const STRIKES: u32 = 3;
/// Acknowledgements after which messages are not sent one by one any more.
const CALM: u32 = 8;
/// For so long what is withheld waits, while the hub takes others or does not.
pub(crate) const WITHHELD_FOR: Duration = Duration::from_secs(10);
/// A hub that closes the connection because of a message does so before this. It is less than
/// [`WITHHELD_FOR`]: a link that never lasts longer proves nothing.
const SOON: Duration = Duration::from_secs(5);
/// For so long a topic is not sent any more.
const CONDEMNED_FOR: Duration = Duration::from_secs(3_600);
/// Topics that are remembered; others are sent again and again.
const TOPICS_MAX: usize = 1_000;

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent.
    Send,
    /// It is kept back for a time.
    Withhold,
    /// It is not sent, because of its topic.
    Condemn,
    /// It is not sent: of this topic or of any, no message of so many bytes is.
    CondemnSize(usize),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The hub closed it, which may have been because of a message.
    Closed,
    /// It may have been the hub or the network.
    Lost,
}

/// What one bridge has noticed, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    /// Connections in a row that ended without an acknowledgement.
    fruitless: u32,
    /// Acknowledgements since a connection ended.
    taken: u32,
    /// There was one since a topic was condemned: a hub that takes nothing any more loses no
    /// further topic.
    has_taken: bool,
    largest: Largest,
    /// What is not sent of any topic.
    too_large: Option<TooLarge>,
    /// When the last message was sent.
    sent_at: Option<Instant>,
    topics: HashMap<TopicName, Suspect>,
    /// The topic that was refused last, if no message was taken after that.
    refused: Option<TopicName>,
}

/// Messages that are not sent because of their size.
#[derive(Clone, Copy, Debug)]
struct TooLarge {
    /// From so many bytes on.
    bytes: usize,
    until: Instant,
}

impl TooLarge {
    fn holds(&self) -> bool {
        self.until > Instant::now()
    }
}

/// A topic at which connections ended.
#[derive(Clone, Copy, Debug)]
enum Suspect {
    /// So many did, without a message of it being taken since.
    Struck(u32),
    /// The connection lasted without it: it is tried for the last time.
    OnTrial,
    /// The same, but the hub has taken others only before a restart: if it is not larger than all
    /// of them, nothing follows.
    SizeOnTrial,
    /// Its messages are not sent until then.
    Condemned(Instant),
    /// Its smaller messages are sent.
    TooLarge(TooLarge),
    /// The hub had no room for it; until then it is withheld.
    NoRoom(Instant),
}

impl Suspect {
    const fn is_withheld(&self) -> bool {
        matches!(self, Self::Struck(strikes) if *strikes >= STRIKES)
    }

    const fn is_decided(&self) -> bool {
        match self {
            Self::Struck(_) | Self::OnTrial | Self::SizeOnTrial => false,
            Self::Condemned(_) | Self::TooLarge(_) | Self::NoRoom(_) => true,
        }
    }
}

impl Suspicion {
    /// Begins with what was written down of these hubs.
    pub(crate) fn resume(hubs: String, record: &str) -> Self {
        Self {
            largest: Largest::resume(hubs, record),
            ..Self::default()
        }
    }

    /// True while messages are to be sent one by one.
    pub(crate) const fn is_careful(&self) -> bool {
        self.fruitless >= FRUITLESS_MAX
    }

    /// What is to be done with a message.
    pub(crate) fn verdict(&mut self, message: &Message) -> Verdict {
        let topic = &message.topic;
        let is_too_large = |it: &TooLarge| it.holds() && message.byte_count() >= it.bytes;
        if let Some(it) = self.too_large.filter(is_too_large) {
            return Verdict::CondemnSize(it.bytes);
        }
        match self.topics.get(topic) {
            None => Verdict::Send,
            Some(Suspect::Condemned(end)) if *end > Instant::now() => Verdict::Condemn,
            Some(Suspect::TooLarge(it)) if is_too_large(it) => Verdict::CondemnSize(it.bytes),
            Some(Suspect::TooLarge(it)) if it.holds() => Verdict::Send,
            Some(Suspect::Condemned(_) | Suspect::TooLarge(_)) => {
                self.topics.remove(topic);
                Verdict::Send
            }
            Some(Suspect::NoRoom(end)) if *end > Instant::now() => Verdict::Withhold,
            Some(suspect) if suspect.is_withheld() => Verdict::Withhold,
            Some(
                Suspect::Struck(_) | Suspect::OnTrial | Suspect::SizeOnTrial | Suspect::NoRoom(_),
            ) => Verdict::Send,
        }
    }

    /// A message is sent.
    pub(crate) fn note_sent(&mut self) {
        if self.is_careful() {
            self.sent_at = Some(Instant::now());
        }
    }

    /// The hub has taken a message. Returns what is to be written down, if it is anything new.
    pub(crate) fn note_taken(&mut self, message: &Message) -> Option<String> {
        self.refused = None;
        self.taken = self.taken.saturating_add(1);
        self.has_taken = true;
        if self.taken >= CALM && self.topics.values().all(Suspect::is_decided) {
            self.fruitless = 0;
        }
        let bytes = message.byte_count();
        if bytes > self.largest.bytes {
            self.too_large = self.too_large.filter(|it| it.bytes > bytes);
            self.topics
                .retain(|_, it| !matches!(it, Suspect::TooLarge(it) if it.bytes <= bytes));
        }
        if !self.topics.is_empty()
            && let Some(Suspect::TooLarge(it)) = self.topics.remove(&message.topic)
        {
            let smaller = |known: &TooLarge| known.holds() && known.bytes < it.bytes;
            self.too_large = self.too_large.filter(smaller).or(Some(it));
        }
        self.largest.note(bytes)
    }

    /// The hub has refused a message. It was answered, so nothing stalls; but a hub that closes
    /// the connection too would do so for each.
    pub(crate) fn note_refused(&mut self, topic: &TopicName) {
        self.refused = Some(topic.clone());
    }

    /// The hub has no room for a message, which it was sent `alone` again and again. It is withheld
    /// if that is known of its topic.
    pub(crate) fn note_no_room(&mut self, topic: &TopicName, alone: bool) {
        let is_known = matches!(self.topics.get(topic), Some(Suspect::NoRoom(_)));
        let has_room = self.topics.len() < TOPICS_MAX;
        if is_known || alone && has_room {
            let end = Instant::now() + WITHHELD_FOR;
            self.topics.insert(topic.clone(), Suspect::NoRoom(end));
        }
    }

    /// Something was withheld for [`WITHHELD_FOR`], and is sent once more. If the hub has taken
    /// others meanwhile, that decides. So it does if the hub has taken some before and now, since
    /// there are no others or no place for them, `owes_nothing`: the connection lasts without it.
    pub(crate) fn conclude(&mut self, owes_nothing: bool) {
        let next = if self.taken > 0 || owes_nothing && self.has_taken {
            Suspect::OnTrial
        } else if owes_nothing && self.largest.before > 0 {
            Suspect::SizeOnTrial
        } else {
            Suspect::Struck(STRIKES - 1)
        };
        let suspects = self.topics.values_mut();
        suspects
            .filter(|it| it.is_withheld())
            .for_each(|it| *it = next);
    }

    /// True if the hub has taken something on this connection, which has not ended.
    pub(crate) const fn has_progressed(&self) -> bool {
        self.taken > 0
    }

    /// True if the last connections brought nothing.
    pub(crate) const fn is_fruitless(&self) -> bool {
        self.fruitless > 0
    }

    /// The connection has ended, with these messages unacknowledged. True if a topic or a size is
    /// not sent from now on.
    pub(crate) fn note_ended<'m>(
        &mut self,
        end: End,
        mut unacknowledged: impl Iterator<Item = &'m Message>,
    ) -> bool {
        let was_careful = self.is_careful();
        let was_soon = self.sent_at.take().is_some_and(|it| it.elapsed() <= SOON);
        let first = unacknowledged.next();
        if std::mem::take(&mut self.taken) == 0 && first.is_some() {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let alone = first.filter(|_| was_careful && was_soon && unacknowledged.next().is_none());
        // What was refused is so for the reason that the hub gave, whatever its size.
        let refused = self.refused.take().map(|topic| (topic, None));
        let guilty = refused.or_else(|| alone.map(|it| (it.topic.clone(), Some(it.byte_count()))));
        match guilty.filter(|_| end == End::Closed) {
            Some((topic, bytes)) => self.strike(topic, bytes),
            None => {
                // It ends without them too.
                self.topics.retain(|_, it| it.is_decided());
                false
            }
        }
    }

    /// The connection was closed at a message of so many bytes; none if it was refused.
    fn strike(&mut self, topic: TopicName, bytes: Option<usize>) -> bool {
        let is_refused = bytes.is_none();
        let larger = bytes.filter(|it| *it > self.largest.bytes);
        let may_be_size = larger.is_some_and(|it| it > self.largest.before);
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            return false;
        }
        let suspect = self.topics.entry(topic).or_insert(Suspect::Struck(0));
        *suspect = match *suspect {
            // What the hub says needs no proof.
            Suspect::Struck(strikes) if !is_refused || strikes + 1 < STRIKES => {
                Suspect::Struck(strikes + 1)
            }
            Suspect::NoRoom(_) | Suspect::TooLarge(_) => Suspect::Struck(1),
            Suspect::SizeOnTrial if !is_refused && !may_be_size => Suspect::Struck(STRIKES),
            Suspect::Struck(_)
            | Suspect::OnTrial
            | Suspect::SizeOnTrial
            | Suspect::Condemned(_) => {
                let until = Instant::now() + CONDEMNED_FOR;
                match larger {
                    Some(bytes) => Suspect::TooLarge(TooLarge { bytes, until }),
                    None => Suspect::Condemned(until),
                }
            }
        };
        if suspect.is_withheld() {
            self.fruitless = self.fruitless.max(FRUITLESS_MAX);
        }
        if matches!(suspect, Suspect::Condemned(_)) {
            self.has_taken = false;
        }
        suspect.is_withheld() || suspect.is_decided()
    }
}

#[cfg(test)]
mod tests;
