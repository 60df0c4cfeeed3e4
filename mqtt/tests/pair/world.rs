//! Both sides, the link between them, and what must be true in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt::packet::{Ack, AckKind, Frame, Packet, Properties, Publish, PublishHeader};
use mqtt::{ProtocolVersion, QoS, ReasonCode};

use crate::client::Client;
use crate::server::Server;

/// Rounds in which everything must be delivered once the link stays up.
const ROUNDS_MAX: usize = 2_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) version: ProtocolVersion,
    /// What the server takes unacknowledged.
    pub(crate) receive_maximum: u16,
    /// What the server sends unacknowledged, whatever the client allows.
    pub(crate) inflight_messages_max: u16,
    /// The sequence of the session's first delivery.
    pub(crate) first_sequence: u64,
    /// Whether each topic waits in a lane of its own.
    pub(crate) has_lanes: bool,
}

impl Settings {
    /// The CONNECT of a client that takes so many deliveries unacknowledged; it can say so in
    /// version 5 only.
    fn connect(&self, receive_maximum: u16) -> Vec<u8> {
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([self.version as u8, 0, 0, 0]);
        if self.version.is_v5() {
            // A session that stays, and the Receive Maximum.
            body.extend([8, 0x11, 0xFF, 0xFF, 0xFF, 0xFF, 0x21]);
            body.extend(receive_maximum.to_be_bytes());
        }
        body.extend(b"\0\x01c");
        let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
        packet.extend(body);
        packet
    }
}

/// A message, named by its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) number: u64,
}

impl Sample {
    pub(crate) fn of(publish: &Publish<'_>) -> Self {
        Self {
            topic: publish.header.topic.to_owned(),
            qos: publish.header.qos,
            number: u64::from_be_bytes(publish.payload.try_into().unwrap()),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    ClientPublish {
        topic: u8,
        qos: QoS,
    },
    ServerPublish {
        topic: u8,
        qos: QoS,
    },
    /// So many packets reach the server.
    MoveUp(usize),
    /// So many packets reach the client.
    MoveDown(usize),
    /// The client sends so many answers.
    ClientAnswer(usize),
    /// So many changes become durable.
    Commit(usize),
    LoadPage,
    /// So many packets still arrive; the others under way are lost.
    Cut {
        up: usize,
        down: usize,
    },
    /// The client connects, if the link is down, and takes so many deliveries unacknowledged.
    Connect {
        receive_maximum: u16,
    },
    /// The server is killed and starts again.
    Crash,
}

pub(crate) struct World {
    settings: Settings,
    client: Client,
    server: Server,
    is_up: bool,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    /// What each side was given to publish.
    published_up: Vec<Sample>,
    published_down: Vec<Sample>,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            client: Client::new(&settings),
            server: Server::new(&settings),
            settings,
            is_up: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            published_up: Vec::new(),
            published_down: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::ClientPublish { topic, qos } => {
                let sample = sample(*topic, *qos, &mut self.published_up);
                self.client.publish(sample);
            }
            Step::ServerPublish { topic, qos } => {
                let sample = sample(*topic, *qos, &mut self.published_down);
                self.server.publish(sample);
            }
            Step::MoveUp(count) => self.move_up(*count),
            Step::MoveDown(count) => self.move_down(*count),
            Step::ClientAnswer(count) => self.client.answer(*count, &mut self.up),
            Step::Commit(count) => self.server.store.commit(*count),
            Step::LoadPage => self.server.load_page(),
            Step::Cut { up, down } => {
                self.move_up(*up);
                self.move_down(*down);
                self.server.cut();
                self.cut();
            }
            Step::Connect { receive_maximum } => self.connect(*receive_maximum),
            Step::Crash => {
                self.server.crash();
                self.cut();
            }
        }
        self.client.send(&mut self.up);
        self.server.pump(&mut self.down);
    }

