//! Shared and exclusive subscriptions without sockets.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mqtt::{QoS, TopicFilter};

use super::tests::{attach, exchange, message, qos, received, subscribe};
use super::*;
use crate::registry::Ending;
use crate::share::{ASKED_MAX, ShareGroup};

const ENDING: Ending = Ending {
    will: None,
    session_expiry: None,
};

fn publish(exchange: &Exchange, publisher: &Link, topic: &str, payload: &'static str) {
    let message = message(topic, payload, QoS::AtLeastOnce, false);
    tests::publish(exchange, message, publisher);
}

fn payloads(exchange: &Exchange, link: &Arc<Link>) -> Vec<String> {
    let found = received(exchange, link);
    found.into_iter().map(|(payload, ..)| payload).collect()
}

#[test]
fn each_message_goes_to_one_member_of_each_group() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let members = ["a", "b", "c"].map(|id| attach(&exchange, id, true, 0).link);
    for member in &members {
        subscribe(&exchange, member, "$share/g/t/+", qos(QoS::AtLeastOnce));
    }
    let [first, ..] = &members;
    subscribe(&exchange, first, "$share/other/t/#", qos(QoS::AtLeastOnce));
    subscribe(&exchange, first, "t/1", qos(QoS::AtMostOnce));
    for payload in ["1", "2", "3", "4", "5", "6"] {
        publish(&exchange, &publisher, "t/1", payload);
    }
    // Two by its own turn, six for the other group, six for the plain subscription.
    assert_eq!(received(&exchange, first).len(), 14);
    for member in &members[1..] {
        assert_eq!(payloads(&exchange, member).len(), 2);
    }
}

#[test]
fn the_strategy_decides_who_is_next() {
    let table = [
        (ShareStrategy::RoundRobin, 4, 2),
        (ShareStrategy::Sticky, 1, 1),
        (ShareStrategy::HashClientId, 1, 1),
        (ShareStrategy::HashTopic, 1, 1),
    ];
    for (strategy, of_eight_messages, of_two_messages) in table {
        let mut exchange = exchange(Store::disabled());
        exchange.bounds.share_strategy = strategy;
        let publisher = attach(&exchange, "p", true, 0).link;
        let members = ["a", "b", "c", "d"].map(|id| attach(&exchange, id, true, 0).link);
        for member in &members {
            subscribe(&exchange, member, "$share/g/t", qos(QoS::AtLeastOnce));
        }
        let takers = |count| {
            for _ in 0..count {
                publish(&exchange, &publisher, "t", "x");
            }
            let took = |member: &&Arc<Link>| !received(&exchange, member).is_empty();
            members.iter().filter(took).count()
        };
        assert_eq!(takers(8), of_eight_messages, "{strategy:?}");
        assert_eq!(takers(2), of_two_messages, "{strategy:?}");
    }
}

#[test]
fn members_that_are_away_or_behind_are_passed_over() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let waiting = attach(&exchange, "waiting", true, 60);
    let ready = attach(&exchange, "ready", true, 0).link;
    for member in [&waiting.link, &ready] {
        subscribe(&exchange, member, "$share/g/t", qos(QoS::AtLeastOnce));
    }
    exchange.detach(&waiting.link, waiting.owner, ENDING);
    for _ in 0..10 {
        publish(&exchange, &publisher, "t", "x");
        assert_eq!(payloads(&exchange, &ready), ["x"]);
    }
    // With nobody else there, the session keeps it for its client.
    let owner = ready.lock().owner.unwrap();
    exchange.detach(&ready, owner, ENDING);
    publish(&exchange, &publisher, "t", "late");
    let again = attach(&exchange, "waiting", false, 60).link;
    let kept = payloads(&exchange, &again);
    // The ten were not acknowledged.
    assert_eq!((kept.len(), kept[10].as_str()), (11, "late"));
}

const MANY: usize = 1_000;
/// Longer than anything takes that is not stuck.
const DEADLINE: Duration = Duration::from_secs(60);

