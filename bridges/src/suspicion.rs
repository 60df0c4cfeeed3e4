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
//!    some before and there is no place for them now, it is sent once more. If the hub closes the
//!    connection again, what comes of that topic are dead letters for [`CONDEMNED_FOR`]. If the
//!    connection ends without it too, the fault is the hub's or the network's. What the hub refuses
//!    before it closes needs no such proof.
//!
//! A topic for which the hub has no room (0x97), and has for others, is withheld too, but never
//! given up.

use std::collections::HashMap;
use std::time::Duration;

use mqtt::TopicName;
use tokio::time::Instant;

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
    /// It is not sent.
    Condemn,
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
    /// There was one ever.
    has_taken: bool,
    /// When the last message was sent.
    sent_at: Option<Instant>,
    topics: HashMap<TopicName, Suspect>,
    /// The topic that was refused last, if no message was taken after that.
    refused: Option<TopicName>,
}

/// A topic at which connections ended.
#[derive(Clone, Copy, Debug)]
enum Suspect {
    /// So many did, without a message of it being taken since.
    Struck(u32),
    /// The connection lasted without it: it is tried for the last time.
    OnTrial,
    /// Its messages are not sent until then.
    Condemned(Instant),
    /// The hub had no room for it; until then it is withheld.
    NoRoom(Instant),
}

impl Suspect {
    const fn is_withheld(&self) -> bool {
        matches!(self, Self::Struck(strikes) if *strikes >= STRIKES)
    }

    const fn is_decided(&self) -> bool {
        match self {
            Self::Struck(_) | Self::OnTrial => false,
            Self::Condemned(_) | Self::NoRoom(_) => true,
        }
    }
}

impl Suspicion {
    /// True while messages are to be sent one by one.
    pub(crate) const fn is_careful(&self) -> bool {
        self.fruitless >= FRUITLESS_MAX
    }

    /// What is to be done with a message of this topic.
    pub(crate) fn verdict(&mut self, topic: &TopicName) -> Verdict {
        match self.topics.get(topic) {
            None => Verdict::Send,
            Some(Suspect::Condemned(end)) if *end > Instant::now() => Verdict::Condemn,
            Some(Suspect::Condemned(_)) => {
                self.topics.remove(topic);
                Verdict::Send
            }
            Some(Suspect::NoRoom(end)) if *end > Instant::now() => Verdict::Withhold,
            Some(suspect) if suspect.is_withheld() => Verdict::Withhold,
            Some(Suspect::Struck(_) | Suspect::OnTrial | Suspect::NoRoom(_)) => Verdict::Send,
        }
    }

    /// A message is sent.
    pub(crate) fn note_sent(&mut self) {
        if self.is_careful() {
            self.sent_at = Some(Instant::now());
        }
    }

