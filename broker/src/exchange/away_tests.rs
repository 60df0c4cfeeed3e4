//! What comes for clients that are away.

use std::sync::Arc;

use std::time::{Duration, Instant};

use mqtt::QoS;
use mqtt::session::Outgoing;
use persistence::{Durability, Options, Store};

use super::tests::{attach, exchange, lose, message, publish, qos, subscribe};
use super::{DurabilityRules, Exchange};
use crate::link::Link;

/// Takes what is in memory.
fn take(exchange: &Exchange, link: &Link) -> Vec<String> {
    let mut state = link.lock();
    let next = || state.session.next(exchange.now(), &mut Vec::new());
    let payloads = std::iter::from_fn(next).filter_map(|outgoing| match outgoing {
        Outgoing::Publish { delivery, .. } => Some(delivery.message.payload.clone()),
        Outgoing::Release(_) => None,
    });
    payloads
        .map(|it| String::from_utf8(it.to_vec()).unwrap())
        .collect()
}

#[test]
fn most_of_what_the_store_has_does_not_wait_in_memory_too() {
    let sent = ["1", "2", "3", "4"].repeat(10);
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Options::default()).unwrap();
    for (durability, in_memory) in [(Durability::Normal, 10), (Durability::Memory, 40)] {
        let mut exchange = exchange(store.clone());
        Arc::make_mut(&mut exchange.bounds.queue).messages_max = 80;
        exchange.bounds.durability = DurabilityRules::new(Vec::new(), durability);
        let publisher = attach(&exchange, "p", true, 0).link;
        let client = attach(&exchange, "c", true, 60);
        subscribe(&exchange, &client.link, "t", qos(QoS::AtLeastOnce));
        lose(&exchange, client);
        for number in sent.iter().copied() {
            let message = message("t", number, QoS::AtLeastOnce, false);
            publish(&exchange, message, &publisher);
        }

        let link = attach(&exchange, "c", false, 60).link;
        let mut came = take(&exchange, &link);
        assert_eq!(came.len(), in_memory);
        let deadline = Instant::now() + Duration::from_secs(20);
        while came.len() < sent.len() {
            assert!(Instant::now() < deadline, "only {came:?} came back");
            exchange.refill(&link);
            came.extend(take(&exchange, &link));
            std::thread::yield_now();
        }
        assert_eq!(came, sent);
    }
    store.close().unwrap();
}
