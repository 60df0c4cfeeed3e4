//! The exchange without sockets: sessions are attached by hand and their queues looked into.

use std::sync::Arc;
use std::time::Duration;

use mqtt::connection::{Limits, WillMessage};
use mqtt::packet::{RetainHandling, SubscriptionOptions};
use mqtt::session::{Outgoing, QueueLimits, WhenFull};
use mqtt::{Message, QoS, ReasonCode, TopicFilter, TopicName};
use persistence::Store;

use super::{Exchange, ExchangeLimits, QueueRules, Refusal};
use crate::extensions::Extensions;
use crate::link::Link;
use crate::registry::{Attached, Claim, Ending};
use crate::retained::RetainedLimits;
use crate::share::ShareStrategy;

const QUEUE: QueueLimits = QueueLimits {
    messages_max: 100,
    bytes_max: 1 << 20,
    live_bytes_max: 1 << 20,
    stored_messages_max: 1_000,
    stored_bytes_max: u64::MAX,
    when_full: WhenFull::RejectNew,
    holds_encoded: true,
};

pub(crate) fn exchange(store: Store) -> Exchange {
    let bounds = ExchangeLimits {
        durability: crate::exchange::DurabilityRules::default(),
        queue: QUEUE.into(),
        queue_rules: QueueRules::default(),
        sessions_max: 100,
        share_strategy: ShareStrategy::RoundRobin,
        retained: RetainedLimits {
            messages_max: 2,
            payload_bytes_max: 16,
            bytes_max: 1_000,
        },
        passive_after: Duration::ZERO,
        memory_limit: 64 << 20,
        packet_time_max: Duration::ZERO,
    };
    Exchange::new(store, Limits::default(), bounds, Extensions::default())
}

pub(crate) fn attach(
    exchange: &Exchange,
    client_id: &str,
    clean_start: bool,
    expiry: u64,
) -> Attached {
    attach_with(exchange, client_id, clean_start, expiry, None)
}

pub(crate) fn attach_with(
    exchange: &Exchange,
    client_id: &str,
    clean_start: bool,
    expiry: u64,
    will: Option<&WillMessage>,
) -> Attached {
    exchange.attach(Claim {
        clean_start,
        expiry: Duration::from_secs(expiry),
        will,
        ..claim(client_id)
    })
}

/// What a client asks for that resumes a session of a minute.
pub(crate) fn claim(client_id: &str) -> Claim<'_> {
    Claim {
        client_id,
        clean_start: false,
        expiry: Duration::from_secs(60),
        inflight_messages_max: 1_000,
        keep_alive_millis: None,
        will: None,
    }
}

/// A will on the topic `will`.
pub(crate) fn will(payload: &'static str, delay: u64) -> WillMessage {
    WillMessage {
        message: message("will", payload, QoS::AtLeastOnce, false),
        expiry: None,
        delay: Duration::from_secs(delay),
    }
}

/// The connection is lost.
pub(crate) fn lose(exchange: &Exchange, attached: Attached) {
    let ending = Ending {
        will: attached.will,
        session_expiry: None,
    };
    exchange.detach(&attached.link, attached.owner, ending);
}

pub(crate) fn subscribe(
    exchange: &Exchange,
    link: &Arc<Link>,
    filter: &str,
    options: SubscriptionOptions,
) {
    let filter = TopicFilter::new(filter).unwrap();
    let made = exchange.subscribe(link, filter, options, None);
    assert!(made.is_some(), "nobody has it exclusively");
}

pub(crate) fn qos(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions {
        qos,
        ..SubscriptionOptions::default()
    }
}

pub(crate) fn message(topic: &str, payload: &'static str, qos: QoS, retain: bool) -> Message {
    let mut message = Message::new(TopicName::new(topic).unwrap(), payload);
    message.qos = qos;
    message.retain = retain;
    message
}

/// Publishes; returns how many sessions the message goes to.
pub(crate) fn publish(exchange: &Exchange, message: Message, publisher: &Link) -> usize {
    let published = exchange.publish(message, Some(publisher), Refusal::Silence);
    published.expect("nothing is refused").subscribers
}

