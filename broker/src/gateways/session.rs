//! A gateway's session with the broker: the in-process counterpart of a connection.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use gateway::{
    Broker, Delivery, DeliveryId, Farewell, Gateway, INFLIGHT_MESSAGES_MAX, NotStored, Outgoing,
    PublishError, Receipt, SubscriptionRequest, Wanted,
};
use mqtt::connection::{Limits, TopicLimit};
use mqtt::packet::{Property, RetainHandling, SubscriptionOptions};
use mqtt::session::{self, Acknowledged, Inbound};
use mqtt::{Message, ReasonCode, Timestamp, TopicFilter, TopicName};
use persistence::{Durability, Operation, Position, SessionId};

use super::stop::Stop;
use super::{GATEWAY_PREFIX, client_id};
use crate::demand::Feed;
use crate::exchange::{Exchange, Published, Refusal};
use crate::link::{Link, Owner};
use crate::metrics::count;
use crate::registry::{Attached, Claim, Ending};

/// A durable gateway's session lasts as long as it is configured: for good.
const DURABLE_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);

/// Implements the contract's [`Broker`] for one gateway. The session is given back on drop.
#[derive(Debug)]
pub(crate) struct GatewaySession {
    exchange: Arc<Exchange>,
    link: Arc<Link>,
    owner: Owner,
    /// Nothing is delivered before this is durable, see [`Attached::resumed`]; nor before it is
    /// stored what the foreign side has forgotten.
    resumed: AtomicU64,
    stop: Arc<Stop>,
    /// What clients subscribe to, once the gateway has asked.
    feed: OnceLock<Arc<Feed>>,
}

impl GatewaySession {
    /// Takes over the gateway's session, with exactly the subscriptions that it asks for.
    pub(super) fn open(
        exchange: &Arc<Exchange>,
        name: &str,
        gateway: &dyn Gateway,
        stop: Arc<Stop>,
    ) -> Self {
        let (mut session, session_present) = Self::attach(exchange, name, gateway.is_durable());
        session.stop = stop;
        let is_bridge = gateway.is_bridge();
        session.link.is_bridge.store(is_bridge, Ordering::Relaxed);
        session.link.is_cut.store(true, Ordering::Relaxed);
        exchange.refuse_when_full(&session.link, gateway.refuses_when_full());
        session.link.set_least_qos(gateway.least_qos());
        let share = gateway.live_share();
        session.link.lock().session.share_live(share);
        session.subscribe(&gateway.subscriptions());
        if session_present {
            let backlog = session.link.lock().session.backlog();
            tracing::info!(gateway = name, backlog, "the gateway resumes its session");
        }
        session
    }

    /// What the store has of a bridge collects from here on as the bridge is configured, before it runs
    /// or if it is paused.
    pub(crate) fn prepare(exchange: &Exchange, name: &str, config: &bridges::Config) {
        if let Some(link) = exchange.registry.link(&client_id(name)) {
            exchange.refuse_when_full(&link, config.refuse_when_full);
            link.set_least_qos(config.least_qos());
        }
    }

    /// Notes whether what is on the other side of a gateway can be reached.
    pub(super) fn note_cut(exchange: &Exchange, name: &str, is_cut: bool) {
        if let Some(link) = exchange.registry.link(&client_id(name)) {
            link.is_cut.store(is_cut, Ordering::Relaxed);
        }
    }

    /// How many messages wait for a gateway, if it has a session.
    pub(crate) fn backlog(exchange: &Exchange, name: &str) -> Option<u64> {
        let link = exchange.registry.link(&client_id(name))?;
        let backlog = link.lock().session.backlog();
        Some(backlog)
    }

    /// A gateway is no longer configured: nothing more joins its queue. What waits there is kept;
    /// a session in which nothing waits ends. Returns how many messages are kept.
    pub(crate) fn retire(exchange: &Arc<Exchange>, name: &str) -> u64 {
        if Self::backlog(exchange, name).is_none() {
            return 0;
        }
        let (session, _) = Self::attach(exchange, name, true);
        session.subscribe(&[]);
        if session.record().is_some() {
            session.set_record(String::new());
        }
        let waiting = session.link.lock().session.backlog();
        drop(session);
        if waiting == 0 {
            // Throws away the one there is, and ends with this statement.
            drop(Self::attach(exchange, name, false));
        }
        waiting
    }

