//! Bridges to several hubs, what a hub sends down, and two daemons that tell each other everything.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;
use tests::publisher::{Publisher, Stream};
use tests::sequence::{NO_REPEATS, Repeats, assert_complete, assert_ordered};
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

use crate::bridge_stream::{Crossing, numbers};

const PAUSE: Duration = Duration::from_millis(10);
/// Messages that may be unacknowledged at mosquitto.
const WINDOW: usize = 20;
const ONE_CUT: Repeats = Repeats {
    steps_max: 1,
    messages_max: 4_096,
};

/// A bridge that forwards to the first of two hubs that it can reach.
fn bridge_to_two(first: u16, second: u16) -> String {
    format!(
        r#"
bridges.mqtt.up {{
  servers = ["mqtt-tcp://127.0.0.1:{first}", "mqtt-tcp://127.0.0.1:{second}"]
  clientid = "edge"
  backoff_max = 200ms
  connect_timeout = 1s
  fail_back_interval = 1s
  forwards = [{{ local_topic = "line/#" }}]
}}
"#
    )
}

#[test]
fn a_second_hub_takes_over_with_what_the_first_has_not_acknowledged() {
    const COUNT: u64 = 4_000;
    let hubs = [Hub::start(), Hub::start()];
    let proxy = FaultProxy::start(hubs[0].port());
    let daemon = Daemon::start(&bridge_to_two(proxy.port(), hubs[1].port()));
    let [at_first, at_second] = hubs
        .each_ref()
        .map(|it| Subscriber::start(it.port(), "all", "line/#"));
    let stream = Stream::new("line", 1, COUNT).paced(PAUSE);
    let publisher = Publisher::start(daemon.port(), "publisher", stream);
    until("it flows", || at_first.count() > 500);
    proxy.refuse();
    publisher.wait(COUNT);
    until("the last ones have come", || {
        let last = COUNT - 3..=COUNT;
        last.rev()
            .all(|number| at_second.has(|it| it.number() == Some(number)))
    });
    let all = [&at_first, &at_second].map(numbers);
    for numbers in &all {
        assert_ordered("at one hub", numbers, NO_REPEATS);
    }
    // What the first had not acknowledged is at both.
    assert_complete("at both hubs", &all.concat(), 1..=COUNT, ONE_CUT);
}

/// Waits until everything has come to one of two hubs or the other, and checks it; the bridge has
/// changed hubs so often.
#[track_caller]
fn check_both(subscribers: [&Subscriber; 2], count: u64, changes: usize) {
    until("the last ones have come", || {
        let mut last = count - 3..=count;
        last.all(|number| {
            let has = |it: &&Subscriber| it.has(|it| it.number() == Some(number));
            subscribers.iter().any(has)
        })
    });
    let all = subscribers.map(numbers);
    let repeats = Repeats {
        steps_max: changes,
        messages_max: 4_096,
    };
    for numbers in &all {
        // Another hub may have had what is between two numbers.
        assert_ordered("at one hub", numbers, repeats);
    }
    let numbers = all.concat();
    let found: BTreeSet<u64> = numbers.iter().map(|it| it.1).collect();
    assert_eq!(found, (1..=count).collect::<BTreeSet<_>>(), "at both hubs");
    let repeated = numbers.len() - found.len();
    assert!(
        repeated <= changes * WINDOW,
        "{repeated} messages are repeated"
    );
}

#[test]
fn a_bridge_goes_back_to_the_first_hub_when_it_is_there_again() {
    const COUNT: u64 = 8_000;
    let mut hubs = [Hub::start(), Hub::start()];
    let daemon = Daemon::start(&bridge_to_two(hubs[0].port(), hubs[1].port()));
    let [at_first, at_second] = hubs
        .each_ref()
        .map(|it| Subscriber::start(it.port(), "all", "line/#"));
    let stream = Stream::new("line", 1, COUNT).paced(PAUSE);
    let publisher = Publisher::start(daemon.port(), "publisher", stream);
    until("the first has some", || at_first.count() > 500);
    hubs[0].stop();
    until("the second takes over", || at_second.count() > 500);
    hubs[0].resume();
    let before = at_first.count();
    until("the first has more", || at_first.count() > before + 500);
    publisher.wait(COUNT);
    check_both([&at_first, &at_second], COUNT, 2);
    assert_eq!(hubs[1].connections_of("edge"), 1);
}