/// Everything that waits for a session: payload, QoS, retain flag, subscription identifiers.
pub(crate) fn received(
    exchange: &Exchange,
    link: &Arc<Link>,
) -> Vec<(String, QoS, bool, Vec<u32>)> {
    exchange.refill(link);
    let now = exchange.now();
    let mut state = link.lock();
    let outgoing = std::iter::from_fn(|| state.session.next(now, &mut Vec::new()));
    let deliveries = outgoing.filter_map(|outgoing| match outgoing {
        Outgoing::Publish { delivery, .. } => Some(delivery),
        Outgoing::Release(_) => None,
    });
    let received = deliveries.map(|it| {
        let payload = String::from_utf8_lossy(&it.message.payload).into_owned();
        (payload, it.qos, it.retain, it.subscription_ids)
    });
    received.collect()
}

// Conforms: 5.0 [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]; 3.1.1 [MQTT-3.3.5-1]
#[test]
fn overlapping_subscriptions_deliver_once_with_the_highest_qos() {
    let exchange = exchange(Store::disabled());
    let subscriber = attach(&exchange, "s", true, 0).link;
    let publisher = attach(&exchange, "p", true, 0).link;
    for (filter, level, id) in [
        ("a/b", QoS::AtMostOnce, 1),
        ("a/+", QoS::ExactlyOnce, 2),
        ("#", QoS::AtLeastOnce, 3),
        ("c", QoS::AtLeastOnce, 4),
    ] {
        let filter = TopicFilter::new(filter).unwrap();
        exchange.subscribe(&subscriber, filter, qos(level), Some(id));
    }
    let published = publish(
        &exchange,
        message("a/b", "x", QoS::ExactlyOnce, false),
        &publisher,
    );
    assert_eq!(published, 1);
    let mut found = received(&exchange, &subscriber);
    found[0].3.sort_unstable();
    assert_eq!(
        found,
        [("x".to_owned(), QoS::ExactlyOnce, false, vec![1, 2, 3])]
    );
}

// Conforms: 5.0 [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_a_publishers_own_messages_away() {
    let exchange = exchange(Store::disabled());
    let client = attach(&exchange, "c", true, 0).link;
    let no_local = SubscriptionOptions {
        no_local: true,
        ..qos(QoS::AtLeastOnce)
    };
    subscribe(&exchange, &client, "a/#", no_local);
    let published = publish(
        &exchange,
        message("a/1", "own", QoS::AtLeastOnce, false),
        &client,
    );
    assert_eq!(published, 0);
    subscribe(&exchange, &client, "a/1", qos(QoS::AtMostOnce));
    publish(
        &exchange,
        message("a/1", "own", QoS::AtLeastOnce, false),
        &client,
    );
    let found = received(&exchange, &client);
    assert_eq!(found, [("own".to_owned(), QoS::AtMostOnce, false, vec![])]);
}

