//! What a new subscription costs that finds little among many retained messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Wake, Waker};

use mqtt::packet::SubscriptionOptions;
use mqtt::{QoS, TopicFilter};
use persistence::Store;

use super::tests::{attach, exchange, message, received, subscribe};
use crate::exchange::Refusal;
use crate::retained::RetainedLimits;

/// How often a task was woken.
#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_long_search_lets_others_have_their_turn() {
    let exchange = exchange(Store::disabled());
    let retain = |topic: &str| {
        let message = Arc::new(message(topic, "x", QoS::AtMostOnce, true));
        let kept = exchange
            .retained
            .set(&message, &RetainedLimits::NONE, Refusal::Silence, |_| {});
        assert_eq!(kept, Ok(()));
    };
    (0..40_000).for_each(|plant| retain(&format!("{plant}/state")));
    retain("x/alarm");
    let link = attach(&exchange, "c", true, 0).link;
    subscribe(&exchange, &link, "+/alarm", SubscriptionOptions::default());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut turns = 0;
    let mut found = Vec::new();
    while found.is_empty() {
        turns += 1;
        assert!(turns < 40, "it is found");
        link.lock().register(&waker);
        found = received(&exchange, &link);
        let woken = wakes.0.swap(0, Ordering::Relaxed);
        assert_eq!(woken, usize::from(found.is_empty()), "turn {turns}");
    }
    assert_eq!(found.len(), 1);
    assert!(turns > 1, "it was long");
    assert_eq!(received(&exchange, &link), []);
    assert!(link.lock().replays.is_empty());
}

#[test]
fn nothing_is_due_to_a_filter_without_a_message() {
    let exchange = exchange(Store::disabled());
    let link = attach(&exchange, "c", true, 0).link;
    let options = SubscriptionOptions::default();
    let is_due = |filter: &str| {
        let filter = TopicFilter::new(filter).unwrap();
        let made = exchange.subscribe(&link, filter, options, None);
        assert!(made.is_some());
        !link.lock().replays.is_empty()
    };
    assert!(!is_due("#"), "nothing is there at all");
    exchange
        .publish(
            message("a/b", "x", QoS::AtMostOnce, true),
            None,
            Refusal::Silence,
        )
        .unwrap();
    assert_eq!(received(&exchange, &link).len(), 1);
    assert!(!is_due("a"));
    assert!(!is_due("a/b/c"));
    assert!(is_due("a/b"));
}

#[test]
fn a_subscription_that_is_made_while_a_message_is_retained_gets_it() {
    const ROUNDS: usize = 5_000;
    let mut exchange = exchange(Store::disabled());
    exchange.bounds.retained = RetainedLimits::NONE;
    let (exchange, start) = (&exchange, &Barrier::new(2));
    let link = &attach(exchange, "c", true, 0).link;
    let mut lost = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let message = message(&round.to_string(), "x", QoS::AtMostOnce, true);
                start.wait();
                exchange.publish(message, None, Refusal::Silence).unwrap();
                start.wait();
            }
        });
        for round in 0..ROUNDS {
            start.wait();
            let filter = round.to_string();
            subscribe(exchange, link, &filter, SubscriptionOptions::default());
            let first = received(exchange, link);
            start.wait();
            lost += usize::from(first.is_empty() && received(exchange, link).is_empty());
        }
    });
    assert_eq!(lost, 0, "of {ROUNDS}");
}
