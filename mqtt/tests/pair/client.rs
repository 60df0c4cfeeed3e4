//! A client by the letter of the specification: MQTT 5.0 §4.3, §4.4, §4.6 and §4.9.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt::packet::{Ack, AckKind, Packet, Publish};
use mqtt::{ProtocolVersion, QoS, ReasonCode};

use crate::world::{Sample, Settings, decode, encode_ack, encode_publish};

pub(crate) struct Client {
    version: ProtocolVersion,
    /// Deliveries that it takes unacknowledged.
    receive_maximum: usize,
    /// Messages that it may send unacknowledged.
    quota: usize,
    /// Messages that were not sent yet.
    waiting: VecDeque<Sample>,
    inflight: VecDeque<Outgoing>,
    /// Identifiers of QoS 2 between PUBLISH and PUBREL, with their messages.
    unreleased: BTreeMap<u16, Sample>,
    /// Identifiers of this connection between PUBLISH and PUBACK or PUBCOMP.
    unacknowledged: BTreeSet<u16>,
    /// Answers that are still to be sent, in order.
    answers: VecDeque<Answer>,
    /// What was delivered to the application.
    pub(crate) received: Vec<Sample>,
    pub(crate) is_connected: bool,
    has_session: bool,
}

#[derive(Clone, Debug)]
struct Outgoing {
    packet_id: u16,
    sample: Sample,
    is_released: bool,
    /// It counts against the quota of this connection.
    counts: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    kind: AckKind,
    packet_id: u16,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            version: settings.version,
            receive_maximum: 0,
            quota: usize::from(settings.receive_maximum),
            waiting: VecDeque::new(),
            inflight: VecDeque::new(),
            unreleased: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            answers: VecDeque::new(),
            received: Vec::new(),
            is_connected: false,
            has_session: false,
        }
    }

    /// A connection begins, in which so many deliveries may be unacknowledged.
    pub(crate) fn connect(&mut self, settings: &Settings, receive_maximum: u16) {
        let granted = if self.version.is_v5() {
            receive_maximum.min(settings.inflight_messages_max)
        } else {
            settings.inflight_messages_max
        };
        self.receive_maximum = usize::from(granted);
    }

    pub(crate) fn publish(&mut self, sample: Sample) {
        self.waiting.push_back(sample);
    }

    /// The link is gone, with everything that was not sent.
    pub(crate) fn cut(&mut self) {
        self.is_connected = false;
        self.answers.clear();
        self.unacknowledged.clear();
        self.inflight.iter_mut().for_each(|it| it.counts = false);
        // Nobody repeats QoS 0.
        self.waiting.retain(|it| it.qos.is_acknowledged());
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.inflight.is_empty() && self.answers.is_empty()
    }

    /// Handles a packet of the server; what it sends at once is put into `up`.
    pub(crate) fn receive(&mut self, bytes: &[u8], up: &mut VecDeque<Vec<u8>>) {
        match decode(bytes, self.version) {
            Packet::Connack(connack) => {
                assert_eq!(connack.reason, ReasonCode::Success);
                // The server may have a session whose CONNACK was lost.
                assert!(connack.session_present || !self.has_session);
                self.has_session = true;
                self.is_connected = true;
                self.resume(up);
            }
            Packet::Publish(publish) => self.on_publish(&publish),
            Packet::Ack(ack) => self.on_ack(ack),
            other => panic!("{other:?}"),
        }
        self.send(up);
    }

    /// Sends again what is not acknowledged, in the order of the first time [MQTT-4.4.0-1].
    fn resume(&mut self, up: &mut VecDeque<Vec<u8>>) {
        for entry in &mut self.inflight {
            if entry.is_released {
                up.push_back(encode_ack(AckKind::Pubrel, entry.packet_id, self.version));
            } else {
                entry.counts = true;
                let packet = encode_publish(&entry.sample, entry.packet_id, true, self.version);
                up.push_back(packet);
            }
        }
    }

    /// Sends new messages as far as the quota goes.
    pub(crate) fn send(&mut self, up: &mut VecDeque<Vec<u8>>) {
        while self.is_connected {
            let Some(sample) = self.waiting.front().cloned() else {
                return;
            };
            let mut packet_id = 0;
            if sample.qos.is_acknowledged() {
                if self.inflight.iter().filter(|it| it.counts).count() >= self.quota {
                    return;
                }
                let in_use = |id: &u16| self.inflight.iter().any(|it| it.packet_id == *id);
                packet_id = (1..=u16::MAX).find(|id| !in_use(id)).unwrap();
                self.inflight.push_back(Outgoing {
                    packet_id,
                    sample: sample.clone(),
                    is_released: false,
                    counts: true,
                });
            }
            self.waiting.pop_front();
            up.push_back(encode_publish(&sample, packet_id, false, self.version));
        }
    }

    /// Sends the oldest answers.
    pub(crate) fn answer(&mut self, count: usize, up: &mut VecDeque<Vec<u8>>) {
        let count = count.min(self.answers.len());
        for Answer { kind, packet_id } in self.answers.drain(..count) {
            if matches!(kind, AckKind::Puback | AckKind::Pubcomp) {
                self.unacknowledged.remove(&packet_id);
            }
            up.push_back(encode_ack(kind, packet_id, self.version));
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let (header, sample) = (publish.header, Sample::of(publish));
        if header.qos == QoS::AtMostOnce {
            self.received.push(sample);
            return;
        }
        let packet_id = header.packet_id;
        let is_free = self.unacknowledged.insert(packet_id);
        assert!(is_free, "identifier {packet_id} is in use: {sample:?}");
        let count = self.unacknowledged.len();
        assert!(count <= self.receive_maximum, "{count} at once");
        if header.qos == QoS::AtLeastOnce {
            self.received.push(sample);
            self.reply(AckKind::Puback, packet_id);
            return;
        }
        match self.unreleased.get(&packet_id) {
            None => {
                self.unreleased.insert(packet_id, sample.clone());
                self.received.push(sample);
            }
            Some(known) => {
                assert_eq!(*known, sample, "identifier {packet_id} stands for another");
                assert!(header.dup, "{sample:?} again");
            }
        }
        self.reply(AckKind::Pubrec, packet_id);
    }

    fn on_ack(&mut self, ack: Ack<'_>) {
        let packet_id = ack.packet_id;
        let place = self
            .inflight
            .iter()
            .position(|it| it.packet_id == packet_id);
        match ack.kind {
            AckKind::Pubrel => {
                self.unreleased.remove(&packet_id);
                self.reply(AckKind::Pubcomp, packet_id);
            }
            AckKind::Pubrec => {
                assert!(!ack.reason.is_error(), "{:?}", ack.reason);
                let place = place.expect("PUBREC of a message in flight");
                let entry = &mut self.inflight[place];
                assert_eq!(entry.sample.qos, QoS::ExactlyOnce);
                entry.is_released = true;
                self.reply(AckKind::Pubrel, packet_id);
            }
            AckKind::Puback | AckKind::Pubcomp => {
                let place = place.expect("the end of a message in flight");
                let entry = self.inflight.remove(place).unwrap();
                let is_qos_2 = entry.sample.qos == QoS::ExactlyOnce;
                assert_eq!(ack.kind == AckKind::Pubcomp, is_qos_2 && entry.is_released);
            }
        }
    }

    fn reply(&mut self, kind: AckKind, packet_id: u16) {
        self.answers.push_back(Answer { kind, packet_id });
    }
}