    fn move_up(&mut self, count: usize) {
        for packet in self.up.drain(..count.min(self.up.len())) {
            self.server.receive(&packet, &mut self.down);
        }
    }

    fn move_down(&mut self, count: usize) {
        for packet in self.down.drain(..count.min(self.down.len())) {
            self.client.receive(&packet, &mut self.up);
        }
    }

    fn cut(&mut self) {
        self.is_up = false;
        self.up.clear();
        self.down.clear();
        self.client.cut();
    }

    fn connect(&mut self, receive_maximum: u16) {
        if !self.is_up {
            self.is_up = true;
            self.up.push_back(self.settings.connect(receive_maximum));
            self.client.connect(&self.settings, receive_maximum);
        }
    }

    /// The link stays up, and everything goes on until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.connect(1);
        for _ in 0..ROUNDS_MAX {
            for step in [
                Step::MoveUp(usize::MAX),
                Step::Commit(usize::MAX),
                Step::MoveDown(usize::MAX),
                Step::ClientAnswer(usize::MAX),
                Step::LoadPage,
            ] {
                self.step(&step);
            }
            let quiet = self.up.is_empty() && self.down.is_empty();
            if quiet && self.client.is_done() && self.server.is_done() {
                return;
            }
        }
        panic!("not everything is delivered after {ROUNDS_MAX} rounds");
    }

    /// Everything arrived as often as its QoS says, in order.
    pub(crate) fn check(&self) {
        check_received(&self.published_up, &self.server.store.routed);
        check_received(&self.published_down, &self.client.received);
    }
}

/// Takes the next number for a message.
fn sample(topic: u8, qos: QoS, published: &mut Vec<Sample>) -> Sample {
    let sample = Sample {
        topic: format!("topic/{topic}"),
        qos,
        number: published.len() as u64,
    };
    published.push(sample.clone());
    sample
}

fn check_received(published: &[Sample], received: &[Sample]) {
    let mut counts: BTreeMap<&Sample, usize> = BTreeMap::new();
    for sample in received {
        *counts.entry(sample).or_default() += 1;
    }
    for sample in published {
        let count = counts.remove(sample).unwrap_or(0);
        let is_right = match sample.qos {
            QoS::AtMostOnce => count <= 1,
            QoS::AtLeastOnce => count >= 1,
            QoS::ExactlyOnce => count == 1,
        };
        assert!(is_right, "{sample:?} came {count} times");
    }
    assert!(counts.is_empty(), "nobody published {counts:?}");
    // Order is that of each topic and QoS, apart from repetitions [MQTT-4.6.0-6].
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(&str, QoS), u64> = BTreeMap::new();
    for sample in received.iter().filter(|it| seen.insert(it.number)) {
        let before = last.insert((&sample.topic, sample.qos), sample.number);
        assert!(
            before.is_none_or(|it| it < sample.number),
            "order: {sample:?}"
        );
    }
}

pub(crate) fn decode(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    let (frame, len) = Frame::split(bytes, 1 << 20).unwrap().unwrap();
    assert_eq!(len, bytes.len(), "one packet");
    Packet::decode(frame, version).unwrap()
}

pub(crate) fn encode_ack(kind: AckKind, packet_id: u16, version: ProtocolVersion) -> Vec<u8> {
    let mut out = Vec::new();
    Packet::Ack(Ack::new(kind, packet_id, ReasonCode::Success)).encode(version, &mut out);
    out
}

pub(crate) fn encode_publish(
    sample: &Sample,
    packet_id: u16,
    dup: bool,
    version: ProtocolVersion,
) -> Vec<u8> {
    let header = PublishHeader {
        dup,
        qos: sample.qos,
        retain: false,
        topic: &sample.topic,
        packet_id,
    };
    let publish = Publish {
        header,
        properties: Properties::default(),
        payload: &sample.number.to_be_bytes(),
    };
    let mut out = Vec::new();
    Packet::Publish(publish).encode(version, &mut out);
    out
}
