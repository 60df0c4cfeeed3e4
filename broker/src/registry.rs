//! All sessions by Client Identifier: how they begin, change hands and end (§3.1.2.4, §4.1).

mod departure;
mod will;

pub(crate) use will::Will;

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use mqtt::connection::WillMessage;
use mqtt::session::{Inbound, Session, StoredLane, StoredQueue};
use mqtt::{ReasonCode, Timestamp};
use persistence::{Operation, Position, RecoveredSession, SessionId};

use self::departure::{Departed, Departures};
use crate::exchange::Exchange;
use crate::link::{Link, LinkState, Owner};
use crate::metrics::count;
use crate::router::Subscription;

/// How long a connection goes on after a message that was neither taken nor answered. Its client
/// sends it again on the next one.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// The sessions, online and offline.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    links: Mutex<HashMap<Arc<str>, Arc<Link>>>,
    departures: Departures,
    owners: AtomicU64,
    online: AtomicUsize,
    /// The daemon stops; written under the lock of `links`.
    is_closed: AtomicBool,
}

type Links<'a> = MutexGuard<'a, HashMap<Arc<str>, Arc<Link>>>;

/// Who wants a session, and on which terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The Client Identifier.
    pub(crate) client_id: &'a str,
    /// Forget an earlier session.
    pub(crate) clean_start: bool,
    /// How long the session outlives the connection.
    pub(crate) expiry: Duration,
    /// Deliveries that may be unacknowledged.
    pub(crate) inflight_messages_max: u16,
    /// Milliseconds without a packet after which the connection is dead.
    pub(crate) keep_alive_millis: Option<u64>,
    /// What is published if the connection does not end in order.
    pub(crate) will: Option<&'a WillMessage>,
}

/// A session as a new connection gets it.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    /// The session.
    pub(crate) link: Arc<Link>,
    /// The right to act for it.
    pub(crate) owner: Owner,
    /// True if it existed before.
    pub(crate) session_present: bool,
    /// The will, to be given back in [`Ending`].
    pub(crate) will: Option<Will>,
    /// Once this is durable, deliveries may be sent: a store that is read after a crash says then
    /// that they may have been, and DUP is set where it has to be.
    pub(crate) resumed: Position,
}

/// How a connection ended, as far as its session is concerned.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The will that is due, if the connection did not end in order.
    pub(crate) will: Option<Will>,
    /// A new Session Expiry Interval from DISCONNECT.
    pub(crate) session_expiry: Option<Duration>,
}

impl Registry {
    fn lock(&self) -> Links<'_> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sessions at this moment.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.lock().values().cloned().collect()
    }

    /// The session of this Client Identifier.
    pub(crate) fn link(&self, client_id: &str) -> Option<Arc<Link>> {
        self.lock().get(client_id).cloned()
    }

    /// The sessions that have these numbers in the store.
    pub(crate) fn stored(&self, wanted: &HashSet<SessionId>) -> HashMap<SessionId, Arc<Link>> {
        let links = self.lock();
        let numbered = links
            .values()
            .filter_map(|link| Some((link.stored()?, link)));
        let found = numbered.filter(|(id, _)| wanted.contains(id));
        found.map(|(id, link)| (id, Arc::clone(link))).collect()
    }

    /// Sessions that have a connection or a gateway.
    pub(crate) fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed)
    }
}

