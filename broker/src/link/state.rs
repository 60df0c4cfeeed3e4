//! What the lock of a link protects.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use mqtt::session::Session;
use mqtt::{QoS, ReasonCode, Timestamp, TopicFilter};
use persistence::{Position, Store};

use super::{Replays, Subscriptions};
use crate::memory::{Account, Memory};
use crate::registry::Will;

/// Groups that a session remembers to have left.
const LEFT_GROUPS_MAX: usize = 32;

/// Names one connection of a session, so that an old one cannot act for a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) NonZero<u64>);

/// The session and who serves it.
#[derive(Debug)]
pub(crate) struct LinkState {
    /// Queues, window and identifiers.
    pub(crate) session: Session,
    /// What it is subscribed to.
    pub(crate) subscriptions: Subscriptions,
    /// The Shared Subscriptions that were ended last. Their groups get what they had given to this
    /// session if it ends without an acknowledgement.
    pub(crate) left_groups: Vec<TopicFilter>,
    /// Retained messages still to be sent for subscriptions.
    pub(crate) replays: Replays,
    /// What the store is about to change; few sessions have any of it.
    storing: Option<Box<Storing>>,
    /// The connection that the session belongs to now.
    pub(crate) owner: Option<Owner>,
    /// How long the session outlives its connection.
    pub(crate) expiry: Duration,
    /// When the session ends; only while there is no owner.
    pub(crate) expires_at: Option<Timestamp>,
    /// A will whose delay runs; only while there is no owner.
    pub(crate) delayed_will: Option<Box<(Timestamp, Will)>>,
    /// Milliseconds without a packet after which the owner is ordered to end.
    pub(crate) keep_alive_millis: Option<u64>,
    /// When the owner's first message came that was neither taken nor answered.
    pub(crate) unanswered_since: Option<Timestamp>,
    /// What the session has in memory, as it is counted for all.
    account: Account,
    /// The session is over; nothing is put in any more.
    pub(crate) ended: bool,
    waker: Option<Waker>,
    notified: bool,
    order: Option<ReasonCode>,
}

/// Deliveries by their sequences, with the positions at which the store has changed them.
#[derive(Debug, Default)]
struct Storing {
    /// Those of QoS 2 that it did not have when the last one came.
    unstored: VecDeque<(u64, Position)>,
    /// Those that were superseded and that it may still have.
    superseded: VecDeque<(u64, Position)>,
}

impl LinkState {
    pub(super) fn new(session: Session, expiry: Duration, memory: Arc<Memory>) -> Self {
        Self {
            session,
            subscriptions: Subscriptions::default(),
            left_groups: Vec::new(),
            replays: Replays::default(),
            storing: None,
            owner: None,
            expiry,
            expires_at: None,
            delayed_will: None,
            keep_alive_millis: None,
            unanswered_since: None,
            account: Account::new(memory),
            ended: false,
            waker: None,
            notified: false,
            order: None,
        }
    }

    /// Bounds what is put in next by what is left for all.
    pub(crate) fn bound_memory(&mut self) {
        let share = self.account.memory().share();
        self.session.bound_memory(share);
    }

    /// Counts for all what the session has in memory now.
    pub(crate) fn settle(&mut self) {
        self.account.settle(self.session.memory_bytes());
    }

    /// Forgets what waits: the session is over.
    pub(crate) fn forget(&mut self) {
        self.session.suspend();
        drop(self.session.take_undelivered());
        self.settle();
    }

    /// Notes that a delivery of QoS 2 is in the store at a position.
    pub(super) fn await_store(&mut self, sequence: u64, position: Position, store: &Store) {
        self.first_unstored(store);
        let storing = self.storing.get_or_insert_default();
        storing.unstored.push_back((sequence, position));
    }

    /// Notes that a superseded delivery is removed from the store at a position.
    pub(super) fn await_removal(&mut self, sequence: u64, position: Position, store: &Store) {
        let durable = store.durable();
        let is_removed = |(_, at): &mut (u64, Position)| *at <= durable;
        if position > durable {
            let superseded = &mut self.storing.get_or_insert_default().superseded;
            while superseded.pop_front_if(is_removed).is_some() {}
            superseded.push_back((sequence, position));
        }
    }

