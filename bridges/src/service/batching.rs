//! Many messages to the hub in one packet, see [`crate::batch`].
//!
//! While a batch is not answered nothing else is sent, and what comes makes the next one. So every
//! topic keeps its order whatever the hub refuses, and on a slow link batches become large by
//! themselves.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use gateway::Delivery;
use mqtt::connection::{ClientConnection, OutgoingPublish};
use mqtt::packet::{Ack, AckKind, ForwardedProperties};
use mqtt::{QoS, ReasonCode, TopicName};
use tokio::time::{Sleep, sleep};

use super::{Cause, Service};
use crate::batch::{OFFER, PACKET_ID, Packer, Refusals, TOPIC};
use crate::config;
use crate::flight::Answer;
use crate::translation::Forwarded;

/// Bytes of a PUBLISH beside topic, payload and properties, at most.
const PACKET_OVERHEAD: usize = 32;
/// Messages that may be unacknowledged, in batches and by themselves.
const WINDOW_MAX: u16 = gateway::INFLIGHT_MESSAGES_MAX;

/// Bytes of the PUBLISH with a batch of so many bytes, at most.
const fn around(packets: usize) -> usize {
    TOPIC.len() + PACKET_OVERHEAD + Packer::bytes_max(packets)
}

/// The batch that is being made, and the one that is on its way.
pub(crate) struct Batching {
    packer: Packer,
    topic: TopicName,
    messages_max: usize,
    /// Bytes of the packets in a batch.
    bytes_max: usize,
    linger: Duration,
    next: Next,
    /// What is being sent goes into the next batch.
    is_packing: bool,
    /// The Packet Identifiers of the messages of QoS 1 in the batch that is not answered. The first
    /// is that of the batch.
    unanswered: Vec<u16>,
}

/// A batch that is being made.
#[derive(Default)]
struct Next {
    packets: Vec<u8>,
    messages: usize,
    /// Those of the messages of QoS 1.
    identifiers: Vec<u16>,
    /// The first message as it is sent if no other comes.
    first: Vec<u8>,
    /// When it goes at the latest; none if it waits for nothing.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Next {
    /// Messages of QoS 0.
    const fn live(&self) -> usize {
        self.messages - self.identifiers.len()
    }
}

impl Batching {
    /// As it was agreed on with a hub; none if it was not, which the log says.
    pub(crate) fn new(
        bridge: &str,
        config: Option<&config::Batch>,
        hub: &ClientConnection,
    ) -> Option<Self> {
        let config = config?;
        let (name, value) = OFFER;
        let mut said = hub.terms().user_properties.iter();
        let is_agreed = hub.version().is_v5() && said.any(|(n, v)| n == name && v == value);
        if !is_agreed {
            tracing::info!(
                bridge,
                "the hub takes no batches: messages go to it one by one"
            );
            return None;
        }
        let room = (hub.terms().packet_bytes_max as usize).saturating_sub(around(0));
        let max_bytes = usize::try_from(config.max_bytes.bytes()).unwrap_or(usize::MAX);
        Some(Self {
            packer: Packer::new(config.compression_level.into()).ok()?,
            topic: TopicName::new(TOPIC).ok()?,
            messages_max: config.max_messages.into(),
            // What cannot be made smaller becomes larger by a 256th.
            bytes_max: max_bytes.min(room - room / 256),
            linger: config.linger.0,
            next: Next::default(),
            is_packing: false,
            unanswered: Vec::new(),
        })
    }

    /// Whether messages may be in a batch, and how many bytes they take there at most.
    fn size(&self, messages: &[Forwarded]) -> Option<usize> {
        let size = |it: &Forwarded| {
            let content = it.topic.as_str().len() + it.payload.len();
            content + it.properties.as_bytes().len() + PACKET_OVERHEAD
        };
        let may_be = messages.iter().all(|it| it.qos < QoS::ExactlyOnce);
        let bytes = messages.iter().map(size).sum();
        (may_be && messages.len() <= self.messages_max && bytes <= self.bytes_max).then_some(bytes)
    }

