//! Our client and our server understand each other, whatever each allows the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::connection::{AckAction, Action, Handshake, Limits, ServerConnection};
use crate::packet::{AckKind, ForwardedProperties, SubscriptionOptions};
use crate::session::{
    Delivery, Enqueue, Inbound, Outgoing, QueueClass, QueueLimits, Receive, Session, WhenFull,
};
use crate::{Message, Timestamp, TopicFilter, TopicName};

const QUEUE: QueueLimits = QueueLimits {
    messages_max: 1_000,
    bytes_max: 1 << 20,
    live_bytes_max: 1 << 20,
    stored_messages_max: 1_000,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};
const FILTERS: [&str; 3] = ["a", "a/+", "$share/g/b"];

#[derive(Clone, Copy, Debug)]
struct Sample {
    topic: u8,
    qos: QoS,
    retain: bool,
    padding: usize,
}

#[derive(Clone, Debug)]
enum Step {
    ClientPublish(Sample),
    ServerPublish(Sample),
    ClientAcknowledges(usize),
    ServerAcknowledges(usize),
    Subscribe(usize),
    Unsubscribe(usize),
    Ping,
}

struct World {
    client: ClientConnection,
    server: ServerConnection,
    limits: Limits,
    session: Session,
    inbound: Inbound,
    /// Packet Identifiers of the client's messages.
    inflight: BTreeSet<u16>,
    client_acks: VecDeque<PendingAck>,
    server_acks: VecDeque<PendingAck>,
    /// What the server was given to deliver, by its number.
    given: BTreeMap<u32, Sample>,
    number: u32,
    /// Something may be larger than the other side accepts.
    is_tight: bool,
}

impl World {
    fn connect(options: &ClientOptions, limits: Limits) -> Self {
        let mut out = Vec::new();
        let client = ClientHandshake::new(options, &mut out).unwrap();
        let Packet::Connect(connect) = packet(&out, options.version) else {
            panic!("{out:?}");
        };
        let server = Handshake::new(&connect, &limits, || "assigned".to_owned()).unwrap();
        let mut out = Vec::new();
        assert!(server.encode_connack(false, &limits, &mut out));
        let Ok(ClientAnswer::Accepted { connection, .. }) = client.handle(frame(&out)) else {
            panic!("{out:?}");
        };
        check_terms(&connection, &server, options, &limits);
        let mut session = Session::new(QUEUE, false);
        session.resume(server.inflight_messages_max);
        Self {
            client: *connection,
            server: server.connection,
            is_tight: limits.packet_bytes_max.min(options.packet_bytes_max) < 1_000,
            limits,
            session,
            inbound: Inbound::default(),
            inflight: BTreeSet::new(),
            client_acks: VecDeque::new(),
            server_acks: VecDeque::new(),
            given: BTreeMap::new(),
            number: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::ClientPublish(sample) => self.client_publish(*sample),
            Step::ServerPublish(sample) => self.server_publish(*sample),
            Step::ClientAcknowledges(count) => self.client_acknowledges(*count),
            Step::ServerAcknowledges(count) => self.server_acknowledges(*count),
            Step::Subscribe(count) => self.subscribe(&FILTERS[..*count]),
            Step::Unsubscribe(count) => self.unsubscribe(&FILTERS[..*count]),
            Step::Ping => {
                let mut out = Vec::new();
                self.client.encode_pingreq(&mut out);
                let mut answer = Vec::new();
                assert_eq!(self.server_takes(&out, &mut answer), Action::None);
                assert_eq!(self.client_handles(&answer), ClientAction::Pingresp);
            }
        }
    }

