//! What ends by itself, in a store that is opened again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt::session::{Acknowledged, Outgoing};
use mqtt::{Message, QoS, TopicName};
use persistence::{Options, Recovered, RecoveredSession, Store};

use super::Exchange;
use super::tests::{attach, exchange, message, publish, qos, subscribe};
use crate::link::Link;
use crate::metrics::DropCause;
use crate::registry::Ending;

const HOUR: u64 = 3_600;
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for messages to be published before they expire.
const SOON: Duration = Duration::from_millis(20);

fn open(directory: &Path) -> (Store, Recovered) {
    Store::open(directory, Options::default()).unwrap()
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A client that is away and subscribed to `t`, and another one that publishes.
fn away_and_publisher(exchange: &Exchange) -> (Arc<Link>, Arc<Link>) {
    let away = attach(exchange, "away", false, HOUR);
    subscribe(exchange, &away.link, "t", qos(QoS::ExactlyOnce));
    let ending = Ending {
        will: None,
        session_expiry: None,
    };
    assert!(exchange.detach(&away.link, away.owner, ending));
    (away.link, attach(exchange, "p", true, 0).link)
}

fn expired(exchange: &Exchange) -> u64 {
    exchange.counters.dropped.of(DropCause::Expired)
}

/// The timekeeper sweeps until so many deliveries have expired.
#[track_caller]
fn wait_expired(exchange: &Arc<Exchange>, count: u64) {
    until("they expire", || {
        exchange.expire_queued();
        expired(exchange) >= count
    });
    assert_eq!(expired(exchange), count);
}

fn backlog(link: &Link) -> u64 {
    link.lock().session.backlog()
}

/// What the session sends next: its payload and Packet Identifier.
fn next(exchange: &Exchange, link: &Arc<Link>) -> Option<(Message, u16)> {
    exchange.refill(link);
    let now = exchange.now();
    match link.lock().session.next(now, &mut Vec::new())? {
        Outgoing::Publish {
            delivery,
            packet_id,
            ..
        } => Some(((*delivery.message).clone(), packet_id)),
        Outgoing::Release(_) => None,
    }
}

fn only(recovered: Recovered) -> RecoveredSession {
    let mut sessions = recovered.sessions.into_iter();
    let session = sessions.next().unwrap();
    assert!(sessions.next().is_none());
    session
}

#[test]
fn the_end_of_a_session_is_not_put_off_by_each_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    attach(&exchange(store.clone()), "c", false, HOUR);
    // As a crash leaves it, with its client connected.
    store.close().unwrap();
    drop(store);

    let (store, recovered) = open(directory.path());
    let session = only(recovered);
    assert_eq!(session.expires_at, None);
    let before = store.clock().now();
    exchange(store.clone()).recover_session(session);
    let after = store.clock().now();
    store.close().unwrap();
    drop(store);

    let (store, recovered) = open(directory.path());
    let expires_at = only(recovered).expires_at.unwrap();
    let hour = Duration::from_secs(HOUR);
    let expected = before.after(hour)..=after.after(hour);
    assert!(expected.contains(&expires_at), "{expires_at:?}");
    store.close().unwrap();
}

#[test]
fn a_queue_that_nobody_reads_loses_what_expires() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let exchange = Arc::new(exchange(store.clone()));
    let (away, publisher) = away_and_publisher(&exchange);
    let kept = [(1, "first"), (75, "in memory"), (150, "in the store")];
    for number in 1..=150 {
        let found = kept.iter().find(|(at, _)| *at == number);
        let payload = found.map_or("x", |(_, payload)| payload);
        let mut message = message("t", payload, QoS::AtLeastOnce, false);
        if found.is_none() {
            message.expires_at = Some(exchange.now().after(SOON));
        }
        publish(&exchange, message, &publisher);
    }
    wait_expired(&exchange, 147);
    assert_eq!(backlog(&away), 3);
    let away = attach(&exchange, "away", false, HOUR).link;
    let mut received = Vec::new();
    until("the rest comes", || {
        received.extend(next(&exchange, &away).map(|(message, _)| message.payload));
        received.len() == 3
    });
    assert_eq!(received, kept.map(|(_, payload)| payload));
    assert!(next(&exchange, &away).is_none());
    assert_eq!((backlog(&away), expired(&exchange)), (3, 147));
    store.close().unwrap();
    drop(store);
    let (store, recovered) = open(directory.path());
    assert_eq!(only(recovered).waiting(), 3);
    store.close().unwrap();
}