    /// Lets go of a delivery that the store has and is about to remove, see
    /// [`Session::give_up`]. One that was superseded does not wait, although the store has it.
    pub(crate) fn give_up(&mut self, sequence: u64, qos: QoS, bytes: u64) -> bool {
        !self.is_superseded(sequence) && self.session.give_up(sequence, qos, bytes)
    }

    fn is_superseded(&self, sequence: u64) -> bool {
        let storing = self.storing.as_ref();
        storing.is_some_and(|it| it.superseded.iter().any(|it| it.0 == sequence))
    }

    /// The first delivery of QoS 2 that the store does not have yet, and the position at which it
    /// has. If it were sent and forgotten by a crash, another message would get its identifier,
    /// and its receiver would take that for a repetition [MQTT-4.3.3-1].
    fn first_unstored(&mut self, store: &Store) -> Option<(u64, Position)> {
        let unstored = &mut self.storing.as_mut()?.unstored;
        let durable = store.durable();
        while unstored.front().is_some_and(|(_, at)| *at <= durable) {
            unstored.pop_front();
        }
        unstored.front().copied()
    }

    /// Holds up the deliveries of QoS 2 that are not in the store; returns the position at which the
    /// first of them is. While nothing can be stored they are worth more than that.
    pub(crate) fn hold_unstored(&mut self, store: &Store) -> Option<Position> {
        let unstored = self.first_unstored(store).filter(|_| !store.is_failing());
        let held_from = unstored.map_or(u64::MAX, |(sequence, _)| sequence);
        self.session.hold_from(held_from);
        unstored.map(|(_, position)| position)
    }

    /// Notes that a Shared Subscription was ended.
    pub(crate) fn leave(&mut self, group: TopicFilter) {
        if self.left_groups.len() >= LEFT_GROUPS_MAX {
            self.left_groups.remove(0);
        }
        self.left_groups.push(group);
    }

    /// Notes an order for the owner; returns how to wake it.
    pub(crate) fn order(&mut self, reason: ReasonCode) -> Option<Waker> {
        self.order = Some(reason);
        self.waker.clone()
    }

    /// A new connection takes the session over. The one before it is woken and finds that it no
    /// longer owns the session.
    pub(crate) fn begin(&mut self, owner: Owner, inflight_max: u16) -> Option<Waker> {
        self.owner = Some(owner);
        self.expires_at = None;
        self.order = None;
        self.unanswered_since = None;
        self.notified = false;
        self.session.resume(inflight_max);
        self.waker.take()
    }

    /// The owner will be woken when there is something to take or an order to follow.
    pub(crate) fn register(&mut self, waker: &Waker) {
        self.notified = false;
        if !self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            self.waker = Some(waker.clone());
        }
    }

    /// The owner is polled soon, and need not be woken for what is put in until then.
    pub(crate) const fn expect_poll(&mut self) {
        self.notified = true;
    }

    /// Like [`Self::register`], unless the owner has something to do: an order to follow, or what
    /// waits or is not acknowledged. True if it has nothing.
    pub(crate) fn register_idle(&mut self, owner: Owner, waker: &Waker) -> bool {
        let is_idle = self.order_for(owner).is_none()
            && self.replays.is_empty()
            && self.session.is_drained()
            && self.session.backlog() == 0;
        if is_idle {
            self.register(waker);
        }
        is_idle
    }

    /// How to wake the owner.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    /// The waker to call after something was put in, once until the owner registers again.
    pub(crate) fn notify(&mut self) -> Option<Waker> {
        if self.notified {
            return None;
        }
        self.notified = true;
        self.waker.clone()
    }

    /// Why `owner` has to end its connection, if it has to.
    pub(crate) fn order_for(&self, owner: Owner) -> Option<ReasonCode> {
        if self.owner == Some(owner) {
            self.order
        } else {
            Some(ReasonCode::SessionTakenOver)
        }
    }
}
