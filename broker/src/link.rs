//! The link between publishers and one session: where deliveries are put, from where the
//! session's connection or gateway takes them.
//!
//! A link lives as long as its session, so longer than a connection. Publishers on any thread
//! put deliveries in under its lock, which is never held over a system call or an await. The
//! owner, one task at a time, is woken when the queue becomes non-empty and when it is ordered
//! to end.

mod activity;
mod drops;
mod replay;
mod state;
mod storing;
mod subscriptions;

pub(crate) use activity::Activity;
pub(crate) use replay::{Place, Replays, Terms};
pub(crate) use state::{LinkState, Owner};
pub(crate) use storing::Storing;
pub(crate) use subscriptions::Subscriptions;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mqtt::session::{Delivery, Enqueue, Session, number_of};
use mqtt::{QoS, ReasonCode, Timestamp};
use persistence::{Durability, Operation, Position, SessionId, Store};

use crate::memory::Memory;
use crate::metrics::Drops;

/// The session of one client or gateway.
#[derive(Debug)]
pub(crate) struct Link {
    /// The Client Identifier.
    pub(crate) client_id: Arc<str>,
    /// Its number in the store, if there is a store.
    stored: Option<SessionId>,
    /// True if the session outlives its connection and a restart: all its deliveries are stored.
    /// Otherwise only those are that find no room in memory.
    durable: bool,
    /// The QoS that messages are raised to.
    least_qos: AtomicU8,
    /// The greatest number of a session that is not durable that went to the store.
    spilled: AtomicU64,
    /// When the client sent its last packet, in milliseconds.
    last_packet: AtomicU64,
    /// When a large packet began that is not complete, in milliseconds; 0 if there is none.
    begun_at: AtomicU64,
    /// Deliveries that were dropped for want of room.
    dropped: AtomicU64,
    /// The count of them at which the log names them again.
    log_at: AtomicU64,
    /// Why the last of them was.
    last_cause: AtomicU8,
    /// It is a gateway's, which is not connected.
    pub(crate) is_cut: AtomicBool,
    drops: Arc<Drops>,
    /// Of the connection that has the session.
    pub(crate) activity: Activity,
    /// The other side is a broker.
    pub(crate) is_bridge: AtomicBool,
    /// What it has no room for is refused to its publisher, see `exchange/outboxes.rs`.
    pub(crate) refuses_when_full: AtomicBool,
    /// It may send batches, see [`bridges::batch`].
    pub(crate) may_batch: AtomicBool,
    state: Mutex<LinkState>,
}

/// What can be expected of a session that is given a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readiness {
    /// Nothing: the session has ended.
    Ended,
    /// It is kept until the client is back.
    Waiting,
    /// It goes to a client that does not keep up.
    Behind,
    /// It goes to the client at once.
    Ready,
}

/// Why a delivery was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDelivered {
    /// The session's bounds are reached; this was counted.
    NoRoom,
    /// The session has ended; this is to be counted.
    Ended,
}

