//! A client's end of one Network Connection. It acknowledges nothing by itself.
//!
//! An error of the kind `InvalidData` means that the broker broke a rule; every other one that
//! the connection is gone.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mqtt::packet::{
    Ack, AckKind, Connect, Frame, Packet, Properties, Property, PropertyOwner, PublishHeader,
    SubscriptionOptions, encode_publish, encode_subscribe,
};
use mqtt::{Message, ProtocolVersion, QoS, ReasonCode};

/// How long the broker may be silent where it has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const PACKET_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 1 << 16;
/// Session Expiry Interval without end, in seconds.
const SESSION_EXPIRY_NEVER: u32 = u32::MAX;

/// An open connection whose CONNECT was accepted.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes that came and are no whole packet yet, or are not taken.
    buffer: Vec<u8>,
    /// The broker's process at the other end.
    pub(super) life: usize,
}

/// What a CONNACK says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) session_present: bool,
    pub(super) receive_maximum: u16,
}

impl Connection {
    pub(super) fn open(
        address: SocketAddr,
        life: impl FnOnce() -> usize,
        version: ProtocolVersion,
        client_id: &str,
    ) -> io::Result<(Self, Accepted)> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut connection = Self {
            stream,
            buffer: Vec::new(),
            life: life(),
        };
        connection.send(&connect(version, client_id)?)?;
        let answer = connection.receive(ANSWER_TIMEOUT)?;
        let answer = answer.ok_or(ErrorKind::TimedOut)?;
        let Packet::Connack(connack) = decode(&answer, version)? else {
            return Err(broken("the first packet is no CONNACK"));
        };
        if connack.reason != ReasonCode::Success {
            return Err(broken(format!("refused with {:?}", connack.reason)));
        }
        let receive_maximum = connack.properties.iter().find_map(|property| {
            if let Property::ReceiveMaximum(value) = property {
                Some(value)
            } else {
                None
            }
        });
        let accepted = Accepted {
            session_present: connack.session_present,
            receive_maximum: receive_maximum.unwrap_or(u16::MAX),
        };
        Ok((connection, accepted))
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Ends the connection in order.
    pub(super) fn disconnect(mut self) {
        // It may be gone already.
        self.send(&[0xe0, 0]).ok();
    }

    /// The next packet whole; none if it does not come in this time.
    pub(super) fn receive(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + wait;
        let mut bytes = [0; READ_BYTES];
        loop {
            let found = Frame::split(&self.buffer, PACKET_BYTES_MAX).map_err(broken)?;
            if let Some((_, length)) = found {
                return Ok(Some(self.buffer.drain(..length).collect()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// The broker broke a rule.
pub(super) fn broken(rule: impl Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, rule.to_string())
}

/// A packet as [`Connection::receive`] gives it.
pub(super) fn decode(bytes: &[u8], version: ProtocolVersion) -> io::Result<Packet<'_>> {
    let frame = Frame::split(bytes, PACKET_BYTES_MAX).map_err(broken)?;
    let (frame, _) = frame.ok_or(ErrorKind::UnexpectedEof)?;
    Packet::decode(frame, version).map_err(broken)
}

fn connect(version: ProtocolVersion, client_id: &str) -> io::Result<Vec<u8>> {
    let mut expiry = Vec::new();
    Property::SessionExpiryInterval(SESSION_EXPIRY_NEVER).encode(&mut expiry);
    let connect = Connect {
        version,
        is_bridge: false,
        clean_start: false,
        // A broker that is stopped for a while is not the client's fault.
        keep_alive: 0,
        // MQTT 3 leaves them out.
        properties: Properties::checked(&expiry, PropertyOwner::Connect).map_err(broken)?,
        client_id,
        will: None,
        user_name: None,
        password: None,
    };
    let mut out = Vec::new();
    Packet::Connect(connect).encode(version, &mut out);
    Ok(out)
}

/// Appends a SUBSCRIBE for these filters.
pub(super) fn put_subscribe(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    packet_id: u16,
    filters: &[&str],
    qos: QoS,
) {
    let options = SubscriptionOptions {
        qos,
        ..SubscriptionOptions::default()
    };
    let filters: Vec<_> = filters.iter().map(|&it| (it, options)).collect();
    encode_subscribe(out, version, packet_id, &filters);
}

/// Appends a PUBLISH.
pub(super) fn put_publish(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    message: &Message,
    packet_id: u16,
    dup: bool,
) {
    let header = PublishHeader {
        dup,
        qos: message.qos,
        retain: message.retain,
        topic: message.topic.as_str(),
        packet_id,
    };
    encode_publish(out, version, &header, &[], &message.payload);
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(super) fn put_ack(out: &mut Vec<u8>, version: ProtocolVersion, kind: AckKind, packet_id: u16) {
    Packet::Ack(Ack::new(kind, packet_id, ReasonCode::Success)).encode(version, out);
}