    /// True if so many messages with so many bytes fit in beside what is packed, and all of it into
    /// what is left of the day, even if it cannot be made smaller.
    fn has_room(&self, messages: usize, bytes: usize, left: Option<u64>) -> bool {
        let bytes = self.next.packets.len() + bytes;
        bytes <= self.bytes_max
            && self.next.messages + messages <= self.messages_max
            && left.is_none_or(|left| around(bytes) as u64 <= left)
    }

    /// Adds a message; false if the hub does not accept a packet of that size.
    fn put(&mut self, publish: &OutgoingPublish<'_>, hub: &mut ClientConnection) -> bool {
        let is_acknowledged = publish.qos.is_acknowledged();
        let next = &mut self.next;
        let packed = OutgoingPublish {
            packet_id: if is_acknowledged { PACKET_ID } else { 0 },
            ..*publish
        };
        if !hub.encode_publish(&packed, &mut next.packets) {
            return false;
        }
        if next.messages == 0 {
            next.deadline = (!self.linger.is_zero()).then(|| Box::pin(sleep(self.linger)));
            // It fits as the other does.
            let fits = hub.encode_publish(publish, &mut next.first);
            debug_assert!(fits, "it differs in its identifier only");
        }
        next.messages += 1;
        next.identifiers
            .extend(is_acknowledged.then_some(publish.packet_id));
        true
    }
}