impl Exchange {
    /// Gives a client its session, like [`Exchange::attach`].
    ///
    /// # Errors
    /// The daemon stops, or it would be one session more than there may be.
    pub(crate) fn admit(&self, claim: Claim<'_>) -> Result<Attached, ReasonCode> {
        let (links, known) = self.settled(claim.client_id);
        if self.registry.is_closed.load(Ordering::Relaxed) {
            return Err(ReasonCode::ServerUnavailable);
        }
        let has_room = links.len() < self.bounds.sessions_max;
        if !has_room && known.is_none() {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(self.begin(links, known, claim))
    }

    /// Gives a new connection its session: the one there is, taken over from an earlier
    /// connection if need be [MQTT-3.1.4-3], or a new one.
    pub(crate) fn attach(&self, claim: Claim<'_>) -> Attached {
        let (links, known) = self.settled(claim.client_id);
        self.begin(links, known, claim)
    }

    /// The sessions, and this client's, when what was due before it came back has not waited for
    /// the next sweep.
    fn settled(&self, client_id: &str) -> (Links<'_>, Option<Arc<Link>>) {
        let links = self.registry.lock();
        let Some(known) = links.get(client_id).cloned() else {
            return (links, None);
        };
        drop(links);
        self.settle(&known, self.now());
        let links = self.registry.lock();
        let known = links.get(client_id).cloned();
        (links, known)
    }

    fn begin(&self, mut links: Links<'_>, known: Option<Arc<Link>>, claim: Claim<'_>) -> Attached {
        let Claim {
            client_id, expiry, ..
        } = claim;
        let resumed = known.filter(|link| {
            // A session that ends with its connection cannot be resumed.
            let resumable = !claim.clean_start && !link.lock().expiry.is_zero();
            if !resumable {
                links.remove(client_id);
                self.end_session(link);
            }
            resumable
        });
        let session_present = resumed.is_some();
        let link = resumed.unwrap_or_else(|| self.new_session(client_id, expiry));
        let earlier = self.registry.owners.fetch_add(1, Ordering::Relaxed);
        let owner = Owner(NonZero::<u64>::MIN.saturating_add(earlier));
        let mut state = link.lock();
        let was_online = state.owner.is_some();
        // The client came back in time [MQTT-3.1.3-9].
        let delayed_will = state.delayed_will.take();
        let previous = state.begin(owner, claim.inflight_messages_max);
        state.expiry = expiry;
        state.keep_alive_millis = claim.keep_alive_millis;
        drop(state);
        previous.into_iter().for_each(Waker::wake);
        if !was_online {
            self.registry.online.fetch_add(1, Ordering::Relaxed);
        }
        link.touch(self.now());
        // The last connection may have ended within a packet.
        link.note_begun(None);
        delayed_will.iter().for_each(|it| self.forget_will(&it.1));
        let resumed = self.put_session(&link, expiry, None);
        let will = claim.will.map(|it| self.keep_will(&link, it.clone()));
        links.insert(Arc::clone(&link.client_id), Arc::clone(&link));
        Attached {
            link,
            owner,
            session_present,
            will,
            resumed,
        }
    }

    fn new_session(&self, client_id: &str, expiry: Duration) -> Arc<Link> {
        let stored = self
            .store
            .is_enabled()
            .then(|| self.store.next_session_id());
        let session = Session::new(Arc::clone(&self.bounds.queue), stored.is_some());
        Arc::new(Link::new(
            client_id.into(),
            stored,
            !expiry.is_zero(),
            session,
            expiry,
            Arc::clone(&self.counters.dropped),
            Arc::clone(&self.memory),
        ))
    }

    fn put_session(
        &self,
        link: &Link,
        expiry: Duration,
        expires_at: Option<Timestamp>,
    ) -> Position {
        link.durable().map_or(Position(0), |session| {
            self.store.submit(Operation::PutSession {
                session,
                client_id: Arc::clone(&link.client_id),
                expiry_seconds: expiry.as_secs(),
                expires_at,
            })
        })
    }

    /// A connection ended: its session waits for the next one, or ends with it. False if the
    /// session had gone over to another connection before.
    pub(crate) fn detach(&self, link: &Arc<Link>, owner: Owner, ending: Ending) -> bool {
        let mut links = self.registry.lock();
        let mut state = link.lock();
        if state.owner != Some(owner) {
            // Taken over. The will is due unless the session goes on and the new connection came
            // within its delay [MQTT-3.1.3-9].
            let ended = state.ended;
            drop(state);
            drop(links);
            match ending.will {
                Some(will) if ended || will.delay().is_zero() => {
                    self.publish_will(Some(link), &will);
                }
                Some(will) => self.forget_will(&will),
                None => {}
            }
            return false;
        }
        state.owner = None;
        state.session.suspend();
        let sent = state.session.sent();
        state.expiry = ending.session_expiry.unwrap_or(state.expiry);
        let expiry = state.expiry;
        let expires_at = self.clock.after(expiry);
        let mut due = ending.will;
        if expiry.is_zero() {
            links.remove(&link.client_id);
        } else {
            state.expires_at = Some(expires_at);
            // [MQTT-3.1.3-9]
            let delayed = due.take_if(|will| !will.delay().is_zero());
            state.delayed_will = delayed.map(|will| Box::new(self.delay_will(will)));
        }
        drop(state);
        if !expiry.is_zero() {
            // Before another connection can begin, which may throw the session away.
            if let Some(session) = link.durable() {
                self.store.submit(Operation::Sent(session, sent));
            }
            self.put_session(link, expiry, Some(expires_at));
        }
        drop(links);
        self.registry.online.fetch_sub(1, Ordering::Relaxed);
        if let Some(will) = due {
            self.publish_will(Some(link), &will);
        }
        if expiry.is_zero() {
            self.end_session(link);
        }
        true
    }

    /// Removes what a session has in the routing table and in the store.
    fn end_session(&self, link: &Arc<Link>) {
        let mut state = link.lock();
        state.ended = true;
        let subscriptions = std::mem::take(&mut state.subscriptions);
        let left_groups = std::mem::take(&mut state.left_groups);
        let was_online = state.owner.take().is_some();
        let will = state.delayed_will.take();
        let waker = state.notify();
        drop(state);
        // A connection that still serves the session finds that it does not own it any more.
        waker.into_iter().for_each(Waker::wake);
        if was_online {
            self.registry.online.fetch_sub(1, Ordering::Relaxed);
        }
        for filter in subscriptions.iter() {
            self.router.unsubscribe(filter, link);
            self.demand.note(filter);
        }
        // The end of the session ends the delay [MQTT-3.1.3-9].
        if let Some(delayed) = will {
            self.publish_will(Some(link), &delayed.1);
        }
        let shares = subscriptions.into_shared();
        self.depart(Departed {
            link: Arc::clone(link),
            shares: shares.chain(left_groups).collect(),
        });
    }

    /// Puts back a session that the store knew.
    pub(crate) fn recover_session(&self, recovered: RecoveredSession) {
        // A crash leaves more in doubt than a window can hold.
        let window = u64::from(self.limits.inflight_messages_max);
        let lanes = recovered.lanes.into_iter().map(|lane| StoredLane {
            unsettled: lane.unsettled.min(window),
            ..lane
        });
        let stored = StoredQueue {
            lanes: lanes.collect(),
            latest: recovered.latest,
            next: recovered.next_sequence,
            side: recovered.side,
            sent: recovered.sent_sequence,
            released: recovered.released,
            in_flight: recovered.in_flight,
        };
        let mut session = Session::recovered(Arc::clone(&self.bounds.queue), &stored);
        session.inbound = Inbound::recovered(recovered.received);
        let expiry = Duration::from_secs(recovered.expiry_seconds);
        let link = Link::new(
            recovered.client_id,
            Some(recovered.id),
            true,
            session,
            expiry,
            Arc::clone(&self.counters.dropped),
            Arc::clone(&self.memory),
        );
        let link = Arc::new(link);
        let mut state = link.lock();
        let left = recovered.expires_at;
        let expires_at = left.unwrap_or_else(|| self.now().after(expiry));
        state.expires_at = Some(expires_at);
        for stored in &recovered.subscriptions {
            let filter = stored.filter.clone();
            state.subscriptions.insert(filter);
        }
        drop(state);
        if left.is_none() {
            // Or each crash would begin the interval anew.
            self.put_session(&link, expiry, Some(expires_at));
        }
        for stored in recovered.subscriptions {
            let entry = Subscription {
                link: Arc::clone(&link),
                options: stored.options,
                identifier: stored.identifier.and_then(NonZero::new),
            };
            self.router.subscribe(&stored.filter, entry);
        }
        self.registry
            .lock()
            .insert(Arc::clone(&link.client_id), link);
    }

    /// What is due at this moment: dead connections, expired sessions, delayed wills, actors of
    /// connections that have nothing to do. Called about once a second, and in between at the time
    /// that it returns: when the next connection is dead, unless a packet comes.
    pub(crate) fn sweep(&self) -> Option<Timestamp> {
        let now = self.now();
        self.go_on_departing();
        let (mut due, mut wakers, mut next) = (Vec::new(), Vec::new(), None);
        let links = self.registry.lock();
        let is_contended = self.memory.is_contended();
        for link in links.values() {
            let mut state = link.lock();
            // What was acknowledged or removed meanwhile.
            state.settle();
            let dead_at = Self::dead_at(link, &state);
            next = next.into_iter().chain(dead_at.filter(|at| *at > now)).min();
            if state.owner.is_none() {
                let will = state.delayed_will.as_ref().map(|it| it.0);
                let first = will.into_iter().chain(state.expires_at).min();
                let first = first.filter(|at| *at <= now);
                due.extend(first.map(|at| (at, Arc::clone(link))));
            } else if let Some(reason) = Self::overdue(link, &state, now) {
                wakers.extend(state.order(reason));
            } else if is_contended && self.is_slow(link, now) {
                wakers.extend(state.order(ReasonCode::QuotaExceeded));
            } else if link.activity.ask(now, self.bounds.passive_after) {
                wakers.extend(state.waker());
            }
        }
        drop(links);
        wakers.into_iter().for_each(Waker::wake);
        // In their order, also when the sweep comes late.
        due.sort_by_key(|(at, _)| *at);
        for (_, link) in due {
            self.settle(&link, now);
        }
        next
    }

    /// When a connection has been silent for too long if nothing comes.
    fn dead_at(link: &Link, state: &LinkState) -> Option<Timestamp> {
        state.owner?;
        let millis = state.keep_alive_millis?.saturating_add(1);
        Some(link.last_packet().after(Duration::from_millis(millis)))
    }

    /// Why a connection has to end at this moment, if it has to.
    fn overdue(link: &Link, state: &LinkState, now: Timestamp) -> Option<ReasonCode> {
        let unanswered = state.unanswered_since.map(|at| now.since(at));
        if Self::dead_at(link, state).is_some_and(|at| at <= now) {
            Some(ReasonCode::KeepAliveTimeout)
        } else if unanswered.is_some_and(|it| it >= UNANSWERED_MAX) {
            Some(ReasonCode::QuotaExceeded)
        } else {
            None
        }
    }

    /// True if a large packet takes so long to come that others get its room.
    fn is_slow(&self, link: &Link, now: Timestamp) -> bool {
        let begun = link.begun_at();
        begun.is_some_and(|at| now.since(at) >= self.bounds.packet_time_max)
    }

    /// Publishes the delayed will of a client that is away, and ends its session, if that is due
    /// [MQTT-4.1.0-2].
    fn settle(&self, link: &Arc<Link>, now: Timestamp) {
        let mut state = link.lock();
        let will = state.delayed_will.take_if(|it| it.0 <= now);
        let expired = state.expires_at.is_some_and(|at| at <= now);
        drop(state);
        if let Some(delayed) = will {
            self.publish_will(Some(link), &delayed.1);
        }
        if expired {
            self.expire(link, now);
        }
    }

    /// Ends a session, unless a connection came in the meantime, which may have ended it too.
    fn expire(&self, link: &Arc<Link>, now: Timestamp) {
        let mut links = self.registry.lock();
        let known = links.get(&link.client_id);
        let is_present = known.is_some_and(|it| Arc::ptr_eq(it, link));
        if is_present && link.lock().expires_at.is_some_and(|at| at <= now) {
            links.remove(&link.client_id);
            drop(links);
            count(&self.counters.sessions_expired);
            self.end_session(link);
        }
    }

    /// Orders every connection to end because the daemon stops; no client is admitted any more.
    pub(crate) fn close(&self) {
        let links = self.registry.lock();
        self.registry.is_closed.store(true, Ordering::Relaxed);
        let all: Vec<_> = links.values().cloned().collect();
        drop(links);
        for link in all {
            link.order(ReasonCode::ServerShuttingDown);
        }
    }
}

#[cfg(test)]
mod tests;
