//! Hubs that take little at a time.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::fault_proxy::{FaultProxy, Flow};
use tests::hub::Hub;
use tests::publisher::{Publisher, Stream};
use tests::sequence::{NO_REPEATS, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::{until, until_every};

use crate::bridge_stream::numbers;

/// A bridge to this port with these rules for what goes up.
fn bridge(port: u16, forwards: &str) -> String {
    format!(
        "store.max_messages = 200000\n\
         bridges.mqtt.up {{\n\
         server = \"mqtt-tcp://127.0.0.1:{port}\"\n\
         clientid = \"edge\"\n\
         backoff_max = 200ms\n\
         forwards = [{forwards}]\n\
         }}\n"
    )
}

#[test]
fn copies_of_a_message_keep_to_the_window_of_the_hub() {
    const COUNT: u64 = 2_000;
    // mosquitto takes 20 messages of QoS 2, and ends the connection at one more.
    let hub = Hub::start();
    let rules = ["", "a/", "b/"].map(|prefix| {
        format!("{{ local_topic = \"line/#\", remote_topic = \"\", prefix = \"{prefix}\" }}")
    });
    let at_hub = ["line/#", "a/line/#", "b/line/#"]
        .map(|filter| Subscriber::start_with(hub.port(), filter, filter, 2));
    let daemon = Daemon::start(&bridge(hub.port(), &rules.join(",")));
    let publisher = Publisher::start(daemon.port(), "publisher", Stream::new("line", 2, COUNT));
    publisher.wait(COUNT);
    for subscriber in &at_hub {
        until("everything has come", || subscriber.count() >= 2_000);
        assert_complete("copy", &numbers(subscriber), 1..=COUNT, NO_REPEATS);
    }
    assert_eq!(hub.connections_of("edge"), 1, "mosquitto ended it");
}

#[test]
fn a_slow_hub_costs_neither_memory_nor_the_time_of_publishers() {
    const PUBLISHERS: u64 = 10;
    const EACH: u64 = 10_000;
    const LENGTH: usize = 500;
    /// Of what is published; the rest goes when the way is wide again.
    const SLOW_BYTES_PER_SECOND: usize = 256 << 10;
    /// All messages are 50 MB, so this is half of them. What may be in memory is the front of the
    /// outbox, what the writer has still to write (`store.max_pending_bytes`), the window and the
    /// pages of SQLite. Pages of the program that are run for the first time count too.
    const GROWTH_BYTES_MAX: u64 = 24 << 20;
    let all = usize::try_from(PUBLISHERS * EACH).unwrap();
    let hub = Hub::start_with("max_inflight_messages 10");
    let proxy = FaultProxy::start(hub.port());
    proxy.flow(Flow::Limit(SLOW_BYTES_PER_SECOND), Flow::Pass);
    let at_hub = Subscriber::start_with(hub.port(), "all", "line/#", 0);
    let mut daemon = Daemon::start(&bridge(proxy.port(), "{ local_topic = \"line/#\" }"));
    let before = daemon.process().memory();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let stream = Stream::new(&format!("line/{number}"), 1, EACH).padded(LENGTH);
            Publisher::start(daemon.port(), &format!("publisher-{number}"), stream)
        })
        .collect();
    publishers.iter().for_each(|it| it.wait(EACH));
    let forwarded = at_hub.count();
    assert!(forwarded < all / 4, "{forwarded}: the hub was not slow");
    let collected = daemon.process().memory_peak();
    proxy.pass();
    until_every(Duration::from_millis(50), "everything has come", || {
        at_hub.count() >= all
    });
    let drained = daemon.process().memory_peak();
    eprintln!(
        "memory: {before} before, {collected} collecting, {drained} draining; {forwarded} early"
    );
    let all = numbers(&at_hub);
    for number in 0..PUBLISHERS {
        let prefix = format!("line/{number}/");
        let of = all.iter().filter(|it| it.0.starts_with(&prefix));
        let of: Vec<_> = of.cloned().collect();
        assert_complete(&prefix, &of, 1..=EACH, NO_REPEATS);
    }
    let growth = drained.saturating_sub(before);
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes more");
}
