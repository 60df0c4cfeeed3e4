//! The load: packets that are encoded once, over plain sockets of one thread, so that what is
//! measured is the broker.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::contender::open;
use tests::wait::DEADLINE;
use tests::wire::{Kept, Version, WireClient, packet};

/// Bytes of each payload; the first twelve say who published it and how many it had before.
const PAYLOAD_BYTES: usize = 256;
/// Unacknowledged messages of each publisher.
pub(crate) const WINDOW: u64 = 256;
/// Bytes that one write or read takes.
const CHUNK_BYTES: usize = 64 << 10;
/// The pause when no socket has anything to do.
const PAUSE: Duration = Duration::from_micros(100);
/// The publisher of the message that ends a drain.
const LAST: u32 = u32::MAX;

/// Messages to be published.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) publishers: u32,
    /// `bench/000` and further ones; each publisher takes them in turn.
    pub(crate) topics: u64,
}

/// What a subscriber got.
pub(crate) struct Drained {
    pub(crate) messages: u64,
    /// Messages that came before or after their turn.
    pub(crate) displaced: u64,
    /// Since the first one came.
    pub(crate) time: Duration,
}

/// The topic with this number.
pub(crate) fn topic(number: u64) -> String {
    format!("bench/{number:03}")
}

/// Makes a session that waits for messages.
pub(crate) fn leave_session(port: u16, client_id: &str, filter: &str) -> io::Result<()> {
    let (mut client, _) = WireClient::connect(port, Version::V311, client_id, Kept::Session)?;
    client.subscribe(filter, 1)?;
    client.disconnect()
}

/// Publishes everything with QoS 1; returns how long it took until the last PUBACK.
pub(crate) fn publish(port: u16, load: Load) -> io::Result<Duration> {
    let each = load.messages / u64::from(load.publishers);
    let publishers = (0..load.publishers).map(|number| Publisher::connect(port, number, each));
    acknowledge_all(publishers.collect::<io::Result<Vec<_>>>()?, load.topics)
}

/// Publishes the message that ends a drain, and waits for its PUBACK.
pub(crate) fn publish_last(port: u16) -> io::Result<Duration> {
    acknowledge_all(vec![Publisher::connect(port, LAST, 1)?], 1)
}

fn acknowledge_all(mut publishers: Vec<Publisher>, topics: u64) -> io::Result<Duration> {
    let start = Instant::now();
    let mut progress = start;
    while publishers.iter().any(|it| it.acknowledged() < it.last) {
        let mut moved = false;
        for publisher in &mut publishers {
            moved |= publisher.turn(topics)?;
        }
        if moved {
            progress = Instant::now();
        } else if progress.elapsed() > DEADLINE {
            return Err(ErrorKind::TimedOut.into());
        } else if let [only] = &mut publishers[..] {
            only.wait()?;
        } else {
            thread::sleep(PAUSE);
        }
    }
    Ok(start.elapsed())
}

