//! From accept to CONNACK, in a plain task: the actor begins when the client is known.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use mqtt::connection::{Handshake, encode_refusal};
use mqtt::packet::{Connect, Frame, Packet, PacketType};
use mqtt::{ProtocolVersion, ProtocolViolation, ReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::serve::Connection;
use super::{Accepted, actor};
use crate::registry::Claim;

/// Tells assigned Client Identifiers apart.
static ASSIGNED: AtomicU64 = AtomicU64::new(0);

/// Serves a socket from its first to its last byte.
pub(crate) async fn accept(mut stream: TcpStream, accepted: Accepted) {
    let peer = accepted.peer;
    // The broker puts small packets together itself; waiting for more helps nobody.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the socket is gone already");
        return;
    }
    let mut input = Vec::new();
    let read = read_connect(&mut stream, &mut input, &accepted);
    match timeout(accepted.connect_timeout, read).await {
        Ok(Ok(length)) => greet(stream, input, length, accepted).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection ended before CONNECT"),
        Err(_) => tracing::debug!(%peer, "a connection sent no CONNECT in time"),
    }
}

/// Reads until `input` holds a whole packet; returns its length.
async fn read_connect(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    accepted: &Accepted,
) -> io::Result<usize> {
    let packet_bytes_max = accepted.exchange.limits.packet_bytes_max as usize;
    loop {
        match Frame::split(input, packet_bytes_max) {
            // Whoever does not begin with CONNECT is no MQTT client [MQTT-3.1.0-1].
            Ok(Some((frame, _))) if frame.packet_type() != PacketType::Connect => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no CONNECT"));
            }
            Ok(Some((_, length))) => return Ok(length),
            Ok(None) => {}
            Err(violation) => return Err(io::Error::new(io::ErrorKind::InvalidData, violation)),
        }
        // What begins otherwise is refused before its length is believed.
        if input.first().is_some_and(|&first| first != 0x10) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no CONNECT"));
        }
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Answers the CONNECT at the front of `input` and, if it is accepted, serves the client.
async fn greet(mut stream: TcpStream, mut input: Vec<u8>, length: usize, accepted: Accepted) {
    let exchange = &accepted.exchange;
    let mut out = Vec::new();
    let handshake = match decide(&input, &accepted) {
        Ok(handshake) => handshake,
        Err((version, violation)) => {
            tracing::info!(peer = %accepted.peer, reason = %violation, "a client is refused");
            encode_refusal(version, &violation, &mut out);
            close(stream, &out).await;
            return;
        }
    };
    let attached = exchange.attach(Claim {
        client_id: &handshake.client_id,
        clean_start: handshake.clean_start,
        expiry: handshake.session_expiry,
        inflight_messages_max: handshake.inflight_messages_max,
        keep_alive_millis: handshake.connection.keep_alive_millis(),
    });
    handshake.encode_connack(attached.session_present, &exchange.limits, &mut out);
    if let Err(error) = stream.write_all(&out).await {
        // The actor meets the same error and ends the session's connection in order.
        tracing::debug!(peer = %accepted.peer, %error, "CONNACK could not be written");
    }
    input.drain(..length);
    let connection = Connection::new(stream, handshake, attached, input, &accepted);
    actor::run(connection).await;
}

type Refusal = (Option<ProtocolVersion>, ProtocolViolation);

fn decide(input: &[u8], accepted: &Accepted) -> Result<Handshake, Refusal> {
    let limits = &accepted.exchange.limits;
    let malformed = ProtocolViolation::malformed("CONNECT is incomplete");
    let (frame, _) = Frame::split(input, limits.packet_bytes_max as usize)
        .ok()
        .flatten()
        .ok_or((None, malformed))?;
    let stated = Connect::stated_version(frame);
    let packet = Packet::decode(frame, ProtocolVersion::V5).map_err(|error| (stated, error))?;
    let Packet::Connect(connect) = packet else {
        return Err((None, malformed));
    };
    // Credentials are not checked yet, so they do not help.
    if !accepted.allow_anonymous {
        let detail = "anonymous clients are let in from this host only";
        return Err((
            stated,
            ProtocolViolation::new(ReasonCode::NotAuthorized, detail),
        ));
    }
    Handshake::new(&connect, limits, assign_client_id).map_err(|error| (stated, error))
}

/// An identifier that no other client of this process has, nor one of an earlier process: a
/// persistent session under it must not fall to somebody else.
fn assign_client_id() -> String {
    let number = ASSIGNED.fetch_add(1, Ordering::Relaxed);
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("auto-{clock:x}-{number:x}")
}

/// Sends the last bytes and closes the socket in order, so that they arrive.
async fn close(mut stream: TcpStream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok()
        && let Err(error) = stream.shutdown().await
    {
        tracing::debug!(%error, "the socket was closed by its peer");
    }
}
