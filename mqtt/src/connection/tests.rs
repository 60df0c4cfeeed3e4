//! The connection state machine, packet by packet.

use super::*;
use crate::packet::{Ack, Connect, Frame, Packet, Properties};
use crate::session::{Delivery, Enqueue, QueueClass, QueueLimits, Session, WhenFull};
use crate::{Message, ProtocolVersion, ProtocolViolation, QoS, Timestamp, TopicName};

const QUEUE: QueueLimits = QueueLimits {
    messages_max: 10,
    bytes_max: 1 << 20,
    live_bytes_max: 1 << 20,
    stored_messages_max: 10,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};

fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        is_bridge: false,
        clean_start: true,
        keep_alive: 10,
        properties: Properties::default(),
        client_id: "c",
        will: None,
        user_name: None,
        password: None,
    }
}

fn accept(connect: &Connect<'_>) -> Handshake {
    Handshake::new(connect, &Limits::default(), || "assigned".to_owned()).expect("accepted")
}

fn packet(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    let (frame, _) = Frame::split(bytes, 1 << 20).unwrap().unwrap();
    Packet::decode(frame, version).unwrap()
}

struct Peer {
    connection: ServerConnection,
    session: Session,
    out: Vec<u8>,
    limits: Limits,
}

impl Peer {
    fn new(version: ProtocolVersion, limits: Limits) -> Self {
        let handshake = Handshake::new(&connect(version), &limits, || "c".to_owned()).unwrap();
        let mut session = Session::new(QUEUE, false);
        session.resume(10);
        Self {
            connection: handshake.connection,
            session,
            out: Vec::new(),
            limits,
        }
    }

    fn handle<'p>(&mut self, bytes: &'p [u8]) -> Result<Action<'p>, ProtocolViolation> {
        let packet = packet(bytes, self.connection.version());
        self.out.clear();
        self.connection
            .handle(packet, &mut self.session, &self.limits, &mut self.out)
    }
}

// Conforms: 5.0 [MQTT-3.1.3-7]
#[test]
fn an_empty_client_identifier_is_assigned_or_refused() {
    let mut request = connect(ProtocolVersion::V5);
    request.client_id = "";
    let handshake = accept(&request);
    assert_eq!(handshake.client_id, "assigned");
    let mut out = Vec::new();
    assert!(handshake.encode_connack(false, &Limits::default(), &mut out));
    let Packet::Connack(connack) = packet(&out, ProtocolVersion::V5) else {
        panic!()
    };
    let assigned = crate::packet::Property::AssignedClientIdentifier("assigned");
    assert!(
        connack
            .properties
            .iter()
            .any(|property| property == assigned)
    );

    request.version = ProtocolVersion::V311;
    assert_eq!(accept(&request).client_id, "assigned");
    request.clean_start = false;
    let error = Handshake::new(&request, &Limits::default(), String::new).unwrap_err();
    assert_eq!(error.reason, ReasonCode::ClientIdentifierNotValid);
    let mut out = Vec::new();
    encode_refusal(
        Some(request.version),
        u32::MAX,
        &error,
        &Limits::default(),
        &mut out,
    );
    assert_eq!(out, [0x20, 2, 0, 2]);
}

#[test]
fn what_else_a_connack_says_is_left_out_where_there_is_no_room() {
    let said = |version, packet_bytes_max: u8| {
        let maximum = [0x27, 0, 0, 0, packet_bytes_max];
        let mut request = connect(version);
        if version.is_v5() {
            request.properties = Properties::trusted(&maximum);
        }
        let mut handshake = accept(&request);
        handshake.user_properties.push(("x-name", "value"));
        let mut out = Vec::new();
        assert!(handshake.encode_connack(false, &Limits::default(), &mut out));
        let Packet::Connack(connack) = packet(&out, version) else {
            panic!()
        };
        let wanted = crate::packet::Property::UserProperty("x-name", "value");
        connack.properties.iter().any(|it| it == wanted)
    };
    assert!(said(ProtocolVersion::V5, 100));
    assert!(!said(ProtocolVersion::V5, 20));
    assert!(!said(ProtocolVersion::V311, 100));
}

#[test]
fn names_of_gateways_cannot_be_taken() {
    let mut request = connect(ProtocolVersion::V5);
    request.client_id = "$bridge/hub";
    let error = Handshake::new(&request, &Limits::default(), String::new).unwrap_err();
    assert_eq!(error.reason, ReasonCode::ClientIdentifierNotValid);
}

