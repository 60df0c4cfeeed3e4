//! A bridge that comes back with a backlog over a narrow link, while the plant goes on: what is
//! live has its share, nothing is lost, and each of both keeps its order.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::fault_proxy::{FaultProxy, Flow};
use tests::hub::Hub;
use tests::publisher::{Publisher, Stream};
use tests::sequence::{NO_REPEATS, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::until;

use crate::bridge_stream::numbers;

/// Messages that wait when the hub comes back.
const BACKLOG: u64 = 20_000;
/// Messages that are published from then on.
const LIVE: u64 = 300;
/// Some hundred messages in a second: the backlog alone would take most of a minute.
const NARROW: Flow = Flow::Limit(15_000);
/// Many messages are waited for in steps of so many.
const STEP: usize = 1_000;
/// Between windows of live messages, which come slower than their share.
const PAUSE: Duration = Duration::from_millis(200);

struct Uplink {
    _hub: Hub,
    proxy: FaultProxy,
    daemon: Daemon,
    at_hub: Subscriber,
}

impl Uplink {
    /// A bridge with this key, whose hub is out of reach.
    #[track_caller]
    fn start(key: &str) -> Self {
        let hub = Hub::start();
        let proxy = FaultProxy::start(hub.port());
        proxy.refuse();
        let bridge = format!(
            "bridges.mqtt.up {{\n\
             server = \"mqtt-tcp://127.0.0.1:{}\"\n\
             clientid = \"edge\"\n\
             backoff_max = 200ms\n\
             {key}\n\
             forwards = [{{ local_topic = \"line/#\" }}]\n\
             }}\n",
            proxy.port()
        );
        Self {
            at_hub: Subscriber::start_with(hub.port(), "cloud", "line/#", 2),
            _hub: hub,
            proxy,
            daemon: Daemon::start(&bridge),
        }
    }

    /// Publishes so many messages, which wait when this returns.
    #[track_caller]
    fn queue(&self, count: u64) -> Publisher {
        let stream = Stream::new("line/old", 2, count);
        let publisher = Publisher::start(self.daemon.port(), "old", stream);
        for part in (0..count).step_by(STEP).chain([count]) {
            publisher.wait(part);
        }
        assert_eq!(self.at_hub.count(), 0);
        publisher
    }

    /// The hub can be reached over a narrow link.
    #[track_caller]
    fn come_back(&self) {
        self.proxy.pass();
        self.proxy.flow(NARROW, Flow::Pass);
        until("the backlog goes", || self.at_hub.count() > 0);
    }

    fn publish_live(&self) -> Publisher {
        let stream = Stream::new("line/new", 2, LIVE).paced(PAUSE);
        Publisher::start(self.daemon.port(), "new", stream)
    }

    #[track_caller]
    fn wait_live(&self, count: u64) {
        let is_last = |topic: &str, number| topic.starts_with("line/new/") && number == Some(count);
        until("what is live comes", || {
            self.at_hub.has(|it| is_last(&it.topic, it.number()))
        });
    }

    #[track_caller]
    fn wait_all(&self) {
        self.proxy.flow(Flow::Pass, Flow::Pass);
        let count = usize::try_from(BACKLOG + LIVE).unwrap();
        for part in (0..count).step_by(STEP).chain([count]) {
            until("all is at the hub", || self.at_hub.count() >= part);
        }
    }

    /// Checks that all came once, and each side in its order; returns how much of the backlog came
    /// behind all that is live.
    #[track_caller]
    fn check(&self) -> usize {
        let all = numbers(&self.at_hub);
        let is_live = |it: &(String, u64)| it.0.starts_with("line/new/");
        let behind = all.iter().rev().take_while(|it| !is_live(it)).count();
        let (live, old): (Vec<_>, Vec<_>) = all.into_iter().partition(is_live);
        assert_complete("live", &live, 1..=LIVE, NO_REPEATS);
        assert_complete("backlog", &old, 1..=BACKLOG, NO_REPEATS);
        behind
    }
}

#[test]
fn what_is_live_does_not_wait_for_the_backlog() {
    let uplink = Uplink::start("live_share = 30");
    let _old = uplink.queue(BACKLOG);
    uplink.come_back();
    let _new = uplink.publish_live();
    uplink.wait_live(LIVE);
    uplink.wait_all();
    let behind = uplink.check();
    assert!(behind > 5_000, "{behind}");
}

#[test]
fn a_daemon_that_is_killed_goes_on_with_both() {
    let mut uplink = Uplink::start("live_share = 30");
    let _old = uplink.queue(BACKLOG);
    uplink.come_back();
    let _new = uplink.publish_live();
    uplink.wait_live(LIVE / 3);
    uplink.daemon.kill();
    uplink.daemon.restart();
    uplink.wait_live(LIVE);
    uplink.wait_all();
    let behind = uplink.check();
    assert!(behind > 5_000, "{behind}");
}

#[test]
fn without_a_share_the_oldest_goes_first() {
    const OLD: u64 = 2_000;
    let uplink = Uplink::start("");
    let _old = uplink.queue(OLD);
    uplink.come_back();
    let _new = uplink.publish_live();
    uplink.wait_live(LIVE);
    let topic = |kind, number| (format!("line/{kind}/{}", number % 4), number);
    let old = (1..=OLD).map(|it| topic("old", it));
    let expected: Vec<_> = old.chain((1..=LIVE).map(|it| topic("new", it))).collect();
    assert_eq!(numbers(&uplink.at_hub), expected);
}
