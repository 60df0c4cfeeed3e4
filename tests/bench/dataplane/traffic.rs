//! The load: all publishers and subscribers of a scenario in one thread, with packets that are
//! encoded once, so that what is measured is the broker.
//!
//! The first sixteen bytes of each payload are its publisher, its number, and when it was sent.
//! Each subscriber gets the messages of each publisher in their order, and all of them.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tests::wire::{Kept, Version, WireClient};

use crate::frame::Frame;
use crate::peer::{Buffer, Peer};
use crate::poller::Poller;
use crate::scenario::{Scenario, Writes};

/// Without any message for so long, some are missing.
const SILENCE: Duration = Duration::from_secs(5);
/// From one of a publisher's topics to the next; it goes through all of them.
const STRIDE: u64 = 617;
/// Bytes of a payload that say which message it is.
const MARK_BYTES: usize = 16;

pub(crate) struct Traffic {
    scenario: Scenario,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    poller: Poller,
    buffer: Buffer,
    tally: Tally,
    progress: Instant,
}

/// What has arrived.
struct Tally {
    /// The next number of each publisher, for one subscriber after the other.
    next: Vec<u32>,
    publishers: usize,
    /// Deliveries of each publisher's messages.
    of: Vec<u64>,
    total: u64,
    /// Since when the payloads count nanoseconds.
    start: Instant,
    /// How long messages took, in nanoseconds, if that is wanted.
    latencies: Option<Vec<u32>>,
}

struct Publisher {
    peer: Peer,
    template: Vec<u8>,
    identifier_at: usize,
    payload_at: usize,
    topics: u64,
    topic_end: usize,
    sent: u64,
    /// Messages for which PUBACK or PUBCOMP came.
    acknowledged: u64,
}

struct Subscriber {
    peer: Peer,
    number: usize,
}

impl Traffic {
    /// Connects and subscribes.
    pub(crate) fn connect(port: u16, scenario: Scenario) -> io::Result<Self> {
        let shape = scenario.shape;
        let poller = Poller::new()?;
        let mut subscribers = Vec::new();
        for number in 0..shape.subscribers {
            let client_id = format!("subscriber-{number}");
            let mut client = connect(port, scenario.version, &client_id)?;
            client.subscribe(&scenario.filter(number), scenario.qos)?;
            let key = shape.publishers + number;
            subscribers.push(Subscriber {
                peer: Peer::new(client.handle()?, key, &poller)?,
                number,
            });
        }
        let mut publishers = Vec::new();
        for number in 0..shape.publishers {
            let client = connect(port, scenario.version, &format!("publisher-{number}"))?;
            let peer = Peer::new(client.handle()?, number, &poller)?;
            publishers.push(Publisher::new(peer, &scenario, number));
        }
        Ok(Self {
            scenario,
            publishers,
            subscribers,
            poller,
            buffer: Buffer::new(),
            tally: Tally {
                next: vec![0; shape.publishers * shape.subscribers],
                publishers: shape.publishers,
                of: vec![0; shape.publishers],
                total: 0,
                start: Instant::now(),
                latencies: None,
            },
            progress: Instant::now(),
        })
    }

