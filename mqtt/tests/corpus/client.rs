//! What a hostile server may send to a client: it never panics, keeps no more than it was sent,
//! and whatever it sends itself is well formed and fits the server.
//!
//! The first byte of the input chooses the options, the rest is a stream of packets. A connection
//! that ends is followed by the next one.

use std::collections::BTreeSet;

use mqtt::connection::{
    ClientAction, ClientAnswer, ClientConnection, ClientHandshake, ClientOptions, IncomingPublish,
    OutgoingPublish, PendingAck, ServerTerms,
};
use mqtt::packet::{
    Ack, AckKind, ForwardedProperties, Frame, Packet, Property, RetainHandling, SubscriptionOptions,
};
use mqtt::{ProtocolVersion, ProtocolViolation, QoS, ReasonCode, TopicFilter, TopicName};

const PACKET_BYTES_MAX: usize = 1_024;
const FILTERS: [&str; 3] = ["a", "a/+", "$share/g/b"];

pub(crate) fn run(data: &[u8]) {
    let Some((&choice, mut stream)) = data.split_first() else {
        return;
    };
    let options = options(choice);
    let mut client = Client::new(usize::from(choice >> 6));
    while let Ok(Some((frame, len))) = Frame::split(stream, PACKET_BYTES_MAX) {
        stream = &stream[len..];
        client.receive(frame, len, &options);
    }
}

fn options(choice: u8) -> ClientOptions {
    let is_set = |bit: u8| choice & 1 << bit != 0;
    let version = if is_set(0) {
        ProtocolVersion::V311
    } else {
        ProtocolVersion::V5
    };
    let mut options = ClientOptions::new(version, "c");
    options.packet_bytes_max = u32::try_from(PACKET_BYTES_MAX).unwrap();
    options.receive_maximum = if is_set(1) { 1 } else { 3 };
    options.topic_alias_max = 2;
    options.server_topic_alias_max = if is_set(2) { 0 } else { 2 };
    options.clean_start = is_set(3);
    options.request_problem_information = !is_set(4);
    options.request_response_information = is_set(4);
    if is_set(5) {
        options.qos_max = QoS::AtLeastOnce;
    }
    options
}

struct Client {
    connection: Option<Box<ClientConnection>>,
    /// Acknowledgements that wait; at most so many after each packet.
    pending: Vec<PendingAck>,
    lag: usize,
    /// Messages of the server that are not acknowledged to the end.
    /// Packet Identifiers of requests without an answer.
    requests: BTreeSet<u16>,
    turn: u16,
    out: Vec<u8>,
    aliases: BTreeSet<u16>,
}

impl Client {
    const fn new(lag: usize) -> Self {
        Self {
            connection: None,
            pending: Vec::new(),
            lag,
            requests: BTreeSet::new(),
            turn: 0,
            out: Vec::new(),
            aliases: BTreeSet::new(),
        }
    }

    /// Handles one packet and checks everything that it caused.
    fn receive(&mut self, frame: Frame<'_>, len: usize, options: &ClientOptions) {
        self.turn = self.turn.wrapping_add(1);
        let Some(mut connection) = self.connection.take() else {
            return self.connect(frame, len, options);
        };
        match connection.handle(frame) {
            Ok(ClientAction::Disconnect(disconnect)) => {
                assert!(options.version.is_v5());
                let texts = disconnect.properties;
                let texts = [texts.reason_string(), texts.server_reference()];
                assert!(texts.into_iter().flatten().all(|it| it.len() < len));
            }
            Ok(action) => {
                self.act(&action, options);
                self.send(&mut connection);
                self.check_output(&connection);
                self.connection = Some(connection);
            }
            Err(violation) => {
                check_violation(&violation);
                let (reason, text) = (violation.reason, Some(violation.detail));
                connection.encode_disconnect(reason, text, &mut self.out);
                self.check_output(&connection);
            }
        }
    }

    fn connect(&mut self, frame: Frame<'_>, len: usize, options: &ClientOptions) {
        self.pending.clear();
        self.requests.clear();
        self.aliases.clear();
        let mut connect = Vec::new();
        let handshake = ClientHandshake::new(options, &mut connect).expect("good options");
        match handshake.handle(frame) {
            Ok(ClientAnswer::Accepted {
                connection,
                session_present,
            }) => {
                assert!(!(session_present && options.clean_start));
                check_terms(connection.terms(), len);
                self.connection = Some(connection);
            }
            Ok(ClientAnswer::Refused(refusal)) => {
                assert!(refusal.reason.is_error());
                let texts = [refusal.reason_string, refusal.server_reference];
                assert!(texts.into_iter().flatten().all(|it| it.len() < len));
                let is_version = refusal.reason == ReasonCode::UnsupportedProtocolVersion;
                let is_new = options.version.is_v5();
                assert_eq!(refusal.is_worth_falling_back, is_version && is_new);
            }
            Err(violation) => check_violation(&violation),
        }
    }

    fn act(&mut self, action: &ClientAction<'_>, options: &ClientOptions) {
        match action {
            ClientAction::Publish(incoming) => self.publish(incoming, options),
            ClientAction::Ack(ack) => self.acknowledge(ack),
            ClientAction::Suback(suback) => {
                assert!(self.requests.remove(&suback.packet_id));
                assert_eq!(suback.codes.len(), FILTERS.len());
            }
            ClientAction::Unsuback(unsuback) => {
                assert!(self.requests.remove(&unsuback.packet_id));
                let has_codes = options.version.is_v5();
                let count = if has_codes { FILTERS.len() } else { 0 };
                assert_eq!(unsuback.codes.len(), count);
            }
            ClientAction::Pingresp => {}
            ClientAction::Disconnect(_) => panic!("the connection has ended"),
        }
    }

