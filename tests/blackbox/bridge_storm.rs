//! Faults on the way and on both sides of it, amid a stream through a bridge and in an order that
//! `SEED` repeats.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::fault_proxy::FaultProxy;
use tests::random::Random;
use tests::sequence::{NO_REPEATS, Repeats};

use crate::bridge_stream::Crossing;

const COUNT: u64 = 10_000;
const PAUSE: Duration = Duration::from_millis(10);
/// Messages of each QoS that come between two faults.
const BETWEEN: usize = 100;
/// Messages of each QoS that are published while the way is closed.
const AMID_OUTAGE: u64 = 250;
/// Connections that a fault ends at most: the bridge's, the publisher's and the subscriber's.
const CONNECTIONS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Outage,
    KilledEdge,
    KilledHub,
    KilledBoth,
    StoppedEdge,
    Reload,
}

const FAULTS: [Fault; 7] = [
    Fault::Cut,
    Fault::Outage,
    Fault::KilledEdge,
    Fault::KilledHub,
    Fault::KilledBoth,
    Fault::StoppedEdge,
    Fault::Reload,
];

/// Two Tidegates and the way between them.
struct Place {
    edge: Daemon,
    hub: Daemon,
    proxy: FaultProxy,
    /// Lines of the bridge beside its server.
    rules: &'static str,
    reloads: u32,
}

impl Place {
    fn start(rules: &'static str) -> Self {
        let hub = Daemon::start("");
        let proxy = FaultProxy::start(hub.port());
        let edge = Daemon::start(&bridge(proxy.port(), rules, 0));
        Self {
            edge,
            hub,
            proxy,
            rules,
            reloads: 0,
        }
    }

    fn suffer(&mut self, fault: Fault, crossing: &Crossing) {
        match fault {
            Fault::Cut => self.proxy.cut(),
            Fault::Outage => {
                self.proxy.refuse();
                let [published, _] = crossing.published();
                crossing.wait_published((published + AMID_OUTAGE).min(COUNT));
                self.proxy.pass();
            }
            Fault::KilledEdge => {
                self.edge.kill();
                self.edge.restart();
            }
            Fault::KilledHub => {
                self.hub.kill();
                self.hub.restart();
            }
            Fault::KilledBoth => {
                self.edge.kill();
                self.hub.kill();
                self.hub.restart();
                self.edge.restart();
            }
            Fault::StoppedEdge => {
                self.edge.stop();
                self.edge.restart();
            }
            Fault::Reload => {
                self.reloads += 1;
                let changed = bridge(self.proxy.port(), self.rules, self.reloads);
                self.edge.reload(&changed);
            }
        }
    }
}

fn bridge(port: u16, rules: &str, reloads: u32) -> String {
    let window = 200 + reloads;
    format!(
        "bridges.mqtt.up {{\nserver = \"mqtt-tcp://127.0.0.1:{port}\"\nclientid = \"edge\"\n\
         backoff_max = 100ms\nmax_inflight = {window}\n{rules}\n}}\n"
    )
}

/// Each message comes, in the order of its topic: with QoS 2 once, with QoS 1 again only after a
/// connection was lost.
#[expect(clippy::print_stdout, reason = "it says what it did, if it fails")]
fn check(rules: &'static str, is_upwards: bool) {
    let seed = Random::seed();
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let mut place = Place::start(rules);
    let [edge, hub] = [place.edge.port(), place.hub.port()];
    let (from, to) = if is_upwards { (edge, hub) } else { (hub, edge) };
    let crossing = Crossing::start(from, to, COUNT, PAUSE);
    let mut faults = 0;
    while !crossing.wait_more_or_published(BETWEEN) {
        let fault = random.choose(&FAULTS);
        println!("{fault:?}");
        place.suffer(fault, &crossing);
        faults += 1;
    }
    let at_qos_1 = Repeats {
        steps_max: CONNECTIONS * faults,
        messages_max: 4_096,
    };
    crossing.finish_with([at_qos_1, NO_REPEATS]);
    println!("{faults} faults");
}

#[test]
fn a_storm_takes_nothing_from_what_goes_up() {
    check("forwards = [{ local_topic = \"line/#\" }]", true);
}

#[test]
fn a_storm_takes_nothing_from_what_goes_up_in_batches() {
    check(
        "batch { linger = 10ms }\nforwards = [{ local_topic = \"line/#\" }]",
        true,
    );
}

#[test]
fn a_storm_takes_nothing_from_what_comes_down() {
    check(
        "subscription = [{ remote_topic = \"line/#\", qos = 2 }]",
        false,
    );
}
