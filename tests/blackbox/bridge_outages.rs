//! A bridge whose way to the hub is cut, falls silent, or leads nowhere: nothing is lost, the order
//! of a topic is kept, and QoS 2 stays exactly once.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::fault_proxy::{FaultProxy, Flow};
use tests::hub::Hub;
use tests::wait::until;

use crate::bridge_stream::Crossing;

/// Slow enough to last for some cuts.
const PAUSE: Duration = Duration::from_millis(10);

/// A daemon with a bridge to this port, both ways.
fn bridged(port: u16, more: &str) -> Daemon {
    Daemon::start(&bridge(port, more))
}

/// A bridge to this port: `line/#` goes up, `command/#` comes down.
fn bridge(port: u16, more: &str) -> String {
    format!(
        r#"
bridges.mqtt.up {{
  server = "mqtt-tcp://127.0.0.1:{port}"
  clientid = "edge"
  backoff_max = 200ms
  connect_timeout = 2s
  {more}
  forwards = [{{ local_topic = "line/#" }}]
  subscription = [{{ remote_topic = "command/#", qos = 2 }}]
}}
"#
    )
}

#[track_caller]
fn check_cuts(more: &str, count: u64) {
    const CUTS: usize = 8;
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    let daemon = bridged(proxy.port(), more);
    let crossing = Crossing::start(daemon.port(), hub.port(), count, PAUSE);
    for cut in 0..CUTS {
        crossing.wait_more(100);
        if cut % 2 == 0 {
            proxy.cut();
        } else {
            proxy.refuse();
            proxy.pass();
        }
    }
    crossing.finish(CUTS);
    assert!(proxy.accepted() > CUTS, "{}", proxy.accepted());
}

#[test]
fn an_uplink_that_is_cut_again_and_again_loses_nothing() {
    check_cuts("", 8_000);
}

#[test]
fn an_uplink_of_mqtt_3_that_is_cut_again_and_again_loses_nothing() {
    // mosquitto ends a connection with more than 20 messages of QoS 2 that are not complete.
    check_cuts("proto_ver = 4", 4_000);
}

#[test]
fn a_daemon_that_is_killed_goes_on_where_it_was() {
    let hub = Hub::start();
    let mut daemon = bridged(hub.port(), "");
    let crossing = Crossing::start(daemon.port(), hub.port(), 6_000, PAUSE);
    crossing.finish_over_kills(&mut daemon);
}

#[test]
fn a_mosquitto_that_restarts_gets_everything() {
    let mut hub = Hub::start();
    let daemon = bridged(hub.port(), "");
    let crossing = Crossing::start(daemon.port(), hub.port(), 6_000, PAUSE);
    for _ in 0..2 {
        crossing.wait_more(300);
        hub.stop();
        hub.resume();
    }
    // The subscriber's connection is lost too.
    crossing.finish(4);
}

#[test]
fn a_tidegate_as_hub_that_is_killed_gets_everything() {
    let mut hub = Daemon::start("");
    let daemon = bridged(hub.port(), "");
    let crossing = Crossing::start(daemon.port(), hub.port(), 6_000, PAUSE);
    crossing.finish_over_kills(&mut hub);
}

/// A hub that falls silent in the middle of a stream is noticed and left.
#[track_caller]
fn check_silence(silence: impl Fn(&FaultProxy)) {
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    let mut daemon = bridged(proxy.port(), "keepalive = 5s");
    let crossing = Crossing::start(daemon.port(), hub.port(), 2_000, PAUSE);
    crossing.wait_more(100);
    silence(&proxy);
    wait_down(&mut daemon, "did not answer PINGREQ in time");
    proxy.pass();
    crossing.finish(1);
}

/// Waits until the daemon has said why the bridge is down.
#[track_caller]
fn wait_down(daemon: &mut Daemon, reason: &str) {
    until(reason, || {
        let log = daemon.process().log();
        let mut lines = log.lines();
        lines.any(|it| it.contains("the gateway is down") && it.contains(reason))
    });
}

#[test]
fn a_black_hole_is_noticed_by_the_keep_alive() {
    check_silence(FaultProxy::black_hole);
}

#[test]
fn a_way_that_stands_still_is_noticed_by_the_keep_alive() {
    check_silence(|proxy| proxy.flow(Flow::Stop, Flow::Stop));
}

#[test]
fn a_way_back_that_stands_still_is_noticed_by_the_keep_alive() {
    check_silence(|proxy| proxy.flow(Flow::Pass, Flow::Stop));
}

#[test]
fn a_half_open_connection_is_noticed_by_the_keep_alive() {
    check_silence(FaultProxy::half_open);
}

#[test]
fn a_hub_that_never_answers_connect_and_one_that_refuses_tcp_are_tried_again() {
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    proxy.black_hole();
    let mut daemon = bridged(proxy.port(), "");
    let crossing = Crossing::start(daemon.port(), hub.port(), 1_000, PAUSE);
    wait_down(&mut daemon, "did not answer CONNECT in time");
    proxy.refuse();
    wait_down(&mut daemon, "refused");
    crossing.wait_published(1_000);
    proxy.pass();
    crossing.finish(0);
}

#[test]
fn a_long_way_delays_and_changes_nothing() {
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    let delay = Flow::Delay(Duration::from_millis(20));
    proxy.flow(delay, delay);
    let daemon = bridged(proxy.port(), "");
    let crossing = Crossing::start(daemon.port(), hub.port(), 2_000, PAUSE);
    crossing.wait_more(200);
    proxy.cut();
    crossing.finish(1);
}
