//! A small MQTT client that sends and sees bytes, written against the specification and sharing
//! nothing with the broker's own codec.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde::Serialize;

use crate::wait::DEADLINE;

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Version {
    /// MQTT 3.1.
    #[serde(rename = "3.1")]
    V31,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    /// How a CONNECT begins: Protocol Name and Protocol Level.
    #[must_use]
    pub const fn name_and_level(self) -> &'static [u8] {
        match self {
            Self::V31 => b"\0\x06MQIsdp\x03",
            Self::V311 => b"\0\x04MQTT\x04",
            Self::V5 => b"\0\x04MQTT\x05",
        }
    }

    /// An empty property block, where there is one.
    #[must_use]
    pub const fn no_properties(self) -> &'static [u8] {
        match self {
            Self::V31 | Self::V311 => &[],
            Self::V5 => &[0],
        }
    }
}

/// What remains of a session when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing, and nothing is resumed.
    Nothing,
    /// Everything.
    Session,
}

/// A connection.
#[derive(Debug)]
pub struct WireClient {
    stream: BufReader<TcpStream>,
    version: Version,
    next_identifier: u16,
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The first byte: type and flags.
    pub head: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

/// A PUBLISH that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The Topic Name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The Packet Identifier, 0 for QoS 0.
    pub identifier: u16,
    /// The DUP flag.
    pub is_duplicate: bool,
}

impl WireClient {
    /// Connects TCP and sends nothing yet.
    ///
    /// # Errors
    /// There is no connection.
    pub fn open(port: u16, version: Version) -> io::Result<Self> {
        Self::over(TcpStream::connect(("127.0.0.1", port))?, version)
    }

    /// Takes a connection that is there.
    ///
    /// # Errors
    /// It has no such options.
    pub fn over(stream: TcpStream, version: Version) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            version,
            next_identifier: 1,
        })
    }

    /// Connects; true if a session was resumed.
    ///
    /// # Errors
    /// There is no connection, or it is refused.
    pub fn connect(
        port: u16,
        version: Version,
        client_id: &str,
        kept: Kept,
    ) -> io::Result<(Self, bool)> {
        let mut client = Self::open(port, version)?;
        client.send(&connect(version, client_id, kept))?;
        let packet = client.receive()?;
        match packet.as_ref().map(|it| (it.head, it.body.as_slice())) {
            Some((0x20, [present, 0, ..])) => Ok((client, *present == 1)),
            _ => Err(io::Error::other(format!("refused with {packet:?}"))),
        }
    }

    /// The version that it speaks.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// A handle that ends the connection from another thread.
    ///
    /// # Errors
    /// The system has no more handles.
    pub fn handle(&self) -> io::Result<TcpStream> {
        self.stream.get_ref().try_clone()
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// The next packet; none at the end of the connection.
    ///
    /// # Errors
    /// The connection broke, or nothing comes.
    pub fn receive(&mut self) -> io::Result<Option<Packet>> {
        let mut head = [0];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            // Not one that a signal interrupts: `read_exact` goes on then.
            read => read?,
        }
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let [head] = head;
        Ok(Some(Packet { head, body }))
    }

    /// The next bytes, whatever packets they belong to.
    ///
    /// # Errors
    /// The connection ended or broke, or nothing comes.
    pub fn receive_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next packet, which has to be of this type.
    ///
    /// # Errors
    /// It is of another type, or there is none.
    pub fn expect(&mut self, head: u8) -> io::Result<Packet> {
        let packet = self.receive()?;
        let found = packet.clone().filter(|packet| packet.head == head);
        found.ok_or_else(|| io::Error::other(format!("{head:#x} expected, {packet:?} came")))
    }

    /// Subscribes and waits until that is granted with the same QoS.
    ///
    /// # Errors
    /// It is not, or something else comes first.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> io::Result<()> {
        let early = self.subscribe_amid(filter, qos)?;
        early.first().map_or(Ok(()), |publish| {
            Err(io::Error::other(format!(
                "SUBACK expected, {publish:?} came"
            )))
        })
    }

    /// The same while somebody publishes; returns what came before the SUBACK, as it may (3.8.4).
    ///
    /// # Errors
    /// It is not.
    pub fn subscribe_amid(&mut self, filter: &str, qos: u8) -> io::Result<Vec<Publish>> {
        let identifier = self.identifier();
        let mut body = identifier.to_be_bytes().to_vec();
        body.extend(self.version.no_properties());
        body.extend(text(filter));
        body.push(qos);
        self.send(&packet(0x82, &body))?;
        let mut early = Vec::new();
        loop {
            let answer = self.receive()?;
            let Some(publish) = answer.as_ref().and_then(|it| it.publish(self.version)) else {
                let is_granted = |it: &Packet| it.head == 0x90 && it.body.last() == Some(&qos);
                return match answer {
                    Some(suback) if is_granted(&suback) => Ok(early),
                    other => Err(io::Error::other(format!("not granted: {other:?}"))),
                };
            };
            early.push(publish);
        }
    }

    /// Unsubscribes and waits until that is done.
    ///
    /// # Errors
    /// It is not, or something else comes first.
    pub fn unsubscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut body = self.identifier().to_be_bytes().to_vec();
        body.extend(self.version.no_properties());
        body.extend(text(filter));
        self.send(&packet(0xa2, &body))?;
        self.expect(0xb0).map(|_| ())
    }

    /// Sends a PUBLISH with QoS 1 and does not wait; returns its Packet Identifier.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<u16> {
        let identifier = self.identifier();
        let mut body = text(topic);
        body.extend(identifier.to_be_bytes());
        body.extend(self.version.no_properties());
        body.extend(payload);
        self.send(&packet(0x32, &body))?;
        Ok(identifier)
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    ///
    /// # Errors
    /// It does not come.
    pub fn publish_acknowledged(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        let identifier = self.publish(topic, payload)?;
        let answer = self.expect(0x40)?;
        let is_taken = answer.reason() < 0x80;
        if is_taken && answer.body.starts_with(&identifier.to_be_bytes()) {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "not for {identifier}: {answer:?}"
            )))
        }
    }

    /// The next PUBLISH; others must not come.
    ///
    /// # Errors
    /// It does not come.
    pub fn receive_publish(&mut self) -> io::Result<Publish> {
        let packet = self.receive()?;
        let found = packet.as_ref().and_then(|it| it.publish(self.version));
        found.ok_or_else(|| io::Error::other(format!("PUBLISH expected, {packet:?} came")))
    }

    /// Sends a PUBACK.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn acknowledge(&mut self, identifier: u16) -> io::Result<()> {
        self.send(&packet(0x40, &identifier.to_be_bytes()))
    }

    /// Ends the connection in order.
    ///
    /// # Errors
    /// It has ended already.
    pub fn disconnect(mut self) -> io::Result<()> {
        self.send(&[0xe0, 0])?;
        match self.receive()? {
            None => Ok(()),
            Some(packet) => Err(io::Error::other(format!("still came: {packet:?}"))),
        }
    }

    fn identifier(&mut self) -> u16 {
        let identifier = self.next_identifier;
        self.next_identifier = identifier.checked_add(1).unwrap_or(1);
        identifier
    }
}

