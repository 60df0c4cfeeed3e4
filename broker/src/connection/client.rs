//! The broker's side of one client: what its packets cause, what it is sent.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use mqtt::connection::{Action, IncomingPublish, PendingAck, ServerConnection, WillMessage};
use mqtt::packet::{
    Frame, Packet, Properties, Property, Suback, Subscribe, SubscriptionOptions, Unsuback,
    Unsubscribe,
};
use mqtt::session::Outgoing;
use mqtt::{Message, ProtocolViolation, QoS, ReasonCode, TopicFilter, TopicName};
use persistence::{Operation, Position};

use super::outbox::{Outbox, Reply};
use crate::exchange::Exchange;
use crate::link::{Link, Owner};

/// The part that handles packets, apart from the socket they come from.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) exchange: Arc<Exchange>,
    pub(super) link: Arc<Link>,
    pub(super) owner: Owner,
    pub(super) protocol: ServerConnection,
    pub(super) outbox: Outbox,
    pub(super) will: Option<WillMessage>,
    pub(super) session_expiry: Option<Duration>,
    pub(super) disconnected: bool,
}

impl Client {
    pub(super) fn new(
        exchange: Arc<Exchange>,
        link: Arc<Link>,
        owner: Owner,
        protocol: ServerConnection,
        will: Option<WillMessage>,
    ) -> Self {
        Self {
            exchange,
            link,
            owner,
            protocol,
            outbox: Outbox::default(),
            will,
            session_expiry: None,
            disconnected: false,
        }
    }

    /// Notes that packets came.
    pub(super) fn touch(&self) {
        self.link.touch(self.exchange.now());
    }

    /// Asks to be woken for deliveries and orders; returns an order that is there already.
    pub(super) fn register(&self, context: &Context<'_>) -> Option<ReasonCode> {
        let mut state = self.link.lock();
        if let Some(reason) = state.order_for(self.owner) {
            return Some(reason);
        }
        state.register(context.waker());
        None
    }

    /// False while reading has to wait; the task is woken when it can go on.
    pub(super) fn may_read(&self, context: &mut Context<'_>) -> bool {
        !self.protocol.is_saturated()
            && !self.outbox.is_stalled()
            && self.outbox.waiting() <= usize::from(self.exchange.limits.receive_maximum)
            && self.exchange.store.poll_room(context).is_ready()
    }

    pub(super) fn handle(&mut self, frame: Frame<'_>) -> Result<(), ProtocolViolation> {
        // What comes behind a DISCONNECT does not count [MQTT-3.14.4-1].
        if self.disconnected {
            return Ok(());
        }
        let packet = Packet::decode(frame, self.protocol.version())?;
        let action = {
            let mut state = self.link.lock();
            let limits = &self.exchange.limits;
            self.protocol
                .handle(packet, &mut state.session, limits, self.outbox.bytes())?
        };
        match action {
            Action::None => {}
            Action::Publish(incoming) => self.publish(&incoming)?,
            Action::Repeated(ack) => self.outbox.reply(Position(0), Reply::Ack(ack)),
            Action::Released(ack) => {
                let position =
                    self.remember(|session| Operation::Release(session, ack.packet_id()));
                self.outbox.reply(position, Reply::Ack(ack));
            }
            Action::Delivered(sequence) => self.link.forget(sequence, &self.exchange.store),
            Action::Subscribe(packet) => self.subscribe(&packet)?,
            Action::Unsubscribe(packet) => self.unsubscribe(&packet),
            Action::Disconnect {
                with_will,
                session_expiry,
            } => {
                self.disconnected = true;
                self.session_expiry = session_expiry;
                if !with_will {
                    self.will = None; // [MQTT-3.14.4-3]
                }
            }
        }
        Ok(())
    }

    /// Submits an operation of this session, if it is durable.
    fn remember(&self, operation: impl FnOnce(persistence::SessionId) -> Operation) -> Position {
        self.link
            .durable()
            .map_or(Position(0), |it| self.exchange.store.submit(operation(it)))
    }

