//! The client's state machine, packet by packet.

mod against_server;
mod answers;
mod handshake;
mod incoming;
mod outgoing;

use super::*;
use crate::ProtocolVersion::{V5, V31, V311};

fn frame(bytes: &[u8]) -> Frame<'_> {
    let (frame, length) = Frame::split(bytes, 1 << 20).unwrap().unwrap();
    assert_eq!(length, bytes.len(), "one packet: {bytes:?}");
    frame
}

fn packet(bytes: &[u8], version: ProtocolVersion) -> Packet<'_> {
    Packet::decode(frame(bytes), version).unwrap()
}

fn options(version: ProtocolVersion) -> ClientOptions {
    let mut options = ClientOptions::new(version, "c");
    options.receive_maximum = 2;
    options.topic_alias_max = 2;
    options
}

fn answer(options: &ClientOptions, connack: &[u8]) -> Result<ClientAnswer, ProtocolViolation> {
    let handshake = ClientHandshake::new(options, &mut Vec::new()).unwrap();
    handshake.handle(frame(connack))
}

fn connack(properties: &[Property<'_>]) -> Vec<u8> {
    let mut raw = Vec::new();
    properties.iter().for_each(|it| it.encode(&mut raw));
    let mut out = Vec::new();
    let connack = crate::packet::Connack {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::trusted(&raw),
    };
    Packet::Connack(connack).encode(V5, &mut out);
    out
}

#[track_caller]
fn accepted(options: &ClientOptions, connack: &[u8]) -> ClientConnection {
    match answer(options, connack) {
        Ok(ClientAnswer::Accepted { connection, .. }) => *connection,
        other => panic!("{other:?}"),
    }
}

/// Accepted by a server that mentions nothing.
fn connection(version: ProtocolVersion) -> ClientConnection {
    let bytes: &[u8] = match version {
        V31 | V311 => &[0x20, 2, 0, 0],
        V5 => &[0x20, 3, 0, 0, 0],
    };
    accepted(&options(version), bytes)
}

/// Accepted by an MQTT 5 server that says this.
fn connection_with(properties: &[Property<'_>]) -> ClientConnection {
    accepted(&options(V5), &connack(properties))
}

fn refused(connection: &mut ClientConnection, bytes: &[u8]) -> ReasonCode {
    match connection.handle(frame(bytes)) {
        Err(violation) => violation.reason,
        Ok(action) => panic!("{bytes:?}: {action:?}"),
    }
}
