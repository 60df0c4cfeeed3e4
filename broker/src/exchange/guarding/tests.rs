use std::time::Duration;

use mqtt::QoS;
use mqtt::packet::{ForwardedProperties, Property};
use persistence::{Options, Store};

use super::super::tests::{attach, exchange, message, qos, received, subscribe};
use super::*;

fn guarded(store: Store, guarding: Guarding) -> Exchange {
    let mut exchange = exchange(store);
    let id = BrokerId::new("here").unwrap();
    exchange.loop_guard = loop_guard(Some(id), guarding);
    exchange
}

/// A message as another broker sends it.
fn named(number: u64, payload: &'static str) -> Message {
    let name = format!("other:1:{number}");
    let properties = [
        Property::UserProperty("x-origin", "other"),
        Property::UserProperty("x-origin-seq", &name),
    ];
    Message {
        properties: ForwardedProperties::from_properties(properties),
        ..message("a", payload, QoS::AtLeastOnce, false)
    }
}

#[test]
fn what_two_bridges_bring_is_taken_once_and_what_clients_send_each_time() {
    let exchange = guarded(Store::disabled(), Guarding::Always);
    let links = ["one", "two", "client", "s"].map(|it| attach(&exchange, it, true, 0).link);
    let [one, two, client, subscriber] = &links;
    for bridge in [one, two] {
        bridge.is_bridge.store(true, Ordering::Relaxed);
    }
    subscribe(&exchange, subscriber, "#", qos(QoS::AtLeastOnce));
    for (publisher, number, expected) in [
        (one, 1, 1),
        (two, 1, 0),
        (one, 1, 0),
        (two, 2, 1),
        (client, 1, 1),
        (client, 1, 1),
    ] {
        let published = exchange.publish(named(number, "x"), Some(publisher), Refusal::Silence);
        assert_eq!(published.unwrap().subscribers, 1);
        assert_eq!(received(&exchange, subscriber).len(), expected);
    }
    assert_eq!(exchange.counters.repeated.load(Ordering::Relaxed), 2);
}

#[test]
fn without_a_guard_the_properties_mean_nothing_and_stay_as_they_are() {
    let exchange = guarded(Store::disabled(), Guarding::Never);
    exchange.loop_guard.ask();
    let [bridge, subscriber] = ["b", "s"].map(|it| attach(&exchange, it, true, 0).link);
    bridge.is_bridge.store(true, Ordering::Relaxed);
    subscribe(&exchange, &subscriber, "#", qos(QoS::AtLeastOnce));
    for _ in 0..2 {
        let published = exchange.publish(named(1, "x"), Some(&bridge), Refusal::Silence);
        assert!(published.is_ok());
    }
    assert_eq!(received(&exchange, &subscriber).len(), 2);
}

#[test]
fn what_was_refused_is_taken_when_it_comes_again() {
    let exchange = guarded(Store::disabled(), Guarding::Always);
    let [bridge, subscriber] = ["b", "s"].map(|it| attach(&exchange, it, true, 0).link);
    bridge.is_bridge.store(true, Ordering::Relaxed);
    subscribe(&exchange, &subscriber, "#", qos(QoS::AtLeastOnce));
    let publish = |number| {
        let published = exchange.publish(named(number, "x"), Some(&bridge), Refusal::Silence);
        published.map(|it| it.subscribers)
    };
    let refused = (1..=200).find(|&number| publish(number).is_err());
    let refused = refused.expect("the queue has 100 places");
    let before = received(&exchange, &subscriber).len();
    for packet_id in 1..=before {
        let packet_id = u16::try_from(packet_id).unwrap();
        subscriber.lock().session.inflight_mut().abandon(packet_id);
    }
    assert_eq!(publish(refused), Ok(1));
    assert_eq!(received(&exchange, &subscriber).len(), 1);
}

#[test]
fn a_repetition_is_answered_once_the_first_is_safe() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        commit_interval: Duration::from_millis(1),
        ..Options::default()
    };
    let (store, _) = Store::open(folder.path(), options).unwrap();
    let exchange = guarded(store.clone(), Guarding::WhenAsked);
    exchange.loop_guard.ask();
    let bridge = attach(&exchange, "b", true, 0).link;
    bridge.is_bridge.store(true, Ordering::Relaxed);
    let subscriber = attach(&exchange, "s", false, 60).link;
    subscribe(&exchange, &subscriber, "#", qos(QoS::AtLeastOnce));
    let publish = || {
        let published = exchange.publish(named(1, "x"), Some(&bridge), Refusal::Silence);
        published.unwrap().outcome.position
    };
    let first = publish();
    assert!(publish() >= first);
    store.close().unwrap();
}