// Conforms: 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-9] [MQTT-3.3.1-11]
// Conforms: 5.0 [MQTT-3.3.1-12]; 3.1.1 [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8] [MQTT-3.3.1-9]
// Conforms: 3.1.1 [MQTT-3.3.1-10] [MQTT-3.3.1-11]
#[test]
fn retained_messages_follow_retain_handling_and_their_limits() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    for (topic, payload) in [("r/1", "one"), ("r/2", "two"), ("r/3", "one too many")] {
        publish(
            &exchange,
            message(topic, payload, QoS::AtLeastOnce, true),
            &publisher,
        );
    }
    publish(
        &exchange,
        message("r/4", "longer than sixteen", QoS::AtMostOnce, true),
        &publisher,
    );
    let payloads = |link| {
        let found = received(&exchange, link).into_iter();
        found
            .map(|(payload, _, retain, _)| (payload, retain))
            .collect::<Vec<_>>()
    };
    let both = [("one".to_owned(), true), ("two".to_owned(), true)];
    let client = attach(&exchange, "c", true, 0).link;
    let handling = |retain_handling| SubscriptionOptions {
        retain_handling,
        ..qos(QoS::AtLeastOnce)
    };
    subscribe(
        &exchange,
        &client,
        "r/#",
        handling(RetainHandling::DoNotSend),
    );
    assert_eq!(payloads(&client), []);
    subscribe(
        &exchange,
        &client,
        "r/#",
        handling(RetainHandling::SendIfNew),
    );
    assert_eq!(payloads(&client), []);
    subscribe(&exchange, &client, "r/#", handling(RetainHandling::Send));
    assert_eq!(payloads(&client), both);
    // A new message comes without the flag, unless it is asked for.
    publish(
        &exchange,
        message("r/2", "new", QoS::AtMostOnce, true),
        &publisher,
    );
    assert_eq!(payloads(&client), [("new".to_owned(), false)]);
    publish(
        &exchange,
        message("r/1", "", QoS::AtMostOnce, true),
        &publisher,
    );
    assert_eq!(payloads(&client), [(String::new(), false)]);
    subscribe(&exchange, &client, "r/+", handling(RetainHandling::Send));
    assert_eq!(payloads(&client), [("new".to_owned(), true)]);
}

#[test]
fn many_retained_messages_are_replayed_batch_by_batch() {
    let mut exchange = exchange(Store::disabled());
    exchange.bounds.retained = RetainedLimits::NONE;
    let publisher = attach(&exchange, "p", true, 0).link;
    for number in 0..500 {
        publish(
            &exchange,
            message(&format!("r/{number}"), "x", QoS::AtMostOnce, true),
            &publisher,
        );
    }
    let client = attach(&exchange, "c", true, 0).link;
    subscribe(&exchange, &client, "r/#", qos(QoS::AtMostOnce));
    let mut batches = Vec::new();
    loop {
        let batch = received(&exchange, &client).len();
        if batch == 0 {
            break;
        }
        batches.push(batch);
    }
    assert_eq!(batches.iter().sum::<usize>(), 500);
    assert!(batches.len() > 5, "never all at once: {batches:?}");
}

#[test]
fn retained_messages_wait_for_room_in_the_session() {
    for level in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut exchange = exchange(Store::disabled());
        exchange.bounds.retained = RetainedLimits::NONE;
        Arc::make_mut(&mut exchange.bounds.queue).messages_max = 10;
        Arc::make_mut(&mut exchange.bounds.queue).live_bytes_max = 3_000;
        let publisher = attach(&exchange, "p", true, 0).link;
        for number in 0..200 {
            let topic = format!("r/{number}");
            publish(
                &exchange,
                message(&topic, "x", QoS::AtLeastOnce, true),
                &publisher,
            );
        }
        let client = attach(&exchange, "c", true, 0).link;
        subscribe(&exchange, &client, "r/#", qos(level));
        let batches = std::iter::from_fn(|| {
            let batch = received(&exchange, &client).len();
            (batch > 0).then_some(batch)
        });
        assert_eq!(batches.sum::<usize>(), 200, "{level:?}");
        let dropped = &exchange.counters.dropped;
        assert_eq!(dropped.sum(), 0);
    }
}

