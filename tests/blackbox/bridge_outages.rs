//! A bridge whose way to the hub is cut, falls silent, or leads nowhere: nothing is lost, the order
//! of a topic is kept, and QoS 2 stays exactly once.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;

use crate::bridge_stream::Crossing;

/// Slow enough to last for some cuts.
const PAUSE: Duration = Duration::from_millis(10);

/// A daemon with a bridge to this port, both ways.
pub(crate) fn bridged(port: u16, more: &str) -> Daemon {
    Daemon::start(&bridge(port, more))
}

/// A bridge to this port: `line/#` goes up, `command/#` comes down.
pub(crate) fn bridge(port: u16, more: &str) -> String {
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

#[test]
fn an_uplink_that_is_cut_again_and_again_loses_nothing() {
    const CUTS: usize = 8;
    let hub = Hub::start();
    let proxy = FaultProxy::start(hub.port());
    let daemon = bridged(proxy.port(), "");
    let crossing = Crossing::start(daemon.port(), hub.port(), 8_000, PAUSE);
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
