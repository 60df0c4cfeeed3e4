//! From accept to CONNACK, in a plain task: the actor begins when the client is known.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bridges::{Announcement, batch};
use mqtt::connection::{Authentication, Handshake, Progress, encode_refusal};
use mqtt::packet::Property;
use mqtt::packet::{Connect, Frame, Packet, PacketType};
use mqtt::{ProtocolVersion, ProtocolViolation, ReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Accepted;
use super::half_open::Dismissal;
use super::serve::Connection;
use crate::extensions::Who;
use crate::memory::SMALL_BYTES;
use crate::metrics::count;
use crate::registry::Claim;

/// Tells assigned Client Identifiers apart.
static ASSIGNED: AtomicU64 = AtomicU64::new(0);

/// Why a client is not served.
enum Refusal {
    /// The socket failed, or what came is no MQTT.
    Lost(io::Error),
    /// A CONNACK says so in this version and at most so many bytes.
    Refused(Option<ProtocolVersion>, u32, ProtocolViolation),
}

/// What a CONNECT says that the handshake does not keep.
#[derive(Clone, Copy)]
struct Stated {
    /// Bytes of the largest packet that the client takes.
    packet_bytes_max: u32,
    /// It is the bridge of another Tidegate.
    bridge: Option<Announcement>,
    /// It may send batches.
    may_batch: bool,
}

impl Stated {
    fn of(connect: &Connect<'_>) -> Self {
        let (name, value) = batch::OFFER;
        let offer = Property::UserProperty(name, value);
        Self {
            packet_bytes_max: connect.packet_bytes_max(),
            bridge: Announcement::of(connect.properties.iter()),
            may_batch: connect.properties.iter().any(|it| it == offer),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// Lets a client in; none if it is not.
pub(super) async fn let_in(mut stream: TcpStream, accepted: &Accepted) -> Option<Box<Connection>> {
    let peer = accepted.peer;
    let mut input = Vec::new();
    let greeting = greet(&mut stream, &mut input, accepted);
    let now = accepted.exchange.now();
    let mut half_open = accepted.access.half_open().enter(now);
    let greeted = tokio::select! {
        biased;
        greeted = greeting => greeted,
        dismissal = half_open.dismissed() => {
            dismiss(accepted, dismissal);
            return None;
        }
    };
    drop(half_open);
    match greeted {
        Ok((handshake, stated)) => {
            return begin(stream, input, handshake, stated, accepted).await;
        }
        Err(Refusal::Refused(version, size, violation)) => {
            refuse(stream, accepted, version, size, violation).await;
        }
        Err(Refusal::Lost(error)) => {
            tracing::debug!(%peer, %error, "a connection ended before CONNECT");
        }
    }
    None
}

/// Says why a connection ends that has sent no CONNECT.
fn dismiss(accepted: &Accepted, dismissal: Dismissal) {
    let peer = accepted.peer;
    match dismissal {
        Dismissal::TimedOut => tracing::debug!(%peer, "a connection sent no CONNECT in time"),
        Dismissal::MakesWay => {
            count(&accepted.exchange.counters.half_open_dropped);
            tracing::warn!(%peer, "a connection without CONNECT makes way for others");
        }
    }
}

/// Reads the CONNECT, and the AUTH packets that its method needs.
async fn greet(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    accepted: &Accepted,
) -> Result<(Handshake, Stated), Refusal> {
    let access = &*accepted.access;
    let length = read_packet(stream, input, accepted, PacketType::Connect).await?;
    let mut out = Vec::new();
    let (mut handshake, authentication, stated) = {
        let (connect, version) = decode_connect(input, accepted)?;
        let stated = Stated::of(&connect);
        let size = stated.packet_bytes_max;
        let refused = |violation| Refusal::Refused(Some(version), size, violation);
        let authentication =
            Authentication::begin(&connect, &access.mechanisms).map_err(refused)?;
        admit(accepted, &connect, authentication.is_some()).map_err(refused)?;
        let handshake =
            Handshake::new(&connect, &access.limits, assign_client_id).map_err(refused)?;
        let progress = match authentication {
            None => None,
            Some(mut authentication) => {
                let progress = authentication.advance(connect.properties, &mut out);
                Some((authentication, progress.map_err(refused)?))
            }
        };
        (handshake, progress, stated)
    };
    input.drain(..length);
    let offer = stated.may_batch.then_some(batch::OFFER);
    handshake.user_properties.extend(offer);
    if let Some((mut authentication, mut progress)) = authentication {
        let version = ProtocolVersion::V5;
        let size = stated.packet_bytes_max;
        let refused = |violation| Refusal::Refused(Some(version), size, violation);
        let data = loop {
            if let Progress::Done(data) = progress {
                break data;
            }
            stream.write_all(&out).await?;
            out.clear();
            // [MQTT-3.1.2-30]
            let length = read_packet(stream, input, accepted, PacketType::Auth).await?;
            let (frame, _) = split(input, accepted).map_err(refused)?;
            let Packet::Auth(auth) = Packet::decode(frame, version).map_err(refused)? else {
                return Err(refused(ProtocolViolation::protocol("no AUTH")));
            };
            progress = authentication.on_auth(&auth, &mut out).map_err(refused)?;
            input.drain(..length);
        };
        handshake.authenticated(authentication, data);
    }
    Ok((handshake, stated))
}

/// Reads until `input` begins with a whole packet of this type; returns its length.
async fn read_packet(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    accepted: &Accepted,
    wanted: PacketType,
) -> io::Result<usize> {
    let mut room = None;
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    loop {
        // What begins otherwise is refused before its length is believed. Whoever does not begin
        // with CONNECT is no MQTT client [MQTT-3.1.0-1].
        if input.first().is_some_and(|&it| it >> 4 != wanted as u8) {
            return Err(invalid(format!("no {wanted:?}")));
        }
        let packet_bytes_max = accepted.access.limits.packet_bytes_max as usize;
        match Frame::split(input, packet_bytes_max) {
            Ok(Some((_, length))) => return Ok(length),
            Ok(None) => {}
            Err(violation) => return Err(invalid(violation.to_string())),
        }
        if room.is_none()
            && let Ok(Some(length)) = Frame::length(input, packet_bytes_max)
            && length > SMALL_BYTES
        {
            room = accepted.exchange.memory.room(length).await;
            input.reserve_exact(length - input.len());
        }
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn split<'i>(
    input: &'i [u8],
    accepted: &Accepted,
) -> Result<(Frame<'i>, usize), ProtocolViolation> {
    let packet_bytes_max = accepted.access.limits.packet_bytes_max as usize;
    Frame::split(input, packet_bytes_max)?
        .ok_or_else(|| ProtocolViolation::malformed("the packet is incomplete"))
}

fn decode_connect<'i>(
    input: &'i [u8],
    accepted: &Accepted,
) -> Result<(Connect<'i>, ProtocolVersion), Refusal> {
    let refused = |version, error| Refusal::Refused(version, u32::MAX, error);
    let (frame, _) = split(input, accepted).map_err(|error| refused(None, error))?;
    let stated = Connect::stated_version(frame);
    match Packet::decode(frame, ProtocolVersion::V5) {
        Ok(Packet::Connect(connect)) => Ok((connect, connect.version)),
        Ok(_) => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        Err(error) => Err(refused(stated, error)),
    }
}

/// Whether this client may come in here.
fn admit(
    accepted: &Accepted,
    connect: &Connect<'_>,
    authenticates: bool,
) -> Result<(), ProtocolViolation> {
    if !accepted.take_place() {
        return Err(no_room(accepted, ReasonCode::QuotaExceeded));
    }
    // Passwords are not checked yet, so they do not help.
    if !accepted.access.allow_anonymous && !authenticates {
        let detail = if connect.user_name.is_some() {
            "this listener checks no passwords yet and lets nobody in without a check"
        } else {
            "this listener lets no anonymous clients in"
        };
        return Err(ProtocolViolation::new(ReasonCode::NotAuthorized, detail));
    }
    Ok(())
}

/// There is no room for a client; if there is another server, it is told so.
fn no_room(accepted: &Accepted, mut reason: ReasonCode) -> ProtocolViolation {
    let detail = if reason == ReasonCode::ServerUnavailable {
        "this server is shutting down"
    } else {
        "this server has as many clients as it may have"
    };
    if accepted.access.limits.server_reference.is_some() {
        reason = ReasonCode::UseAnotherServer;
    }
    ProtocolViolation::new(reason, detail)
}

/// Accepts the client.
async fn begin(
    mut stream: TcpStream,
    input: Vec<u8>,
    handshake: Handshake,
    stated: Stated,
    accepted: &Accepted,
) -> Option<Box<Connection>> {
    let (exchange, limits) = (&accepted.exchange, &*accepted.access.limits);
    let mut out = Vec::new();
    if !handshake.encode_connack(false, limits, &mut out) {
        let peer = accepted.peer;
        tracing::info!(%peer, "a client is refused: it accepts no packet as large as its CONNACK");
        return None;
    }
    let admitted = exchange.admit(Claim {
        client_id: &handshake.client_id,
        clean_start: handshake.clean_start,
        expiry: handshake.session_expiry,
        inflight_messages_max: handshake.inflight_messages_max,
        keep_alive_millis: handshake.connection.keep_alive_millis(),
        will: handshake.will.as_ref(),
    });
    let attached = match admitted {
        Ok(attached) => attached,
        Err(reason) => {
            let version = Some(handshake.connection.version());
            let size = stated.packet_bytes_max;
            refuse(stream, accepted, version, size, no_room(accepted, reason)).await;
            return None;
        }
    };
    // Before the client knows that it is there, and can tell others.
    let who = Who {
        client_id: &handshake.client_id,
        user_name: handshake.user_name.as_deref(),
    };
    exchange.auto_subscribe(&attached.link, who);
    let is_bridge = &attached.link.is_bridge;
    is_bridge.store(stated.bridge.is_some(), Ordering::Relaxed);
    let may_batch = &attached.link.may_batch;
    may_batch.store(stated.may_batch, Ordering::Relaxed);
    if let Some(bridge) = stated.bridge {
        exchange.loop_guard.meet(bridge);
    }
    if attached.session_present {
        out.clear();
        // It had room before, and no byte is added.
        let fits = handshake.encode_connack(true, limits, &mut out);
        debug_assert!(fits, "a flag takes no room");
    }
    if let Err(error) = stream.write_all(&out).await {
        // Whoever reads next meets the same error and ends the session's connection in order.
        tracing::debug!(peer = %accepted.peer, %error, "CONNACK could not be written");
    }
    let connection = Connection::new(stream, handshake, attached, input, accepted);
    Some(Box::new(connection))
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

/// Tells a client why it is not let in.
async fn refuse(
    stream: TcpStream,
    accepted: &Accepted,
    version: Option<ProtocolVersion>,
    size: u32,
    violation: ProtocolViolation,
) {
    tracing::info!(peer = %accepted.peer, reason = %violation, "a client is refused");
    let mut out = Vec::new();
    encode_refusal(version, size, &violation, &accepted.access.limits, &mut out);
    close(stream, &out).await;
}

/// Sends the last bytes and closes the socket in order, so that they arrive.
async fn close(mut stream: TcpStream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok()
        && let Err(error) = stream.shutdown().await
    {
        tracing::debug!(%error, "the socket was closed by its peer");
    }
}
