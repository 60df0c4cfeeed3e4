//! What was sent to the hub and is not acknowledged to the end: pure.
//!
//! A delivery of the outbox becomes a message for each rule that matches it, each under a Packet
//! Identifier that follows from the delivery's own. So a message that is sent again after a
//! restart has the identifier under which a hub may know it, and QoS 2 stays exactly once.

use gateway::{Delivery, DeliveryId};
use hashbrown::HashMap;
use mqtt::{Message, QoS};

/// Messages of QoS 1 and 2 that one delivery may become; further ones are dropped and counted.
pub(crate) const COPIES_MAX: u16 = 16;

/// Packet Identifiers go from 1 to this.
const IDENTIFIERS: u32 = 65_535;

/// Stands for a request among the deliveries; it is no delivery's.
const REQUEST: DeliveryId = DeliveryId(0);

/// The deliveries on their way.
#[derive(Debug)]
pub(crate) struct Flight {
    /// By the Packet Identifiers at the hub.
    messages: HashMap<u16, Sent>,
    copies: HashMap<DeliveryId, Copies>,
    /// Messages that the hub takes without having acknowledged them to the end.
    window: usize,
    /// How many are in the window, and how many of those have QoS 2.
    published: usize,
    exactly_once: usize,
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    of: DeliveryId,
    /// None if it was only to be released, and is not in the hub's window.
    qos: Option<QoS>,
}

/// What is awaited for one delivery.
#[derive(Debug, Default)]
struct Copies {
    /// What was delivered; none if the hub has it and it was only to be released.
    delivery: Option<Delivery>,
    /// Messages without PUBACK or PUBREC.
    unanswered: u16,
    /// Those that the hub has after PUBREC, and that await PUBCOMP.
    received: Vec<u16>,
    /// The hub may take one later.
    is_postponed: bool,
}

/// What an acknowledgement means for a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is awaited, or nothing was.
    Nothing,
    /// The hub has all messages. Once that is stored, these are to be released.
    Received(DeliveryId, Vec<u16>),
    /// It is over.
    Done(DeliveryId),
    /// The hub could not take all of it now: it stays in the outbox.
    Postponed,
}

/// How the hub answered a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// PUBACK: it has the message.
    Acknowledged,
    /// PUBREC: it has the message and awaits its release.
    Received,
    /// It does not want the message.
    Refused,
    /// It has no room now.
    Postponed,
}

impl Flight {
    /// Nothing yet, towards a hub with this Receive Maximum.
    pub(crate) fn new(window: u16) -> Self {
        Self {
            messages: HashMap::new(),
            copies: HashMap::new(),
            window: window.into(),
            published: 0,
            exactly_once: 0,
        }
    }

    /// The Packet Identifier of the first message of a delivery is one that no first message of
    /// another delivery has.
    pub(crate) fn identifier(delivery: DeliveryId, copy: u16) -> u16 {
        let first = u32::from(delivery.0.saturating_sub(1)) * u32::from(COPIES_MAX);
        let place = (first + u32::from(copy)) % IDENTIFIERS;
        u16::try_from(place + 1).unwrap_or(1)
    }

    /// True if so many messages of a delivery can be sent now: their identifiers are free, and so is
    /// the hub's window. One that is alone is sent in any case.
    ///
    /// Messages of QoS 2 never take up all of it. Mosquitto counts those that it has over a lost
    /// connection; had they all of its window, it would end the connection at each message of QoS 1
    /// that is repeated before them, for ever.
    pub(crate) fn has_room(&self, delivery: DeliveryId, copies: u16) -> bool {
        let count = usize::from(copies);
        let is_in_window =
            self.published + count <= self.window && self.exactly_once + count < self.window;
        let mut identifiers = (0..copies).map(|copy| Self::identifier(delivery, copy));
        (is_in_window || self.published == 0)
            && identifiers.all(|it| {
                self.messages
                    .get(&it)
                    .is_none_or(|sent| sent.of == delivery)
            })
    }

    /// Notes that the next message of a delivery is sent, or goes with others in a packet if it has
    /// no QoS; returns its Packet Identifier. What is packed is not in the window, unless the packet
    /// has its identifier, see [`Flight::launch`].
    pub(crate) fn begin(&mut self, delivery: &Delivery, copy: u16, qos: Option<QoS>) -> u16 {
        let identifier = Self::identifier(delivery.id, copy);
        self.put(identifier, delivery.id, qos);
        let copies = self.copies.entry(delivery.id).or_default();
        copies.unanswered += 1;
        copies.delivery.get_or_insert_with(|| delivery.clone());
        identifier
    }