    /// Messages that subscribers got so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.tally.total
    }

    /// Publishes for so long.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<()> {
        let start = Instant::now();
        if let Writes::Paced(rate) = self.scenario.writes {
            return self.pace(rate, time);
        }
        while start.elapsed() < time {
            self.fill()?;
            self.turn(SILENCE)?;
        }
        Ok(())
    }

    /// Has the time of each message noted from here on.
    pub(crate) fn note_latencies(&mut self) {
        self.tally.latencies = Some(Vec::new());
    }

    /// How long each message took since then, in nanoseconds and ascending.
    pub(crate) fn latencies(&mut self) -> Vec<u32> {
        let mut latencies = self.tally.latencies.take().unwrap_or_default();
        latencies.sort_unstable();
        latencies
    }

    /// Publishes so many messages a second, in turn, whatever arrives.
    ///
    /// It looks at its sockets all the time, so that its own sleep is not part of what is measured.
    fn pace(&mut self, rate: u64, time: Duration) -> io::Result<()> {
        let start = Instant::now();
        let mut sent = 0;
        loop {
            let elapsed = start.elapsed();
            if elapsed >= time {
                return Ok(());
            }
            let due = u64::try_from(elapsed.as_nanos() * u128::from(rate) / 1_000_000_000);
            let due = due.unwrap_or(u64::MAX);
            while sent < due {
                let count = self.publishers.len();
                let number = usize::try_from(sent).unwrap_or(0) % count;
                let publisher = &mut self.publishers[number];
                publisher.encode(number, self.tally.start.elapsed());
                publisher.peer.flush(&self.poller)?;
                sent += 1;
            }
            self.turn(Duration::ZERO)?;
        }
    }

    /// Publishes no more, and waits until all has arrived.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Scenario { shape, qos, .. } = self.scenario;
        let is_open = |(publisher, delivered): (&Publisher, &u64)| {
            *delivered < publisher.sent * shape.targets()
                || qos > 0 && publisher.acknowledged < publisher.sent
        };
        while self.publishers.iter().zip(&self.tally.of).any(is_open) {
            self.turn(SILENCE)?;
        }
        Ok(())
    }

    /// Publishes what the windows have room for.
    fn fill(&mut self) -> io::Result<()> {
        let Scenario { shape, qos, .. } = self.scenario;
        let window = self.scenario.window();
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            // What has arrived on the average is found sooner than what has everywhere.
            let average = self.tally.of[number] / shape.targets();
            if publisher.sent - average > window / 2 || publisher.peer.is_blocked() {
                continue;
            }
            let mut over = self.tally.arrived(number, shape.is_paired);
            if qos > 0 {
                over = over.min(publisher.acknowledged);
            }
            let outstanding = publisher.sent - over;
            if outstanding > window / 2 {
                continue;
            }
            for _ in outstanding..window {
                publisher.encode(number, Duration::ZERO);
                if self.scenario.writes == Writes::Single {
                    publisher.peer.flush(&self.poller)?;
                }
            }
            publisher.peer.flush(&self.poller)?;
        }
        Ok(())
    }

    /// Waits at most so long for what comes, and takes it.
    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        if !self.poller.wait(timeout)? {
            if self.progress.elapsed() < SILENCE {
                return Ok(());
            }
            let sent: u64 = self.publishers.iter().map(|it| it.sent).sum();
            let sent = sent * self.scenario.shape.targets();
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("{} of {sent} messages arrived", self.tally.total),
            ));
        }
        self.progress = Instant::now();
        let payload_bytes = self.scenario.payload_bytes;
        for place in 0..self.poller.count() {
            let ready = self.poller.ready(place);
            let publishers = self.publishers.len();
            let peer = if let Some(publisher) = self.publishers.get_mut(ready.key) {
                if ready.is_readable {
                    publisher.read(&mut self.buffer)?;
                }
                &mut publisher.peer
            } else {
                let subscriber = &mut self.subscribers[ready.key - publishers];
                if ready.is_readable {
                    subscriber.read(&mut self.buffer, payload_bytes, &mut self.tally)?;
                }
                &mut subscriber.peer
            };
            if !peer.output.is_empty() {
                peer.flush(&self.poller)?;
            }
        }
        Ok(())
    }
}

fn connect(port: u16, version: Version, client_id: &str) -> io::Result<WireClient> {
    let (client, _) = WireClient::connect(port, version, client_id, Kept::Nothing)?;
    Ok(client)
}

impl Publisher {
    fn new(peer: Peer, scenario: &Scenario, number: usize) -> Self {
        let (template, identifier_at) = scenario.template(number);
        let payload_at = template.len() - scenario.payload_bytes;
        Self {
            peer,
            // Where there is none, the payload is put over it.
            identifier_at: if scenario.qos == 0 {
                payload_at
            } else {
                identifier_at
            },
            payload_at,
            topics: scenario.topics,
            topic_end: identifier_at,
            template,
            sent: 0,
            acknowledged: 0,
        }
    }

