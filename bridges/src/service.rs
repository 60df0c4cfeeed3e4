//! The conversation with a hub that has accepted the bridge: one poll reads, publishes here,
//! acknowledges, forwards and writes.
//!
//! ```text
//! hub -> Hub -> Translation::receive -> Client::publish -> store -> PUBACK, PUBCOMP
//! outbox -> Client::poll_outgoing -> Translation::forward -> Flight -> Hub -> hub
//! ```

mod batching;
mod farewell;
mod mirroring;
mod oversized;
mod receiving;
mod remainder;
mod withheld;

use std::collections::VecDeque;
use std::task::{Context, Poll};

use gateway::{Client, Delivery, DeliveryId, DropReason, Outgoing, Receipt, Status};
use mqtt::connection::{ClientAction, OutgoingPublish, PendingAck};
use mqtt::packet::{Ack, AckKind};
use mqtt::{Message, QoS, ReasonCode};

pub(crate) use self::batching::Batching;
pub(crate) use self::remainder::Cause;
use crate::dead_letter::DeadLetter;
use crate::flight::{Answer, COPIES_MAX, Flight, Progress};
use crate::hub::{Hub, HubError, describe};
use crate::keep_alive::KeepAlive;
use crate::mirror::Mirror;
use crate::patience::Patience;
use crate::rate::Rate;
use crate::suspicion::{Suspicion, Verdict};
use crate::translation::{Forwarded, Translation};
use oversized::Skipped;
use withheld::Withheld;

/// Packets that are taken from the outbox at a time.
const BATCH: usize = 64;
/// Rounds of reading and forwarding in one poll; then other tasks have their turn.
const ROUNDS_MAX: usize = 16;
/// Messages of the hub that are not acknowledged above which nothing more is read. A hub that keeps
/// to the Receive Maximum never gets there.
const UNACKNOWLEDGED_MAX: usize = 4_096;

/// What a hub is sent at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Messages that may be unacknowledged.
    pub(crate) window: u16,
    /// The highest QoS.
    pub(crate) qos_max: QoS,
}

/// What a bridge knows over all its connections.
pub(crate) struct Memory {
    pub(crate) rate: Rate,
    pub(crate) suspicion: Suspicion,
    pub(crate) mirror: Mirror,
}

/// One connection's conversation.
pub(crate) struct Service<'b> {
    pub(crate) label: &'b str,
    pub(crate) translation: &'b Translation,
    pub(crate) dead_letter: &'b DeadLetter,
    pub(crate) client: &'b Client,
    pub(crate) status: &'b Status,
    pub(crate) hub: Hub,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) rate: &'b mut Rate,
    suspicion: &'b mut Suspicion,
    mirror: &'b mut Mirror,
    /// Subscriptions that the hub has not answered. Until it has, nothing is forwarded: what is
    /// published in answer to that would be missed.
    unanswered: usize,
    terms: Terms,
    flight: Flight,
    /// Taken from the outbox, and not sent.
    outgoing: VecDeque<Outgoing>,
    taken: Vec<Outgoing>,
    forwarded: Vec<Forwarded>,
    withheld: Withheld,
    /// Acknowledgements for the hub, in the order of its messages, each sent once its message is
    /// stored here.
    unstored: VecDeque<(Receipt, PendingAck)>,
    /// Releases for the hub, each sent once the store knows that the hub has the message.
    releases: VecDeque<(Receipt, Vec<u16>)>,
    /// Messages of the hub for which there is no room here now, in their order.
    refused: VecDeque<(Message, PendingAck)>,
    /// What is thrown away as it comes.
    skipped: Option<Skipped>,
    /// Until the first of them is tried again.
    room: Patience,
    /// Until the hub, which had no room, is tried again.
    hub_room: Patience,
    /// The hub had no room: what is in flight is awaited, then all is sent again in its order.
    is_postponed: bool,
    /// How messages are packed; none if they are not.
    pub(crate) batching: Option<Batching>,
}