    fn publish(&mut self, incoming: &IncomingPublish<'_>, options: &ClientOptions) {
        let header = incoming.publish.header;
        assert!(header.qos <= options.qos_max);
        assert_eq!(header.packet_id > 0, incoming.ack.is_some());
        incoming.topic.to_name().expect("a topic name");
        if let Some(alias) = incoming.properties.topic_alias {
            assert!((1..=options.topic_alias_max).contains(&alias));
            let is_new = self.aliases.insert(alias);
            assert!(!(is_new && header.topic.is_empty()), "it is not known");
        }
        self.pending.extend(incoming.ack);
    }

    fn acknowledge(&mut self, ack: &Ack<'_>) {
        assert!(ack.packet_id > 0);
        let answer = match ack.kind {
            AckKind::Pubrec if !ack.reason.is_error() => AckKind::Pubrel,
            AckKind::Pubrel => AckKind::Pubcomp,
            AckKind::Puback | AckKind::Pubrec | AckKind::Pubcomp => return,
        };
        let answer = PendingAck::new(answer, ack.packet_id, ReasonCode::Success);
        self.pending.push(answer);
    }

    /// Sends what waits, and something of its own.
    fn send(&mut self, connection: &mut ClientConnection) {
        while self.pending.len() > self.lag {
            let ack = self.pending.remove(0);
            let mut encoded = Vec::new();
            connection.encode_ack(ack, &mut encoded);
            self.out.extend(encoded);
        }
        match self.turn % 4 {
            0 => self.request(connection),
            1 => connection.encode_pingreq(&mut self.out),
            _ => self.send_message(connection),
        }
    }

    fn request(&mut self, connection: &mut ClientConnection) {
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
        };
        let filters = FILTERS.map(|it| TopicFilter::new(it).unwrap());
        let start = self.out.len();
        // Few enough, so that a stream can have the answers.
        let packet_id = 1 + self.turn / 4 % 3;
        let sent = if self.turn.is_multiple_of(8) {
            let filters = filters.map(|it| (it, options));
            connection.encode_subscribe(packet_id, &filters, Some(7), &[], &mut self.out)
        } else {
            connection.encode_unsubscribe(packet_id, &filters, &[], &mut self.out)
        };
        match sent {
            Ok(()) => assert!(self.requests.insert(packet_id)),
            Err(_) => assert_eq!(self.out.len(), start),
        }
    }

    fn send_message(&mut self, connection: &mut ClientConnection) {
        let name = if self.turn % 8 < 4 {
            "topic/a"
        } else {
            "topic/b"
        };
        let topic = TopicName::new(name).unwrap();
        let properties = ForwardedProperties::from_properties([Property::ContentType("c")]);
        let message = OutgoingPublish {
            topic: &topic,
            payload: b"payload",
            qos: QoS::ExactlyOnce,
            retain: true,
            dup: self.turn.is_multiple_of(3),
            packet_id: self.turn.max(1),
            properties: &properties,
            expiry_interval: Some(1),
        };
        let start = self.out.len();
        let is_sent = connection.encode_publish(&message, &mut self.out);
        assert_eq!(is_sent, self.out.len() > start);
    }

    /// Everything is a packet that the server accepts.
    fn check_output(&mut self, connection: &ClientConnection) {
        let out = std::mem::take(&mut self.out);
        let (mut rest, terms) = (out.as_slice(), connection.terms());
        while !rest.is_empty() {
            let (frame, len) = Frame::split(rest, usize::MAX)
                .expect("a frame")
                .expect("a whole frame");
            rest = &rest[len..];
            // The smallest packets cannot be any smaller.
            assert!(len <= 4 || len <= terms.packet_bytes_max as usize);
            match Packet::decode(frame, connection.version()).expect("a packet") {
                Packet::Publish(publish) => {
                    assert!(publish.header.qos <= terms.qos_max);
                    assert!(!publish.header.retain || terms.retain_available);
                }
                Packet::Subscribe(subscribe) => {
                    let available = terms.subscription_identifier_available;
                    assert_eq!(subscribe.identifier().is_some(), available);
                    assert!(terms.wildcard_subscription_available);
                    assert!(terms.shared_subscription_available);
                }
                Packet::Ack(_) | Packet::Unsubscribe(_) | Packet::Pingreq => {}
                Packet::Disconnect(disconnect) => assert!(disconnect.reason.is_error()),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A violation can be told to the server.
fn check_violation(violation: &ProtocolViolation) {
    assert!(violation.reason.is_error());
    assert!(!violation.detail.is_empty());
}

/// What is kept is not more than what was sent.
fn check_terms(terms: &ServerTerms, len: usize) {
    assert!(terms.receive_maximum > 0 && terms.packet_bytes_max > 0);
    assert!(terms.user_properties.len() <= 32);
    let texts = [
        &terms.assigned_client_id,
        &terms.response_information,
        &terms.server_reference,
        &terms.reason_string,
    ];
    let texts = texts.into_iter().flatten().map(String::capacity);
    let pairs = terms.user_properties.iter();
    let pairs = pairs.map(|(name, value)| name.capacity() + value.capacity());
    assert!(texts.chain(pairs).sum::<usize>() <= len);
}
