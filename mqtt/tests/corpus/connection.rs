//! What a client may send over several connections of one session, against the state machines
//! of the server. Everything that is published comes back to the client.
//!
//! The first byte of the input chooses the limits, the rest is a stream of packets. A connection
//! that ends is followed by the next one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mqtt::connection::{
    AckAction, Action, Authentication, Handshake, IncomingPublish, Limits, Mechanism, Mechanisms,
    PendingAck, Progress, ServerConnection, Step, encode_refusal,
};
use mqtt::packet::{Connect, Frame, Packet, PacketType, Property, Subscribe, Unsubscribe};
use mqtt::session::{Delivery, Outgoing, QueueClass, QueueLimits, Session, WhenFull};
use mqtt::{Message, ProtocolVersion, ProtocolViolation, QoS, ReasonCode, Timestamp};

const PACKET_BYTES_MAX: usize = 1_024;
/// What an answer may have beyond the packet that it answers.
const ANSWER_BYTES_MAX: usize = 256;
const QUEUE: QueueLimits = QueueLimits {
    messages_max: 8,
    bytes_max: 8_192,
    live_bytes_max: 4_096,
    stored_messages_max: 16,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};

pub(crate) fn run(data: &[u8]) {
    let Some((&choice, mut stream)) = data.split_first() else {
        return;
    };
    let mut server = Server::new(choice);
    while let Ok(Some((frame, len))) = Frame::split(stream, PACKET_BYTES_MAX) {
        stream = &stream[len..];
        server.now = server.now.after(Duration::from_millis(300));
        server.receive(frame, len);
    }
    server.close();
}

struct Server<'p> {
    limits: Limits,
    mechanisms: Mechanisms,
    /// Acknowledgements that wait for the store; at most so many after each packet.
    pending: VecDeque<PendingAck>,
    lag: usize,
    session: Session,
    state: State<'p>,
    out: Vec<u8>,
    now: Timestamp,
    client: Client,
}

enum State<'p> {
    Closed,
    Authenticating(Connect<'p>, Box<Authentication>),
    Open(Box<ServerConnection>),
}

/// What the client knows.
#[derive(Default)]
struct Client {
    packet_bytes_max: usize,
    receive_maximum: usize,
    aliases: BTreeMap<u16, String>,
    /// Packet Identifiers in use and the sequences that they stand for.
    inflight: BTreeMap<u16, u64>,
    /// Those that were sent on this connection.
    unacknowledged: BTreeSet<u16>,
}

/// Asks for the same data until they are "yes" or "no".
#[derive(Debug)]
struct Echo;

impl Mechanism for Echo {
    fn step(&mut self, data: &[u8]) -> Step {
        match data {
            b"yes" => Step::Success(b"welcome".to_vec()),
            b"no" => Step::Failure,
            _ => Step::Continue(data.to_vec()),
        }
    }
}

impl<'p> Server<'p> {
    fn new(choice: u8) -> Self {
        let is_set = |bit: u8| choice & 1 << bit != 0;
        let limits = Limits {
            packet_bytes_max: u32::try_from(PACKET_BYTES_MAX).unwrap(),
            receive_maximum: if is_set(0) { 1 } else { 3 },
            inflight_messages_max: if is_set(1) { 1 } else { 3 },
            qos_max: if is_set(2) {
                QoS::AtLeastOnce
            } else {
                QoS::ExactlyOnce
            },
            retain_available: !is_set(3),
            wildcard_subscription_available: !is_set(3),
            topic_alias_max: 2,
            client_topic_alias_max: 2,
            topic_levels_max: 8,
            user_properties_max: 2,
            server_keep_alive: is_set(4).then_some(9),
            response_information: Some("r/${clientid}".into()),
            ..Limits::default()
        };
        let mut mechanisms = Mechanisms::default();
        mechanisms.insert("echo", Arc::new(|| Box::new(Echo)));
        Self {
            limits,
            mechanisms,
            pending: VecDeque::new(),
            lag: usize::from(choice >> 5),
            session: Session::new(QUEUE, false),
            state: State::Closed,
            out: Vec::new(),
            now: Timestamp::default(),
            client: Client::default(),
        }
    }