/// Takes a session's queue up to the last message, and acknowledges all that comes at once. The
/// last is published at `last_port`, if it is not somewhere else, see [`publish_last`].
pub(crate) fn drain(
    port: u16,
    last_port: Option<u16>,
    client_id: &str,
    filter: &str,
) -> io::Result<Drained> {
    let (mut stream, is_resumed) = open(port, client_id, Kept::Session)?;
    if !is_resumed {
        let mut body = b"\0\x01\0".to_vec();
        body.push(u8::try_from(filter.len()).map_err(io::Error::other)?);
        body.extend(filter.as_bytes());
        body.push(1);
        stream.write_all(&packet(0x82, &body))?;
        stream.read_exact(&mut [0; 5])?;
    }
    if let Some(port) = last_port {
        publish_last(port)?;
    }
    let mut drain = Drain::default();
    let mut input = Vec::with_capacity(2 * CHUNK_BYTES);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut acks = Vec::new();
    let mut first = None;
    while !drain.is_over {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        first.get_or_insert_with(Instant::now);
        input.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let mut rest = &input[..];
        while let Some((frame, after)) = split(rest) {
            drain.take(frame, &mut acks)?;
            rest = after;
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        stream.write_all(&acks)?;
        acks.clear();
    }
    Ok(Drained {
        messages: drain.messages,
        displaced: drain.displaced,
        time: first.map_or(Duration::ZERO, |it| it.elapsed()),
    })
}

struct Publisher {
    stream: TcpStream,
    number: u32,
    sent: u64,
    last: u64,
    /// A PUBLISH whose topic, identifier and number are put in.
    template: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// Bytes of PUBACKs, of four each.
    received: u64,
}

impl Publisher {
    /// Where the digits of the topic are in the packet: behind its type, its two bytes of length,
    /// the topic's length and `bench/`.
    const TOPIC_AT: usize = 11;
    const IDENTIFIER_AT: usize = Self::TOPIC_AT + 3;
    const PAYLOAD_AT: usize = Self::IDENTIFIER_AT + 2;

    fn connect(port: u16, number: u32, last: u64) -> io::Result<Self> {
        let (stream, _) = open(port, &format!("publisher-{number}"), Kept::Nothing)?;
        stream.set_nonblocking(true)?;
        let mut body = b"\0\x09".to_vec();
        body.extend(topic(0).as_bytes());
        body.extend([0; 2 + PAYLOAD_BYTES]);
        Ok(Self {
            stream,
            number,
            sent: 0,
            last,
            template: packet(0x32, &body),
            output: Vec::new(),
            written: 0,
            received: 0,
        })
    }

    fn acknowledged(&self) -> u64 {
        self.received / 4
    }

    /// Writes and reads what is possible; false if nothing was.
    fn turn(&mut self, topics: u64) -> io::Result<bool> {
        let received = self.read()?;
        let end = self.last.min(self.acknowledged() + WINDOW);
        while self.sent < end && self.output.len() < CHUNK_BYTES {
            self.encode(topics);
        }
        let mut written = false;
        while self.written < self.output.len() {
            let rest = self.output.get(self.written..).unwrap_or_default();
            match self.stream.write(rest) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                count => self.written += count?,
            }
            written = true;
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        Ok(received || written)
    }

    fn encode(&mut self, topics: u64) {
        let topic = (u64::from(self.number) + self.sent) % topics;
        for (place, unit) in [(0, 100), (1, 10), (2, 1)] {
            let digit = u8::try_from(topic / unit % 10).unwrap_or(0);
            self.template[Self::TOPIC_AT + place] = b'0' + digit;
        }
        let identifier = u16::try_from(self.sent % 65_535 + 1).unwrap_or(1);
        let fields: [(usize, &[u8]); 3] = [
            (Self::IDENTIFIER_AT, &identifier.to_be_bytes()),
            (Self::PAYLOAD_AT, &self.number.to_be_bytes()),
            (Self::PAYLOAD_AT + 4, &self.sent.to_be_bytes()),
        ];
        for (at, bytes) in fields {
            self.template[at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.output.extend_from_slice(&self.template);
        self.sent += 1;
    }

    fn read(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                let first = usize::try_from((4 - self.received % 4) % 4).unwrap_or(0);
                let mut heads = chunk[..count].iter().skip(first).step_by(4);
                if heads.any(|head| *head != 0x40) {
                    return Err(io::Error::other("PUBACK expected"));
                }
                self.received += count as u64;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for PUBACKs, when there is nothing else to do.
    fn wait(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.peek(&mut [0])?;
        self.stream.set_nonblocking(true)
    }
}

#[derive(Default)]
struct Drain {
    messages: u64,
    displaced: u64,
    is_over: bool,
    /// The next number of each publisher.
    next: Vec<u64>,
}

impl Drain {
    /// Takes a PUBLISH and acknowledges it.
    fn take(&mut self, frame: &[u8], acks: &mut Vec<u8>) -> io::Result<()> {
        let publish = |at: usize, length: usize| frame.get(at..at + length);
        let at = Publisher::PAYLOAD_AT;
        let (Some([0x32 | 0x3a]), Some(identifier), Some(publisher), Some(number)) = (
            publish(0, 1),
            publish(Publisher::IDENTIFIER_AT, 2),
            publish(at, 4).and_then(|it| it.try_into().ok()),
            publish(at + 4, 8).and_then(|it| it.try_into().ok()),
        ) else {
            return Err(io::Error::other(format!("PUBLISH expected, {frame:?}")));
        };
        acks.extend([0x40, 2]);
        acks.extend(identifier);
        let publisher = u32::from_be_bytes(publisher);
        if publisher == LAST {
            self.is_over = true;
            return Ok(());
        }
        let place = publisher as usize;
        if self.next.len() <= place {
            self.next.resize(place + 1, 0);
        }
        let number = u64::from_be_bytes(number);
        self.displaced += u64::from(self.next[place] != number);
        self.next[place] = number + 1;
        self.messages += 1;
        Ok(())
    }
}

/// The first packet, which has at most two bytes of length, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, second) = (*bytes.get(1)?, *bytes.get(2)?);
    let length = if first < 0x80 {
        2 + usize::from(first)
    } else {
        3 + usize::from(first & 0x7f) + (usize::from(second) << 7)
    };
    bytes.split_at_checked(length)
}