    /// A packet of QoS 1 is sent under the identifier of this message.
    pub(crate) fn launch(&mut self, identifier: u16) {
        if let Some(&Sent { of, .. }) = self.messages.get(&identifier) {
            self.put(identifier, of, Some(QoS::AtLeastOnce));
        }
    }

    /// A Packet Identifier that nothing has, for [`Flight::reserve`].
    pub(crate) fn free_identifier(&self) -> Option<u16> {
        (1..=u16::MAX).rev().find(|it| !self.knows(*it))
    }

    /// Gives a Packet Identifier to a request, so that no message has it.
    pub(crate) fn reserve(&mut self, identifier: u16) {
        self.put(identifier, REQUEST, None);
    }

    /// The request with this Packet Identifier is answered.
    pub(crate) fn free(&mut self, identifier: u16) {
        if self.is_request(identifier) {
            self.forget(identifier);
        }
    }

    /// False while a request has an identifier that would have to be released.
    pub(crate) fn may_release(&self, delivery: DeliveryId) -> bool {
        let mut identifiers = (0..COPIES_MAX).map(|copy| Self::identifier(delivery, copy));
        identifiers.all(|it| !self.is_request(it))
    }

    fn is_request(&self, identifier: u16) -> bool {
        let sent = self.messages.get(&identifier);
        sent.is_some_and(|it| it.of == REQUEST)
    }

    fn put(&mut self, identifier: u16, of: DeliveryId, qos: Option<QoS>) {
        self.published += usize::from(qos.is_some());
        self.exactly_once += usize::from(qos == Some(QoS::ExactlyOnce));
        let before = self.messages.insert(identifier, Sent { of, qos });
        self.count_out(before);
    }

    fn forget(&mut self, identifier: u16) {
        let before = self.messages.remove(&identifier);
        self.count_out(before);
    }

    fn count_out(&mut self, sent: Option<Sent>) {
        let qos = sent.and_then(|it| it.qos);
        self.published -= usize::from(qos.is_some());
        self.exactly_once -= usize::from(qos == Some(QoS::ExactlyOnce));
    }

    /// True if something is awaited under this Packet Identifier.
    pub(crate) fn knows(&self, identifier: u16) -> bool {
        self.messages.contains_key(&identifier)
    }

    /// What was delivered that has this Packet Identifier at the hub.
    pub(crate) fn delivery(&self, identifier: u16) -> Option<&Delivery> {
        let copies = self.copies.get(&self.messages.get(&identifier)?.of)?;
        copies.delivery.as_ref()
    }

    /// Notes that a delivery which the hub has was only to be released; returns the identifiers
    /// that it may know, all of which are released.
    pub(crate) fn release(&mut self, delivery: DeliveryId) -> Vec<u16> {
        let identifiers = (0..COPIES_MAX).map(|copy| Self::identifier(delivery, copy));
        let free = |it: &u16| self.messages.get(it).is_none_or(|it| it.of == delivery);
        let received: Vec<u16> = identifiers.filter(free).collect();
        for identifier in &received {
            self.put(*identifier, delivery, None);
        }
        let copies = self.copies.entry(delivery).or_default();
        copies.received.clone_from(&received);
        received
    }

    /// A PUBACK or PUBREC came.
    pub(crate) fn answered(&mut self, identifier: u16, answer: Answer) -> Progress {
        let Some(&Sent { of: delivery, .. }) = self.messages.get(&identifier) else {
            return Progress::Nothing;
        };
        let Some(copies) = self.copies.get_mut(&delivery) else {
            return Progress::Nothing;
        };
        // One that was answered before.
        if copies.unanswered == 0 || copies.received.contains(&identifier) {
            return Progress::Nothing;
        }
        copies.unanswered -= 1;
        copies.is_postponed |= answer == Answer::Postponed;
        if answer == Answer::Received {
            copies.received.push(identifier);
        }
        let (is_over, is_postponed) = (copies.unanswered == 0, copies.is_postponed);
        let received = copies.received.clone();
        if answer != Answer::Received {
            self.forget(identifier);
        }
        if !is_over {
            return Progress::Nothing;
        }
        if is_postponed {
            self.copies.remove(&delivery);
            for identifier in received {
                self.forget(identifier);
            }
            return Progress::Postponed;
        }
        if received.is_empty() {
            self.copies.remove(&delivery);
            return Progress::Done(delivery);
        }
        Progress::Received(delivery, received)
    }