    /// Takes over the gateway's session; true if there was one.
    fn attach(exchange: &Arc<Exchange>, name: &str, durable: bool) -> (Self, bool) {
        let Attached {
            link,
            owner,
            session_present,
            resumed,
            ..
        } = exchange.attach(Claim {
            client_id: &client_id(name),
            clean_start: !durable,
            expiry: if durable {
                DURABLE_EXPIRY
            } else {
                Duration::ZERO
            },
            inflight_messages_max: INFLIGHT_MESSAGES_MAX,
            keep_alive_millis: None,
            will: None,
        });
        let session = Self {
            exchange: Arc::clone(exchange),
            link,
            owner,
            resumed: AtomicU64::new(resumed.0),
            stop: Arc::default(),
            feed: OnceLock::new(),
        };
        (session, session_present)
    }

    /// Asks outboxes that refuse when they are full. The answer is kept until the message is routed.
    fn outbox_room(&self, message: &Message) -> Result<Option<MutexGuard<'_, ()>>, PublishError> {
        let room = self.exchange.outbox_room(message, &self.link);
        room.map_err(|_| {
            count(&self.exchange.counters.refused);
            PublishError::QuotaExceeded
        })
    }

    fn take_in(&self, message: Message) -> Result<Published, PublishError> {
        if message.byte_count() > self.exchange.limits.packet_bytes_max as usize {
            return Err(PublishError::TooLarge);
        }
        check_limits(&message, &self.exchange.limits)?;
        if self.exchange.is_full_for(&message) {
            count(&self.exchange.counters.refused);
            return Err(PublishError::QuotaExceeded);
        }
        let published = self
            .exchange
            .publish(message, Some(&self.link), Refusal::Silence);
        published.map_err(|reason| {
            if reason == ReasonCode::QuotaExceeded {
                PublishError::QuotaExceeded
            } else {
                PublishError::NotAuthorized
            }
        })
    }

    /// The gateway's name.
    fn name(&self) -> &str {
        let client_id = &*self.link.client_id;
        client_id.strip_prefix(GATEWAY_PREFIX).unwrap_or(client_id)
    }

    /// Where what the gateway writes down is retained; none for a name that no topic may have.
    fn record_topic(&self) -> Option<TopicName> {
        TopicName::new(&format!("$SYS/broker/gateway/{}/record", self.name())).ok()
    }

    fn remember(&self, operation: impl FnOnce(SessionId) -> Operation) -> Receipt {
        Receipt(self.link.remember(&self.exchange.store, operation).0)
    }

    fn subscribe(&self, requests: &[SubscriptionRequest]) {
        let wanted: BTreeSet<&TopicFilter> = requests.iter().map(|it| &it.filter).collect();
        let known: Vec<TopicFilter> = self.link.lock().subscriptions.iter().cloned().collect();
        for request in requests {
            let handling = if request.retained {
                RetainHandling::SendIfNew
            } else {
                RetainHandling::DoNotSend
            };
            let options = SubscriptionOptions {
                qos: request.qos,
                // What a gateway brought in must not go out through it again.
                no_local: true,
                retain_as_published: true,
                retain_handling: handling,
            };
            let filter = request.filter.clone();
            let made = self.exchange.subscribe(&self.link, filter, options, None);
            if made.is_none() {
                let (gateway, filter) = (&*self.link.client_id, &request.filter);
                tracing::error!(gateway, %filter, "another client has this filter exclusively");
            }
        }
        // Only then: what is published meanwhile, and wanted by one or the other, is not missed.
        for filter in known.iter().filter(|filter| !wanted.contains(filter)) {
            self.exchange.unsubscribe(&self.link, filter);
        }
    }
}

