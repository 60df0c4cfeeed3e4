//! The broker's side of one client: what its packets cause, what it is sent.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use mqtt::connection::{AckAction, Action, Handshake, Limits, ServerConnection};
use mqtt::packet::{Ack, AckKind, Frame, Packet, PacketType};
use mqtt::{ProtocolViolation, ReasonCode};
use persistence::{Operation, Position, SessionId};

use super::batch::Batch;
use super::outbox::Outbox;
use super::routes::Routes;
use super::{Accepted, End};
use crate::exchange::Exchange;
use crate::extensions::{Presence, Who};
use crate::link::{Link, Owner};
use crate::metrics::Traffic;
use crate::registry::{Attached, Will};

/// The part that handles packets, apart from the socket they come from.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) exchange: Arc<Exchange>,
    pub(super) limits: Arc<Limits>,
    pub(super) link: Arc<Link>,
    pub(super) owner: Owner,
    pub(super) protocol: ServerConnection,
    pub(super) outbox: Outbox,
    pub(super) routes: Routes,
    pub(super) will: Option<Will>,
    pub(super) presence: Presence,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    /// Nothing is delivered before this is durable, see [`Attached::resumed`].
    pub(super) resumed: Position,
    /// The store wakes the task at this position, for the first delivery that waits for it.
    pub(super) awaited: Position,
    /// More waits than what came a moment ago: a queue, or retained messages.
    pub(super) has_backlog: bool,
    pub(super) session_expiry: Option<Duration>,
    pub(super) disconnected: bool,
    /// A message was neither taken nor answered, so no later one is: they keep their order.
    pub(super) unanswered: bool,
}

impl Client {
    pub(super) fn new(accepted: &Accepted, attached: Attached, handshake: Handshake) -> Self {
        let Attached {
            link,
            owner,
            resumed,
            will,
            ..
        } = attached;
        let presence = Presence {
            user_name: handshake.user_name,
            address: accepted.peer.ip(),
            version: handshake.connection.version(),
            keep_alive: handshake.keep_alive,
            clean_start: handshake.clean_start,
        };
        let mut state = link.lock();
        let terms = handshake.connection.direct_terms(state.expiry.is_zero());
        // Another connection may have taken the session over meanwhile.
        if state.owner == Some(owner)
            && let Some(terms) = terms
        {
            state.session.encode_for(terms);
        }
        drop(state);
        Self {
            presence,
            received: Traffic::default(),
            sent: Traffic::default(),
            resumed,
            awaited: Position(0),
            exchange: Arc::clone(&accepted.exchange),
            limits: Arc::clone(&accepted.access.limits),
            link,
            owner,
            protocol: handshake.connection,
            outbox: Outbox::default(),
            routes: Routes::default(),
            will,
            has_backlog: false,
            session_expiry: None,
            disconnected: false,
            unanswered: false,
        }
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

    /// False while reading has to wait; the task is woken when it can go on. A large packet that
    /// has begun does not wait for its client to read: others wait for its room.
    pub(super) fn may_read(&self, has_begun: bool, context: &mut Context<'_>) -> bool {
        (has_begun || !self.outbox.is_stalled())
            && self.outbox.waiting() <= usize::from(self.limits.receive_maximum)
            && self.exchange.store.poll_room(context).is_ready()
    }

    /// Handles the packets at the front of `bytes`; returns how many bytes they took.
    pub(super) fn handle_all(&mut self, bytes: &[u8]) -> Result<usize, ProtocolViolation> {
        let packet_bytes_max = self.limits.packet_bytes_max as usize;
        let mut batch = Batch::default();
        let mut used = 0;
        let outcome = loop {
            match Frame::split(&bytes[used..], packet_bytes_max) {
                Ok(Some((frame, length))) => {
                    used += length;
                    batch.bytes_left = bytes.len() - used;
                    if let Err(violation) = self.handle(frame, &mut batch) {
                        break Err(violation);
                    }
                }
                Ok(None) => break Ok(used),
                Err(violation) => break Err(violation),
            }
        };
        // Also what came before a violation.
        self.flush(&mut batch);
        // Whole packets, and not a byte now and then, are a sign of life [MQTT-3.1.2-22].
        if used > 0 {
            self.link.touch(self.exchange.now());
        }
        outcome
    }

    fn handle<'p>(
        &mut self,
        frame: Frame<'p>,
        batch: &mut Batch<'p>,
    ) -> Result<(), ProtocolViolation> {
        // What comes behind a DISCONNECT does not count [MQTT-3.14.4-1].
        if self.disconnected {
            return Ok(());
        }
        self.received.packets += 1;
        // What comes most often goes straight to its place.
        if frame.packet_type() == PacketType::Publish {
            return self.on_publish(frame, batch);
        }
        let version = self.protocol.version();
        if let Some(kind) = AckKind::of(frame.packet_type()) {
            let ack = Ack::decode(kind, frame, version)?;
            batch.answers.push((&ack).into());
            return Ok(());
        }
        self.flush(batch);
        let packet = Packet::decode(frame, version)?;
        let before = self.outbox.bytes().len();
        let action = {
            let mut state = self.link.lock();
            let limits = &self.limits;
            self.protocol
                .handle(packet, &mut state.session, limits, self.outbox.bytes())?
        };
        self.sent.packets += u64::from(self.outbox.bytes().len() > before);
        match action {
            Action::Ack(_) | Action::None => {}
            Action::Publish(incoming) => self.publish(&incoming, batch)?,
            Action::Answer(ack) => self.answer_again(ack),
            Action::Subscribe(packet) => self.subscribe(&packet)?,
            Action::Unsubscribe(packet) => self.unsubscribe(&packet)?,
            Action::Disconnect {
                with_will,
                session_expiry,
            } => self.disconnect(with_will, session_expiry),
        }
        Ok(())
    }