// Conforms: 5.0 [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]; 3.1.1 [MQTT-4.3.3-2]
#[test]
fn qos_2_is_taken_in_once_until_released() {
    for version in [
        ProtocolVersion::V31,
        ProtocolVersion::V311,
        ProtocolVersion::V5,
    ] {
        let mut peer = Peer::new(version, Limits::default());
        let publish: &[u8] = match version {
            ProtocolVersion::V31 | ProtocolVersion::V311 => &[0x34, 5, 0, 1, b't', 0, 7],
            ProtocolVersion::V5 => &[0x34, 6, 0, 1, b't', 0, 7, 0],
        };
        assert!(matches!(peer.handle(publish), Ok(Action::Publish(_))));
        assert_eq!(
            peer.handle(publish),
            Ok(Action::Answer(PendingAck::pubrec(7)))
        );
        let pubrel = [0x62, 2, 0, 7];
        let done = PendingAck::pubcomp(7, ReasonCode::Success);
        assert_eq!(
            peer.handle(&pubrel),
            Ok(Action::Ack(AckAction::Released(done)))
        );
        let unknown = PendingAck::pubcomp(7, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(
            peer.handle(&pubrel),
            Ok(Action::Ack(AckAction::Released(unknown)))
        );
        let mut out = Vec::new();
        peer.connection.encode_ack(unknown, &mut out);
        let Packet::Ack(pubcomp) = packet(&out, version) else {
            panic!("{out:?}");
        };
        let expected = match version {
            ProtocolVersion::V31 | ProtocolVersion::V311 => ReasonCode::Success,
            ProtocolVersion::V5 => ReasonCode::PacketIdentifierNotFound,
        };
        assert_eq!(pubcomp.reason, expected);
        assert!(matches!(peer.handle(publish), Ok(Action::Publish(_))));
    }
}

// Conforms: 5.0 [MQTT-3.3.4-7]
#[test]
fn the_receive_maximum_counts_until_the_last_acknowledgement() {
    let limits = Limits {
        receive_maximum: 2,
        ..Limits::default()
    };
    let mut peer = Peer::new(ProtocolVersion::V5, limits);
    let publish = |packet_id| [0x32, 6, 0, 1, b't', 0, packet_id, 0];
    for packet_id in [1, 2] {
        assert!(peer.handle(&publish(packet_id)).is_ok());
    }
    let error = peer.handle(&publish(3)).map(drop).unwrap_err();
    assert_eq!(error.reason, ReasonCode::ReceiveMaximumExceeded);
    peer.connection
        .encode_ack(PendingAck::puback(1), &mut Vec::new());
    assert!(peer.handle(&publish(3)).is_ok());
}

#[test]
fn what_only_servers_send_is_a_protocol_error() {
    let mut peer = Peer::new(ProtocolVersion::V311, Limits::default());
    let table: [&[u8]; 5] = [
        &[0x20, 2, 0, 0],
        &[0x90, 3, 0, 1, 0],
        &[0xB0, 2, 0, 1],
        &[0xD0, 0],
        &[
            0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'a',
        ],
    ];
    for bytes in table {
        let error = peer.handle(bytes).map(drop).unwrap_err();
        assert_eq!(error.reason, ReasonCode::ProtocolError, "{bytes:?}");
    }
}

// Conforms: 5.0 [MQTT-4.3.3-2] [MQTT-4.3.3-4]
#[test]
fn deliveries_are_acknowledged_step_by_step() {
    let mut peer = Peer::new(ProtocolVersion::V5, Limits::default());
    let message = Message::new(TopicName::new("t").unwrap(), "x");
    let delivery = Delivery {
        sequence: 0,
        message: message.into(),
        qos: QoS::ExactlyOnce,
        retain: false,
        subscription_ids: vec![5],
        class: QueueClass::default(),
        expires_at: None,
    };
    assert_eq!(
        peer.session.enqueue(delivery),
        Enqueue::Kept { sequence: 1 }
    );
    let now = Timestamp::default();
    let outgoing = peer.session.next(now, &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    assert!(peer.connection.encode_outgoing(&outgoing, now, &mut out));
    assert_eq!(out, [0x34, 9, 0, 1, b't', 0, 1, 2, 0x0B, 5, b'x']);
    // The PUBREL waits until the store knows that the client has the message.
    let release = PendingAck::pubrel(1);
    let received = Ok(Action::Ack(AckAction::Received(1, release)));
    assert_eq!(peer.handle(&[0x50, 2, 0, 1]), received);
    out.clear();
    peer.connection.encode_ack(release, &mut out);
    assert_eq!(out, [0x62, 2, 0, 1]);
    assert_eq!(
        peer.handle(&[0x70, 2, 0, 1]),
        Ok(Action::Ack(AckAction::Delivered(1)))
    );
    // A PUBREC for nothing is answered, so that the client can let go of it.
    let reason = ReasonCode::PacketIdentifierNotFound;
    let answer = PendingAck::pubrel(9).with_reason(reason);
    let answered = Ok(Action::Ack(AckAction::Answer(answer)));
    assert_eq!(peer.handle(&[0x50, 2, 0, 9]), answered);
    out.clear();
    peer.connection.encode_ack(answer, &mut out);
    let expected = Packet::Ack(Ack::new(AckKind::Pubrel, 9, reason));
    assert_eq!(packet(&out, ProtocolVersion::V5), expected);
}

#[test]
fn a_packet_larger_than_the_client_accepts_is_not_sent() {
    let raw = [0x27, 0, 0, 0, 20];
    let mut request = connect(ProtocolVersion::V5);
    request.properties = Properties::trusted(&raw);
    let handshake = accept(&request);
    let outgoing = |payload: &'static str| crate::session::Outgoing::Publish {
        delivery: Delivery {
            sequence: 0,
            message: Message::new(TopicName::new("t").unwrap(), payload).into(),
            qos: QoS::AtMostOnce,
            retain: false,
            subscription_ids: Vec::new(),
            class: QueueClass::default(),
            expires_at: None,
        },
        packet_id: 0,
        dup: false,
    };
    let mut out = Vec::new();
    let now = Timestamp::default();
    let mut connection = handshake.connection;
    assert!(!connection.encode_outgoing(&outgoing("sixteen bytes ..."), now, &mut out));
    assert!(out.is_empty());
    assert!(connection.encode_outgoing(&outgoing("short"), now, &mut out));
}

#[test]
fn no_answer_is_larger_than_the_client_accepts() {
    let raw = [0x27, 0, 0, 0, 20];
    let mut request = connect(ProtocolVersion::V5);
    request.properties = Properties::trusted(&raw);
    let mut peer = Peer::new(ProtocolVersion::V5, Limits::default());
    peer.connection = accept(&request).connection;
    let subscribe = |filters: u8| {
        let payload = [0, 1, b'a', 0].repeat(filters.into());
        [&[0x82, 3 + 4 * filters, 0, 1, 0], payload.as_slice()].concat()
    };
    // Six bytes and one for each filter.
    assert!(peer.handle(&subscribe(15)).is_ok());
    let error = peer.handle(&subscribe(16)).map(drop).unwrap_err();
    assert_eq!(error.reason, ReasonCode::PacketTooLarge);

    let violation = ProtocolViolation::malformed("a reason that has more than twenty bytes");
    for (size, expected) in [(48, 48), (47, 5), (5, 5), (4, 0)] {
        let mut out = Vec::new();
        let version = Some(ProtocolVersion::V5);
        encode_refusal(version, size, &violation, &Limits::default(), &mut out);
        assert_eq!(out.len(), expected, "{size}");
    }
}

#[test]
fn a_disconnect_has_a_code_of_its_own() {
    let peer = Peer::new(ProtocolVersion::V5, Limits::default());
    let table = [
        (ReasonCode::PacketTooLarge, ReasonCode::PacketTooLarge),
        (
            ReasonCode::UnsupportedProtocolVersion,
            ReasonCode::ProtocolError,
        ),
    ];
    for (reason, expected) in table {
        let mut out = Vec::new();
        let violation = ProtocolViolation::new(reason, "why");
        peer.connection
            .encode_disconnect(&violation, &peer.limits, &mut out);
        let Packet::Disconnect(disconnect) = packet(&out, ProtocolVersion::V5) else {
            panic!("{out:?}");
        };
        assert_eq!(disconnect.reason, expected);
    }
}

#[test]
fn a_session_expiry_of_zero_cannot_be_raised_at_disconnect() {
    let mut peer = Peer::new(ProtocolVersion::V5, Limits::default());
    let error = peer
        .handle(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9])
        .map(drop)
        .unwrap_err();
    assert_eq!(error.reason, ReasonCode::ProtocolError);
    let action = peer.handle(&[0xE0, 2, 4, 0]);
    assert_eq!(
        action,
        Ok(Action::Disconnect {
            with_will: true,
            session_expiry: None
        })
    );
}
