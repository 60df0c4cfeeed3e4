//! The load: all publishers and subscribers of a scenario in one thread, with packets that are
//! encoded once, so that what is measured is the broker.
//!
//! Each subscriber gets the messages of each publisher in their order, and all of them.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tests::wire::{Kept, Version, WireClient};

use crate::peer::{Buffer, Peer};
use crate::poller::Poller;
use crate::publisher::Publisher;
use crate::scenario::{Scenario, Writes};
use crate::subscriber::{Subscriber, Tally};

/// Without any message for so long, some are missing.
const SILENCE: Duration = Duration::from_secs(5);
pub(crate) struct Traffic {
    scenario: Scenario,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    poller: Poller,
    buffer: Buffer,
    tally: Tally,
    progress: Instant,
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
            tally: Tally::new(shape.publishers, shape.subscribers),
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