    /// Handles one packet and checks everything that it caused.
    fn receive(&mut self, frame: Frame<'p>, len: usize) {
        let version = match &self.state {
            State::Open(connection) => connection.version(),
            State::Closed | State::Authenticating(..) => ProtocolVersion::V5,
        };
        // Before CONNACK nothing but AUTH is looked into.
        let is_early = matches!(self.state, State::Authenticating(..));
        let outcome = if is_early && frame.packet_type() != PacketType::Auth {
            Err(ProtocolViolation::protocol("no AUTH"))
        } else {
            Packet::decode(frame, version).and_then(|packet| self.handle(packet))
        };
        assert!(self.out.len() <= len + ANSWER_BYTES_MAX, "a long answer");
        match outcome {
            Ok(()) => self.deliver(),
            Err(violation) => self.refuse(frame, &violation),
        }
        self.check_output(version);
        self.check_memory();
    }

    fn handle(&mut self, packet: Packet<'p>) -> Result<(), ProtocolViolation> {
        match (&mut self.state, packet) {
            (State::Closed, Packet::Connect(connect)) => self.connect(connect),
            (State::Closed, _) => Err(ProtocolViolation::protocol("no CONNECT")),
            (State::Authenticating(connect, authentication), Packet::Auth(auth)) => {
                let connect = *connect;
                let progress = authentication.on_auth(&auth, &mut self.out)?;
                self.go_on(connect, progress)
            }
            (State::Authenticating(..), _) => Err(ProtocolViolation::protocol("no AUTH")),
            (State::Open(connection), packet) => {
                let session = &mut self.session;
                let action = connection.handle(packet, session, &self.limits, &mut self.out)?;
                self.act(action)
            }
        }
    }

    fn connect(&mut self, connect: Connect<'p>) -> Result<(), ProtocolViolation> {
        self.client.connect(&connect);
        let begun = Authentication::begin(&connect, &self.mechanisms)?;
        let Some(mut authentication) = begun else {
            return self.open(&connect, None);
        };
        let progress = authentication.advance(connect.properties, &mut self.out)?;
        self.state = State::Authenticating(connect, Box::new(authentication));
        self.go_on(connect, progress)
    }