/// What the gateway learns of a message that was routed.
const fn told(is_unretained: bool, receipt: Receipt) -> Result<Receipt, PublishError> {
    if is_unretained {
        return Err(PublishError::NotRetained(receipt));
    }
    Ok(receipt)
}

/// Checks what a client's message is checked for too. What a gateway brings is refused one by one:
/// its foreign side does not know these limits.
fn check_limits(message: &Message, limits: &Limits) -> Result<(), PublishError> {
    let is_user = |it: &Property<'_>| matches!(it, Property::UserProperty(..));
    let user_properties = message.properties.iter().filter(is_user).count();
    let exceeded = match limits.exceeded_by(message.topic.as_str()) {
        Some(TopicLimit::Length) => "the topic is longer than `mqtt.max_topic_len`",
        Some(TopicLimit::Levels) => "the topic has more levels than `mqtt.max_topic_levels`",
        None if user_properties > limits.user_properties_max => {
            "there are more user properties than `mqtt.max_user_properties`"
        }
        None => return Ok(()),
    };
    Err(PublishError::Limit(exceeded))
}

/// What a session sends, as the gateway sees it.
fn outgoing(next: session::Outgoing) -> Outgoing {
    match next {
        session::Outgoing::Publish {
            delivery,
            packet_id,
            dup,
        } => Outgoing::Publish(Delivery {
            id: DeliveryId(packet_id),
            message: delivery.message,
            qos: delivery.qos,
            retain: delivery.retain,
            dup,
        }),
        session::Outgoing::Release(packet_id) => Outgoing::Release(DeliveryId(packet_id)),
    }
}

impl Drop for GatewaySession {
    fn drop(&mut self) {
        let ending = Ending {
            will: None,
            session_expiry: None,
        };
        self.exchange.detach(&self.link, self.owner, ending);
    }
}

impl Broker for GatewaySession {
    fn now(&self) -> Timestamp {
        self.exchange.now()
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.exchange.store.poll_room(context)
    }

    fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        let published = self.take_in(message)?;
        told(
            published.is_unretained,
            Receipt(published.outcome.position.0),
        )
    }

    fn publish_acknowledged(&self, message: Message) -> Result<Receipt, PublishError> {
        let _room = self.outbox_room(&message)?;
        self.publish(message)
    }

    fn publish_once(&self, message: Message, packet_id: u16) -> Result<Receipt, PublishError> {
        let is_repeated = self.link.lock().session.inbound.contains(packet_id);
        // Before anything is held.
        let room = (!is_repeated).then(|| self.outbox_room(&message));
        let _room = room.transpose()?;
        let _together = self.exchange.store.hold();
        let mut awaited = Position(0);
        let mut is_unretained = false;
        if !is_repeated {
            let published = self.take_in(message)?;
            self.link.lock().session.inbound.receive(packet_id);
            awaited = published.outcome.position;
            is_unretained = published.is_unretained;
            // What is in memory only is published again after a crash, and not taken for a
            // repetition.
            if published.durability == Durability::Memory {
                return told(is_unretained, Receipt(awaited.0));
            }
        }
        // What was taken in before may not be durable yet.
        let received = self.remember(|session| Operation::Receive(session, packet_id));
        told(is_unretained, received.max(Receipt(awaited.0)))
    }

    fn release(&self, packet_id: u16) -> Option<Receipt> {
        let is_known = self.link.lock().session.inbound.release(packet_id);
        let released = self.remember(|session| Operation::Release(session, packet_id));
        is_known.then_some(released)
    }

    fn connecting(&self) -> Option<Receipt> {
        let keeps = self.link.lock().session.inflight_mut().keeps_received();
        keeps.then(|| self.remember(Operation::Connecting))
    }

    fn connected(&self, is_kept: bool) {
        let mut state = self.link.lock();
        let keeps = state.session.inflight_mut().keeps_received();
        let mut forgotten = Inbound::default();
        if !is_kept {
            state.session.inflight_mut().receiver_forgot();
            forgotten = std::mem::take(&mut state.session.inbound);
        }
        drop(state);
        for packet_id in forgotten.iter() {
            self.remember(|session| Operation::Release(session, packet_id));
        }
        if keeps {
            let noted = self.remember(|session| Operation::Connected { session, is_kept });
            self.resumed.fetch_max(noted.0, Ordering::Relaxed);
        }
    }

    fn poll_stored(
        &self,
        receipt: Receipt,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), NotStored>> {
        self.exchange
            .store
            .poll_durable(Position(receipt.0), context)
            .map(Ok)
    }

    fn poll_outgoing(
        &self,
        count_max: usize,
        packets: &mut Vec<Outgoing>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.link.lock().register(context.waker());
        self.exchange.refill(&self.link);
        let store = &self.exchange.store;
        // Where nothing can be stored, a delivery is worth more than its DUP flag.
        let resumed = Position(self.resumed.load(Ordering::Relaxed));
        if store.durable() < resumed
            && !store.is_failing()
            && store.poll_durable(resumed, context).is_pending()
        {
            return Poll::Pending;
        }
        let now = self.exchange.now();
        let before = packets.len();
        let mut expired = Vec::new();
        let mut state = self.link.lock();
        let unstored = state.hold_unstored(store);
        while packets.len() - before < count_max {
            let Some(next) = state.session.next(now, &mut expired) else {
                break;
            };
            packets.push(outgoing(next));
        }
        drop(state);
        self.exchange.forget_expired(&self.link, &expired);
        if packets.len() > before {
            return Poll::Ready(());
        }
        let awaited = unstored.unwrap_or_default();
        if store.poll_durable(awaited, context).is_ready() && awaited > Position(0) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn redeliver(&self, window: u16) {
        self.link.lock().session.resume(window);
    }

    fn keep_back(&self, messages: u16, bytes: u32) {
        let mut state = self.link.lock();
        state.session.inflight_mut().keep_back(messages, bytes);
    }

    fn received(&self, delivery: DeliveryId) -> Option<Receipt> {
        let mut state = self.link.lock();
        let outcome = state.session.inflight_mut().received(delivery.0);
        let Acknowledged::Release(sequence) = outcome else {
            return None;
        };
        drop(state);
        Some(self.remember(|session| Operation::Received(session, sequence)))
    }

    fn acknowledge(&self, delivery: DeliveryId) {
        if delivery.0 == 0 {
            return;
        }
        let mut state = self.link.lock();
        let outcome = state.session.inflight_mut().abandon(delivery.0);
        // The window may have been full: whoever waits for deliveries looks again.
        let waker = state.notify();
        drop(state);
        waker.into_iter().for_each(std::task::Waker::wake);
        if let Acknowledged::Done(sequence) = outcome {
            self.link.forget(sequence, &self.exchange.store);
        }
    }

    fn poll_stop(&self, context: &mut Context<'_>) -> Poll<Farewell> {
        self.stop.poll(context)
    }

    fn poll_wanted(&self, context: &mut Context<'_>) -> Poll<Wanted> {
        let feed = self.feed.get_or_init(|| self.exchange.demand.watch());
        feed.poll(&self.exchange, context)
    }

    fn mirrored(&self) -> Vec<TopicFilter> {
        self.exchange.demand.mirrored.of(self.name())
    }

    fn note_mirrored(&self, filter: &TopicFilter, is_mirrored: bool) {
        let Exchange { demand, store, .. } = &*self.exchange;
        let mirrored = &demand.mirrored;
        mirrored.note(store, self.name(), filter, is_mirrored);
    }

    fn record(&self) -> Option<String> {
        let record = self.exchange.last(&self.record_topic()?)?;
        String::from_utf8(record.payload.to_vec()).ok()
    }

    fn set_record(&self, record: String) {
        if let Some(topic) = self.record_topic() {
            self.exchange.announce_stored(topic, record);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicBool;

    use gateway::{Client, RunFuture, Status};
    use mqtt::QoS;
    use persistence::Store;

    use super::*;
    use crate::exchange::tests::{attach, exchange, subscribe};

    /// A gateway that is only a name, and perhaps a filter.
    struct Named(&'static [&'static str]);

    impl Gateway for Named {
        fn subscriptions(&self) -> Vec<SubscriptionRequest> {
            let requests = self.0.iter().map(|it| SubscriptionRequest {
                filter: TopicFilter::new(it).unwrap(),
                qos: QoS::AtLeastOnce,
                retained: false,
            });
            requests.collect()
        }

        fn is_durable(&self) -> bool {
            true
        }

        fn run(&self, _: Client, _: Arc<Status>) -> RunFuture {
            Box::pin(pending())
        }
    }

    #[test]
    fn a_gateway_whose_filters_change_misses_nothing_meanwhile() {
        const CHANGES: usize = 2_000;
        let exchange = Arc::new(exchange(Store::disabled()));
        let open = |place: usize| {
            let filters = [&["s/#"], &["s/+"]][place % 2];
            drop(GatewaySession::open(
                &exchange,
                "bridge/up",
                &Named(filters),
                Arc::default(),
            ));
        };
        open(0);
        let is_over = AtomicBool::new(false);
        let missed = std::thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                let topic = TopicName::new("s/1").unwrap();
                let mut missed = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let message = Message::new(topic.clone(), "");
                    let published = exchange.publish(message, None, Refusal::Silence);
                    missed += usize::from(published.unwrap().subscribers == 0);
                }
                missed
            });
            (1..CHANGES).for_each(open);
            is_over.store(true, Ordering::Relaxed);
            publisher.join().unwrap()
        });
        assert_eq!(missed, 0);
    }

    #[test]
    fn what_is_not_retained_reaches_who_is_there_and_is_told() {
        let exchange = Arc::new(exchange(Store::disabled()));
        let client = attach(&exchange, "c", true, 0);
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        subscribe(&exchange, &client.link, "#", options);
        let session = GatewaySession::open(&exchange, "zmq/plant", &Named(&[]), Arc::default());
        let topic = TopicName::new("t").unwrap();
        let message = |length: usize| Message {
            retain: true,
            qos: QoS::ExactlyOnce,
            ..Message::new(topic.clone(), vec![0; length])
        };
        // 16 bytes are retained and no more.
        assert!(session.publish(message(16)).is_ok());
        assert!(exchange.last(&topic).is_some());
        let told = Err(PublishError::NotRetained(Receipt(0)));
        assert_eq!(session.publish(message(17)), told);
        assert!(exchange.last(&topic).is_none(), "it is not the last");
        assert_eq!(session.publish_once(message(17), 7), told);
        assert_eq!(
            session.publish_once(message(17), 7),
            Ok(Receipt(0)),
            "again"
        );
        assert_eq!(client.link.lock().session.backlog(), 3);
    }

    #[test]
    fn a_bridge_keeps_what_another_has_no_room_for_unless_nobody_can_keep_it() {
        const ROOM: u64 = 100;
        let exchange = Arc::new(exchange(Store::disabled()));
        let open = |name| GatewaySession::open(&exchange, name, &Named(&["t"]), Arc::default());
        let [up, down] = ["bridge/up", "bridge/down"].map(open);
        exchange.refuse_when_full(&up.link, true);
        let backlog = |session: &GatewaySession| session.link.lock().session.backlog();
        let message = || Message {
            qos: QoS::AtLeastOnce,
            ..Message::new(TopicName::new("t").unwrap(), "")
        };
        for number in 1..=ROOM {
            assert!(down.publish_acknowledged(message()).is_ok());
            assert_eq!(backlog(&up), number);
        }
        let local = open("zmq/local");
        let full = Err(PublishError::QuotaExceeded);
        assert_eq!(down.publish_acknowledged(message()), full);
        assert_eq!(down.publish_once(message(), 7), full);
        assert_eq!(backlog(&local), 0, "it goes to nobody");
        // Its own outbox does not get it; and what nobody would send again goes to those with room.
        assert!(up.publish_acknowledged(message()).is_ok());
        assert!(down.publish(message()).is_ok());
        assert_eq!([&up, &down, &local].map(backlog), [ROOM, 1, 2]);
    }
}