    /// Handles the acknowledgements that have come, all under one lock. Messages that came between
    /// them are routed after them.
    pub(super) fn take_answers(&mut self, batch: &mut Batch<'_>) {
        if batch.answers.is_empty() {
            return;
        }
        self.outbox.make_room(batch.answers.len());
        let link = Arc::clone(&self.link);
        let mut state = link.lock();
        for ack in batch.answers.drain(..) {
            match self.protocol.handle_ack(ack, &mut state.session) {
                AckAction::None => {}
                AckAction::Answer(ack) => self.answer(Position(0), ack),
                AckAction::Released(ack) => {
                    let release = |session| Operation::Release(session, ack.packet_id());
                    self.answer(link.remember_in(&state, &self.exchange.store, release), ack);
                }
                AckAction::Received(sequence, ack) => {
                    let pubrec = |session| Operation::Pubrec(session, sequence);
                    self.answer(link.remember_in(&state, &self.exchange.store, pubrec), ack);
                }
                AckAction::Delivered(sequence) => {
                    link.forget(sequence, &self.exchange.store);
                }
            }
        }
    }

    fn disconnect(&mut self, with_will: bool, session_expiry: Option<Duration>) {
        self.disconnected = true;
        self.session_expiry = session_expiry;
        // [MQTT-3.14.4-3]
        if let Some(will) = self.will.take_if(|_| !with_will) {
            self.exchange.forget_will(&will);
        }
    }

    /// How the connection ends after a violation, which does not matter behind a DISCONNECT.
    pub(super) const fn end(&self, violation: ProtocolViolation) -> End {
        if self.disconnected {
            End::Disconnected
        } else {
            End::Violation(violation)
        }
    }

    /// Submits what is to be remembered of QoS 2, see [`Link::remember`].
    pub(super) fn remember(&self, operation: impl FnOnce(SessionId) -> Operation) -> Position {
        self.link.remember(&self.exchange.store, operation)
    }

    /// The client as templates know it.
    pub(super) fn who(&self) -> Who<'_> {
        Who {
            client_id: &self.link.client_id,
            user_name: self.presence.user_name.as_deref(),
        }
    }

    /// Encodes what tells the client why the daemon ends its connection.
    pub(super) fn encode_farewell(&self, mut reason: ReasonCode, out: &mut Vec<u8>) {
        let limits = &self.limits;
        if reason == ReasonCode::ServerShuttingDown && limits.server_reference.is_some() {
            reason = ReasonCode::UseAnotherServer;
        }
        let violation = ProtocolViolation::new(reason, reason.describe());
        self.protocol.encode_disconnect(&violation, limits, out);
    }

    /// Adds up what went in and out.
    pub(super) fn flush_traffic(&mut self) {
        let counters = &self.exchange.counters;
        self.sent.bytes += self.outbox.take_written();
        self.received.flush(&counters.received);
        self.sent.flush(&counters.sent);
    }
}
