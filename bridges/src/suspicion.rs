//! Messages because of which a hub ends the connection: pure.
//!
//! Some hubs have no other way to refuse a message than to close the connection, and so they do
//! whenever it is sent again. It must not keep the others from going through, and it must not be
//! taken for guilty because a hub has other reasons to close connections. So:
//!
//! 1. When connections end without an acknowledgement, messages are sent one by one, which shows
//!    at which of them that happens.
//! 2. A topic at which the hub has closed [`STRIKES`] connections in a row is withheld, and the
//!    others go on.
//! 3. Once the hub has taken a message of another topic, the withheld ones are dead letters, and so
//!    is what comes of that topic for [`CONDEMNED_FOR`]. If it takes none for [`WITHHELD_FOR`],
//!    the fault may be the hub's, and they are sent again.

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
/// For so long messages wait for the hub to take one of another topic.
pub(crate) const WITHHELD_FOR: Duration = Duration::from_secs(10);
/// For so long a topic is not sent any more.
const CONDEMNED_FOR: Duration = Duration::from_secs(3_600);
/// Topics that are remembered; others are sent again and again.
const TOPICS_MAX: usize = 1_000;

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent.
    Send,
    /// It is kept back until a message of another topic is taken.
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
    topics: HashMap<TopicName, Suspect>,
    /// Some of them are withheld.
    is_withholding: bool,
    /// The topic that was refused last, if no message was taken after that.
    refused: Option<TopicName>,
}

/// A topic at which connections ended.
#[derive(Clone, Copy, Debug)]
enum Suspect {
    /// So many did, without a message of it being taken since.
    Struck(u32),
    /// Its messages are not sent until then.
    Condemned(Instant),
}

impl Suspect {
    const fn is_withheld(&self) -> bool {
        matches!(self, Self::Struck(strikes) if *strikes >= STRIKES)
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
            Some(suspect) if suspect.is_withheld() => Verdict::Withhold,
            Some(Suspect::Struck(_)) => Verdict::Send,
        }
    }

    /// The hub has taken a message. True if what is withheld is condemned by that.
    pub(crate) fn note_taken(&mut self, topic: &TopicName) -> bool {
        self.refused = None;
        self.taken = self.taken.saturating_add(1);
        if self.taken >= CALM {
            self.fruitless = 0;
        }
        if self.topics.is_empty() {
            return false;
        }
        self.topics.remove(topic);
        self.change_withheld(Suspect::Condemned(Instant::now() + CONDEMNED_FOR))
    }

    /// The hub has refused a message. It was answered, so nothing stalls; but a hub that closes
    /// the connection too would do so for each.
    pub(crate) fn note_refused(&mut self, topic: &TopicName) {
        self.refused = Some(topic.clone());
    }

    /// Nothing else was taken for [`WITHHELD_FOR`]: what is withheld is sent once more.
    pub(crate) fn give_another_chance(&mut self) {
        self.change_withheld(Suspect::Struck(STRIKES - 1));
    }

    /// True if something was withheld.
    fn change_withheld(&mut self, to: Suspect) -> bool {
        let is_any = std::mem::take(&mut self.is_withholding);
        if is_any {
            let suspects = self.topics.values_mut();
            suspects
                .filter(|it| it.is_withheld())
                .for_each(|it| *it = to);
        }
        is_any
    }

    /// The connection has ended, with messages of these topics unacknowledged. True if a topic is
    /// withheld from now on.
    pub(crate) fn note_ended<'t>(
        &mut self,
        end: End,
        mut unacknowledged: impl Iterator<Item = &'t TopicName>,
    ) -> bool {
        let first = unacknowledged.next();
        if std::mem::take(&mut self.taken) == 0 && first.is_some() {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let guilty = self.refused.take().or_else(|| {
            let first = first?;
            unacknowledged.all(|it| it == first).then(|| first.clone())
        });
        match end {
            End::Closed => guilty.is_some_and(|it| self.strike(it)),
            End::Lost => false,
        }
    }

    fn strike(&mut self, topic: TopicName) -> bool {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            return false;
        }
        let suspect = self.topics.entry(topic).or_insert(Suspect::Struck(0));
        if let Suspect::Struck(strikes) = suspect {
            *strikes += 1;
        }
        let is_withheld = suspect.is_withheld();
        if is_withheld {
            self.is_withholding = true;
            self.fruitless = self.fruitless.max(FRUITLESS_MAX);
        }
        is_withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    /// Ends so many connections at these topics.
    fn end(suspicion: &mut Suspicion, end: End, topics: &[&str], times: u32) {
        let topics: Vec<TopicName> = topics.iter().map(|it| topic(it)).collect();
        for _ in 0..times {
            suspicion.note_ended(end, topics.iter());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_at_which_the_hub_closes_is_condemned_once_another_is_taken() {
        let mut suspicion = Suspicion::default();
        let (good, bad) = (topic("good"), topic("bad"));
        end(&mut suspicion, End::Closed, &["good", "bad"], FRUITLESS_MAX);
        assert!(suspicion.is_careful());
        end(&mut suspicion, End::Closed, &["bad"], STRIKES - 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
        assert!(suspicion.note_ended(End::Closed, [&bad].into_iter()));
        assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
        assert_eq!(suspicion.verdict(&good), Verdict::Send);
        assert!(suspicion.is_careful());
        assert!(suspicion.note_taken(&good));
        assert_eq!(suspicion.verdict(&bad), Verdict::Condemn);
        for _ in 1..CALM {
            assert!(!suspicion.note_taken(&good));
        }
        assert!(!suspicion.is_careful());
        tokio::time::advance(CONDEMNED_FOR).await;
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
        end(&mut suspicion, End::Closed, &["bad"], 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
    }

    #[test]
    fn a_hub_that_takes_nothing_is_not_the_fault_of_a_topic() {
        let mut suspicion = Suspicion::default();
        let bad = topic("bad");
        for _ in 0..10 {
            end(&mut suspicion, End::Closed, &["bad"], STRIKES);
            assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
            suspicion.give_another_chance();
            assert_eq!(suspicion.verdict(&bad), Verdict::Send);
        }
        assert!(!suspicion.note_taken(&bad));
        end(&mut suspicion, End::Closed, &["bad"], 1);
        assert_eq!(suspicion.verdict(&bad), Verdict::Send);
    }

    #[test]
    fn a_network_that_fails_is_not_the_fault_of_a_topic() {
        let mut suspicion = Suspicion::default();
        end(&mut suspicion, End::Lost, &["a"], 100);
        end(&mut suspicion, End::Closed, &["a", "b"], 100);
        end(&mut suspicion, End::Closed, &[], 100);
        assert_eq!(suspicion.verdict(&topic("a")), Verdict::Send);
        for _ in 0..CALM {
            suspicion.note_taken(&topic("b"));
        }
        assert!(!suspicion.is_careful());
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
        assert_eq!(suspicion.verdict(&bad), Verdict::Withhold);
        assert_eq!(suspicion.verdict(&good), Verdict::Send);
    }

    #[test]
    fn no_more_topics_are_remembered_than_allowed() {
        let mut suspicion = Suspicion::default();
        for number in 0..TOPICS_MAX + 10 {
            end(&mut suspicion, End::Closed, &[&number.to_string()], 1);
        }
        assert_eq!(suspicion.topics.len(), TOPICS_MAX);
    }
}