impl Packet {
    /// The Reason Code of a PUBACK, PUBREC, PUBREL or PUBCOMP.
    #[must_use]
    pub fn reason(&self) -> u8 {
        self.body.get(2).copied().unwrap_or_default()
    }

    /// What it is as a PUBLISH.
    #[must_use]
    pub fn publish(&self, version: Version) -> Option<Publish> {
        if self.head >> 4 != 3 {
            return None;
        }
        let (length, rest) = self.body.split_first_chunk()?;
        let (topic, mut rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let mut identifier = 0;
        if self.head & 0b110 != 0 {
            let (bytes, after) = rest.split_first_chunk()?;
            identifier = u16::from_be_bytes(*bytes);
            rest = after;
        }
        if version == Version::V5 {
            // The peers here send few properties, so the length is one byte.
            let (length, after) = rest.split_first()?;
            rest = after.get(usize::from(*length)..)?;
        }
        Some(Publish {
            topic: String::from_utf8(topic.to_vec()).ok()?,
            payload: rest.to_vec(),
            identifier,
            is_duplicate: self.head & 0b1000 != 0,
        })
    }
}

impl Publish {
    /// The payload as a number: bare, or the member `n` of a JSON object.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let payload: serde_json::Value = serde_json::from_slice(&self.payload).ok()?;
        payload.get("n").unwrap_or(&payload).as_u64()
    }
}

/// A CONNECT.
#[must_use]
pub fn connect(version: Version, client_id: &str, kept: Kept) -> Vec<u8> {
    let clean = u8::from(kept == Kept::Nothing) << 1;
    let mut body = version.name_and_level().to_vec();
    body.extend([clean, 0, 60]);
    if version == Version::V5 && kept == Kept::Session {
        // Session Expiry Interval.
        body.extend([5, 0x11, 0, 0, 0x0e, 0x10]);
    } else {
        body.extend(version.no_properties());
    }
    body.extend(text(client_id));
    packet(0x10, &body)
}

/// A control packet's bytes.
#[must_use]
pub fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    let mut length = body.len();
    loop {
        let more = length > 0x7f;
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        bytes.push(low | u8::from(more) << 7);
        length >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