#[test]
fn what_was_sent_does_not_expire() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let exchange = Arc::new(exchange(store.clone()));
    let client = attach(&exchange, "c", false, HOUR).link;
    subscribe(&exchange, &client, "t", qos(QoS::ExactlyOnce));
    let publisher = attach(&exchange, "p", true, 0).link;
    // All end together, after the first of them are sent.
    let end = exchange.now().after(100 * SOON);
    let publish = |level| {
        let mut message = message("t", "x", level, false);
        message.expires_at = Some(end);
        publish(&exchange, message, &publisher);
    };
    publish(QoS::AtLeastOnce);
    publish(QoS::ExactlyOnce);
    let sent = [(); 2].map(|()| next(&exchange, &client).unwrap().1);
    publish(QoS::AtLeastOnce);
    publish(QoS::ExactlyOnce);
    wait_expired(&exchange, 2);
    assert!(exchange.now() >= end);
    assert_eq!(backlog(&client), 2);
    for (sequence, packet_id) in (1..).zip(sent) {
        let done = client.lock().session.inflight_mut().abandon(packet_id);
        assert_eq!(done, Acknowledged::Done(sequence));
    }
    store.close().unwrap();
    drop(store);
    // The acknowledgements were not handed to it.
    let (store, recovered) = open(directory.path());
    assert_eq!(only(recovered).waiting(), 2);
    store.close().unwrap();
}

#[test]
fn a_message_waits_for_its_maximum_age_and_does_not_tell() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let mut exchange = exchange(store.clone());
    exchange.bounds.queue_rules.waiting_max = Some(SOON);
    let exchange = Arc::new(exchange);
    let (away, publisher) = away_and_publisher(&exchange);
    let mut long = message("t", "long", QoS::AtLeastOnce, false);
    long.expires_at = Some(exchange.now().after(Duration::from_secs(HOUR)));
    publish(&exchange, long.clone(), &publisher);
    let endless = message("t", "endless", QoS::ExactlyOnce, false);
    publish(&exchange, endless, &publisher);
    wait_expired(&exchange, 2);
    assert_eq!(backlog(&away), 0);

    let client = attach(&exchange, "away", false, HOUR).link;
    // It is taken out at once, or expires: with a busy machine it may be published again.
    let mut found = None;
    until("it comes in time", || {
        publish(&exchange, long.clone(), &publisher);
        found = next(&exchange, &client);
        found.is_some()
    });
    assert_eq!(found.unwrap().0.expires_at, long.expires_at);
    store.close().unwrap();
}

#[test]
fn what_has_expired_before_it_is_delivered_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let exchange = Arc::new(exchange(store.clone()));
    let (away, publisher) = away_and_publisher(&exchange);
    let mut late = message("t", "late", QoS::AtLeastOnce, false);
    late.expires_at = Some(exchange.now());
    assert_eq!(publish(&exchange, late, &publisher), 1);
    assert_eq!((backlog(&away), expired(&exchange)), (0, 1));
    store.close().unwrap();
}

#[test]
fn a_retained_message_that_expires_leaves_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let exchange = exchange(store.clone());
    let publisher = attach(&exchange, "p", true, 0).link;
    let mut short = message("r/short", "x", QoS::AtLeastOnce, true);
    short.expires_at = Some(exchange.now().after(SOON));
    publish(&exchange, short, &publisher);
    let long = message("r/long", "x", QoS::AtLeastOnce, true);
    publish(&exchange, long, &publisher);
    assert_eq!(exchange.retained.count(), 2);
    until("it expires", || {
        exchange.expire_retained();
        exchange.retained.count() == 1
    });
    store.close().unwrap();
    drop(store);
    let (store, recovered) = open(directory.path());
    let topics: Vec<_> = recovered.retained.iter().map(|it| &it.topic).collect();
    assert_eq!(topics, [&TopicName::new("r/long").unwrap()]);
    store.close().unwrap();
}
