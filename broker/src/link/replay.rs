//! The retained messages that are still to be sent for the subscriptions of a session.

use std::collections::BTreeMap;

use mqtt::packet::SubscriptionOptions;
use mqtt::{TopicFilter, TopicName};

/// What is due to each filter. One that a client subscribes to again before all is sent comes to
/// its end first and is sent once more then, in its turn: so who subscribes over and over gets
/// all of it, keeps nothing from the other filters, and costs no memory.
///
/// Most sessions need it for a moment only, so it takes little while nothing is due.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    pending: Option<Box<Pending>>,
    next_turn: u64,
}

#[derive(Debug, Default)]
struct Pending {
    due: BTreeMap<TopicFilter, Due>,
    turns: BTreeMap<u64, TopicFilter>,
}

#[derive(Debug)]
struct Due {
    terms: Terms,
    turn: u64,
    /// The topic that was reached in this turn.
    after: Option<TopicName>,
    /// A message was sent in this turn.
    is_sent: bool,
    /// How often all of it is due again.
    again: u32,
}

/// How retained messages are sent: as the subscription is at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
}

/// The place where sending goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) filter: TopicFilter,
    pub(crate) after: Option<TopicName>,
    turn: u64,
}

impl Replays {
    /// Notes that a subscription is made or replaced, and whether retained messages are due.
    pub(crate) fn subscribed(&mut self, filter: &TopicFilter, terms: Terms, is_due: bool) {
        let known = self.pending.as_mut().and_then(|it| it.due.get_mut(filter));
        if let Some(due) = known {
            due.terms = terms;
            due.again = due.again.saturating_add(is_due.into());
        } else if is_due {
            let turn = self.take_turn();
            let due = Due {
                terms,
                turn,
                after: None,
                is_sent: false,
                again: 0,
            };
            let pending = self.pending.get_or_insert_default();
            pending.due.insert(filter.clone(), due);
            pending.turns.insert(turn, filter.clone());
        }
    }

    /// Notes that a subscription is ended.
    pub(crate) fn unsubscribed(&mut self, filter: &TopicFilter) {
        if let Some(pending) = &mut self.pending
            && let Some(due) = pending.due.remove(filter)
        {
            pending.turns.remove(&due.turn);
            self.free();
        }
    }

    /// True if nothing is due.
    pub(crate) const fn is_empty(&self) -> bool {
        self.pending.is_none()
    }

    /// Where sending goes on, if anything is due.
    pub(crate) fn next(&self) -> Option<Place> {
        let pending = self.pending.as_ref()?;
        let (turn, filter) = pending.turns.first_key_value()?;
        Some(Place {
            filter: filter.clone(),
            after: pending.due.get(filter)?.after.clone(),
            turn: *turn,
        })
    }

    /// How to send what comes at a place; none if it is not due there any more.
    pub(crate) fn terms(&self, place: &Place) -> Option<Terms> {
        let due = self.pending.as_ref()?.due.get(&place.filter)?;
        let is_there = due.turn == place.turn && due.after == place.after;
        is_there.then_some(due.terms)
    }

    /// This topic was reached from a place, and its message sent or not.
    pub(crate) fn advance(&mut self, place: &mut Place, topic: TopicName, is_sent: bool) {
        place.after = Some(topic);
        let pending = self.pending.as_mut();
        if let Some(due) = pending.and_then(|it| it.due.get_mut(&place.filter)) {
            due.after.clone_from(&place.after);
            due.is_sent |= is_sent;
        }
    }

    /// Nothing is left behind a place.
    pub(crate) fn finish(&mut self, place: Place) {
        let turn = self.take_turn();
        if let Some(pending) = &mut self.pending {
            pending.finish(place, turn);
            self.free();
        }
    }

    /// Turns are never repeated: a place of an earlier one is known by that.
    const fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn free(&mut self) {
        self.pending.take_if(|pending| pending.due.is_empty());
    }
}