impl Service<'_> {
    /// True while something more may be sent or packed.
    pub(super) fn may_send(&self) -> bool {
        let is_free = |it: &Batching| it.unanswered.is_empty();
        self.hub.has_room() && self.batching.as_ref().is_none_or(is_free)
    }

    /// How many messages may be unacknowledged, in batches and by themselves.
    pub(crate) fn session_window(&self) -> u16 {
        let messages = self.batching.as_ref().map_or(0, |it| it.messages_max);
        let messages = u16::try_from(messages).unwrap_or(WINDOW_MAX);
        let window = self.terms.window.saturating_add(messages);
        window.min(WINDOW_MAX.max(self.terms.window))
    }

    /// Makes way for what becomes of a delivery, in the next batch or alone behind it; false if
    /// that cannot be sent yet.
    pub(super) fn makes_way(&mut self, messages: &[Forwarded]) -> bool {
        let Some(batching) = &mut self.batching else {
            return true;
        };
        let size = batching.size(messages);
        let left = self.rate.left();
        // The first is packed in any case: alone it goes as it would without batches.
        if !size.is_some_and(|bytes| batching.has_room(messages.len(), bytes, left)) {
            self.send_batch();
        }
        let Some(batching) = &mut self.batching else {
            return true;
        };
        batching.is_packing = size.is_some();
        batching.unanswered.is_empty() && !self.is_postponed
    }

    /// Notes that a message of QoS 1 or 2 is sent or packed.
    pub(super) fn begin(&mut self, delivery: &Delivery, copy: u16, qos: QoS) {
        let is_packing = self.batching.as_ref().is_some_and(|it| it.is_packing);
        self.flight
            .begin(delivery, copy, (!is_packing).then_some(qos));
    }

    /// Puts a message into the next batch or into the output; false if the hub does not accept a
    /// packet of that size.
    pub(super) fn encode(&mut self, publish: &OutgoingPublish<'_>) -> bool {
        let connection = &mut self.hub.connection;
        match &mut self.batching {
            Some(batching) if batching.is_packing => batching.put(publish, connection),
            Some(_) | None => connection.encode_publish(publish, &mut self.hub.output),
        }
    }

    /// Counts a message of QoS 0 as sent, unless it is only packed.
    pub(super) fn note_live(&self) {
        if !self.batching.as_ref().is_some_and(|it| it.is_packing) {
            self.status.counters.count_sent(1);
        }
    }

    /// Sends the next batch if it waits for nothing, also not for the next day; true if it does.
    pub(super) fn send_if_due(&mut self, context: &mut Context<'_>) -> bool {
        let Some(batching) = &mut self.batching else {
            return false;
        };
        let deadline = batching.next.deadline.as_mut();
        // One by one, if it is being found out which message the hub does not stand.
        let waits = !self.suspicion.is_careful()
            && deadline.is_some_and(|it| it.as_mut().poll(context).is_pending());
        let is_due = batching.next.messages > 0 && !waits && !self.is_day_over(context);
        if is_due {
            self.send_batch();
        }
        is_due
    }

    /// True if nothing is left of the day: acknowledgements may have used it up since messages were
    /// packed.
    fn is_day_over(&mut self, context: &mut Context<'_>) -> bool {
        let (label, status) = (self.label, self.status);
        self.is_used_up() && self.rate.poll(label, status, context).is_pending()
    }

    fn is_used_up(&mut self) -> bool {
        self.rate.count(0, self.hub.take_count());
        self.rate.left() == Some(0)
    }

    /// Sends what is packed when the bridge is to stop, unless that is for another day.
    pub(super) fn send_last_batch(&mut self) {
        if self.is_used_up() {
            self.give_up_batch(Cause::Ended);
        } else {
            self.send_batch();
        }
    }

    /// Sends what is packed, and counts it at once. One message goes by itself.
    fn send_batch(&mut self) {
        self.launch_batch();
        self.rate.count(0, self.hub.take_count());
    }

    fn launch_batch(&mut self) {
        let Some(batching) = &mut self.batching else {
            return;
        };
        let next = std::mem::take(&mut batching.next);
        let (packet_id, live) = (next.identifiers.first().copied(), next.live());
        packet_id.into_iter().for_each(|it| self.flight.launch(it));
        if next.messages <= 1 {
            self.hub.output.extend_from_slice(&next.first);
            self.status.counters.count_sent(live as u64);
            return;
        }
        let payload = batching.packer.pack(&next.packets).unwrap_or_default();
        let publish = OutgoingPublish {
            topic: &batching.topic,
            payload: &payload,
            qos: packet_id.map_or(QoS::AtMostOnce, |_| QoS::AtLeastOnce),
            retain: false,
            dup: false,
            packet_id: packet_id.unwrap_or(0),
            properties: &ForwardedProperties::default(),
            expiry_interval: None,
        };
        let hub = &mut self.hub;
        let is_packed = !payload.is_empty();
        if is_packed && hub.connection.encode_publish(&publish, &mut hub.output) {
            batching.unanswered = next.identifiers;
            self.status.counters.count_sent(live as u64);
        } else {
            tracing::error!(bridge = self.label, "a batch could not be made");
            self.give_up_packed(&next, Cause::NoRoom);
        }
    }

    /// What is packed is not sent: it is delivered again with what the hub has no room for.
    pub(super) fn give_up_batch(&mut self, cause: Cause) {
        if let Some(batching) = &mut self.batching {
            let next = std::mem::take(&mut batching.next);
            self.give_up_packed(&next, cause);
        }
    }

    fn give_up_packed(&mut self, next: &Next, cause: Cause) {
        for identifier in &next.identifiers {
            self.flight.answered(*identifier, Answer::Postponed);
        }
        self.is_postponed |= !next.identifiers.is_empty();
        self.count_given_up(next.live(), cause);
    }

    /// Takes the answer to a batch as one to each of its messages; false if it is the answer to
    /// something else.
    pub(super) fn on_batch_answer(&mut self, ack: &Ack<'_>) -> bool {
        let Some(batching) = &mut self.batching else {
            return false;
        };
        let is_its_own = batching.unanswered.first() == Some(&ack.packet_id);
        if ack.kind != AckKind::Puback || !is_its_own {
            return false;
        }
        let identifiers = std::mem::take(&mut batching.unanswered);
        let mut refusals = Refusals::default();
        if ack.reason.is_error() {
            refusals = Refusals::read(ack.properties).unwrap_or_else(|| self.all_put_off(ack));
        }
        for (place, identifier) in identifiers.into_iter().enumerate() {
            let reason = refusals.answer(place);
            self.on_ack(&Ack::new(AckKind::Puback, identifier, reason));
        }
        true
    }

    /// The hub does not say what it refuses: all of it is sent again, one by one unless it had no
    /// room.
    fn all_put_off(&mut self, ack: &Ack<'_>) -> Refusals {
        if ack.reason != ReasonCode::QuotaExceeded && self.batching.take().is_some() {
            let (bridge, reason) = (self.label, ack.reason.describe());
            tracing::warn!(
                bridge,
                reason,
                "the hub refused a batch: messages go to it one by one"
            );
        }
        let mut refusals = Refusals::default();
        refusals.push(0, ReasonCode::QuotaExceeded);
        refusals
    }
}