/// A group of many members that are connected and take nothing.
fn stuck_group(exchange: &mut Exchange) -> (Arc<ShareGroup>, Vec<Arc<Link>>) {
    exchange.bounds.sessions_max = 2 * MANY;
    Arc::make_mut(&mut exchange.bounds.queue).live_bytes_max = 10;
    let members = (0..MANY).map(|number| {
        let member = attach(exchange, &format!("m{number}"), true, 0).link;
        subscribe(exchange, &member, "$share/g/t", qos(QoS::AtMostOnce));
        subscribe(exchange, &member, "fill", qos(QoS::AtMostOnce));
        member
    });
    let members = members.collect();
    let publisher = attach(exchange, "p", true, 0).link;
    publish(exchange, &publisher, "fill", "more than half");
    let share = TopicFilter::new("$share/g/t").unwrap();
    (exchange.router.group(&share).unwrap(), members)
}

#[test]
fn a_choice_asks_no_more_than_some_of_many_members() {
    let mut exchange = exchange(Store::disabled());
    let (group, members) = stuck_group(&mut exchange);
    let topic = TopicName::new("t").unwrap();
    let (chosen, is_chosen) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        // Whoever asks one of the others waits for this.
        let others: Vec<_> = members[2 * ASKED_MAX..]
            .iter()
            .map(|it| it.lock())
            .collect();
        scope.spawn(|| chosen.send(group.choose(exchange.choice(&topic, "p")).is_some()));
        assert_eq!(is_chosen.recv_timeout(DEADLINE), Ok(true));
        drop(others);
    });
}

#[test]
fn of_many_members_the_one_that_is_ready_is_soon_found_and_stays_found() {
    for strategy in [
        ShareStrategy::RoundRobin,
        ShareStrategy::Random,
        ShareStrategy::Sticky,
        ShareStrategy::HashClientId,
        ShareStrategy::HashTopic,
    ] {
        let mut exchange = exchange(Store::disabled());
        exchange.bounds.share_strategy = strategy;
        let (group, members) = stuck_group(&mut exchange);
        let topic = TopicName::new("t").unwrap();
        let choose = || group.choose(exchange.choice(&topic, "p")).unwrap().link;
        for ready in [&members[MANY / 2], &members[MANY / 2 - 1]] {
            assert_eq!(payloads(&exchange, ready), ["more than half"]);
            // Some of them find it without looking on.
            for _ in 0..2 * MANY / (ASKED_MAX - 1) {
                choose();
            }
            let mut chosen = (0..MANY).map(|_| choose());
            assert!(chosen.all(|it| Arc::ptr_eq(&it, ready)), "{strategy:?}");
            let publisher = attach(&exchange, "p", true, 0).link;
            publish(&exchange, &publisher, "fill", "more than half");
        }
    }
}

#[test]
fn what_a_member_leaves_behind_goes_to_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), persistence::Options::default()).unwrap();
    let mut exchange = exchange(store.clone());
    Arc::make_mut(&mut exchange.bounds.queue).messages_max = 10;
    let publisher = attach(&exchange, "p", true, 0).link;
    for expiry in [0, 60] {
        let leaver = attach(&exchange, "leaver", true, expiry);
        subscribe(&exchange, &leaver.link, "$share/g/t", qos(QoS::AtLeastOnce));
        for payload in ["1", "2"] {
            publish(&exchange, &publisher, "t", payload);
        }
        assert_eq!(payloads(&exchange, &leaver.link), ["1", "2"], "sent");
        for _ in 2..30 {
            publish(&exchange, &publisher, "t", "more");
        }
        let heir = attach(&exchange, "heir", true, 0);
        subscribe(&exchange, &heir.link, "$share/g/t", qos(QoS::AtLeastOnce));
        let ending = Ending {
            will: None,
            session_expiry: Some(Duration::ZERO),
        };
        exchange.detach(&leaver.link, leaver.owner, ending);
        let mut inherited = Vec::new();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while inherited.len() < 30 {
            assert!(std::time::Instant::now() < deadline, "{inherited:?}");
            exchange.sweep();
            inherited.extend(payloads(&exchange, &heir.link));
            thread::yield_now();
        }
        assert_eq!(inherited[..2], ["1", "2"]);
        exchange.detach(&heir.link, heir.owner, ENDING);
    }
    store.close().unwrap();
}