    fn go_on(&mut self, connect: Connect<'p>, progress: Progress) -> Result<(), ProtocolViolation> {
        let Progress::Done(data) = progress else {
            return Ok(());
        };
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Authenticating(_, done) => self.open(&connect, Some((*done, data))),
            State::Closed | State::Open(_) => panic!("nobody is authenticated"),
        }
    }

    fn open(
        &mut self,
        connect: &Connect<'_>,
        authenticated: Option<(Authentication, Vec<u8>)>,
    ) -> Result<(), ProtocolViolation> {
        let mut handshake = Handshake::new(connect, &self.limits, || "assigned".to_owned())?;
        assert!(!handshake.client_id.is_empty());
        assert!(handshake.session_expiry <= self.limits.session_expiry_max);
        assert!(handshake.inflight_messages_max <= self.limits.inflight_messages_max);
        if let Some((authentication, data)) = authenticated {
            handshake.authenticated(authentication, data);
        }
        if !handshake.encode_connack(false, &self.limits, &mut self.out) {
            self.out.clear();
            return Ok(());
        }
        if let Some(will) = handshake.will {
            let message = will.into_message(self.now);
            assert!(message.qos <= self.limits.qos_max);
        }
        if handshake.clean_start {
            self.session = Session::new(QUEUE, false);
            self.client.inflight.clear();
        }
        self.session.resume(handshake.inflight_messages_max);
        let window = usize::from(handshake.inflight_messages_max);
        assert!(window <= self.client.receive_maximum);
        self.client.receive_maximum = window;
        self.state = State::Open(Box::new(handshake.connection));
        Ok(())
    }

    fn act(&mut self, action: Action<'p>) -> Result<(), ProtocolViolation> {
        match action {
            Action::None => {}
            Action::Publish(incoming) => self.publish(&incoming),
            Action::Ack(AckAction::None) => {}
            Action::Answer(ack)
            | Action::Ack(
                AckAction::Answer(ack) | AckAction::Released(ack) | AckAction::Received(_, ack),
            ) => self.pending.push_back(ack),
            Action::Ack(AckAction::Delivered(sequence)) => self.client.forget(sequence),
            Action::Subscribe(packet) => return self.subscribe(&packet),
            Action::Unsubscribe(packet) => return self.unsubscribe(&packet),
            Action::Disconnect { session_expiry, .. } => {
                assert!(session_expiry.is_none_or(|it| it <= self.limits.session_expiry_max));
                self.close();
            }
        }
        Ok(())
    }

    fn connection(&mut self) -> &mut ServerConnection {
        match &mut self.state {
            State::Open(connection) => connection,
            State::Closed | State::Authenticating(..) => panic!("no connection"),
        }
    }

    fn subscribe(&mut self, packet: &Subscribe<'_>) -> Result<(), ProtocolViolation> {
        let limits = self.limits.clone();
        let connection = self.connection();
        let checked = connection.check_subscribe(packet, &limits, |_| None)?;
        let texts = packet.filters().map(|(text, _)| text);
        let codes = checked
            .iter()
            .zip(texts)
            .map(|(outcome, text)| match outcome {
                Ok((filter, options)) => {
                    assert_eq!(filter.as_str(), text);
                    options.qos as u8
                }
                Err(reason) => *reason as u8,
            });
        let codes: Vec<u8> = codes.collect();
        assert_eq!(codes.len(), packet.filters().count(), "a code for each");
        let mut out = Vec::new();
        connection.encode_suback(packet.packet_id, &codes, &mut out);
        self.out.extend(out);
        Ok(())
    }

    fn unsubscribe(&mut self, packet: &Unsubscribe<'_>) -> Result<(), ProtocolViolation> {
        let connection = self.connection();
        let checked = connection.check_unsubscribe(packet, |_| None)?;
        let codes = checked.iter().map(|outcome| match outcome {
            Ok(_) => ReasonCode::Success as u8,
            Err(reason) => *reason as u8,
        });
        let codes: Vec<u8> = codes.collect();
        assert_eq!(codes.len(), packet.filters().count(), "a code for each");
        let mut out = Vec::new();
        connection.encode_unsuback(packet.packet_id, &codes, &mut out);
        self.out.extend(out);
        Ok(())
    }

    /// Takes a message in; it comes back to the client.
    fn publish(&mut self, incoming: &IncomingPublish<'_>) {
        let publish = &incoming.publish;
        let expiry = publish
            .properties
            .iter()
            .find_map(|property| match property {
                Property::MessageExpiryInterval(seconds) => Some(seconds),
                _ => None,
            });
        let payload = publish.payload.to_vec();
        let mut message = Message::new(incoming.topic.to_name().unwrap(), payload);
        message.qos = publish.header.qos;
        message.properties = publish.properties.forwarded();
        message.expires_at = expiry.map(|it| self.now.after(Duration::from_secs(it.into())));
        let _ = self.session.enqueue(Delivery {
            sequence: 0,
            qos: message.qos,
            message: Arc::new(message),
            retain: publish.header.retain,
            subscription_ids: vec![7],
            class: QueueClass::default(),
            expires_at: None,
        });
        self.pending.extend(incoming.ack);
    }

    /// Sends what may be sent: acknowledgements whose time has come, then deliveries.
    fn deliver(&mut self) {
        let State::Open(connection) = &mut self.state else {
            return;
        };
        while self.pending.len() > self.lag {
            let ack = self.pending.pop_front().expect("not empty");
            connection.encode_ack(ack, &mut self.out);
        }
        let mut expired = Vec::new();
        while let Some(outgoing) = self.session.next(self.now, &mut expired) {
            if connection.encode_outgoing(&outgoing, self.now, &mut self.out) {
                self.client.expect(&outgoing);
            } else if let Outgoing::Publish { packet_id, .. } = outgoing {
                self.session.inflight_mut().abandon(packet_id);
                self.client.inflight.remove(&packet_id);
                self.client.unacknowledged.remove(&packet_id);
            }
        }
    }

    fn refuse(&mut self, frame: Frame<'_>, violation: &ProtocolViolation) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(connection) => {
                connection.encode_disconnect(violation, &self.limits, &mut self.out);
            }
            State::Authenticating(connect, _) => self.refuse_connect(Ok(connect), violation),
            State::Closed => match Packet::decode(frame, ProtocolVersion::V5) {
                Ok(Packet::Connect(connect)) => self.refuse_connect(Ok(connect), violation),
                _ => self.refuse_connect(Err(Connect::stated_version(frame)), violation),
            },
        }
        self.close();
    }

    /// A client that could not connect is told so as far as its CONNECT could be read.
    fn refuse_connect(
        &self,
        connect: Result<Connect<'_>, Option<ProtocolVersion>>,
        violation: &ProtocolViolation,
    ) {
        let (version, packet_bytes_max) = match connect {
            Ok(connect) => (Some(connect.version), connect.packet_bytes_max()),
            Err(version) => (version, u32::MAX),
        };
        let mut out = Vec::new();
        encode_refusal(version, packet_bytes_max, violation, &self.limits, &mut out);
        assert!(out.len() <= packet_bytes_max as usize);
        if out.is_empty() {
            return;
        }
        let (frame, len) = Frame::split(&out, ANSWER_BYTES_MAX).unwrap().unwrap();
        assert_eq!(len, out.len(), "one packet");
        match Packet::decode(frame, version.unwrap_or(ProtocolVersion::V311)) {
            Ok(Packet::Connack(connack)) => {
                assert!(connack.reason.is_error() && !connack.session_present);
            }
            other => panic!("{other:?}"),
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.pending.clear();
        self.session.suspend();
        self.client.unacknowledged.clear();
    }

    /// Everything that was sent is well formed and what the client accepts.
    fn check_output(&mut self, version: ProtocolVersion) {
        let version = match &self.state {
            State::Open(connection) => connection.version(),
            State::Closed | State::Authenticating(..) => version,
        };
        let out = std::mem::take(&mut self.out);
        let mut rest = out.as_slice();
        while !rest.is_empty() {
            let (frame, len) = Frame::split(rest, usize::MAX)
                .expect("a frame")
                .expect("a whole frame");
            assert!(len <= self.client.packet_bytes_max, "{len} bytes");
            rest = &rest[len..];
            let packet = Packet::decode(frame, version).expect("a packet");
            if let Packet::Publish(publish) = packet {
                self.client.resolve(&publish);
            }
        }
    }

    fn check_memory(&self) {
        assert!(self.session.inbound.len() <= usize::from(self.limits.receive_maximum));
        assert!(self.pending.len() <= self.lag + 1);
        let backlog = usize::try_from(self.session.backlog()).unwrap();
        assert!(backlog <= QUEUE.messages_max + usize::from(self.limits.inflight_messages_max));
    }
}

