//! A publisher of numbered messages with a durable session, that comes back when its broker does.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::message::Message;
use crate::wait::until;
use crate::wire::{Kept, Packet, Version, WireClient, packet};

/// The pause after a failed attempt to connect.
const PAUSE: Duration = Duration::from_millis(20);
/// Messages that are sent at a time; the next ones follow when all are acknowledged.
/// mosquitto takes no more of QoS 2.
const WINDOW: usize = 20;

/// What is published.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The first levels of the topics; the last is 0 to 3, and the numbers go round them.
    pub prefix: String,
    /// 1 or 2.
    pub qos: u8,
    /// The last number; the first is 1.
    pub count: u64,
    /// The pause after each window of messages.
    pub pause: Duration,
    /// Bytes of each payload at least; a number is filled up with spaces in front.
    pub length: usize,
}

/// The thread that publishes.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    client_id: String,
    stream: Stream,
    /// Messages that are acknowledged to the end.
    done: AtomicU64,
    is_stopped: AtomicBool,
}

/// What was sent and is not acknowledged to the end.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    identifier: u16,
    /// PUBREC has come.
    is_received: bool,
}

impl Publisher {
    /// Connects and publishes, in the background.
    #[must_use]
    pub fn start(port: u16, client_id: &str, stream: Stream) -> Self {
        let shared = Arc::new(Shared {
            port,
            client_id: client_id.to_owned(),
            stream,
            done: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let its = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || its.run()));
        Self { shared, thread }
    }

    /// How many messages are acknowledged to the end.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }

    /// Waits until so many messages are acknowledged to the end.
    ///
    /// # Panics
    /// They never are.
    #[track_caller]
    pub fn wait(&self, count: u64) {
        until("so many are published", || self.done() >= count);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Stream {
    /// So many messages below a topic, as fast as they are acknowledged.
    #[must_use]
    pub fn new(prefix: &str, qos: u8, count: u64) -> Self {
        Self {
            prefix: prefix.to_owned(),
            qos,
            count,
            pause: Duration::ZERO,
            length: 0,
        }
    }

    /// The same, with this pause after each window of messages.
    #[must_use]
    pub fn paced(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The same, with payloads of at least so many bytes.
    #[must_use]
    pub fn padded(self, length: usize) -> Self {
        Self { length, ..self }
    }

    fn publish(&self, sent: Sent, is_again: bool) -> Vec<u8> {
        let topic = format!("{}/{}", self.prefix, sent.number % 4);
        let mut message = Message::new(&topic, format!("{:1$}", sent.number, self.length));
        message = message.qos(self.qos, sent.identifier);
        message.dup = is_again;
        message.encode(Version::V311)
    }
}

impl Shared {
    fn run(&self) {
        let mut flight = VecDeque::new();
        let mut next = 1;
        while !self.is_over() {
            // Whatever ends a connection, what counts is what has been acknowledged in the end.
            if self.serve(&mut next, &mut flight).is_err() {
                thread::sleep(PAUSE);
            }
        }
    }

    fn is_over(&self) -> bool {
        let is_done = self.done.load(Ordering::SeqCst) == self.stream.count;
        is_done || self.is_stopped.load(Ordering::SeqCst)
    }

    fn serve(&self, next: &mut u64, flight: &mut VecDeque<Sent>) -> io::Result<()> {
        let (mut client, _) =
            WireClient::connect(self.port, Version::V311, &self.client_id, Kept::Session)?;
        for sent in &*flight {
            client.send(&if sent.is_received {
                packet(0x62, &sent.identifier.to_be_bytes())
            } else {
                self.stream.publish(*sent, true)
            })?;
        }
        while !self.is_over() {
            let room = if flight.is_empty() { WINDOW } else { 0 };
            for _ in 0..room.min(usize::try_from(self.stream.count + 1 - *next).unwrap_or(room)) {
                let sent = Sent {
                    number: *next,
                    identifier: u16::try_from((*next - 1) % 65_535).unwrap_or_default() + 1,
                    is_received: false,
                };
                flight.push_back(sent);
                *next += 1;
                client.send(&self.stream.publish(sent, false))?;
            }
            if room > 0 {
                thread::sleep(self.stream.pause);
            }
            let came = client.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Some(release) = self.take(&came, flight)? {
                client.send(&release)?;
            }
        }
        Ok(())
    }

    /// Handles an acknowledgement; returns the PUBREL that is to follow.
    fn take(&self, came: &Packet, flight: &mut VecDeque<Sent>) -> io::Result<Option<Vec<u8>>> {
        let unexpected = || io::Error::other(format!("unexpected: {came:?}"));
        let identifier = came.body.first_chunk().ok_or_else(unexpected)?;
        let identifier = u16::from_be_bytes(*identifier);
        let place = flight.iter().position(|it| it.identifier == identifier);
        let place = place.ok_or_else(unexpected)?;
        if came.head == 0x50 {
            flight[place].is_received = true;
            return Ok(Some(packet(0x62, &identifier.to_be_bytes())));
        }
        flight.remove(place);
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(None)
    }
}