impl<'b> Service<'b> {
    pub(crate) fn new(
        (label, translation, dead_letter): (&'b str, &'b Translation, &'b DeadLetter),
        client: &'b Client,
        status: &'b Status,
        (hub, unanswered): (Hub, usize),
        terms: Terms,
        memory: &'b mut Memory,
    ) -> Self {
        let Memory {
            rate,
            suspicion,
            mirror,
        } = memory;
        let keep_alive = KeepAlive::new(hub.connection.terms().keep_alive);
        Self {
            label,
            translation,
            dead_letter,
            client,
            status,
            hub,
            keep_alive,
            rate,
            suspicion,
            mirror,
            unanswered,
            terms,
            flight: Flight::new(terms.window),
            outgoing: VecDeque::new(),
            taken: Vec::new(),
            forwarded: Vec::new(),
            withheld: Withheld::default(),
            unstored: VecDeque::new(),
            releases: VecDeque::new(),
            refused: VecDeque::new(),
            skipped: None,
            room: Patience::default(),
            hub_room: Patience::default(),
            is_postponed: false,
            batching: None,
        }
    }

    /// Does everything that can be done now; ready when the connection is over.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<HubError> {
        match self.poll_rounds(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn poll_rounds(&mut self, context: &mut Context<'_>) -> Result<(), HubError> {
        let (connection, made) = (&self.hub.connection, self.hub.made());
        self.keep_alive
            .poll(connection, &mut self.hub.output, made, context)?;
        for _ in 0..ROUNDS_MAX {
            let has_read = self.read(context)?;
            self.acknowledge(context);
            self.mirror(context);
            let has_forwarded = self.forward(context);
            let is_written = match self.hub.poll_write(context) {
                Poll::Ready(written) => written.map(|()| true)?,
                Poll::Pending => false,
            };
            let goes_on = has_read || has_forwarded && is_written;
            if !goes_on {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Reads once and handles what is complete; true if something came.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, HubError> {
        self.try_refused(context);
        // Not because of what is to be written: a hub that does not read before it has written what
        // it has would wait for ever.
        let may_read = self.unstored.len() + self.refused.len() < UNACKNOWLEDGED_MAX
            && self.client.poll_ready(context).is_ready();
        if !may_read {
            return Ok(false);
        }
        let has_read = match self.hub.poll_read(context) {
            Poll::Ready(read) => read.map(|()| true)?,
            Poll::Pending => false,
        };
        if has_read {
            self.keep_alive.note_received(self.hub.made());
        }
        self.handle_input()?;
        Ok(has_read)
    }

    fn on(&mut self, action: ClientAction<'_>) -> Result<(), HubError> {
        match action {
            ClientAction::Publish(publish) => self.on_publish(&publish),
            ClientAction::Ack(ack) => self.on_ack(&ack),
            ClientAction::Suback(suback) => self.on_suback(&suback),
            ClientAction::Unsuback(unsuback) => self.on_unsuback(&unsuback),
            ClientAction::Pingresp => {
                if let Some(time) = self.keep_alive.answered() {
                    self.status.set_round_trip(time);
                }
                if self.unanswered == 0 && self.flight.is_answered() {
                    self.keep_alive.note_progress();
                } else if self.keep_alive.is_stalled() {
                    return Err(HubError::Stalled);
                }
            }
            ClientAction::Disconnect(disconnect) => {
                return Err(HubError::disconnected(&disconnect));
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, ack: &Ack<'_>) {
        if self.on_batch_answer(ack) {
            return;
        }
        let progress = match ack.kind {
            AckKind::Puback | AckKind::Pubrec => self.on_answer(ack),
            AckKind::Pubcomp => self.flight.completed(ack.packet_id),
            AckKind::Pubrel => {
                let (receipt, reason) = match self.client.release(ack.packet_id) {
                    Some(receipt) => (receipt, ReasonCode::Success),
                    None => (Receipt::default(), ReasonCode::PacketIdentifierNotFound),
                };
                let pubcomp = PendingAck::new(AckKind::Pubcomp, ack.packet_id, reason);
                self.unstored.push_back((receipt, pubcomp));
                return;
            }
        };
        self.keep_alive.note_progress();
        match progress {
            Progress::Nothing => {}
            Progress::Received(delivery, identifiers) => {
                // One that the session delivers with less than QoS 2 has no release of its own.
                let receipt = self.client.received(delivery).unwrap_or_default();
                self.releases.push_back((receipt, identifiers));
            }
            Progress::Done(delivery) => {
                self.client.acknowledge(delivery);
                self.status.counters.count_sent(1);
                self.hub_room.reset();
            }
            Progress::Postponed => self.is_postponed = true,
        }
    }

    fn on_answer(&mut self, ack: &Ack<'_>) -> Progress {
        let is_pubrec = ack.kind == AckKind::Pubrec;
        if is_pubrec && !ack.reason.is_error() && !self.flight.knows(ack.packet_id) {
            // The hub must get rid of its identifier all the same (§4.3.3).
            let reason = ReasonCode::PacketIdentifierNotFound;
            let pubrel = PendingAck::new(AckKind::Pubrel, ack.packet_id, reason);
            self.hub.connection.encode_ack(pubrel, &mut self.hub.output);
            return Progress::Nothing;
        }
        let answer = if ack.reason == ReasonCode::QuotaExceeded {
            self.note_no_room(ack.packet_id);
            Answer::Postponed
        } else if ack.reason.is_error() {
            self.on_refusal(ack);
            Answer::Refused
        } else {
            self.note_taken(ack.packet_id);
            if is_pubrec {
                Answer::Received
            } else {
                Answer::Acknowledged
            }
        };
        self.flight.answered(ack.packet_id, answer)
    }

    /// The hub does not want a message: it is kept aside, and the others go on.
    fn on_refusal(&mut self, ack: &Ack<'_>) {
        if let Some(delivery) = self.flight.delivery(ack.packet_id) {
            let reason = describe(ack.reason, ack.properties.reason_string());
            self.suspicion.note_refused(&delivery.message.topic);
            let topic = &delivery.message.topic;
            let error = format!("the hub refused one to `{topic}`: {reason}");
            self.status
                .report_drop(self.label, DropReason::Refused, &error);
            self.dead_letter
                .put(&delivery.message, &reason, self.client);
        }
    }

    /// Sends the acknowledgements and releases whose turn has come.
    fn acknowledge(&mut self, context: &mut Context<'_>) {
        while let Some((receipt, ack)) = self.unstored.front()
            && let Poll::Ready(stored) = self.client.poll_stored(*receipt, context)
        {
            if stored.is_ok() {
                self.hub.connection.encode_ack(*ack, &mut self.hub.output);
            }
            self.unstored.pop_front();
        }
        while let Some((receipt, _)) = self.releases.front()
            && self.client.poll_stored(*receipt, context).is_ready()
            && let Some((_, identifiers)) = self.releases.pop_front()
        {
            self.send_releases(&identifiers);
        }
    }

    fn send_releases(&mut self, identifiers: &[u16]) {
        for &packet_id in identifiers {
            let pubrel = PendingAck::new(AckKind::Pubrel, packet_id, ReasonCode::Success);
            self.hub.connection.encode_ack(pubrel, &mut self.hub.output);
        }
    }

    /// Sends the outbox to the hub, as far as there is room; true if something was taken.
    fn forward(&mut self, context: &mut Context<'_>) -> bool {
        if self.unanswered > 0 || self.mirror.is_behind() || self.is_held_up(context) {
            return false;
        }
        self.poll_withheld(context);
        // What is more urgent would not overtake what is taken and waits for its turn.
        let batch = if self.rate.is_limited() { 1 } else { BATCH };
        let mut has_sent = false;
        while self.may_send() {
            self.rate.count(0, self.hub.take_count());
            if self.outgoing.is_empty() {
                let taken = &mut self.taken;
                if self
                    .client
                    .poll_outgoing(batch, taken, context)
                    .is_pending()
                {
                    break;
                }
                self.outgoing.extend(taken.drain(..));
            }
            let Some(next) = self.outgoing.pop_front() else {
                break;
            };
            match next {
                Outgoing::Publish(delivery) => {
                    if let Some(delivery) = self.send(delivery, context) {
                        // An acknowledgement frees its identifiers, or it waits for a cap.
                        self.outgoing.push_front(Outgoing::Publish(delivery));
                        break;
                    }
                }
                Outgoing::Release(delivery) if !self.flight.may_release(delivery) => {
                    self.outgoing.push_front(next);
                    break;
                }
                Outgoing::Release(delivery) => {
                    let identifiers = self.flight.release(delivery);
                    self.send_releases(&identifiers);
                }
            }
            has_sent = true;
        }
        self.send_if_due(context) || has_sent
    }

    /// True while the hub, which had no room, is left alone.
    fn is_held_up(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_postponed {
            return false;
        }
        self.give_up_batch(Cause::NoRoom);
        if !self.flight.is_empty() || self.hub_room.poll(context).is_pending() {
            return true;
        }
        self.is_postponed = false;
        self.give_up(Cause::NoRoom);
        self.client.redeliver(self.session_window());
        false
    }

    /// Sends what becomes of a delivery. Returns it if that cannot be sent yet.
    fn send(&mut self, delivery: Delivery, context: &mut Context<'_>) -> Option<Delivery> {
        match self.suspicion.verdict(&delivery.message) {
            Verdict::Send if self.is_one_by_one() && !self.flight.is_empty() => {
                return Some(delivery);
            }
            Verdict::Send => {}
            Verdict::Withhold => {
                self.withhold(delivery, context);
                return None;
            }
            Verdict::Condemn => {
                self.condemn(&delivery, None);
                return None;
            }
            Verdict::CondemnSize(bytes) => {
                self.condemn(&delivery, Some(bytes));
                return None;
            }
        }
        let (label, status) = (self.label, self.status);
        if self.rate.poll(label, status, context).is_pending() {
            return Some(delivery);
        }
        let mut forwarded = std::mem::take(&mut self.forwarded);
        forwarded.clear();
        if let Err(error) = self
            .translation
            .forward(&delivery, self.client.now(), &mut forwarded)
        {
            self.status.report_drop(self.label, error.reason(), &error);
        }
        let is_kept = delivery.id != DeliveryId(0);
        // What the session does not keep has no identifier to be acknowledged under.
        let qos_max = if is_kept {
            self.terms.qos_max
        } else {
            QoS::AtMostOnce
        };
        for message in &mut forwarded {
            message.qos = self.hub.connection.qos_of(message.qos.min(qos_max));
        }
        let is_acknowledged = |it: &&Forwarded| it.qos.is_acknowledged();
        let copies = forwarded.iter().filter(is_acknowledged).count();
        let copies = u16::try_from(copies).unwrap_or(u16::MAX).min(COPIES_MAX);
        if !self.makes_way(&forwarded) || !self.flight.has_room(delivery.id, copies) {
            self.forwarded = forwarded;
            return Some(delivery);
        }
        let mut copy = 0;
        for message in &forwarded {
            self.send_one(&delivery, message, &mut copy);
        }
        self.forwarded = forwarded;
        if copy == 0 && is_kept {
            self.client.acknowledge(delivery.id);
        }
        None
    }

    fn send_one(&mut self, delivery: &Delivery, message: &Forwarded, copy: &mut u16) {
        let is_acknowledged = message.qos.is_acknowledged();
        let publish = OutgoingPublish {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            dup: delivery.dup,
            packet_id: if is_acknowledged {
                Flight::identifier(delivery.id, *copy)
            } else {
                0
            },
            properties: &message.properties,
            expiry_interval: message.expiry_seconds,
        };
        if is_acknowledged && *copy >= COPIES_MAX {
            let error = "more rules match it than a message may have copies";
            self.status
                .report_drop(self.label, DropReason::NoRoom, &error);
        } else if self.encode(&publish) {
            self.rate.count(1, 0);
            self.suspicion.note_sent();
            if is_acknowledged {
                self.begin(delivery, *copy, message.qos);
                *copy += 1;
            } else {
                self.note_live();
            }
        } else {
            let reason = "its packet is larger than the hub accepts, or than `max_packet_size`";
            self.set_aside(delivery, DropReason::TooLarge, reason);
        }
    }
}
