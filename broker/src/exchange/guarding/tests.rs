use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridges::Announcement;
use mqtt::packet::{ForwardedProperties, Property};
use mqtt::{QoS, TopicFilter, TopicName};
use persistence::{Options, Store};

use crate::exchange::DurabilityRules;

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
    exchange.loop_guard.meet(Announcement::Guarded);
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
    exchange.loop_guard.meet(Announcement::Guarded);
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

/// What a crash at this moment would leave.
fn crash(directory: &Path) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for file in ["tidegate.epoch", "tidegate.db", "tidegate.db-wal"] {
        let from = directory.join(file);
        if from.exists() {
            fs::copy(from, left.path().join(file)).unwrap();
        }
    }
    left
}

/// A broker that goes on from what is in a directory.
fn recovered(directory: &Path) -> Exchange {
    let (store, recovered) = Store::open(directory, hasty()).unwrap();
    let exchange = guarded(store, Guarding::Always);
    exchange.recover_names(recovered.names);
    let sessions = recovered.sessions.into_iter();
    sessions.for_each(|it| exchange.recover_session(it));
    exchange
}

/// Every operation is a commit of its own if it may be.
fn hasty() -> Options {
    Options {
        commit_interval: Duration::ZERO,
        commit_operations: 1,
        ..Options::default()
    }
}

fn wait_durable(exchange: &Exchange, position: Position) {
    let start = Instant::now();
    while exchange.store.durable() < position {
        assert!(start.elapsed() < Duration::from_secs(20), "it never is");
        std::thread::yield_now();
    }
}

/// A bridge, and two sessions that wait for everything.
fn bridge_and_two(exchange: &Exchange) -> [Arc<Link>; 3] {
    let bridge = attach(exchange, "bridge", true, 0).link;
    bridge.is_bridge.store(true, Ordering::Relaxed);
    let [one, two] = ["one", "two"].map(|it| attach(exchange, it, false, 60).link);
    for link in [&one, &two] {
        subscribe(exchange, link, "#", qos(QoS::AtLeastOnce));
    }
    [bridge, one, two]
}

#[test]
fn after_a_crash_a_message_is_there_if_and_only_if_its_name_is() {
    const COUNT: u64 = 90;
    const CRASHES: usize = 10;
    let folder = tempfile::tempdir().unwrap();
    let exchange = recovered(folder.path());
    let [bridge, ..] = &bridge_and_two(&exchange);
    let take = |exchange: &Exchange, bridge: &Link, number| {
        let published = exchange.publish(named(number, "x"), Some(bridge), Refusal::Silence);
        published.unwrap().outcome.position
    };
    wait_durable(&exchange, take(&exchange, bridge, 1));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for number in 2..=COUNT {
                wait_durable(&exchange, take(&exchange, bridge, number));
            }
        });
        for _ in 0..CRASHES {
            let left = crash(folder.path());
            let exchange = recovered(left.path());
            let [bridge, one, two] = &bridge_and_two(&exchange);
            let waiting = [one, two].map(|it| it.lock().session.backlog());
            assert_eq!(waiting[0], waiting[1]);
            // Those that are there are not taken again, and the others are.
            let repeated = &exchange.counters.repeated;
            for number in 1..=COUNT {
                let is_here = repeated.load(Ordering::Relaxed) == number - 1;
                take(&exchange, bridge, number);
                let is_repeated = repeated.load(Ordering::Relaxed) == number;
                assert!(is_here || !is_repeated, "{number}");
            }
            assert_eq!(repeated.load(Ordering::Relaxed), waiting[0]);
            let waiting = [one, two].map(|it| it.lock().session.backlog());
            assert_eq!(waiting, [COUNT, COUNT]);
            exchange.store.close().unwrap();
        }
        sender.join().unwrap();
    });
    exchange.store.close().unwrap();
}

#[test]
fn only_the_names_of_messages_that_are_kept_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchange = recovered(folder.path());
    let rules = vec![(TopicFilter::new("m/#").unwrap(), Durability::Memory)];
    exchange.bounds.durability = DurabilityRules::new(rules, Durability::Normal);
    let [bridge, ..] = &bridge_and_two(&exchange);
    let client = attach(&exchange, "client", true, 0).link;
    let send = |message: Message, publisher: &Link| {
        let published = exchange.publish(message, Some(publisher), Refusal::Silence);
        published.map(|it| wait_durable(&exchange, it.outcome.position))
    };
    let to = |topic: &str, number| Message {
        topic: TopicName::new(topic).unwrap(),
        ..named(number, "x")
    };
    let live = Message {
        qos: QoS::AtMostOnce,
        ..named(1, "x")
    };
    send(live, bridge).unwrap();
    send(to("m/1", 2), bridge).unwrap();
    send(named(3, "x"), &client).unwrap();
    send(to("$SYS/a", 4), bridge).unwrap_err();
    // There is no room to retain as long a payload.
    let retained = Message {
        retain: true,
        ..named(5, "more than sixteen bytes")
    };
    let refused = exchange.publish(retained, Some(bridge), Refusal::Answer);
    assert!(refused.is_err());
    send(named(6, "x"), bridge).unwrap();
    exchange.store.close().unwrap();
    let (store, recovered) = Store::open(folder.path(), hasty()).unwrap();
    let [names] = &recovered.names[..] else {
        panic!("{:?}", recovered.names);
    };
    assert_eq!((&*names.run, names.first), ("other:1", 0));
    let bits = names.bits.iter().map(|it| it.count_ones()).sum::<u32>();
    assert_eq!((names.bits[0], bits), (1 << 6, 1));
    store.close().unwrap();
}
