//! A subscriber with a durable session that comes back when its broker does.

use std::collections::BTreeSet;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::until;
use crate::wire::{Kept, Packet, Publish, Version, WireClient, packet};

/// The pause after a failed attempt to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// A subscriber that acknowledges what it gets and connects again whenever it must.
#[derive(Debug)]
pub struct Subscriber {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    client_id: String,
    filter: String,
    qos: u8,
    received: Mutex<Vec<Publish>>,
    /// Packet Identifiers of QoS 2 that came and are not released.
    unreleased: Mutex<BTreeSet<u16>>,
    connection: Mutex<Option<TcpStream>>,
    /// Connections that are subscribed.
    connections: AtomicUsize,
    /// Connections, but the first, that found no session.
    lost_sessions: AtomicUsize,
    is_stopped: AtomicBool,
}

impl Subscriber {
    /// Connects, subscribes with QoS 1, and waits until that is granted.
    ///
    /// # Panics
    /// It never is.
    #[must_use]
    #[track_caller]
    pub fn start(port: u16, client_id: &str, filter: &str) -> Self {
        Self::start_with(port, client_id, filter, 1)
    }

    /// The same with this QoS.
    ///
    /// # Panics
    /// It never is.
    #[must_use]
    #[track_caller]
    pub fn start_with(port: u16, client_id: &str, filter: &str, qos: u8) -> Self {
        let shared = Arc::new(Shared {
            port,
            client_id: client_id.to_owned(),
            filter: filter.to_owned(),
            qos,
            received: Mutex::default(),
            unreleased: Mutex::default(),
            connection: Mutex::default(),
            connections: AtomicUsize::new(0),
            lost_sessions: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let its = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || its.run()));
        let subscriber = Self { shared, thread };
        until("the subscription is granted", || {
            subscriber.connections() > 0
        });
        subscriber
    }

    /// How often it has connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often it came back and its session was gone.
    #[must_use]
    pub fn lost_sessions(&self) -> usize {
        self.shared.lost_sessions.load(Ordering::SeqCst)
    }

    /// How many messages it got.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// Whether a message fits.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn has(&self, condition: impl Fn(&Publish) -> bool) -> bool {
        self.shared.received.lock().unwrap().iter().any(condition)
    }

    /// What it got, in order.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn received(&self) -> Vec<Publish> {
        self.shared.received.lock().unwrap().clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        if let Some(connection) = &*self.shared.connection.lock().unwrap() {
            connection.shutdown(Shutdown::Both).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.is_stopped.load(Ordering::SeqCst) {
            // Whatever ends a connection, what counts is what has been received in the end.
            if self.serve().is_err() {
                thread::sleep(PAUSE);
            }
        }
    }

    fn serve(&self) -> io::Result<()> {
        let (mut client, is_resumed) =
            WireClient::connect(self.port, Version::V311, &self.client_id, Kept::Session)?;
        let handle = client.handle()?;
        // An idle subscriber has nothing to read for as long as its test takes.
        handle.set_read_timeout(None)?;
        *self.connection.lock().unwrap() = Some(handle);
        if self.is_stopped.load(Ordering::SeqCst) {
            return Ok(());
        }
        if !is_resumed {
            if self.connections.load(Ordering::SeqCst) > 0 {
                self.lost_sessions.fetch_add(1, Ordering::SeqCst);
            }
            self.unreleased.lock().unwrap().clear();
            // Retained messages may come before the SUBACK.
            for publish in client.subscribe_amid(&self.filter, self.qos)? {
                let identifier = publish.identifier;
                self.received.lock().unwrap().push(publish);
                if identifier != 0 {
                    client.acknowledge(identifier)?;
                }
            }
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        loop {
            let Some(came) = client.receive()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            if let Some(answer) = self.take(&came, client.version()) {
                client.send(&answer)?;
            }
        }
    }

    /// Notes what came; returns the answer to it.
    fn take(&self, came: &Packet, version: Version) -> Option<Vec<u8>> {
        let mut unreleased = self.unreleased.lock().unwrap();
        if came.head == 0x62 {
            let identifier = came.body.first_chunk()?;
            unreleased.remove(&u16::from_be_bytes(*identifier));
            return Some(packet(0x70, identifier));
        }
        let publish = came.publish(version)?;
        let identifier = publish.identifier;
        let is_twice = came.head & 0b110 == 4 && !unreleased.insert(identifier);
        if !is_twice {
            self.received.lock().unwrap().push(publish);
        }
        match came.head & 0b110 {
            0 => None,
            2 => Some(packet(0x40, &identifier.to_be_bytes())),
            _ => Some(packet(0x50, &identifier.to_be_bytes())),
        }
    }
}
