//! Runs: what a publisher sends in a row to the same receivers, routed together. Each session is locked
//! and woken once for all of it, and its packets are encoded once for all who get the same.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use mqtt::packet::{EncodedRun, ForwardedProperties};
use mqtt::session::QueueClass;
use mqtt::{Message, ProtocolVersion, QoS, TopicName};
use persistence::Position;

use super::Exchange;
use super::route::{Route, Target};
use crate::link::{Link, LinkState, NotDelivered, Storing};
use crate::metrics::{DropCause, add};

/// A message of a run: neither retained nor delayed, and it does not expire.
#[derive(Clone, Debug)]
pub(crate) struct RunMessage<'p> {
    /// Its route, if that is not the one of the run but like it.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) payload: &'p [u8],
    /// Those that travel, encoded.
    pub(crate) properties: &'p [u8],
    /// The packet it came in, if that is what receivers get in its version, and where its Packet
    /// Identifier is.
    pub(crate) packet: Option<(&'p [u8], usize)>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Once this is durable, the message is as safe as promised.
    pub(crate) position: Position,
    /// Sessions and groups that had no room for it.
    rejected: usize,
}

/// Messages that are being routed.
struct Run<'r, 'p> {
    exchange: &'r Exchange,
    route: &'r Route,
    qos: QoS,
    /// Of the publisher.
    version: ProtocolVersion,
    messages: &'r [RunMessage<'p>],
    outcomes: &'r mut [Outcome],
    /// Bytes that each session may have in memory.
    share: usize,
    /// How they wait.
    class: QueueClass,
    /// Those that are put in somewhere as deliveries.
    kept: Vec<Option<(Arc<Message>, Storing<'r>)>>,
    encodings: Box<Encodings>,
}

/// The packets of a run, encoded for different receivers.
#[derive(Debug, Default)]
struct Encodings {
    /// By version and QoS, without Subscription Identifiers.
    plain: [EncodedRun; 6],
    /// With those of one receiver.
    identified: EncodedRun,
}

thread_local! {
    /// Kept for their allocations.
    static ENCODINGS: Cell<Option<Box<Encodings>>> = const { Cell::new(None) };
}

impl Exchange {
    /// Routes messages to a route that is current, and that those of all their topics are like;
    /// `outcomes` has a place for each. Returns the number of sessions and groups that they are
    /// for.
    pub(crate) fn publish_run(
        &self,
        route: &Route,
        (version, qos): (ProtocolVersion, QoS),
        messages: &[RunMessage<'_>],
        publisher: &Link,
        outcomes: &mut [Outcome],
    ) -> usize {
        add(&self.counters.published, messages.len());
        let mut run = Run {
            exchange: self,
            route,
            qos,
            version,
            messages,
            outcomes,
            share: self.memory.share(),
            class: route.class(qos),
            kept: Vec::new(),
            encodings: ENCODINGS.take().unwrap_or_default(),
        };
        // The places of a message in all queues are in one commit.
        let together =
            (qos.is_acknowledged() && route.is_stored_twice()).then(|| self.store.hold());
        for target in &route.targets {
            run.deliver(target);
        }
        let mut subscribers = route.targets.len();
        for group in &route.groups {
            let choice = self.choice(&route.topic, &publisher.client_id);
            let mut is_there = false;
            for index in 0..messages.len() {
                let (message, storing) = run.message(index);
                let Some(delivered) = self.deliver_shared(group, choice, message, storing) else {
                    continue;
                };
                is_there = true;
                run.outcomes[index].note(delivered);
            }
            subscribers += usize::from(is_there);
        }
        drop(together);
        let stored = run.kept.iter().flatten().filter(|it| it.1.is_stored());
        add(&self.counters.stored, stored.count());
        run.encodings.clear();
        ENCODINGS.set(Some(run.encodings));
        subscribers
    }
}

impl RunMessage<'_> {
    fn topic<'a>(&'a self, route: &'a Route) -> &'a TopicName {
        &self.route.as_deref().unwrap_or(route).topic
    }
}

impl Outcome {
    /// True if it was for somebody, and nobody had room.
    pub(crate) const fn is_rejected(self, subscribers: usize) -> bool {
        self.rejected > 0 && self.rejected == subscribers
    }