impl Link {
    pub(crate) fn new(
        client_id: Arc<str>,
        stored: Option<SessionId>,
        durable: bool,
        session: Session,
        expiry: Duration,
        drops: Arc<Drops>,
        memory: Arc<Memory>,
    ) -> Self {
        Self {
            client_id,
            stored,
            durable,
            least_qos: AtomicU8::new(0),
            spilled: AtomicU64::new(0),
            last_packet: AtomicU64::new(0),
            begun_at: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            log_at: AtomicU64::new(1),
            last_cause: AtomicU8::new(0),
            is_cut: AtomicBool::new(false),
            drops,
            activity: Activity::default(),
            is_bridge: AtomicBool::new(false),
            refuses_when_full: AtomicBool::new(false),
            may_batch: AtomicBool::new(false),
            state: Mutex::new(LinkState::new(session, expiry, memory)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LinkState> {
        // A holder that panicked was a connection, which then ends; the session stays usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's number in the store, if it is durable.
    pub(crate) fn durable(&self) -> Option<SessionId> {
        self.stored.filter(|_| self.durable)
    }

    /// Sets the least QoS with which messages are delivered to subscriptions that are made later.
    pub(crate) fn set_least_qos(&self, qos: QoS) {
        self.least_qos.store(qos as u8, Ordering::Relaxed);
    }

    /// The least QoS with which messages are delivered to a subscription.
    pub(crate) fn least_qos(&self) -> QoS {
        QoS::from_u8(self.least_qos.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// The number under which the store may have something of this session.
    pub(crate) fn stored(&self) -> Option<SessionId> {
        self.stored
            .filter(|_| self.durable || self.spilled.load(Ordering::Relaxed) > 0)
    }

    /// Puts a delivery in and, if the session is durable or has no room in memory, hands it to the
    /// store.
    ///
    /// # Errors
    /// The session has no room, or is no more.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        delivery: Delivery,
        storing: &mut Storing<'_>,
    ) -> Result<Position, NotDelivered> {
        let mut position = Some(Position(0));
        self.put_in(delivery.qos, |state| {
            position = self.put(state, delivery, storing);
            position.is_some()
        })?;
        position.ok_or(NotDelivered::NoRoom)
    }

    /// Has something of this QoS put in under the lock, and wakes the owner if `put` says that
    /// something was.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn put_in(
        &self,
        qos: QoS,
        put: impl FnOnce(&mut LinkState) -> bool,
    ) -> Result<(), NotDelivered> {
        let mut state = self.lock();
        if state.ended {
            return Err(NotDelivered::Ended);
        }
        // Only sessions that wait for their client have no owner; QoS 0 does not wait with them.
        if state.owner.is_none() && !qos.is_acknowledged() {
            return Ok(());
        }
        let is_put = put(&mut state);
        let waker = is_put.then(|| state.notify()).flatten();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.log_dropped();
        Ok(())
    }

    /// Whether a delivery of QoS 1 or 2 would have to go to the store, or may have to.
    pub(crate) fn would_store(&self) -> bool {
        self.durable || self.stored.is_some() && !self.lock().session.is_drained()
    }

    /// What can be expected of the session at this moment.
    pub(crate) fn readiness(&self) -> Readiness {
        let state = self.lock();
        if state.ended {
            Readiness::Ended
        } else if state.owner.is_none() {
            Readiness::Waiting
        } else if state.session.keeps_up() {
            Readiness::Ready
        } else {
            Readiness::Behind
        }
    }

    /// The part of [`Link::deliver`] under the lock; does not wake the owner and logs nothing.
    pub(crate) fn put(
        self: &Arc<Self>,
        state: &mut LinkState,
        delivery: Delivery,
        storing: &mut Storing<'_>,
    ) -> Option<Position> {
        let (message, qos, retain) = (delivery.message.clone(), delivery.qos, delivery.retain);
        let subscription_ids = delivery.subscription_ids.clone();
        let latest_only = delivery.class.latest_only;
        let expires_at = delivery.expires_at;
        // The store has it in any case, and nobody takes it out of memory now.
        let is_left = self.durable && storing.keeps(qos) && state.owner.is_none();
        state.session.leave_to_store(is_left);
        state.bound_memory();
        let (sequence, to_store) = match state.session.enqueue(delivery) {
            Enqueue::Kept { sequence } => (sequence, self.durable && storing.keeps(qos)),
            Enqueue::Spilled { sequence } => (sequence, true),
            Enqueue::Dropped => {
                self.count_dropped(self.cause_of_drop(state, qos), 1);
                return None;
            }
        };
        state.settle();
        let Some(session) = self.stored.filter(|_| to_store) else {
            self.forget_evicted(state, storing.store);
            return Some(Position(0));
        };
        if !self.durable {
            self.spilled.store(number_of(sequence), Ordering::Relaxed);
        }
        // Under the lock, so that the store sees each queue in its order.
        let stored = storing.stored(message);
        let entry = Operation::Enqueue {
            session,
            sequence,
            stored,
            qos,
            retain,
            subscription_ids,
            latest_only,
            expires_at,
        };
        let position = storing.submit_delivery(entry, qos);
        if self.durable && qos == QoS::ExactlyOnce {
            state.await_store(sequence, position, storing.store);
        }
        self.forget_evicted(state, storing.store);
        Some(storing.awaited(position))
    }

    /// The session is done with the queue entry of this sequence; at the position returned the
    /// store is too.
    pub(crate) fn forget(&self, sequence: u64, store: &Store) -> Position {
        let written = self.durable || number_of(sequence) <= self.spilled.load(Ordering::Relaxed);
        if let Some(session) = self.stored
            && sequence > 0
            && written
        {
            return store.submit(Operation::Dequeue(session, sequence));
        }
        Position(0)
    }

    /// Submits what is to be remembered of QoS 2, if the session is durable and has not ended. It
    /// is always synced: what a power cut takes back, the client knows better, and one of the two
    /// would take a message for the repetition of another.
    pub(crate) fn remember(
        &self,
        store: &Store,
        operation: impl FnOnce(SessionId) -> Operation,
    ) -> Position {
        if self.durable().is_none() {
            return Position(0);
        }
        self.remember_in(&self.lock(), store, operation)
    }

    /// The same under the lock: a session that ends is taken out of the store after this.
    pub(crate) fn remember_in(
        &self,
        state: &LinkState,
        store: &Store,
        operation: impl FnOnce(SessionId) -> Operation,
    ) -> Position {
        let session = self.durable().filter(|_| !state.ended);
        session.map_or(Position(0), |it| {
            store.submit_as(operation(it), Durability::Full)
        })
    }

    /// Orders the present connection to end for this reason.
    pub(crate) fn order(&self, reason: ReasonCode) {
        let waker = self.lock().order(reason);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that a packet came.
    pub(crate) fn touch(&self, now: Timestamp) {
        self.last_packet.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Notes that a large packet has begun, or that there is none any more.
    pub(crate) fn note_begun(&self, at: Option<Timestamp>) {
        let millis = at.map_or(0, |it| it.as_millis().max(1));
        self.begun_at.store(millis, Ordering::Relaxed);
    }

    /// When the large packet began that is coming in.
    pub(crate) fn begun_at(&self) -> Option<Timestamp> {
        let millis = self.begun_at.load(Ordering::Relaxed);
        (millis > 0).then_some(Timestamp::from_millis(millis))
    }

    /// When the last packet came.
    pub(crate) fn last_packet(&self) -> Timestamp {
        Timestamp::from_millis(self.last_packet.load(Ordering::Relaxed))
    }
}