// Conforms: 5.0 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.4-4]
// Conforms: 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.4-3]
#[test]
fn a_session_is_resumed_taken_over_or_begun_anew() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let first = attach(&exchange, "c", false, 60);
    assert!(!first.session_present);
    subscribe(&exchange, &first.link, "t", qos(QoS::AtLeastOnce));
    let second = attach(&exchange, "c", false, 60);
    assert!(second.session_present && Arc::ptr_eq(&first.link, &second.link));
    let order = first.link.lock().order_for(first.owner);
    assert_eq!(order, Some(ReasonCode::SessionTakenOver));
    assert_eq!(second.link.lock().order_for(second.owner), None);
    let nothing = || Ending {
        will: None,
        session_expiry: None,
    };
    // The connection that lost the session cannot end it.
    exchange.detach(&first.link, first.owner, nothing());
    publish(
        &exchange,
        message("t", "online", QoS::AtLeastOnce, false),
        &publisher,
    );
    exchange.detach(&second.link, second.owner, nothing());
    publish(
        &exchange,
        message("t", "offline", QoS::AtLeastOnce, false),
        &publisher,
    );
    publish(
        &exchange,
        message("t", "lost", QoS::AtMostOnce, false),
        &publisher,
    );
    let third = attach(&exchange, "c", false, 60);
    let payloads: Vec<_> = received(&exchange, &third.link)
        .into_iter()
        .map(|(payload, ..)| payload)
        .collect();
    assert_eq!(payloads, ["online", "offline"]);
    let fourth = attach(&exchange, "c", true, 60);
    assert!(!fourth.session_present && !Arc::ptr_eq(&third.link, &fourth.link));
    let published = publish(
        &exchange,
        message("t", "x", QoS::AtLeastOnce, false),
        &publisher,
    );
    assert_eq!(published, 0, "a clean start ends the subscriptions");
}

// Conforms: 5.0 [MQTT-4.1.0-2]; 3.1.1 [MQTT-3.1.2-6]
#[test]
fn a_session_without_expiry_ends_with_its_connection() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let client = attach(&exchange, "c", true, 0);
    subscribe(&exchange, &client.link, "t", qos(QoS::AtLeastOnce));
    exchange.detach(
        &client.link,
        client.owner,
        Ending {
            will: None,
            session_expiry: None,
        },
    );
    let published = publish(
        &exchange,
        message("t", "x", QoS::AtLeastOnce, false),
        &publisher,
    );
    assert_eq!(published, 0);
    assert!(!attach(&exchange, "c", false, 0).session_present);
    assert_eq!(exchange.registry.online(), 2);
}

#[test]
fn a_full_session_spills_to_the_store_and_gets_it_back_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), persistence::Options::default()).unwrap();
    for expiry in [0, 60] {
        let mut exchange = exchange(store.clone());
        Arc::make_mut(&mut exchange.bounds.queue).messages_max = 10;
        let publisher = attach(&exchange, "p", true, 0).link;
        let client = attach(&exchange, &format!("c{expiry}"), true, expiry).link;
        subscribe(&exchange, &client, "t/#", qos(QoS::AtLeastOnce));
        for number in 0..500 {
            let topic = format!("t/{number}");
            publish(
                &exchange,
                message(&topic, "x", QoS::AtLeastOnce, false),
                &publisher,
            );
        }
        let mut topics = Vec::new();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while topics.len() < 500 {
            assert!(
                std::time::Instant::now() < deadline,
                "only {} came back",
                topics.len()
            );
            exchange.refill(&client);
            let mut state = client.lock();
            while let Some(outgoing) = state.session.next(exchange.now(), &mut Vec::new()) {
                let Outgoing::Publish {
                    delivery,
                    packet_id,
                    ..
                } = outgoing
                else {
                    continue;
                };
                topics.push(delivery.message.topic.to_string());
                state.session.inflight_mut().abandon(packet_id);
            }
            drop(state);
            std::thread::yield_now();
        }
        let expected: Vec<_> = (0..500).map(|number| format!("t/{number}")).collect();
        assert_eq!(topics, expected);
        assert_eq!(exchange.counters.dropped.sum(), 0);
    }
    store.close().unwrap();
}

#[test]
fn a_delayed_will_is_due_at_a_takeover_only_if_the_session_ends() {
    let exchange = exchange(Store::disabled());
    let watcher = attach(&exchange, "watcher", true, 0).link;
    subscribe(&exchange, &watcher, "will", qos(QoS::AtLeastOnce));
    let will = will("gone", 60);
    for (clean_start, expiry, wills) in [(false, 60, 0), (false, 0, 0), (true, 60, 1)] {
        let old = attach_with(&exchange, "d", true, 60, Some(&will));
        attach(&exchange, "d", clean_start, expiry);
        lose(&exchange, old);
        let found = received(&exchange, &watcher);
        assert_eq!(found.len(), wills, "{clean_start} {expiry}");
    }
}