impl Client {
    fn connect(&mut self, connect: &Connect<'_>) {
        self.packet_bytes_max = usize::MAX;
        self.receive_maximum = usize::from(u16::MAX);
        self.aliases.clear();
        self.unacknowledged.clear();
        for property in connect.properties.iter() {
            match property {
                Property::ReceiveMaximum(value) => self.receive_maximum = value.into(),
                Property::MaximumPacketSize(value) => {
                    self.packet_bytes_max = usize::try_from(value).unwrap();
                }
                _ => {}
            }
        }
    }

    /// A packet is about to come.
    fn expect(&mut self, outgoing: &Outgoing) {
        let (delivery, packet_id, dup) = match outgoing {
            Outgoing::Publish {
                delivery,
                packet_id,
                dup,
            } => (delivery, *packet_id, *dup),
            Outgoing::Release(packet_id) => {
                assert!(self.inflight.contains_key(packet_id), "PUBREL for nothing");
                return;
            }
        };
        if delivery.qos == QoS::AtMostOnce {
            assert_eq!((packet_id, dup), (0, false));
            return;
        }
        let known = self.inflight.insert(packet_id, delivery.sequence);
        assert_eq!(known, dup.then_some(delivery.sequence), "{packet_id}");
        assert!(self.unacknowledged.insert(packet_id), "sent twice at once");
        assert!(self.unacknowledged.len() <= self.receive_maximum);
    }

    /// The server has let go of a delivery.
    fn forget(&mut self, sequence: u64) {
        let packet_id = *self
            .inflight
            .iter()
            .find(|(_, it)| **it == sequence)
            .expect("a delivery in flight")
            .0;
        self.inflight.remove(&packet_id);
        self.unacknowledged.remove(&packet_id);
    }

    /// A topic is known from its alias.
    fn resolve(&mut self, publish: &mqtt::packet::Publish<'_>) {
        let alias = publish
            .properties
            .iter()
            .find_map(|property| match property {
                Property::TopicAlias(alias) => Some(alias),
                _ => None,
            });
        let topic = publish.header.topic;
        match alias {
            Some(alias) if topic.is_empty() => assert!(self.aliases.contains_key(&alias)),
            Some(alias) => {
                self.aliases.insert(alias, topic.to_owned());
            }
            None => assert!(!topic.is_empty()),
        }
    }
}
