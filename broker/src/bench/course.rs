//! What the clients, the workers and the conductor of a run share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::fault::Fault;
use super::plan::{Plan, Role};
use super::stamp::{Clock, Mark};
use super::tally::{Counts, Tally};

/// Different explanations of faults that are told; the others are summed up.
const EXPLANATIONS_MAX: usize = 20;
const OTHER_FAULTS: &str = "other faults";

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Clients connect.
    Connect,
    /// There is load.
    Load,
    /// What is on its way comes to its end.
    Finish,
    /// Everybody disconnects.
    Stop,
}

/// A run.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) plan: Plan,
    /// Where the broker may be.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) clock: Clock,
    /// The mark of the payloads' stamps.
    pub(super) mark: Mark,
    stage: watch::Sender<Stage>,
    /// When the clients began to connect, in the clock's nanoseconds.
    pub(super) began_at: u64,
    /// When the load began.
    load_began_at: AtomicU64,
    /// When it was ended from outside; 0 if it was not.
    finish_began_at: AtomicU64,
    attendance: Mutex<Attendance>,
    /// Somebody has to look at the attendance.
    pub(super) changed: Notify,
    /// One for each client.
    cues: Vec<Cue>,
    /// One for each worker.
    tallies: Vec<Mutex<Tally>>,
    /// Seconds of the Keep Alive, which a broker may shorten; 0 for none.
    keep_alive: AtomicU16,
    /// Messages to all subscribers, if there is a limit of them.
    received: AtomicU64,
}

/// What has become of the clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Attendance {
    /// They are connected, and subscribed if they subscribe, or have failed to be.
    pub(super) tried: u32,
    pub(super) connected: u32,
    /// When the last one was, in the clock's nanoseconds.
    pub(super) connected_at: u64,
    pub(super) failed: u32,
    /// Connections that ended early.
    pub(super) lost: u32,
    /// Publishers who are connected and have something to publish, or to wait for.
    pub(super) publishing: u32,
    /// How many faults have this explanation.
    pub(super) faults: BTreeMap<String, u64>,
}

/// What wakes a client that waits for something else than its socket.
#[derive(Debug, Default)]
struct Cue {
    waker: Mutex<Option<Waker>>,
    /// Deliveries that this publisher's messages have caused.
    returned: AtomicU64,
}

impl Course {
    pub(super) fn new(plan: Plan, addresses: Vec<SocketAddr>, mark: Mark) -> Self {
        let stage = if plan.waits {
            Stage::Connect
        } else {
            Stage::Load
        };
        let cues = plan.members().map(|_| Cue::default()).collect();
        let tallies = (0..plan.workers).map(|_| Mutex::default()).collect();
        let clock = Clock::new();
        Self {
            addresses,
            clock,
            mark,
            stage: watch::Sender::new(stage),
            began_at: clock.now(),
            load_began_at: AtomicU64::new(clock.now()),
            finish_began_at: AtomicU64::new(0),
            attendance: Mutex::default(),
            changed: Notify::new(),
            cues,
            tallies,
            keep_alive: AtomicU16::new(plan.keep_alive),
            received: AtomicU64::new(0),
            plan,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Goes on to a stage; there is no way back.
    pub(super) fn enter(&self, stage: Stage) {
        if stage <= self.stage() {
            return;
        }
        let now = self.clock.now();
        match stage {
            Stage::Load => self.load_began_at.store(now, Ordering::SeqCst),
            Stage::Finish => self.finish_began_at.store(now, Ordering::SeqCst),
            Stage::Connect | Stage::Stop => {}
        }
        self.stage.send_replace(stage);
        self.wake(0..self.cues.len());
    }

    /// Waits until the run is at this stage.
    pub(super) async fn reached(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        // The sender is here.
        stages.wait_for(|it| *it >= stage).await.ok();
    }

    /// When the load began, in the clock's nanoseconds.
    pub(super) fn load_began_at(&self) -> u64 {
        self.load_began_at.load(Ordering::SeqCst)
    }

    /// When the load was ended by a signal or a limit of the time or of what is received, in the
    /// clock's nanoseconds; 0 if it came to its end by itself.
    pub(super) fn finish_began_at(&self) -> u64 {
        self.finish_began_at.load(Ordering::SeqCst)
    }

    /// Wakes these clients.
    pub(super) fn wake(&self, clients: impl IntoIterator<Item = usize>) {
        for client in clients {
            self.cues[client].wake();
        }
    }

    /// A client wants to be woken.
    pub(super) fn await_cue(&self, client: usize, waker: &Waker) {
        let mut slot = lock(&self.cues[client].waker);
        if !slot.as_ref().is_some_and(|it| it.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Deliveries have come that the messages of this publisher have caused.
    pub(super) fn credit(&self, publisher: u32, deliveries: u64) {
        let cue = self.cues.get(self.plan.publisher_index(publisher));
        if let Some(cue) = cue.filter(|_| deliveries > 0) {
            cue.returned.fetch_add(deliveries, Ordering::SeqCst);
            cue.wake();
        }
    }

    /// Deliveries that the messages of this client have caused.
    pub(super) fn returned(&self, client: usize) -> u64 {
        self.cues[client].returned.load(Ordering::SeqCst)
    }

    pub(super) fn tally(&self, worker: usize) -> MutexGuard<'_, Tally> {
        lock(&self.tallies[worker])
    }

    /// A client that has sent nothing for this time sends a PINGREQ; none without Keep Alive.
    pub(super) fn ping_after(&self) -> Option<Duration> {
        let seconds = self.keep_alive.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds.into()) / 2)
    }

    /// The broker states a Keep Alive of its own [MQTT-3.1.2-21].
    pub(super) fn limit_keep_alive(&self, seconds: u16) {
        let shorten = |it| Some(if it == 0 { seconds } else { seconds.min(it) });
        let shortened = self
            .keep_alive
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, shorten);
        debug_assert!(shortened.is_ok(), "there is always a value");
    }