impl Pending {
    /// Nothing is left behind a place; what is due again is due in the next turn.
    fn finish(&mut self, place: Place, next_turn: u64) {
        self.turns.remove(&place.turn);
        let Some(due) = self.due.get_mut(&place.filter) else {
            return;
        };
        // Where there is nothing, there is nothing again.
        if due.again == 0 || !due.is_sent {
            self.due.remove(&place.filter);
            return;
        }
        due.again -= 1;
        (due.after, due.is_sent) = (None, false);
        due.turn = next_turn;
        self.turns.insert(next_turn, place.filter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    fn terms(identifier: u32) -> Terms {
        Terms {
            identifier: Some(identifier),
            ..Terms::default()
        }
    }

    /// Sends one message of the filter whose turn it is: the filter and the identifier that it
    /// is sent with.
    fn send(replays: &mut Replays) -> (String, u32) {
        let mut place = replays.next().unwrap();
        let terms = replays.terms(&place).unwrap();
        replays.advance(&mut place, TopicName::new("t").unwrap(), true);
        (place.filter.to_string(), terms.identifier.unwrap())
    }

    fn finish(replays: &mut Replays) {
        let place = replays.next().unwrap();
        replays.finish(place);
    }

    #[test]
    fn each_subscription_gets_all_and_filters_take_turns() {
        let mut replays = Replays::default();
        for (text, identifier) in [("b", 1), ("a", 2), ("b", 3), ("b", 4)] {
            replays.subscribed(&filter(text), terms(identifier), true);
        }
        let pending = replays.pending.as_ref().unwrap();
        assert_eq!((pending.due.len(), pending.turns.len()), (2, 2));
        let mut sent = Vec::new();
        while replays.next().is_some() {
            sent.push(send(&mut replays));
            finish(&mut replays);
        }
        let expected = [("b", 4), ("a", 2), ("b", 4), ("b", 4)];
        assert_eq!(sent, expected.map(|(text, it)| (text.to_owned(), it)));
        assert!(replays.is_empty());
    }

    #[test]
    fn one_that_has_begun_goes_on_as_the_subscription_is_now() {
        let mut replays = Replays::default();
        replays.subscribed(&filter("a"), terms(1), true);
        assert_eq!(send(&mut replays).1, 1);
        let after = replays.next().unwrap();
        replays.subscribed(&filter("a"), terms(2), false);
        assert_eq!(replays.next(), Some(after));
        assert_eq!(send(&mut replays).1, 2);
        finish(&mut replays);
        assert_eq!(replays.next(), None, "it was not due again");
        replays.subscribed(&filter("a"), terms(3), false);
        assert_eq!(replays.next(), None, "nor at all");
    }

    #[test]
    fn what_is_not_due_any_more_is_not_sent() {
        let mut replays = Replays::default();
        replays.subscribed(&filter("a"), terms(1), true);
        let place = replays.next().unwrap();
        replays.unsubscribed(&filter("a"));
        assert_eq!(replays.terms(&place), None);
        assert_eq!(replays.next(), None);
        replays.subscribed(&filter("a"), terms(2), true);
        assert_eq!(replays.terms(&place), None, "it is another one");
        let place = replays.next().unwrap();
        send(&mut replays);
        assert_eq!(replays.terms(&place), None, "it was sent meanwhile");
    }

    #[test]
    fn what_finds_nothing_is_looked_for_once() {
        let mut replays = Replays::default();
        for _ in 0..1_000 {
            replays.subscribed(&filter("a"), terms(1), true);
        }
        let mut place = replays.next().unwrap();
        replays.advance(&mut place, TopicName::new("t").unwrap(), false);
        assert_eq!(replays.next().as_ref(), Some(&place), "it goes on there");
        finish(&mut replays);
        assert_eq!(replays.next(), None);
        assert!(replays.is_empty());
    }
}