    /// Puts the next message into the output.
    fn encode(&mut self, number: usize, now: Duration) {
        let start = self.peer.output.len();
        let output = &mut self.peer.output;
        output.extend_from_slice(&self.template);
        let packet = &mut output[start..];
        if self.topics > 1 {
            let topic = self.sent * STRIDE % self.topics;
            for (place, unit) in [(3, 100), (2, 10), (1, 1)] {
                let digit = u8::try_from(topic / unit % 10).unwrap_or(0);
                packet[self.topic_end - place] = b'0' + digit;
            }
        }
        let identifier = u16::try_from(self.sent % 65_535 + 1).unwrap_or(1);
        packet[self.identifier_at..][..2].copy_from_slice(&identifier.to_be_bytes());
        let publisher = u32::try_from(number).unwrap_or(0);
        let mark = u128::from(publisher) << 96
            | u128::from(self.sent & 0xffff_ffff) << 64
            | now.as_nanos() & u128::from(u64::MAX);
        packet[self.payload_at..][..MARK_BYTES].copy_from_slice(&mark.to_be_bytes());
        self.sent += 1;
    }

    fn read(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        let acknowledged = &mut self.acknowledged;
        self.peer.read(buffer, |bytes, output| {
            take(bytes, |frame| {
                let identifier = frame.acknowledged();
                match (frame.kind(), identifier) {
                    (4 | 7, Some(_)) => *acknowledged += 1,
                    (5, Some([high, low])) => output.extend([0x62, 2, high, low]),
                    _ => return Err(unexpected(frame)),
                }
                Ok(())
            })
        })
    }
}

impl Subscriber {
    fn read(
        &mut self,
        buffer: &mut Buffer,
        payload_bytes: usize,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let number = self.number;
        self.peer.read(buffer, |bytes, output| {
            let now = tally.start.elapsed();
            take(bytes, |frame| match frame.head {
                0x30 => tally.take(frame, payload_bytes, number, now),
                0x32 | 0x34 => {
                    let [high, low] = frame
                        .publish_identifier()
                        .ok_or_else(|| unexpected(frame))?;
                    let answer = if frame.head == 0x32 { 0x40 } else { 0x50 };
                    output.extend([answer, 2, high, low]);
                    tally.take(frame, payload_bytes, number, now)
                }
                0x62 => {
                    let [high, low] = frame.acknowledged().ok_or_else(|| unexpected(frame))?;
                    output.extend([0x70, 2, high, low]);
                    Ok(())
                }
                _ => Err(unexpected(frame)),
            })
        })
    }
}

impl Tally {
    /// Messages of a publisher that all its subscribers have.
    fn arrived(&self, publisher: usize, is_paired: bool) -> u64 {
        let subscribers = self.next.chunks_exact(self.publishers);
        let place = if is_paired { publisher } else { 0 };
        let count = if is_paired { 1 } else { usize::MAX };
        let next = subscribers.skip(place).take(count).map(|it| it[publisher]);
        next.min().unwrap_or(0).into()
    }

    /// Counts a message, which must be its publisher's next one.
    fn take(
        &mut self,
        frame: Frame<'_>,
        payload_bytes: usize,
        subscriber: usize,
        now: Duration,
    ) -> io::Result<()> {
        let at = frame.body.len().checked_sub(payload_bytes);
        let mark = at.and_then(|at| frame.body[at..].first_chunk::<MARK_BYTES>());
        let mark = u128::from_be_bytes(*mark.ok_or_else(|| unexpected(frame))?);
        let publisher = usize::try_from(mark >> 96).unwrap_or(usize::MAX);
        let number = u32::try_from(mark >> 64 & 0xffff_ffff).unwrap_or(0);
        if publisher >= self.publishers {
            return Err(unexpected(frame));
        }
        let next = &mut self.next[subscriber * self.publishers + publisher];
        if *next != number {
            return Err(io::Error::other(format!(
                "message {number} of publisher {publisher} came in place of {next}"
            )));
        }
        *next = number.wrapping_add(1);
        self.of[publisher] += 1;
        self.total += 1;
        if let Some(latencies) = &mut self.latencies {
            let taken = now.as_nanos().saturating_sub(mark & u128::from(u64::MAX));
            latencies.push(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

/// Takes all whole packets; returns where they end.
fn take(bytes: &[u8], mut each: impl FnMut(Frame<'_>) -> io::Result<()>) -> io::Result<usize> {
    let mut end = 0;
    while let Some((frame, length)) = Frame::first(&bytes[end..]) {
        each(frame)?;
        end += length;
    }
    Ok(end)
}

fn unexpected(frame: Frame<'_>) -> io::Error {
    let Frame { head, body } = frame;
    let start = body.get(..body.len().min(40)).unwrap_or_default();
    io::Error::other(format!("unexpected packet: {head:#x} {start:?}"))
}
