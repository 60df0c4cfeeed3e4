//! What is kept, and for how long.

use std::sync::Arc;

use mqtt::{QoS, TopicName};
use persistence::Store;

use super::*;
use crate::exchange::tests::{attach, exchange, qos, subscribe};
use crate::memory::Memory;

struct Publisher {
    exchange: Exchange,
    routes: Routes,
}

impl Publisher {
    fn new() -> Self {
        let exchange = exchange(Store::disabled());
        Self {
            exchange,
            routes: Routes::default(),
        }
    }

    /// Publishes to a topic; true if its route is known.
    fn publish(&mut self, topic: &str) -> bool {
        if self.routes.get(topic.as_bytes(), &self.exchange).is_some() {
            return true;
        }
        let topic = TopicName::new(topic).unwrap();
        let route = self.exchange.resolve(&topic, None);
        self.routes.put(&Arc::new(route), &self.exchange);
        false
    }

    /// Publishes to so many topics in turn; returns how many routes were known.
    fn publish_in_turn(&mut self, topics: usize) -> usize {
        let mut known = 0;
        for number in 0..topics {
            known += usize::from(self.publish(&format!("plant/device/{number}/temperature")));
        }
        self.check();
        known
    }

    fn check(&self) {
        let bytes: usize = self.routes.table.iter().map(|it| bytes(it)).sum();
        assert_eq!(self.routes.bytes, bytes);
        assert!(bytes <= ROUTES_BYTES_MAX, "{bytes}");
    }
}

#[test]
fn a_publisher_of_nothing_takes_no_memory() {
    let Publisher { exchange, routes } = Publisher::new();
    assert!(routes.get(b"t", &exchange).is_none());
    assert_eq!(routes.table.allocation_size(), 0);
    assert!(routes.seen.is_none());
}

#[test]
fn a_few_topics_are_known_at_once_and_many_when_they_come_again() {
    let mut publisher = Publisher::new();
    assert_eq!(publisher.publish_in_turn(ROUTES_FEW), 0);
    assert_eq!(publisher.publish_in_turn(ROUTES_FEW), ROUTES_FEW);
    assert!(publisher.routes.seen.is_none());
    publisher.publish_in_turn(1_000);
    publisher.publish_in_turn(1_000);
    assert_eq!(publisher.publish_in_turn(1_000), 1_000);
}

#[test]
fn topics_that_never_come_again_take_little() {
    let mut publisher = Publisher::new();
    for number in 0..20_000 {
        publisher.publish(&format!("answer/{number}"));
    }
    publisher.check();
    // One of eight is taken for another at most.
    let kept = publisher.routes.table.len();
    assert!(kept < 20_000 / 8, "{kept}");
    assert!(publisher.routes.bytes < ROUTES_BYTES_MAX);
}

#[test]
fn of_more_topics_than_there_is_room_for_some_are_known() {
    let mut publisher = Publisher::new();
    for _ in 0..5 {
        publisher.publish_in_turn(4_000);
    }
    let room = publisher.routes.table.len();
    assert!((1_000..4_000).contains(&room), "{room}");
    let known = publisher.publish_in_turn(4_000);
    assert!((200..room).contains(&known), "{known} of {room}");
    // Those that come now are known soon.
    for number in 0..100 {
        for _ in 0..2 {
            publisher.publish(&format!("new/{number}"));
        }
    }
    let again = (0..100).filter(|it| publisher.publish(&format!("new/{it}")));
    assert!(again.count() > 50);
    publisher.check();
}

#[test]
fn while_memory_is_short_less_is_kept() {
    let mut publisher = Publisher::new();
    publisher.exchange.memory = Arc::new(Memory::new(1 << 20));
    let share = publisher.exchange.memory.share();
    for _ in 0..3 {
        publisher.publish_in_turn(1_000);
    }
    let bytes = publisher.routes.bytes;
    assert!((share / 2..=share).contains(&bytes), "{bytes} of {share}");
}

#[test]
fn a_route_that_is_old_is_replaced() {
    let mut publisher = Publisher::new();
    assert!(!publisher.publish("t"));
    assert!(publisher.publish("t"));
    let attached = attach(&publisher.exchange, "c", true, 0);
    for filter in ["t", "+"] {
        let before = publisher.routes.bytes;
        subscribe(
            &publisher.exchange,
            &attached.link,
            filter,
            qos(QoS::AtMostOnce),
        );
        assert!(!publisher.publish("t"), "{filter}");
        assert!(publisher.publish("t"), "{filter}");
        let route = publisher.routes.get(b"t", &publisher.exchange).unwrap();
        assert_eq!(route.targets.len(), 1);
        assert_eq!(publisher.routes.table.len(), 1);
        publisher.check();
        assert!(publisher.routes.bytes >= before);
    }
}
