//! What the clients and those who kill the broker share.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mqtt::ProtocolVersion;

use super::connection::{Accepted, Connection};
use super::history::Moment;

const RECONNECT_PAUSE: Duration = Duration::from_millis(5);
/// Further faults are not worth a line each.
const FAULTS_MAX: usize = 20;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// Clients make their sessions.
    Prepare,
    /// Publishers publish, and the broker is killed.
    Publish,
    /// Publishers send what is not acknowledged.
    Finish,
    /// Subscribers take what is left, up to a last message.
    Drain,
    /// Everybody stops at once.
    Stop,
}

/// A run of one durability level.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) address: SocketAddr,
    /// Whether sessions have to survive a crash.
    pub(super) is_durable: bool,
    begun: Instant,
    stage: AtomicU8,
    /// The broker's process, counted from 1; 0 before the first.
    lives: AtomicUsize,
    /// Clients whose sessions are made.
    ready: AtomicUsize,
    acknowledged: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Lab {
    pub(super) fn new(address: SocketAddr, is_durable: bool) -> Self {
        Self {
            address,
            is_durable,
            begun: Instant::now(),
            stage: AtomicU8::new(Stage::Prepare as u8),
            lives: AtomicUsize::new(0),
            ready: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    /// Goes on to a stage; there is no way back.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
    }

    pub(super) fn is_at_least(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::SeqCst) >= stage as u8
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Something comes at this moment from the broker's process `life`.
    pub(super) fn moment(&self, life: usize) -> Moment {
        let at = self.elapsed();
        Moment { life, at }
    }

    /// Another process of the broker is about to be started, and none runs.
    pub(super) fn begin_life(&self) {
        self.lives.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn note_ready(&self) {
        self.ready.fetch_add(1, Ordering::SeqCst);
    }

    /// Clients whose sessions are made.
    pub(super) fn ready(&self) -> usize {
        self.ready.load(Ordering::SeqCst)
    }

    pub(super) fn note_acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that are acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The broker did what it must not do.
    pub(super) fn note_fault(&self, fault: impl Into<String>) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < FAULTS_MAX {
            faults.push(fault.into());
        }
    }

    pub(super) fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects as soon as there is a broker, keeping the session; none if the run stops.
    pub(super) fn connect(
        &self,
        version: ProtocolVersion,
        client_id: &str,
    ) -> Option<(Connection, Accepted)> {
        while !self.is_at_least(Stage::Stop) {
            // Read behind the connect and before the CONNECT: if the broker has died in between,
            // nothing comes from there.
            let life = || self.lives.load(Ordering::SeqCst).saturating_sub(1);
            match Connection::open(self.address, life, version, client_id) {
                Ok(accepted) => return Some(accepted),
                Err(error) => self.note_end(client_id, &error),
            }
            sleep(RECONNECT_PAUSE);
        }
        None
    }

    /// A connection has ended: by a crash, or because the broker broke a rule.
    pub(super) fn note_end(&self, client_id: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            self.note_fault(format!("{client_id}: {error}"));
        }
    }
}

/// Random choices that a seed repeats (xorshift64*).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one, which is not 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    /// A time between these, in milliseconds.
    pub(super) const fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