    /// It is as safe as promised only once this is durable too.
    pub(crate) fn wait_for(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    /// Adds what became of it in one session or group.
    pub(super) fn note(&mut self, delivered: Result<Position, NotDelivered>) {
        match delivered {
            Ok(stored) => self.wait_for(stored),
            Err(NotDelivered::NoRoom) => self.rejected += 1,
            Err(NotDelivered::Ended) => {}
        }
    }
}

impl<'r> Run<'r, '_> {
    /// Puts all messages into one session.
    fn deliver(&mut self, target: &Target) {
        let qos = target.delivered_qos(self.qos);
        let put = target.link.put_in(qos, |state| {
            state.session.bound_memory(self.share);
            let taken = match state.session.encoded_version(qos) {
                Some(version) => {
                    let encoded = self.encoded(version, qos, &target.identifiers);
                    state.session.put_encoded(encoded)
                }
                None => 0,
            };
            let has_put_more = self.put_rest(target, state, taken);
            state.settle();
            taken > 0 || has_put_more
        });
        if put.is_err() {
            let dropped = &self.exchange.counters.dropped;
            dropped.add(DropCause::SessionEnded, self.messages.len() as u64);
        }
    }

    /// Puts the messages from this index on into the session as deliveries; true if it had room
    /// for some.
    fn put_rest(&mut self, target: &Target, state: &mut LinkState, from: usize) -> bool {
        let mut has_put = false;
        let is_live = !target.delivered_qos(self.qos).is_acknowledged();
        for index in from..self.messages.len() {
            // What a client that does not keep up loses costs no more than this.
            if is_live && !state.session.has_live_room(self.memory_bytes(index)) {
                let cause = target.link.cause_of_drop(state, QoS::AtMostOnce);
                target.link.count_dropped(cause, 1);
                self.outcomes[index].note(Err(NotDelivered::NoRoom));
                continue;
            }
            let (message, storing) = self.message(index);
            let delivery = target.delivery(message, storing);
            let put = target.link.put(state, delivery, storing);
            has_put |= put.is_some();
            self.outcomes[index].note(put.ok_or(NotDelivered::NoRoom));
        }
        has_put
    }

    fn encoded(&mut self, version: ProtocolVersion, qos: QoS, identifiers: &[u32]) -> &EncodedRun {
        let identifiers = if version.is_v5() { identifiers } else { &[] };
        let encoded = if identifiers.is_empty() {
            &mut self.encodings.plain[usize::from(version.is_v5()) * 3 + qos as usize]
        } else {
            self.encodings.identified.clear();
            &mut self.encodings.identified
        };
        if encoded.is_empty() {
            encoded.begin(qos);
            let is_alike = identifiers.is_empty()
                && qos == self.qos
                && version.is_v5() == self.version.is_v5();
            for message in self.messages {
                let RunMessage {
                    payload,
                    properties,
                    packet,
                    ..
                } = *message;
                if let Some((packet, id_at)) = packet.filter(|_| is_alike) {
                    encoded.push_copy(packet, id_at, payload.len());
                } else {
                    let topic = message.topic(self.route).as_str();
                    encoded.push(version, topic, identifiers, properties, payload);
                }
            }
        }
        encoded
    }

    /// Bytes that a message takes where it is kept.
    fn memory_bytes(&self, index: usize) -> usize {
        let message = &self.messages[index];
        let topic = message.topic(self.route).as_str();
        Message::STRUCTURE_BYTES + topic.len() + message.payload.len() + message.properties.len()
    }

    /// A message as it is kept, made for the first session that keeps it.
    fn message(&mut self, index: usize) -> (&Arc<Message>, &mut Storing<'r>) {
        if self.kept.is_empty() {
            self.kept.resize_with(self.messages.len(), || None);
        }
        let (exchange, route) = (self.exchange, self.route);
        let (message, storing) = self.kept[index].get_or_insert_with(|| {
            let it = &self.messages[index];
            let payload = Bytes::copy_from_slice(it.payload);
            let message = Message {
                qos: self.qos,
                properties: ForwardedProperties::copied(it.properties),
                ..Message::new(it.topic(route).clone(), payload)
            };
            let end = exchange.end_of_waiting(&message);
            let storing = Storing::new(&exchange.store, route.durability, self.class, end);
            (Arc::new(message), storing)
        });
        (message, storing)
    }
}

impl Encodings {
    fn clear(&mut self) {
        let each = self.plain.iter_mut().chain([&mut self.identified]);
        each.filter(|it| !it.is_empty()).for_each(EncodedRun::clear);
    }
}
