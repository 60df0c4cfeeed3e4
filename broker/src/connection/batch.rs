//! Messages of one client that are routed together.

use std::sync::Arc;

use mqtt::QoS;
use mqtt::connection::{IncomingPublish, PendingAck, ReceivedAck};
use mqtt::packet::{Frame, Successor};
use persistence::Store;

use super::client::Client;
use crate::exchange::{Outcome, Route, RunMessage};

/// Bytes of a payload above which sessions share it, if there are several.
const SHARED_BYTES: usize = 2 << 10;
/// Messages that are routed together at most.
const BATCH_MESSAGES_MAX: usize = 256;
/// So many of them have room without a second allocation.
const BATCH_ROOM: usize = 64;

/// Messages that came in a row for the same receivers in one QoS, until they are routed.
#[derive(Debug, Default)]
pub(super) struct Batch<'p> {
    /// The route of the first.
    pub(super) route: Option<Arc<Route>>,
    pub(super) qos: QoS,
    /// Messages at most.
    messages_max: usize,
    pub(super) messages: Vec<RunMessage<'p>>,
    pub(super) acks: Vec<PendingAck>,
    /// What became of the messages; kept for its allocation.
    pub(super) outcomes: Vec<Outcome>,
    /// Acknowledgements that came, until they are handled.
    pub(super) answers: Vec<ReceivedAck>,
    /// Bytes of the packets that are still to be handled.
    pub(super) bytes_left: usize,
}

impl<'p> Batch<'p> {
    /// The route of the last message.
    #[inline]
    pub(super) fn last(&self) -> Option<&Arc<Route>> {
        let last = self.messages.last()?;
        last.route.as_ref().or(self.route.as_ref())
    }

    /// Whether a message of this QoS that takes a route can be routed with those that are here.
    #[inline]
    pub(super) fn takes(&self, qos: QoS, route: &Arc<Route>) -> bool {
        let is_alike = |it: &Arc<Route>| Arc::ptr_eq(it, route) || it.is_like(route);
        self.qos == qos
            && self.messages.len() < self.messages_max
            && self.route.as_ref().is_some_and(is_alike)
    }

    /// Adds a message with its route, which is taken. If it is the first, the batch takes no more
    /// than the store has room for.
    pub(super) fn push(
        &mut self,
        mut message: RunMessage<'p>,
        ack: Option<PendingAck>,
        store: &Store,
    ) {
        if let (None, Some(route)) = (&self.route, &message.route) {
            let room = ack.map(|_| store.room() / route.receivers());
            let room = room.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
            self.messages_max = room.min(BATCH_MESSAGES_MAX);
        }
        if self.messages.capacity() == 0 {
            // Most likely what is still to be handled is more of the same.
            let count = (self.bytes_left / message.payload.len().max(1)).min(BATCH_ROOM) + 1;
            self.messages.reserve(count);
            self.acks.reserve(usize::from(ack.is_some()) * count);
        }
        match (&self.route, &message.route) {
            (None, _) => self.route = message.route.take(),
            (Some(first), Some(route)) if Arc::ptr_eq(first, route) => message.route = None,
            (Some(_), _) => {}
        }
        self.messages.push(message);
        self.acks.extend(ack);
    }

    /// The message in a frame, if it is like those that are here and has the topic of the last.
    #[inline]
    pub(super) fn successor(&self, frame: Frame<'p>, client: &Client) -> Option<Successor<'p>> {
        let last = self.last()?;
        let topic = Successor::topic_of(frame)?;
        let is_next = topic == last.stated().as_str().as_bytes();
        is_next.then(|| self.next_to(last, topic, frame, client))?
    }

    /// The message in a frame, if it is like those that are here but for its topic, and its route.
    pub(super) fn turn(
        &self,
        frame: Frame<'p>,
        client: &Client,
    ) -> Option<(Successor<'p>, Arc<Route>)> {
        self.last()?;
        let topic = Successor::topic_of(frame)?;
        let route = client.routes.get(topic, &client.exchange)?;
        let next = self.next_to(&route, topic, frame, client)?;
        Some((next, route))
    }

    #[inline]
    fn next_to(
        &self,
        route: &Route,
        topic: &[u8],
        frame: Frame<'p>,
        client: &Client,
    ) -> Option<Successor<'p>> {
        if self.messages.len() >= self.messages_max {
            return None;
        }
        let version = client.protocol.version();
        let user_properties_max = client.limits.user_properties_max;
        let before = self.messages.last().map_or(&[][..], |it| it.properties);
        let next = Successor::decode(frame, version, topic, self.qos, before, user_properties_max)?;
        is_copied(next.payload, route).then_some(next)
    }
}

/// Whether nothing about a message needs care of its own.
pub(super) fn is_plain(incoming: &IncomingPublish<'_>, route: &Route) -> bool {
    let IncomingPublish {
        publish,
        properties,
        ..
    } = incoming;
    !publish.header.retain
        && properties.expiry_interval.is_none()
        && properties.forwarded.is_some()
        && is_copied(publish.payload, route)
}

/// Whether each session gets a copy of a payload, and not a share in one.
const fn is_copied(payload: &[u8], route: &Route) -> bool {
    payload.len() <= SHARED_BYTES || route.targets.len() <= 1
}