    /// The hub has taken a message.
    pub(crate) fn note_taken(&mut self, topic: &TopicName) {
        self.refused = None;
        self.taken = self.taken.saturating_add(1);
        self.has_taken = true;
        if self.taken >= CALM && self.topics.values().all(Suspect::is_decided) {
            self.fruitless = 0;
        }
        if !self.topics.is_empty() {
            self.topics.remove(topic);
        }
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
    /// others meanwhile, that decides. So it does if so much was withheld that there was no place for
    /// others, and the hub has taken some before.
    pub(crate) fn conclude(&mut self, was_full: bool) {
        let next = if self.taken > 0 || was_full && self.has_taken {
            Suspect::OnTrial
        } else {
            Suspect::Struck(STRIKES - 1)
        };
        let suspects = self.topics.values_mut();
        suspects
            .filter(|it| it.is_withheld())
            .for_each(|it| *it = next);
    }

    /// True if the last connections brought nothing.
    pub(crate) const fn is_fruitless(&self) -> bool {
        self.fruitless > 0
    }

    /// The connection has ended, with messages of these topics unacknowledged. True if a topic is
    /// not sent from now on.
    pub(crate) fn note_ended<'t>(
        &mut self,
        end: End,
        mut unacknowledged: impl Iterator<Item = &'t TopicName>,
    ) -> bool {
        let was_careful = self.is_careful();
        let was_soon = self.sent_at.take().is_some_and(|it| it.elapsed() <= SOON);
        let first = unacknowledged.next();
        if std::mem::take(&mut self.taken) == 0 && first.is_some() {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let alone = first.filter(|_| was_careful && was_soon && unacknowledged.next().is_none());
        let refused = self.refused.take();
        let is_refused = refused.is_some();
        let guilty = refused.or_else(|| alone.cloned());
        match guilty.filter(|_| end == End::Closed) {
            Some(guilty) => self.strike(guilty, is_refused),
            None => {
                // It ends without them too.
                self.topics.retain(|_, it| it.is_decided());
                false
            }
        }
    }

    fn strike(&mut self, topic: TopicName, is_refused: bool) -> bool {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            return false;
        }
        let suspect = self.topics.entry(topic).or_insert(Suspect::Struck(0));
        *suspect = match *suspect {
            // What the hub says needs no proof.
            Suspect::Struck(strikes) if !is_refused || strikes + 1 < STRIKES => {
                Suspect::Struck(strikes + 1)
            }
            Suspect::NoRoom(_) => Suspect::Struck(1),
            Suspect::Struck(_) | Suspect::OnTrial | Suspect::Condemned(_) => {
                Suspect::Condemned(Instant::now() + CONDEMNED_FOR)
            }
        };
        if suspect.is_withheld() {
            self.fruitless = self.fruitless.max(FRUITLESS_MAX);
        }
        suspect.is_withheld() || matches!(suspect, Suspect::Condemned(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    /// Ends so many connections with messages of these topics on their way.
    fn end(suspicion: &mut Suspicion, end: End, topics: &[&str], times: u32) {
        let topics: Vec<TopicName> = topics.iter().map(|it| topic(it)).collect();
        for _ in 0..times {
            suspicion.note_sent();
            suspicion.note_ended(end, topics.iter());
        }
    }

    /// One in which a topic is withheld.
    fn withholding(bad: &str) -> Suspicion {
        let mut suspicion = Suspicion::default();
        end(&mut suspicion, End::Closed, &["good", bad], FRUITLESS_MAX);
        assert!(suspicion.is_careful());
        end(&mut suspicion, End::Closed, &[bad], STRIKES - 1);
        assert_eq!(suspicion.verdict(&topic(bad)), Verdict::Send);
        end(&mut suspicion, End::Closed, &[bad], 1);
        assert_eq!(suspicion.verdict(&topic(bad)), Verdict::Withhold);
        assert!(suspicion.is_careful());
        suspicion
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_at_which_the_hub_closes_is_condemned_if_it_takes_others() {
        let mut suspicion = withholding("bad");
        let (good, bad) = (topic("good"), topic("bad"));
        assert_eq!(suspicion.verdict(&good), Verdict::Send);
        suspicion.note_taken(&good);
        assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
        suspicion.conclude(false);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
        assert!(suspicion.is_careful());
        end(&mut suspicion, End::Closed, &["bad"], 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
        for _ in 0..CALM {
            suspicion.note_taken(&good);
        }
        assert!(!suspicion.is_careful());
        tokio::time::advance(CONDEMNED_FOR).await;
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_taken_after_all_is_not_at_fault() {
        let mut suspicion = withholding("bad");
        let (good, bad) = (topic("good"), topic("bad"));
        suspicion.note_taken(&good);
        suspicion.conclude(false);
        suspicion.note_taken(&bad);
        end(&mut suspicion, End::Closed, &["bad"], 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
    }

    #[tokio::test(start_paused = true)]
    async fn several_topics_are_found_one_by_one() {
        let mut suspicion = withholding("a");
        end(&mut suspicion, End::Closed, &["b"], STRIKES);
        for bad in ["a", "b"] {
            assert_eq!(suspicion.verdict(&topic(bad)), Verdict::Withhold);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_takes_nothing_is_not_the_fault_of_a_topic() {
        let mut suspicion = withholding("bad");
        let bad = topic("bad");
        for _ in 0..10 {
            suspicion.conclude(false);
            assert_eq!(suspicion.verdict(&bad), Verdict::Send);
            end(&mut suspicion, End::Closed, &["bad"], 1);
            assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
        }
        suspicion.note_taken(&bad);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_others_have_a_place_those_count_that_the_hub_took_before() {
        let bad = topic("bad");
        for (took_before, expected) in [(false, Verdict::Withhold), (true, Verdict::Condemn)] {
            let mut suspicion = Suspicion::default();
            if took_before {
                suspicion.note_taken(&topic("good"));
                end(&mut suspicion, End::Closed, &[], 1);
            }
            end(
                &mut suspicion,
                End::Closed,
                &["bad"],
                FRUITLESS_MAX + STRIKES,
            );
            assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
            suspicion.conclude(true);
            end(&mut suspicion, End::Closed, &["bad"], 1);
            assert_eq!(suspicion.verdict(&bad), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_without_a_topic_too_is_not_its_fault() {
        let bad = topic("bad");
        for (how, topics) in [
            (End::Closed, &[][..]),
            (End::Closed, &["a", "b"]),
            (End::Lost, &["a"]),
        ] {
            let mut suspicion = withholding("bad");
            suspicion.note_taken(&topic("good"));
            end(&mut suspicion, how, topics, 1);
            assert_eq!(suspicion.verdict(&bad), Verdict::Send, "{topics:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_fails_is_not_the_fault_of_a_topic() {
        let mut suspicion = Suspicion::default();
        end(&mut suspicion, End::Lost, &["a"], 100);
        end(&mut suspicion, End::Closed, &["a", "b"], 100);
        end(&mut suspicion, End::Closed, &[], 100);
        for _ in 0..100 {
            // It takes long to be carried.
            suspicion.note_sent();
            tokio::time::advance(SOON * 2).await;
            suspicion.note_ended(End::Closed, [&topic("a")].into_iter());
        }
        assert_eq!(suspicion.verdict(&topic("a")), Verdict::Send);
        for _ in 0..CALM {
            suspicion.note_taken(&topic("b"));
        }
        assert!(!suspicion.is_careful());
        // The hub takes something now and then.
        for _ in 0..100 {
            end(&mut suspicion, End::Closed, &["a"], 1);
            suspicion.note_taken(&topic("b"));
        }
        assert_eq!(suspicion.verdict(&topic("a")), Verdict::Send);
    }

    #[test]
    fn a_topic_that_is_refused_before_the_end_is_guilty_of_it() {
        let mut suspicion = Suspicion::default();
        let (good, bad) = (topic("good"), topic("bad"));
        suspicion.note_refused(&bad);
        suspicion.note_taken(&good);
        end(&mut suspicion, End::Closed, &["good", "bad"], 1);
        assert!(suspicion.topics.is_empty());
        for _ in 0..STRIKES {
            suspicion.note_refused(&bad);
            end(&mut suspicion, End::Closed, &["good", "bad"], 1);
        }
        assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
        assert_eq!(suspicion.verdict(&good), Verdict::Send);
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_without_room_is_withheld_for_a_time_and_never_condemned() {
        let mut suspicion = Suspicion::default();
        let (good, full) = (topic("good"), topic("full"));
        suspicion.note_no_room(&full, false);
        assert_eq!(suspicion.verdict(&full), Verdict::Send);
        suspicion.note_no_room(&full, true);
        for _ in 0..10 {
            assert_eq!(suspicion.verdict(&full), Verdict::Withhold);
            suspicion.note_taken(&good);
            suspicion.conclude(false);
            tokio::time::advance(WITHHELD_FOR).await;
            assert_eq!(suspicion.verdict(&full), Verdict::Send);
            // It is known.
            suspicion.note_no_room(&full, false);
        }
        suspicion.note_taken(&full);
        assert_eq!(suspicion.verdict(&full), Verdict::Send);
    }

    #[test]
    fn no_more_topics_are_remembered_than_allowed() {
        let mut suspicion = Suspicion::default();
        for number in 0..TOPICS_MAX + 10 {
            suspicion.note_no_room(&topic(&number.to_string()), true);
        }
        assert_eq!(suspicion.topics.len(), TOPICS_MAX);
        suspicion.note_refused(&topic("a"));
        end(&mut suspicion, End::Closed, &[], 1);
        assert_eq!(suspicion.topics.len(), TOPICS_MAX);
    }
}