    /// A PUBCOMP came.
    pub(crate) fn completed(&mut self, identifier: u16) -> Progress {
        let Some(&Sent { of: delivery, .. }) = self.messages.get(&identifier) else {
            return Progress::Nothing;
        };
        let Some(copies) = self.copies.get_mut(&delivery) else {
            return Progress::Nothing;
        };
        let Some(place) = copies.received.iter().position(|it| *it == identifier) else {
            return Progress::Nothing;
        };
        copies.received.swap_remove(place);
        let is_over = copies.unanswered == 0 && copies.received.is_empty();
        self.forget(identifier);
        if !is_over {
            return Progress::Nothing;
        }
        self.copies.remove(&delivery);
        Progress::Done(delivery)
    }

    /// What was delivered and the hub has not answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Message> {
        let unanswered = self.copies.values().filter(|it| it.unanswered > 0);
        let deliveries = unanswered.filter_map(|it| it.delivery.as_ref());
        deliveries.map(|it| &*it.message)
    }

    /// True if the hub has answered everything; what is packed was not sent.
    pub(crate) const fn is_answered(&self) -> bool {
        self.published == 0
    }

    /// True if nothing is awaited.
    pub(crate) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mqtt::TopicName;

    use super::*;

    const FIRST: DeliveryId = DeliveryId(1);
    const LAST: DeliveryId = DeliveryId(65_535);
    const WINDOW: u16 = 20;

    fn delivery(id: DeliveryId) -> Delivery {
        let topic = TopicName::new("a").unwrap();
        Delivery {
            id,
            message: Arc::new(Message::new(topic, "")),
            qos: QoS::ExactlyOnce,
            retain: false,
            dup: false,
        }
    }

    fn begin(flight: &mut Flight, of: DeliveryId, copy: u16) -> u16 {
        flight.begin(&delivery(of), copy, Some(QoS::ExactlyOnce))
    }

    #[test]
    fn the_window_of_the_hub_is_kept_and_never_full_of_qos_2() {
        let mut flight = Flight::new(4);
        assert!(flight.has_room(DeliveryId(1), COPIES_MAX), "it is alone");
        let first = begin(&mut flight, DeliveryId(1), 0);
        begin(&mut flight, DeliveryId(2), 0);
        assert!(flight.has_room(DeliveryId(3), 1));
        assert!(!flight.has_room(DeliveryId(3), 2));
        begin(&mut flight, DeliveryId(3), 0);
        assert!(!flight.has_room(DeliveryId(4), 1));
        // It is in the window until PUBCOMP comes.
        flight.answered(first, Answer::Received);
        assert!(!flight.has_room(DeliveryId(4), 1));
        flight.completed(first);
        assert!(flight.has_room(DeliveryId(4), 1));
        flight.begin(&delivery(DeliveryId(4)), 0, Some(QoS::AtLeastOnce));
        flight.begin(&delivery(DeliveryId(5)), 0, Some(QoS::AtLeastOnce));
        assert!(!flight.has_room(DeliveryId(6), 1));
        flight.answered(Flight::identifier(DeliveryId(4), 0), Answer::Acknowledged);
        assert!(!flight.has_room(DeliveryId(6), 2));
        assert!(flight.has_room(DeliveryId(6), 1));
    }

    #[test]
    fn messages_in_one_packet_take_one_place_in_the_window() {
        let mut flight = Flight::new(2);
        let packed = [1, 2, 3].map(|it| flight.begin(&delivery(DeliveryId(it)), 0, None));
        assert!(flight.has_room(DeliveryId(4), 1));
        flight.launch(packed[0]);
        assert!(!flight.has_room(DeliveryId(4), 2));
        for (of, identifier) in (1..).zip(packed) {
            let progress = flight.answered(identifier, Answer::Acknowledged);
            assert_eq!(progress, Progress::Done(DeliveryId(of)));
        }
        assert!(flight.is_empty());
        flight.begin(&delivery(DeliveryId(5)), 0, Some(QoS::AtLeastOnce));
        assert!(flight.has_room(DeliveryId(6), 1));
    }

    #[test]
    fn what_is_only_released_is_not_in_the_window() {
        let mut flight = Flight::new(2);
        flight.release(FIRST);
        flight.release(DeliveryId(2));
        assert!(flight.has_room(DeliveryId(3), 1));
    }

    #[test]
    fn a_request_and_a_message_never_have_the_same_identifier() {
        let mut flight = Flight::new(WINDOW);
        begin(&mut flight, LAST, 0);
        let taken = Flight::identifier(LAST, 0);
        let identifier = flight.free_identifier().unwrap();
        assert_ne!(identifier, taken);
        flight.reserve(identifier);
        assert_ne!(flight.free_identifier(), Some(identifier));
        // The delivery that would have it waits.
        let its = (1..=u16::MAX).map(DeliveryId);
        let mut its = its.filter(|it| Flight::identifier(*it, 0) == identifier);
        let waiting = its.next().unwrap();
        assert!(!flight.has_room(waiting, 1));
        assert!(!flight.may_release(waiting));
        for answer in [Answer::Acknowledged, Answer::Received] {
            assert_eq!(flight.answered(identifier, answer), Progress::Nothing);
        }
        assert_eq!(flight.completed(identifier), Progress::Nothing);
        flight.free(taken);
        assert!(flight.knows(taken), "it is no request's");
        flight.free(identifier);
        assert!(flight.has_room(waiting, 1));
        assert!(flight.may_release(waiting));
    }

    #[test]
    fn first_messages_have_identifiers_of_their_own() {
        let mut seen = vec![false; usize::from(u16::MAX) + 1];
        for delivery in 1..=u16::MAX {
            let identifier = usize::from(Flight::identifier(DeliveryId(delivery), 0));
            assert!(identifier > 0 && !seen[identifier], "{delivery}");
            seen[identifier] = true;
        }
    }

    #[test]
    fn a_message_is_over_with_its_acknowledgement() {
        let mut flight = Flight::new(WINDOW);
        for of in [FIRST, LAST] {
            let identifier = begin(&mut flight, of, 0);
            assert!(!flight.is_empty());
            let progress = flight.answered(identifier, Answer::Acknowledged);
            assert_eq!(progress, Progress::Done(of));
            assert_eq!(
                flight.answered(identifier, Answer::Acknowledged),
                Progress::Nothing
            );
            assert!(flight.is_empty());
        }
    }

    #[test]
    fn all_messages_of_a_delivery_are_awaited() {
        let mut flight = Flight::new(WINDOW);
        let [one, two, three] = [0, 1, 2].map(|copy| begin(&mut flight, FIRST, copy));
        assert_eq!(flight.answered(two, Answer::Received), Progress::Nothing);
        assert_eq!(flight.answered(two, Answer::Received), Progress::Nothing);
        assert_eq!(flight.answered(one, Answer::Refused), Progress::Nothing);
        let progress = flight.answered(three, Answer::Received);
        assert_eq!(progress, Progress::Received(FIRST, vec![two, three]));
        assert_eq!(flight.completed(one), Progress::Nothing);
        assert_eq!(flight.completed(three), Progress::Nothing);
        assert_eq!(flight.completed(two), Progress::Done(FIRST));
        assert!(flight.is_empty());
    }

    #[test]
    fn what_the_hub_cannot_take_now_stays() {
        let mut flight = Flight::new(WINDOW);
        let [one, two] = [0, 1].map(|copy| begin(&mut flight, FIRST, copy));
        assert_eq!(flight.answered(one, Answer::Postponed), Progress::Nothing);
        assert_eq!(flight.answered(two, Answer::Received), Progress::Postponed);
        assert!(flight.is_empty());
        assert_eq!(begin(&mut flight, FIRST, 0), one);
    }

    #[test]
    fn after_a_restart_all_that_may_be_known_is_released() {
        let mut flight = Flight::new(WINDOW);
        let sent = begin(&mut flight, FIRST, 1);
        let mut flight = Flight::new(WINDOW);
        let released = flight.release(FIRST);
        assert_eq!(released.len(), usize::from(COPIES_MAX));
        assert!(released.contains(&sent));
        for identifier in &released[1..] {
            assert_eq!(flight.completed(*identifier), Progress::Nothing);
        }
        assert_eq!(flight.completed(released[0]), Progress::Done(FIRST));
    }

    #[test]
    fn identifiers_that_are_taken_are_waited_for() {
        let mut flight = Flight::new(WINDOW);
        // The second message of one delivery and the first of another.
        let other = DeliveryId(4_097);
        let taken = begin(&mut flight, FIRST, 1);
        assert_eq!(Flight::identifier(other, 0), taken);
        assert!(!flight.has_room(other, 1));
        assert!(flight.has_room(DeliveryId(2), COPIES_MAX));
        begin(&mut flight, FIRST, 0);
        assert!(flight.has_room(FIRST, 2));
    }
}
