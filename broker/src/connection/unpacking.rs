//! What does not go with other messages of a client: a message by itself, and a batch of a bridge,
//! in which each is taken as if it had come by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bridges::batch::{self, Refusals, Unpacked};
use bytes::Bytes;
use mqtt::connection::IncomingPublish;
use mqtt::packet::Property;
use mqtt::{Message, ProtocolVersion, ProtocolViolation, QoS, ReasonCode, TopicName};
use persistence::Position;

use super::batch::is_plain;
use super::client::Client;
use super::outbox::Reply;
use crate::exchange::{Outcome, Route, RunMessage};
use crate::metrics::count;

impl Client {
    /// The route of a message of which nothing has to be asked by itself, so that it can be routed
    /// as it came; `last` is perhaps the same.
    pub(super) fn plain_route(
        &mut self,
        incoming: &IncomingPublish<'_>,
        last: Option<&Arc<Route>>,
    ) -> Option<Arc<Route>> {
        let qos = incoming.publish.header.qos;
        let is_careful = self.exchange.loop_guard.is_on()
            || qos.is_acknowledged() && self.is_careful()
            || qos == QoS::ExactlyOnce && self.link.durable().is_some();
        if is_careful {
            return None;
        }
        let route = self.route(incoming, last)?;
        let asks = qos.is_acknowledged() && self.exchange.asks_first(&route);
        (!asks && is_plain(incoming, &route)).then_some(route)
    }

    /// Publishes a message, or those of a batch if this client may send one. From others it is a
    /// message to a topic that is not theirs.
    pub(super) fn publish_apart(
        &mut self,
        incoming: &IncomingPublish<'_>,
    ) -> Result<(), ProtocolViolation> {
        let is_batch = incoming.topic.as_str() == batch::TOPIC;
        if is_batch && self.link.may_batch.load(Ordering::Relaxed) {
            return self.unpack(incoming);
        }
        self.publish_alone(incoming);
        Ok(())
    }

    /// A message as it is kept; none if its topic is rewritten to what is none.
    pub(super) fn message_of(&self, incoming: &IncomingPublish<'_>) -> Option<Message> {
        let publish = &incoming.publish;
        let text = incoming.topic.as_str();
        let rewritten = self.exchange.extensions.rewrites.topic(text, self.who());
        let topic = match rewritten {
            None => incoming.topic.to_name(),
            Some(topic) => TopicName::new(&topic),
        };
        let expiry = incoming.properties.expiry_interval;
        let end = |seconds: u32| {
            self.exchange
                .now()
                .after(Duration::from_secs(seconds.into()))
        };
        Some(Message {
            topic: topic.ok()?,
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.header.qos,
            retain: publish.header.retain,
            expires_at: expiry.map(end),
            properties: publish.properties.forwarded(),
        })
    }

    /// Takes the messages of a batch and answers it when all of them are as safe as they have to be.
    fn unpack(&mut self, incoming: &IncomingPublish<'_>) -> Result<(), ProtocolViolation> {
        let outer = &incoming.publish;
        let unpacked = Unpacked::new(outer.payload)?;
        // What is counted is in it.
        self.received.publishes -= 1;
        self.received.payload_bytes -= outer.payload.len() as u64;
        let (mut refusals, mut place, mut position) = (Refusals::default(), 0, Position(0));
        for frame in unpacked.frames(self.limits.packet_bytes_max as usize) {
            let packed = IncomingPublish::packed(frame?, &self.limits)?;
            check(&packed, incoming)?;
            self.received.publish(packed.publish.payload);
            let is_acknowledged = packed.publish.header.qos.is_acknowledged();
            // Who is told sends it again, behind those before it.
            if !(is_acknowledged && refusals.is_over()) {
                match self.take_packed(&packed) {
                    Ok(taken) => position = position.max(taken),
                    Err(reason) if is_acknowledged => refusals.push(place, reason),
                    Err(_) => {}
                }
            }
            place += usize::from(is_acknowledged);
        }
        let Some(ack) = incoming.ack else {
            return Ok(());
        };
        let Some(reason) = refusals.reason() else {
            self.answer(position, ack);
            return Ok(());
        };
        let (name, text) = refusals.property();
        let (ack, mut answer) = (ack.with_reason(reason), Vec::new());
        self.protocol
            .encode_ack_saying(ack, Property::UserProperty(name, &text), &mut answer);
        self.outbox.reply(position, Reply::Encoded(answer));
        Ok(())
    }

    /// Publishes a message of a batch; returns what has to be durable until it is as safe as
    /// promised.
    fn take_packed(&mut self, packed: &IncomingPublish<'_>) -> Result<Position, ReasonCode> {
        if let Some(route) = self.plain_route(packed, None) {
            return self.take_plain(packed, &route);
        }
        let invalid = ReasonCode::TopicNameInvalid;
        let message = self.message_of(packed).ok_or(invalid)?;
        let room = self.exchange.outbox_room(&message, &self.link);
        if room.is_err() || message.qos.is_acknowledged() && self.refuses(&message) {
            count(&self.exchange.counters.refused);
            return Err(ReasonCode::QuotaExceeded);
        }
        let publisher = Some(&*self.link);
        let published = self.exchange.publish(message, publisher, self.refusal())?;
        Ok(published.outcome.position)
    }

    /// The same by a route that is known. It goes by itself: behind one that has no room none is
    /// taken.
    fn take_plain(
        &self,
        packed: &IncomingPublish<'_>,
        route: &Arc<Route>,
    ) -> Result<Position, ReasonCode> {
        let message = RunMessage {
            route: None,
            payload: packed.publish.payload,
            properties: packed.properties.forwarded.unwrap_or_default(),
            packet: None,
        };
        let mut outcome = Outcome::default();
        let subscribers = self.exchange.publish_run(
            route,
            (ProtocolVersion::V5, packed.publish.header.qos),
            &[message],
            &self.link,
            std::slice::from_mut(&mut outcome),
        );
        if outcome.is_rejected(subscribers) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(outcome.position)
    }
}

/// Whether a message may be in this batch.
fn check(
    packed: &IncomingPublish<'_>,
    batch: &IncomingPublish<'_>,
) -> Result<(), ProtocolViolation> {
    let detail = if packed.topic.as_str() == batch::TOPIC {
        "a batch is in a batch"
    } else if batch.ack.is_some_and(|it| it.is_pubrec()) {
        "a batch is of QoS 2"
    } else if packed.publish.header.qos > batch.publish.header.qos {
        "a batch of QoS 0 holds a message of QoS 1"
    } else {
        return Ok(());
    };
    Err(ProtocolViolation::protocol(detail))
}

#[cfg(test)]
mod tests;