    fn publish(&mut self, incoming: &IncomingPublish<'_>) -> Result<(), ProtocolViolation> {
        let publish = &incoming.publish;
        let invalid = ProtocolViolation::new(ReasonCode::TopicNameInvalid, "no topic name");
        let topic = TopicName::new(publish.header.topic).map_err(|_| invalid)?;
        // The daemon alone speaks there.
        if topic.as_str().starts_with("$SYS/") {
            let refused = |ack: PendingAck| Reply::Ack(ack.with_reason(ReasonCode::NotAuthorized));
            if let Some(ack) = incoming.ack {
                self.outbox.reply(Position(0), refused(ack));
            }
            return Ok(());
        }
        let expiry = publish.properties.iter().find_map(|property| {
            if let Property::MessageExpiryInterval(it) = property {
                Some(it)
            } else {
                None
            }
        });
        let now = self.exchange.now();
        let message = Message {
            topic,
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.header.qos,
            retain: publish.header.retain,
            expires_at: expiry.map(|seconds| now.after(Duration::from_secs(seconds.into()))),
            properties: publish.properties.forwarded(),
        };
        let published = self.exchange.publish(message, &self.link);
        let Some(mut ack) = incoming.ack else {
            return Ok(());
        };
        let mut position = published.position;
        if ack.is_pubrec() {
            let receive = |session| Operation::Receive(session, ack.packet_id());
            position = position.max(self.remember(receive));
        }
        if published.subscribers == 0 {
            ack = ack.with_reason(ReasonCode::NoMatchingSubscribers);
        }
        self.outbox.reply(position, Reply::Ack(ack));
        Ok(())
    }

    fn subscribe(&mut self, packet: &Subscribe<'_>) -> Result<(), ProtocolViolation> {
        let (mut codes, mut position) = (Vec::new(), Position(0));
        let identifier = packet.identifier();
        for (text, options) in packet.filters() {
            match self.check_filter(text) {
                Ok(filter) => {
                    let made = self
                        .exchange
                        .subscribe(&self.link, filter, options, identifier);
                    position = position.max(made);
                    codes.push(granted(options) as u8);
                }
                // [MQTT-4.8.2-1], [MQTT-4.7.1-1] and the like
                Err(ReasonCode::MalformedPacket) => {
                    let detail = "a topic filter is malformed";
                    return Err(ProtocolViolation::new(
                        ReasonCode::TopicFilterInvalid,
                        detail,
                    ));
                }
                Err(reason) => codes.push(reason as u8),
            }
        }
        let properties = Properties::default();
        let suback = Suback {
            packet_id: packet.packet_id,
            properties,
            codes: &codes,
        };
        self.reply_encoded(position, &Packet::Suback(suback));
        Ok(())
    }

    /// The filter, or the code that its SUBACK carries.
    fn check_filter(&self, text: &str) -> Result<TopicFilter, ReasonCode> {
        if text.starts_with("$share/") {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        let filter = TopicFilter::new(text).map_err(|_| ReasonCode::MalformedPacket)?;
        let limits = &self.exchange.limits;
        if text.split('/').count() > limits.topic_levels_max {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let state = self.link.lock();
        let full = state.subscriptions.len() >= limits.subscriptions_max;
        if full && !state.subscriptions.contains_key(&filter) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(filter)
    }

    fn unsubscribe(&mut self, packet: &Unsubscribe<'_>) {
        let mut codes = Vec::new();
        for text in packet.filters() {
            let existed = TopicFilter::new(text)
                .is_ok_and(|filter| self.exchange.unsubscribe(&self.link, &filter));
            let code = if existed {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            codes.push(code as u8);
        }
        let properties = Properties::default();
        let unsuback = Unsuback {
            packet_id: packet.packet_id,
            properties,
            codes: &codes,
        };
        self.reply_encoded(Position(0), &Packet::Unsuback(unsuback));
    }

    fn reply_encoded(&mut self, position: Position, packet: &Packet<'_>) {
        let mut encoded = Vec::new();
        packet.encode(self.protocol.version(), &mut encoded);
        self.outbox.reply(position, Reply::Encoded(encoded));
    }

    /// Encodes the answers whose turn has come.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        self.outbox
            .release(&mut self.protocol, &self.exchange.store, context);
    }

    /// Encodes deliveries while there is room; true if there may be more.
    pub(super) fn fill(&mut self) -> bool {
        self.exchange.refill(&self.link);
        let now = self.exchange.now();
        let mut expired = Vec::new();
        let mut state = self.link.lock();
        if state.order_for(self.owner).is_some() {
            return false;
        }
        let mut more = false;
        while self.outbox.wants_more() {
            let Some(outgoing) = state.session.next(now, &mut expired) else {
                break;
            };
            more = true;
            if !self
                .protocol
                .encode_outgoing(&outgoing, now, self.outbox.bytes())
            {
                expired.extend(abandon(&mut state.session, &outgoing));
            }
        }
        drop(state);
        for sequence in expired {
            self.link.forget(sequence, &self.exchange.store);
        }
        more
    }
}

/// Lets go of a delivery that the client does not accept; returns its sequence.
fn abandon(session: &mut mqtt::session::Session, outgoing: &Outgoing) -> Option<u64> {
    let Outgoing::Publish {
        delivery,
        packet_id,
        ..
    } = outgoing
    else {
        return None;
    };
    session.inflight_mut().abandon(*packet_id);
    Some(delivery.sequence)
}

const fn granted(options: SubscriptionOptions) -> ReasonCode {
    match options.qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