    fn server_takes<'p>(&mut self, bytes: &'p [u8], out: &mut Vec<u8>) -> Action<'p> {
        assert!(bytes.len() <= self.limits.packet_bytes_max as usize);
        let packet = packet(bytes, self.client.version());
        self.server
            .handle(packet, &mut self.session, &self.limits, out)
            .unwrap()
    }

    fn client_handles<'p>(&mut self, bytes: &'p [u8]) -> ClientAction<'p> {
        self.client.handle(frame(bytes)).unwrap()
    }

    fn message(&mut self, sample: Sample) -> Message {
        self.number += 1;
        let mut payload = self.number.to_be_bytes().to_vec();
        payload.resize(4 + sample.padding, b'x');
        let topic = format!("topic/{}", sample.topic);
        let mut message = Message::new(TopicName::new(&topic).unwrap(), payload);
        message.qos = sample.qos;
        message.retain = sample.retain;
        message.properties = ForwardedProperties::from_properties([Property::ContentType("c")]);
        message
    }

    fn client_publish(&mut self, sample: Sample) {
        let window = usize::from(self.limits.receive_maximum);
        let qos = self.client.qos_of(sample.qos);
        if qos.is_acknowledged() && self.inflight.len() >= window {
            return;
        }
        let message = self.message(sample);
        let packet_id = (1..=u16::MAX).find(|it| !self.inflight.contains(it));
        let packet_id = packet_id.unwrap();
        let outgoing = OutgoingPublish {
            topic: &message.topic,
            payload: &message.payload,
            qos: sample.qos,
            retain: sample.retain,
            dup: false,
            packet_id,
            properties: &message.properties,
            expiry_interval: Some(9),
        };
        let mut out = Vec::new();
        if !self.client.encode_publish(&outgoing, &mut out) {
            assert!(self.is_tight);
            return;
        }
        let is_new = self.client.version().is_v5();
        let retain = sample.retain && self.limits.retain_available;
        let Action::Publish(incoming) = self.server_takes(&out, &mut Vec::new()) else {
            panic!("{out:?}");
        };
        assert_eq!(incoming.topic.as_str(), message.topic.as_str());
        assert_eq!(incoming.publish.payload, message.payload);
        let header = incoming.publish.header;
        assert_eq!((header.qos, header.retain), (qos, retain));
        let properties = incoming.publish.properties.forwarded();
        assert_eq!(properties == message.properties, is_new);
        assert_eq!(incoming.properties.expiry_interval, is_new.then_some(9));
        if qos.is_acknowledged() {
            self.inflight.insert(packet_id);
        }
        self.server_acks.extend(incoming.ack);
    }

    fn server_acknowledges(&mut self, count: usize) {
        for _ in 0..count {
            let Some(ack) = self.server_acks.pop_front() else {
                return;
            };
            let mut out = Vec::new();
            self.server.encode_ack(ack, &mut out);
            let ClientAction::Ack(ack) = self.client_handles(&out) else {
                panic!("{out:?}");
            };
            assert_eq!(ack.reason, ReasonCode::Success);
            if ack.kind != AckKind::Pubrec {
                assert!(self.inflight.remove(&ack.packet_id));
                continue;
            }
            let pubrel = PendingAck::new(AckKind::Pubrel, ack.packet_id, ReasonCode::Success);
            let mut out = Vec::new();
            self.client.encode_ack(pubrel, &mut out);
            let action = self.server_takes(&out, &mut Vec::new());
            let Action::Ack(AckAction::Released(pubcomp)) = action else {
                panic!("{action:?}");
            };
            self.server_acks.push_back(pubcomp);
        }
    }

    fn server_publish(&mut self, sample: Sample) {
        let message = self.message(sample);
        self.given.insert(self.number, sample);
        let outcome = self.session.enqueue(Delivery {
            sequence: 0,
            qos: message.qos,
            retain: message.retain,
            message: message.into(),
            subscription_ids: vec![7, 8],
            class: QueueClass::default(),
            expires_at: None,
        });
        assert!(matches!(outcome, Enqueue::Kept { .. }));
        self.deliver();
    }

    fn deliver(&mut self) {
        let now = Timestamp::default();
        while let Some(outgoing) = self.session.next(now, &mut Vec::new()) {
            let Outgoing::Publish { packet_id, .. } = &outgoing else {
                panic!("{outgoing:?}");
            };
            let mut out = Vec::new();
            if self.server.encode_outgoing(&outgoing, now, &mut out) {
                self.client_takes(&out);
            } else {
                assert!(self.is_tight);
                self.session.inflight_mut().abandon(*packet_id);
            }
        }
    }

    fn client_takes(&mut self, bytes: &[u8]) {
        let ClientAction::Publish(incoming) = self.client_handles(bytes) else {
            panic!("{bytes:?}");
        };
        let number = incoming.publish.payload.first_chunk().copied();
        let sample = self.given.remove(&u32::from_be_bytes(number.unwrap()));
        let sample = sample.expect("a message that was not delivered before");
        let topic = format!("topic/{}", sample.topic);
        assert_eq!(incoming.topic.as_str(), topic);
        let header = incoming.publish.header;
        assert_eq!((header.qos, header.retain), (sample.qos, sample.retain));
        if sample.qos == QoS::ExactlyOnce {
            assert_eq!(self.inbound.receive(header.packet_id), Receive::New);
        }
        self.client_acks.extend(incoming.ack);
    }

    fn client_acknowledges(&mut self, count: usize) {
        for _ in 0..count {
            let Some(ack) = self.client_acks.pop_front() else {
                break;
            };
            let mut out = Vec::new();
            self.client.encode_ack(ack, &mut out);
            let action = self.server_takes(&out, &mut Vec::new());
            if matches!(action, Action::Ack(AckAction::Delivered(_))) {
                continue;
            }
            let Action::Ack(AckAction::Received(_, pubrel)) = action else {
                panic!("{action:?}");
            };
            let mut out = Vec::new();
            self.server.encode_ack(pubrel, &mut out);
            let ClientAction::Ack(ack) = self.client_handles(&out) else {
                panic!("{out:?}");
            };
            assert!(self.inbound.release(ack.packet_id));
            let pubcomp = PendingAck::new(AckKind::Pubcomp, ack.packet_id, ReasonCode::Success);
            self.client_acks.push_back(pubcomp);
        }
        self.deliver();
    }

    fn subscribe(&mut self, filters: &[&str]) {
        let options = SubscriptionOptions {
            no_local: true,
            ..SubscriptionOptions::default()
        };
        let filters: Vec<_> = filters
            .iter()
            .map(|it| (TopicFilter::new(it).unwrap(), options))
            .collect();
        let mut out = Vec::new();
        let sent = self
            .client
            .encode_subscribe(1, &filters, Some(7), &[], &mut out);
        if let Err(error) = sent {
            return self.check_error(error);
        }
        let Action::Subscribe(subscribe) = self.server_takes(&out, &mut Vec::new()) else {
            panic!("{out:?}");
        };
        let checked = self
            .server
            .check_subscribe(&subscribe, &self.limits, |_| None)
            .unwrap();
        let codes: Vec<u8> = checked
            .iter()
            .map(|it| u8::from(it.is_err()) << 7)
            .collect();
        let mut out = Vec::new();
        self.server.encode_suback(1, &codes, &mut out);
        let ClientAction::Suback(suback) = self.client_handles(&out) else {
            panic!("{out:?}");
        };
        assert_eq!(suback.codes, codes);
    }

    fn unsubscribe(&mut self, filters: &[&str]) {
        let filters: Vec<_> = filters
            .iter()
            .map(|it| TopicFilter::new(it).unwrap())
            .collect();
        let mut out = Vec::new();
        if let Err(error) = self.client.encode_unsubscribe(1, &filters, &[], &mut out) {
            return self.check_error(error);
        }
        let Action::Unsubscribe(unsubscribe) = self.server_takes(&out, &mut Vec::new()) else {
            panic!("{out:?}");
        };
        assert_eq!(unsubscribe.filters().count(), filters.len());
        let codes = vec![0x11; filters.len()];
        let mut out = Vec::new();
        self.server.encode_unsuback(1, &codes, &mut out);
        let action = self.client_handles(&out);
        assert!(matches!(action, ClientAction::Unsuback(_)), "{action:?}");
    }

    fn check_error(&self, error: RequestError) {
        match error {
            RequestError::Unavailable(_) => {
                assert!(!self.limits.wildcard_subscription_available);
            }
            RequestError::TooLarge => assert!(self.is_tight),
            RequestError::Malformed | RequestError::InvalidProperty | RequestError::TooMany => {
                panic!("{error}");
            }
        }
    }

    /// Everything is acknowledged, then one side ends the connection.
    fn end(mut self) {
        for _ in 0..10_000 {
            self.client_acknowledges(1);
            self.server_acknowledges(1);
        }
        assert!(self.inflight.is_empty() && self.inbound.is_empty());
        assert!(self.given.is_empty() || self.is_tight);
        assert_eq!(self.session.backlog(), 0);
        let violation = ProtocolViolation::protocol("why");
        let mut out = Vec::new();
        self.server
            .encode_disconnect(&violation, &self.limits, &mut out);
        if self.client.version().is_v5() {
            let ClientAction::Disconnect(disconnect) = self.client_handles(&out) else {
                panic!("{out:?}");
            };
            assert_eq!(disconnect.reason, violation.reason);
            assert_eq!(disconnect.properties.reason_string(), Some("why"));
        }
        let mut out = Vec::new();
        self.client
            .encode_disconnect(ReasonCode::Success, None, &mut out);
        let action = self.server_takes(&out, &mut Vec::new());
        let expected = Action::Disconnect {
            with_will: false,
            session_expiry: None,
        };
        assert_eq!(action, expected);
    }
}