#[test]
fn a_bridge_stays_where_it_is_while_the_first_hub_can_be_reached_and_does_not_serve() {
    const COUNT: u64 = 4_000;
    let hubs = [Hub::start(), Hub::start()];
    let proxy = FaultProxy::start(hubs[0].port());
    proxy.black_hole();
    let daemon = Daemon::start(&bridge_to_two(proxy.port(), hubs[1].port()));
    let [at_first, at_second] = hubs
        .each_ref()
        .map(|it| Subscriber::start(it.port(), "all", "line/#"));
    let publish = |topic: &str| {
        let stream = Stream::new(topic, 1, COUNT).paced(PAUSE);
        Publisher::start(daemon.port(), "publisher", stream)
    };
    let _before = publish("line/before");
    until("the second has some", || at_second.count() > 500);
    let attempts = proxy.accepted();
    until("the first is tried again and again", || {
        proxy.accepted() >= attempts + 2
    });
    until("the second has all", || at_second.count() >= 4_000);
    assert_complete("second", &numbers(&at_second), 1..=COUNT, NO_REPEATS);
    assert_eq!(hubs[1].connections_of("edge"), 1);
    proxy.pass();
    until("the bridge is back", || hubs[0].connections_of("edge") == 1);
    let _after = publish("line/after");
    until("the first has all", || at_first.count() >= 4_000);
    assert_complete("first", &numbers(&at_first), 1..=COUNT, NO_REPEATS);
}

/// A bridge that only receives.
fn receiving(port: u16) -> String {
    format!(
        r#"
bridges.mqtt.down {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 200ms
  subscription = [
    {{ remote_topic = "line/#", qos = 2 }}
    {{ remote_topic = "sync", qos = 0 }}
  ]
}}
"#
    )
}

/// Publishes at the hub until it comes through.
fn sync(hub: u16, daemon: u16) {
    let at_daemon = Subscriber::start(daemon, "sync", "sync");
    let (mut client, _) = WireClient::connect(hub, Version::V311, "syncer", Kept::Nothing).unwrap();
    until("the hub has the bridge's subscription", || {
        client.publish_acknowledged("sync", b"0").unwrap();
        at_daemon.count() > 0
    });
}

#[test]
fn what_a_hub_sends_while_the_uplink_is_cut_comes_after() {
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    let daemon = Daemon::start(&receiving(proxy.port()));
    sync(hub.port(), daemon.port());
    let crossing = Crossing::start(hub.port(), daemon.port(), 4_000, PAUSE);
    for _ in 0..4 {
        crossing.wait_more(100);
        proxy.cut();
    }
    proxy.refuse();
    crossing.wait_published(4_000);
    proxy.pass();
    crossing.finish(5);
}

#[test]
fn what_a_hub_sends_while_the_daemon_is_down_comes_after() {
    let hub = Hub::start();
    let mut daemon = Daemon::start(&receiving(hub.port()));
    sync(hub.port(), daemon.port());
    let crossing = Crossing::start(hub.port(), daemon.port(), 4_000, PAUSE);
    for _ in 0..2 {
        crossing.wait_more(200);
        daemon.kill();
        daemon.restart();
    }
    crossing.wait_more(200);
    daemon.kill();
    crossing.wait_published(4_000);
    daemon.restart();
    // The subscriber's connection is lost too.
    crossing.finish(6);
}

/// Two daemons that each tell the other everything.
#[track_caller]
fn check_both_ways(more: &str) {
    const COUNT: u64 = 600;
    let above = Daemon::start("");
    let proxy = FaultProxy::start(above.port());
    let below = Daemon::start(&format!(
        r##"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{}"
  clientid = "edge"
  backoff_max = 200ms
  {more}
  forwards = [{{ local_topic = "#" }}]
  subscription = [{{ remote_topic = "#", qos = 2 }}]
}}
"##,
        proxy.port()
    ));
    sync(above.port(), below.port());
    let sides = [&above, &below];
    let subscribers = sides.map(|it| Subscriber::start_with(it.port(), "all", "+/line/#", 2));
    let publishers = sides.map(|it| {
        let stream = Stream::new(&format!("{}/line", it.port()), 2, COUNT).paced(PAUSE);
        Publisher::start(it.port(), "publisher", stream)
    });
    for subscriber in &subscribers {
        until("it flows", || subscriber.count() > 100);
    }
    proxy.cut();
    publishers.iter().for_each(|it| it.wait(COUNT));
    for (subscriber, side) in subscribers.iter().zip(sides) {
        for from in sides {
            let prefix = format!("{}/", from.port());
            let of = || {
                let all = numbers(subscriber).into_iter();
                all.filter(|(topic, _)| topic.starts_with(&prefix))
                    .collect::<Vec<_>>()
            };
            until("everything has come", || of().len() as u64 >= COUNT);
            // What went round would come behind this.
            let mut marker = join(side, Version::V5, "marker");
            marker
                .publish_acknowledged(&format!("{prefix}line/0"), b"0")
                .unwrap();
            until("the marker has come", || of().iter().any(|it| it.1 == 0));
            let all: Vec<_> = of().into_iter().filter(|it| it.1 > 0).collect();
            assert_complete("both ways", &all, 1..=COUNT, NO_REPEATS);
        }
    }
}

#[test]
fn two_daemons_that_tell_each_other_everything_have_each_message_once() {
    check_both_ways("");
}

#[test]
fn so_do_two_with_the_bridge_bit_of_mqtt_3() {
    check_both_ways("proto_ver = 4");
}