    /// Messages have come to a subscriber.
    pub(super) fn note_received(&self, messages: u64) {
        let Some(limit) = self.plan.receive_limit() else {
            return;
        };
        let before = self.received.fetch_add(messages, Ordering::SeqCst);
        if before < limit && before + messages >= limit {
            self.changed.notify_one();
        }
    }

    pub(super) fn is_enough_received(&self) -> bool {
        let limit = self.plan.receive_limit();
        limit.is_some_and(|limit| self.received.load(Ordering::SeqCst) >= limit)
    }

    pub(super) fn note_connected(&self, role: Role) {
        let now = self.clock.now();
        self.note(|it| {
            it.tried += 1;
            it.connected += 1;
            it.connected_at = now;
            it.publishing += u32::from(role == Role::Publisher);
        });
    }

    pub(super) fn note_failed(&self, fault: &Fault) {
        self.note(|it| {
            it.tried += 1;
            it.failed += 1;
            it.explain(fault);
        });
    }

    /// A publisher has nothing left to publish or to wait for.
    pub(super) fn note_finished(&self) {
        self.note(|it| it.publishing -= 1);
    }

    pub(super) fn note_lost(&self, fault: &Fault) {
        self.note(|it| {
            it.lost += 1;
            it.explain(fault);
        });
    }

    fn note(&self, change: impl FnOnce(&mut Attendance)) {
        change(&mut lock(&self.attendance));
        self.changed.notify_one();
    }

    pub(super) fn attendance(&self) -> Attendance {
        lock(&self.attendance).clone()
    }

    /// What all workers have counted so far.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for tally in &self.tallies {
            counts.add(lock(tally).counts);
        }
        counts
    }

    /// All that was counted.
    pub(super) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in &self.tallies {
            total.merge(&lock(tally));
        }
        total
    }
}

impl Attendance {
    /// Clients that are connected now.
    pub(super) const fn present(&self) -> u32 {
        self.connected - self.lost
    }

    /// The first client has failed to connect, and so nobody is connected.
    pub(super) const fn is_hopeless(&self) -> bool {
        self.failed > 0 && self.connected == 0
    }

    fn explain(&mut self, fault: &Fault) {
        let mut explanation = fault.explain();
        if self.faults.len() >= EXPLANATIONS_MAX && !self.faults.contains_key(&explanation) {
            OTHER_FAULTS.clone_into(&mut explanation);
        }
        *self.faults.entry(explanation).or_default() += 1;
    }
}

impl Cue {
    fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }
}

/// What is in here is whole even if somebody has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