#[tokio::test]
async fn what_the_store_has_of_it_goes_to_the_others_without_a_sweep() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), persistence::Options::default()).unwrap();
    let mut exchange = exchange(store.clone());
    Arc::make_mut(&mut exchange.bounds.queue).messages_max = 10;
    let publisher = attach(&exchange, "p", true, 0).link;
    let leaver = attach(&exchange, "leaver", true, 0);
    subscribe(&exchange, &leaver.link, "$share/g/t", qos(QoS::AtLeastOnce));
    for _ in 0..100 {
        publish(&exchange, &publisher, "t", "x");
    }
    let heir = attach(&exchange, "heir", true, 60).link;
    subscribe(&exchange, &heir, "$share/g/t", qos(QoS::AtLeastOnce));
    exchange.detach(&leaver.link, leaver.owner, ENDING);
    let inherited = || heir.lock().session.backlog();
    let all = async {
        while inherited() < 100 {
            exchange.departing().await;
            exchange.go_on_departing();
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, all).await;
    assert!(in_time.is_ok(), "{}", inherited());
    store.close().unwrap();
}

// Conforms: 5.0 [MQTT-4.8.2-5]
#[test]
fn qos_2_is_never_given_to_a_second_member() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let leaver = attach(&exchange, "leaver", true, 0);
    subscribe(&exchange, &leaver.link, "$share/g/t", qos(QoS::ExactlyOnce));
    let exactly_once = message("t", "x", QoS::ExactlyOnce, false);
    tests::publish(&exchange, exactly_once, &publisher);
    let heir = attach(&exchange, "heir", true, 0).link;
    subscribe(&exchange, &heir, "$share/g/t", qos(QoS::ExactlyOnce));
    exchange.detach(&leaver.link, leaver.owner, ENDING);
    exchange.sweep();
    assert!(received(&exchange, &heir).is_empty());
}

#[test]
fn retained_messages_are_not_for_groups() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let retained = message("t", "kept", QoS::AtLeastOnce, true);
    tests::publish(&exchange, retained, &publisher);
    let member = attach(&exchange, "m", true, 0).link;
    subscribe(&exchange, &member, "$share/g/t", qos(QoS::AtLeastOnce));
    assert!(received(&exchange, &member).is_empty());
}

#[test]
fn an_exclusive_filter_is_one_sessions_alone() {
    let exchange = exchange(Store::disabled());
    let publisher = attach(&exchange, "p", true, 0).link;
    let holder = attach(&exchange, "holder", true, 60);
    let other = attach(&exchange, "other", true, 0).link;
    let filter = TopicFilter::new("$exclusive/t/#").unwrap();
    let take = |link: &Arc<Link>| {
        let options = qos(QoS::AtLeastOnce);
        exchange
            .subscribe(link, filter.clone(), options, None)
            .is_some()
    };
    assert!(take(&holder.link));
    assert!(take(&holder.link), "its own may be replaced");
    assert!(!take(&other));
    subscribe(&exchange, &other, "t/1", qos(QoS::AtLeastOnce));
    publish(&exchange, &publisher, "t/1", "x");
    assert_eq!(payloads(&exchange, &holder.link), ["x"]);
    assert_eq!(payloads(&exchange, &other), ["x"]);
    exchange.detach(&holder.link, holder.owner, ENDING);
    assert!(
        !take(&other),
        "the session holds it while its client is away"
    );
    assert!(exchange.unsubscribe(&holder.link, &filter).is_some());
    assert!(take(&other));
}
