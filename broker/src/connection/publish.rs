//! PUBLISH of one client: what comes in a row for the same receivers is routed together.

use std::sync::Arc;

use mqtt::connection::{IncomingPublish, PendingAck};
use mqtt::packet::{Frame, Publish, Successor};
use mqtt::{Message, ProtocolViolation, QoS, ReasonCode, TopicName};
use persistence::{Durability, Operation, Position};

use super::batch::Batch;
use super::client::Client;
use super::outbox::Reply;
use crate::exchange::{Outcome, Published, Route, RunMessage};

impl Client {
    pub(super) fn on_publish<'p>(
        &mut self,
        frame: Frame<'p>,
        batch: &mut Batch<'p>,
    ) -> Result<(), ProtocolViolation> {
        if !(batch.qos.is_acknowledged() && self.is_careful()) {
            if let Some(next) = batch.successor(frame, self) {
                return self.on_successor(&next, None, batch);
            }
            // Apart from the path above, whose result need not be moved.
            if let Some((next, route)) = batch.turn(frame, self) {
                return self.on_successor(&next, Some(route), batch);
            }
        }
        let publish = Publish::decode(frame, self.protocol.version())?;
        let incoming = self.protocol.begin_publish(publish, &self.limits)?;
        if publish.header.qos == QoS::ExactlyOnce
            && !self.is_new(publish.header.packet_id, batch)?
        {
            return Ok(());
        }
        self.publish(&incoming, batch)
    }

    fn on_successor<'p>(
        &mut self,
        next: &Successor<'p>,
        route: Option<Arc<Route>>,
        batch: &mut Batch<'p>,
    ) -> Result<(), ProtocolViolation> {
        let ack = self
            .protocol
            .begin_successor(batch.qos, next.packet_id, &self.limits)?;
        if batch.qos == QoS::ExactlyOnce && !self.is_new(next.packet_id, batch)? {
            return Ok(());
        }
        self.received.publish(next.payload);
        // Receivers get the topic that it was rewritten to.
        let last = route.as_ref().or_else(|| batch.last());
        let is_as_sent = last.is_some_and(|it| it.stated.is_none());
        let packet = is_as_sent.then_some((next.packet, next.packet_id_at));
        let (payload, properties) = (next.payload, next.properties);
        if let Some(route) = route {
            if !batch.takes(batch.qos, &route) {
                self.flush(batch);
            }
            let message = RunMessage {
                route: Some(route),
                payload,
                properties,
                packet,
            };
            batch.push(message, ack, &self.exchange.store);
        } else {
            batch.messages.push(RunMessage {
                route: batch.messages.last().and_then(|it| it.route.clone()),
                payload,
                properties,
                packet,
            });
            batch.acks.extend(ack);
        }
        Ok(())
    }

    /// Notes the Packet Identifier of a QoS 2 message; false if the message is not to be routed,
    /// which is answered.
    fn is_new(&mut self, packet_id: u16, batch: &mut Batch<'_>) -> Result<bool, ProtocolViolation> {
        // One of them may release the identifier.
        self.take_answers(batch);
        let mut state = self.link.lock();
        let session = &mut state.session;
        let answer = self.protocol.receive(packet_id, session, &self.limits)?;
        drop(state);
        let Some(ack) = answer else {
            return Ok(true);
        };
        self.flush(batch);
        self.answer_again(ack);
        Ok(false)
    }

    /// True if a message that asks for an answer may have to be refused.
    pub(super) fn is_careful(&self) -> bool {
        let store = &self.exchange.store;
        self.unanswered || store.is_failing() || store.is_full()
    }

    /// Answers a QoS 2 message that was taken before, or that is refused.
    pub(super) fn answer_again(&mut self, ack: PendingAck) {
        // What was taken in on an earlier connection may not be durable yet.
        let position = if ack.is_refusal() {
            Position(0)
        } else {
            self.remember(|session| Operation::Receive(session, ack.packet_id()))
        };
        self.answer(position, ack);
    }

    /// Takes in a message; it is routed with the next that goes another way, or with
    /// [`Client::flush`].
    pub(super) fn publish<'p>(
        &mut self,
        incoming: &IncomingPublish<'p>,
        batch: &mut Batch<'p>,
    ) -> Result<(), ProtocolViolation> {
        self.received.publish(incoming.publish.payload);
        let is_acknowledged = incoming.ack.is_some();
        let Some(route) = self.plain_route(incoming, batch.last()) else {
            self.flush(batch);
            return self.publish_apart(incoming);
        };
        let qos = incoming.publish.header.qos;
        if !batch.takes(qos, &route) {
            self.flush(batch);
            // Which may have filled the store.
            if is_acknowledged && self.is_careful() {
                return self.publish_apart(incoming);
            }
            batch.qos = qos;
        }
        let message = RunMessage {
            route: Some(route),
            payload: incoming.publish.payload,
            properties: incoming.properties.forwarded.unwrap_or_default(),
            packet: None,
        };
        batch.push(message, incoming.ack, &self.exchange.store);
        Ok(())
    }

    /// Handles the acknowledgements in a batch, then routes its messages: who gets the answer to a
    /// message that is stored knows that what it had acknowledged before is stored too.
    pub(super) fn flush(&mut self, batch: &mut Batch<'_>) {
        self.take_answers(batch);
        let Some(route) = batch.route.take() else {
            return;
        };
        batch.outcomes.clear();
        batch
            .outcomes
            .resize(batch.messages.len(), Outcome::default());
        let exchange = &*self.exchange;
        let subscribers = exchange.publish_run(
            &route,
            (self.protocol.version(), batch.qos),
            &batch.messages,
            &self.link,
            &mut batch.outcomes,
        );
        batch.messages.clear();
        self.outbox.make_room(batch.acks.len());
        for (ack, outcome) in batch.acks.drain(..).zip(&batch.outcomes) {
            if outcome.is_rejected(subscribers) {
                self.refuse(Some(ack), ReasonCode::QuotaExceeded);
            } else {
                self.acknowledge(ack, outcome.position, subscribers);
            }
        }
    }

    /// The route that a message takes; none if it goes to no topic that anybody may simply publish
    /// to.
    pub(super) fn route(
        &mut self,
        incoming: &IncomingPublish<'_>,
        last: Option<&Arc<Route>>,
    ) -> Option<Arc<Route>> {
        let (text, exchange) = (incoming.topic.as_str(), &*self.exchange);
        let last = last.filter(|it| it.stated().as_str() == text && exchange.is_current(it));
        let known = || self.routes.get(text.as_bytes(), exchange);
        if let Some(route) = last.cloned().or_else(known) {
            return Some(route);
        }
        let topic = incoming.topic.to_name().ok()?;
        let rewrites = &self.exchange.extensions.rewrites;
        let rewritten = match rewrites.topic(text, self.who()) {
            None => topic.clone(),
            Some(rewritten) => TopicName::new(&rewritten).ok()?,
        };
        if !self.exchange.is_open(&rewritten, &self.link) {
            return None;
        }
        let mut route = self.exchange.resolve(&rewritten, Some(&self.link));
        route.stated = Some(topic).filter(|it| *it != rewritten);
        let route = Arc::new(route);
        self.routes.put(&route, &self.exchange);
        Some(route)
    }

    /// Publishes a message by itself.
    pub(super) fn publish_alone(&mut self, incoming: &IncomingPublish<'_>) {
        let Some(message) = self.message_of(incoming) else {
            return self.refuse(incoming.ack, ReasonCode::TopicNameInvalid);
        };
        let exchange = Arc::clone(&self.exchange);
        let room = exchange.outbox_room(&message, &self.link);
        let is_refused = |_: &_| room.is_err() || self.refuses(&message);
        if let Some(ack) = incoming.ack.filter(is_refused) {
            return self.refuse_for_now(ack);
        }
        match self.take_in(message, incoming.ack) {
            Ok(published) => {
                if let Some(ack) = incoming.ack {
                    self.acknowledge(ack, published.outcome.position, published.subscribers);
                }
            }
            Err(reason) => self.refuse(incoming.ack, reason),
        }
    }

    fn acknowledge(&mut self, mut ack: PendingAck, position: Position, subscribers: usize) {
        if subscribers == 0 {
            ack = ack.with_reason(ReasonCode::NoMatchingSubscribers);
        }
        self.answer(position, ack);
    }

    /// Sends an answer once a position is durable, behind those before it.
    pub(super) fn answer(&mut self, position: Position, ack: PendingAck) {
        if position == Position(0) && self.outbox.waiting() == 0 {
            self.protocol.encode_ack(ack, self.outbox.bytes());
            self.sent.packets += 1;
        } else {
            self.outbox.reply(position, Reply::Ack(ack));
        }
    }

    /// Publishes a message, and remembers the identifier of one of QoS 2. Both are in one commit,
    /// so that a crash neither loses nor repeats it.
    fn take_in(&self, message: Message, ack: Option<PendingAck>) -> Result<Published, ReasonCode> {
        let exchange = &*self.exchange;
        let received = ack.filter(|it| it.is_pubrec());
        let _together = received.map(|_| exchange.store.hold());
        let mut published = exchange.publish(message, Some(&self.link), self.refusal())?;
        // What is in memory only is published again after a crash, and not taken for a repetition.
        if let Some(ack) = received.filter(|_| published.durability > Durability::Memory) {
            let receive = |session| Operation::Receive(session, ack.packet_id());
            published.outcome.wait_for(self.remember(receive));
        }
        Ok(published)
    }
}

#[cfg(test)]
mod tests;
