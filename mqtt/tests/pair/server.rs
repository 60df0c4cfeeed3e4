//! The server: the state machines of the package, with what a broker does around them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mqtt::connection::{AckAction, Action, Handshake, Limits, PendingAck, ServerConnection};
use mqtt::packet::Packet;
use mqtt::session::{
    Delivery, Enqueue, Outgoing, PageRequest, QueueClass, QueueLimits, Session, WhenFull, number_of,
};
use mqtt::{Message, QoS, Timestamp, TopicName};

use crate::store::{Operation, Store};
use crate::world::{Sample, Settings, decode};

const QUEUE: QueueLimits = QueueLimits {
    messages_max: 3,
    bytes_max: 1 << 20,
    live_bytes_max: 1 << 20,
    stored_messages_max: 1 << 20,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
/// Packets that a socket takes before it is full.
const SOCKET_PACKETS: usize = 6;
const NOW: Timestamp = Timestamp::from_millis(0);

pub(crate) struct Server {
    limits: Limits,
    connection: Option<ServerConnection>,
    session: Session,
    has_session: bool,
    has_lanes: bool,
    pub(crate) store: Store,
    /// Acknowledgements that wait until a change is durable.
    acknowledgements: VecDeque<(u64, PendingAck)>,
    page: Option<PageRequest>,
    /// Messages of others that are not durable; they are published again after a crash.
    unacknowledged: VecDeque<(u64, Sample)>,
    /// Deliveries of QoS 2 that are not durable: after a crash the identifier of one that was
    /// sent would stand for another message.
    unstored: VecDeque<(u64, u64)>,
    watch: Watch,
}

/// What was sent, to judge what is sent.
#[derive(Default)]
struct Watch {
    /// Sequences that were sent at any time.
    sent: BTreeSet<u64>,
    /// Those that were sent on this connection.
    sent_now: BTreeSet<u64>,
    /// Sequences that may have been sent, as far as is known after a crash.
    may_be_sent: u64,
    /// Identifiers in use and what they stand for.
    in_use: BTreeMap<u16, u64>,
    /// Identifiers that were in use at any time.
    used: BTreeSet<u16>,
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Self {
        let limits = Limits {
            receive_maximum: settings.receive_maximum,
            inflight_messages_max: settings.inflight_messages_max,
            ..Limits::default()
        };
        let mut store = Store::new(settings.first_sequence);
        Self {
            limits,
            connection: None,
            session: store.recover(QUEUE),
            has_session: false,
            has_lanes: settings.has_lanes,
            store,
            acknowledgements: VecDeque::new(),
            page: None,
            unacknowledged: VecDeque::new(),
            unstored: VecDeque::new(),
            watch: Watch::default(),
        }
    }

    /// Handles a packet of the client.
    pub(crate) fn receive(&mut self, bytes: &[u8], down: &mut VecDeque<Vec<u8>>) {
        let Some(connection) = &mut self.connection else {
            return self.connect(bytes, down);
        };
        let packet = decode(bytes, connection.version());
        let mut out = Vec::new();
        let action = connection.handle(packet, &mut self.session, &self.limits, &mut out);
        match action.expect("no violation") {
            Action::None | Action::Ack(AckAction::None) => {}
            Action::Publish(incoming) => {
                let sample = Sample::of(&incoming.publish);
                let ack = incoming.ack;
                let packet_id = ack.filter(|it| it.is_pubrec()).map(PendingAck::packet_id);
                let position = self.store.submit(Operation::Route(sample, packet_id));
                self.acknowledgements.extend(ack.map(|it| (position, it)));
            }
            // The first PUBREC may still wait for the store.
            Action::Answer(ack) => {
                let position = self.store.submit(Operation::Dequeue(0));
                self.acknowledgements.push_back((position, ack));
            }
            Action::Ack(AckAction::Released(ack)) => {
                let position = self.store.submit(Operation::Release(ack.packet_id()));
                self.acknowledgements.push_back((position, ack));
            }
            Action::Ack(AckAction::Received(sequence, ack)) => {
                let position = self.store.submit(Operation::Pubrec(sequence));
                self.acknowledgements.push_back((position, ack));
            }
            Action::Ack(AckAction::Delivered(sequence)) => {
                self.store.submit(Operation::Dequeue(sequence));
                self.watch.in_use.retain(|_, it| *it != sequence);
            }
            other => panic!("{other:?}"),
        }
        if !out.is_empty() {
            down.push_back(out);
        }
    }

    fn connect(&mut self, bytes: &[u8], down: &mut VecDeque<Vec<u8>>) {
        // CONNECT states its own version.
        let Packet::Connect(connect) = decode(bytes, mqtt::ProtocolVersion::V5) else {
            panic!("no CONNECT");
        };
        let handshake = Handshake::new(&connect, &self.limits, String::new).expect("accepted");
        let mut out = Vec::new();
        assert!(handshake.encode_connack(self.has_session, &self.limits, &mut out));
        down.push_back(out);
        self.has_session = true;
        self.store.submit(Operation::Connected);
        self.store.commit_all();
        self.session.resume(handshake.inflight_messages_max);
        self.connection = Some(handshake.connection);
        self.watch.sent_now.clear();
    }

    /// The link is gone.
    pub(crate) fn cut(&mut self) {
        if self.connection.take().is_some() {
            self.store.submit(Operation::Sent(self.session.sent()));
        }
        self.session.suspend();
        self.acknowledgements.clear();
    }

    /// The server is killed and begins again with what is stored.
    pub(crate) fn crash(&mut self) {
        self.connection = None;
        self.acknowledgements.clear();
        self.page = None;
        self.unstored.clear();
        self.session = self.store.recover(QUEUE);
        self.watch.may_be_sent = self.session.sent();
        self.watch.in_use.retain(|_, it| self.store.has(*it));
        // Sequences that are not durable are given again.
        self.watch.sent.retain(|it| self.store.has(*it));
        // Publishers repeat what was not acknowledged.
        let durable = self.store.durable();
        for (position, sample) in std::mem::take(&mut self.unacknowledged) {
            if position > durable {
                self.publish(sample);
            }
        }
    }

    /// Somebody else publishes something that the client has subscribed to.
    pub(crate) fn publish(&mut self, sample: Sample) {
        if !sample.qos.is_acknowledged() && self.connection.is_none() {
            return;
        }
        let mut delivery = sample.delivery();
        if self.has_lanes {
            delivery.class.lane = sample.topic.as_bytes()[sample.topic.len() - 1] - b'0';
        }
        let sequence = match self.session.enqueue(delivery.clone()) {
            Enqueue::Kept { sequence } | Enqueue::Spilled { sequence } => sequence,
            Enqueue::Dropped => panic!("there is room"),
        };
        if sequence == 0 {
            return;
        }
        delivery.sequence = sequence;
        let position = self.store.submit(Operation::Enqueue(delivery));
        if sample.qos == QoS::ExactlyOnce {
            self.unstored.push_back((position, sequence));
        }
        self.unacknowledged.push_back((position, sample));
    }

    /// Sends acknowledgements whose time has come, then deliveries, as far as there is room.
    pub(crate) fn pump(&mut self, down: &mut VecDeque<Vec<u8>>) {
        let durable = self.store.durable();
        self.unacknowledged
            .retain(|(position, _)| *position > durable);
        self.unstored.retain(|(position, _)| *position > durable);
        let held = self.unstored.front().map(|(_, sequence)| *sequence);
        self.session.hold_from(held.unwrap_or(u64::MAX));
        self.page = self.page.or_else(|| self.session.page_wanted());
        let Some(connection) = &mut self.connection else {
            return;
        };
        while let Some((_, ack)) = self
            .acknowledgements
            .pop_front_if(|(position, _)| *position <= durable)
        {
            let mut out = Vec::new();
            connection.encode_ack(ack, &mut out);
            down.push_back(out);
        }
        while down.len() < SOCKET_PACKETS {
            let mut expired = Vec::new();
            let Some(outgoing) = self.session.next(NOW, &mut expired) else {
                return;
            };
            self.watch.check(&outgoing);
            let mut out = Vec::new();
            assert!(connection.encode_outgoing(&outgoing, NOW, &mut out));
            down.push_back(out);
        }
    }

    /// The store answers with a part of the queue.
    pub(crate) fn load_page(&mut self) {
        if let Some(request) = self.page.take() {
            let (page, complete) = self.store.load(request);
            self.session.page_loaded(page, complete);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.session.backlog() == 0
            && self.session.is_drained()
            && self.session.inbound.is_empty()
            && self.acknowledgements.is_empty()
    }
}

impl Watch {
    /// DUP is set on what was sent before and on nothing else; identifiers stand for one thing.
    fn check(&mut self, outgoing: &Outgoing) {
        let (delivery, packet_id, dup) = match outgoing {
            Outgoing::Publish {
                delivery,
                packet_id,
                dup,
            } => (delivery, *packet_id, *dup),
            Outgoing::Release(packet_id) => {
                assert!(self.used.contains(packet_id), "PUBREL {packet_id}");
                return;
            }
        };
        if delivery.qos == QoS::AtMostOnce {
            assert_eq!((packet_id, dup), (0, false));
            return;
        }
        let sequence = delivery.sequence;
        assert!(self.sent_now.insert(sequence), "{sequence} twice at once");
        let was_sent = !self.sent.insert(sequence);
        assert!(dup || !was_sent, "{sequence} again without DUP");
        assert!(
            !dup || was_sent || number_of(sequence) <= self.may_be_sent,
            "DUP on {sequence}"
        );
        self.used.insert(packet_id);
        let known = self.in_use.insert(packet_id, sequence);
        assert!(
            known.is_none_or(|it| it == sequence),
            "{packet_id} is in use"
        );
    }
}

impl Sample {
    fn delivery(&self) -> Delivery {
        let topic = TopicName::new(&self.topic).unwrap();
        let mut message = Message::new(topic, self.number.to_be_bytes().to_vec());
        message.qos = self.qos;
        Delivery {
            sequence: 0,
            message: Arc::new(message),
            qos: self.qos,
            retain: false,
            subscription_ids: Vec::new(),
            class: QueueClass::default(),
            expires_at: None,
        }
    }
}