/// The client has been told what the server does.
fn check_terms(
    client: &ClientConnection,
    server: &Handshake,
    options: &ClientOptions,
    limits: &Limits,
) {
    let terms = client.terms();
    assert_eq!(terms.keep_alive, server.keep_alive);
    assert_eq!(terms.qos_max, limits.qos_max);
    assert_eq!(terms.retain_available, limits.retain_available);
    let available = limits.wildcard_subscription_available;
    assert_eq!(terms.wildcard_subscription_available, available);
    if options.version.is_v5() {
        assert_eq!(terms.receive_maximum, limits.receive_maximum);
        assert_eq!(terms.packet_bytes_max, limits.packet_bytes_max);
        assert_eq!(terms.topic_alias_max, limits.topic_alias_max);
        assert_eq!(terms.session_expiry, server.session_expiry);
        let id = terms.assigned_client_id.as_ref();
        assert_eq!(id.unwrap_or(&options.client_id), &server.client_id);
        let information = limits.response_information.as_deref();
        assert_eq!(terms.response_information.as_deref(), information);
    }
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|it| QoS::from_u8(it).unwrap())
}

fn sample() -> impl Strategy<Value = Sample> {
    (0..4_u8, qos(), any::<bool>(), 0..40_usize).prop_map(|(topic, qos, retain, padding)| Sample {
        topic,
        qos,
        retain,
        padding,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => sample().prop_map(Step::ClientPublish),
        4 => sample().prop_map(Step::ServerPublish),
        2 => (1..4_usize).prop_map(Step::ClientAcknowledges),
        2 => (1..4_usize).prop_map(Step::ServerAcknowledges),
        1 => (1..=3_usize).prop_map(Step::Subscribe),
        1 => (1..=3_usize).prop_map(Step::Unsubscribe),
        1 => Just(Step::Ping),
    ];
    vec(step, 0..60)
}

fn sides(version: ProtocolVersion) -> impl Strategy<Value = (ClientOptions, Limits)> {
    let maxima = (1..4_u16, 1..4_u16, 0..3_u16, 0..3_u16, 0..3_u16, 0..3_u16);
    let flags = (any::<[bool; 6]>(), qos());
    (maxima, flags).prop_map(move |(maxima, (flags, qos_max))| {
        let is_new = version.is_v5();
        let mut options = ClientOptions::new(version, if flags[0] { "c" } else { "" });
        options.is_bridge = flags[5];
        options.session_expiry = Duration::from_secs(u64::from(flags[1]) * 1_000_000);
        options.request_response_information = flags[2];
        let mut limits = Limits {
            receive_maximum: maxima.1,
            topic_alias_max: maxima.2,
            client_topic_alias_max: maxima.3,
            response_information: flags[2].then(|| "r".into()),
            ..Limits::default()
        };
        options.receive_maximum = maxima.0;
        options.topic_alias_max = maxima.4;
        options.server_topic_alias_max = maxima.5;
        // MQTT 3 could not say so.
        if is_new {
            limits.qos_max = qos_max;
            limits.retain_available = flags[3];
            limits.wildcard_subscription_available = flags[4];
            limits.server_keep_alive = flags[4].then_some(7);
            limits.packet_bytes_max = if flags[5] { 50 } else { 1 << 20 };
            options.packet_bytes_max = if flags[3] { 70 } else { 1 << 20 };
        }
        (options, limits)
    })
}

proptest! {
    #[test]
    fn mqtt_5_is_understood((options, limits) in sides(V5), steps in steps()) {
        let mut world = World::connect(&options, limits);
        steps.iter().for_each(|step| world.step(step));
        world.end();
    }

    #[test]
    fn mqtt_3_is_understood((options, limits) in sides(V311), steps in steps()) {
        let mut world = World::connect(&options, limits);
        steps.iter().for_each(|step| world.step(step));
        world.end();
    }
}
