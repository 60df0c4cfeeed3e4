use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use mqtt::QoS;
use mqtt::packet::SubscriptionOptions;
use persistence::Store;

use super::*;
use crate::exchange::tests::{attach, exchange, lose, subscribe};

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn qos(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: QoS::from_u8(qos).unwrap(),
        ..SubscriptionOptions::default()
    }
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

/// What is told now: whether it is everything, and the QoS of each filter.
fn told(exchange: &Exchange, feed: &Feed) -> Option<(bool, BTreeMap<String, Option<u8>>)> {
    let context = Context::from_waker(Waker::noop());
    match feed.poll(exchange, &context) {
        Poll::Pending => None,
        Poll::Ready(wanted) => {
            let filters = wanted.filters.into_iter();
            let filters = filters.map(|(filter, qos)| (filter.to_string(), qos.map(|it| it as u8)));
            Some((wanted.is_all, filters.collect()))
        }
    }
}

fn filters<const N: usize>(filters: [(&str, Option<u8>); N]) -> BTreeMap<String, Option<u8>> {
    filters.map(|(filter, qos)| (filter.to_owned(), qos)).into()
}

#[test]
fn what_clients_want_is_told_with_the_highest_qos_of_all() {
    let exchange = exchange(Store::disabled());
    let [one, two, three] = ["one", "two", "three"].map(|it| attach(&exchange, it, true, 60));
    let gateway = attach(&exchange, "$gateway/zmq/plant", true, 60).link;
    let bridge = attach(&exchange, "bridge", true, 60).link;
    bridge.is_bridge.store(true, Ordering::Relaxed);
    subscribe(&exchange, &one.link, "a/+", qos(0));
    subscribe(&exchange, &two.link, "$share/g/a/+", qos(1));
    subscribe(&exchange, &three.link, "$exclusive/b", qos(2));
    subscribe(&exchange, &one.link, "b", qos(0));
    subscribe(&exchange, &one.link, "$SYS/#", qos(0));
    for other in [&gateway, &bridge] {
        subscribe(&exchange, other, "a/+", qos(2));
        subscribe(&exchange, other, "c", qos(2));
    }
    // Who is away is there all the same.
    subscribe(&exchange, &two.link, "away", qos(1));
    lose(&exchange, two);
    let feed = exchange.demand.watch();
    let all = filters([("a/+", Some(1)), ("b", Some(2)), ("away", Some(1))]);
    assert_eq!(told(&exchange, &feed), Some((true, all)));
    assert_eq!(told(&exchange, &feed), None);

    subscribe(&exchange, &gateway, "d", qos(2));
    exchange.unsubscribe(&three.link, &filter("$exclusive/b"));
    exchange.unsubscribe(&one.link, &filter("$SYS/#"));
    let changes = filters([("b", Some(0)), ("d", None)]);
    assert_eq!(told(&exchange, &feed), Some((false, changes)));
    // Sessions that end take their subscriptions with them.
    attach(&exchange, "two", true, 0);
    let changes = filters([("a/+", Some(0)), ("away", None)]);
    assert_eq!(told(&exchange, &feed), Some((false, changes)));
}

#[test]
fn a_change_wakes_who_waits_for_it_and_too_many_are_told_as_all() {
    let exchange = exchange(Store::disabled());
    let client = attach(&exchange, "client", true, 0).link;
    let feed = exchange.demand.watch();
    assert_eq!(told(&exchange, &feed), Some((true, BTreeMap::new())));
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(
        feed.poll(&exchange, &Context::from_waker(&waker))
            .is_pending()
    );
    subscribe(&exchange, &client, "kept", qos(0));
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    for number in 0..=CHANGES_MAX {
        let text = number.to_string();
        subscribe(&exchange, &client, &text, qos(0));
        exchange.unsubscribe(&client, &filter(&text));
    }
    assert!(feed.changes().filters.len() <= CHANGES_MAX);
    let all = filters([("kept", Some(0))]);
    assert_eq!(told(&exchange, &feed), Some((true, all)));
}

#[test]
fn nothing_is_noted_for_nobody() {
    let exchange = exchange(Store::disabled());
    let client = attach(&exchange, "client", true, 0).link;
    let is_watched = || exchange.demand.is_watched.load(Ordering::Relaxed);
    assert!(!is_watched());
    let feed = exchange.demand.watch();
    assert!(is_watched());
    drop(feed);
    subscribe(&exchange, &client, "a", qos(0));
    assert!(!is_watched());
    assert!(exchange.demand.feeds().is_empty());
}
