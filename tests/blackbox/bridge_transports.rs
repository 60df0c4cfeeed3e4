//! The same outages over every transport: TCP, TLS with certificates on both sides, WebSocket,
//! both together, and QUIC. Each loses nothing, keeps the order of a topic, and QoS 2 stays exactly
//! once.

use std::time::Duration;

use tests::daemon::Daemon;
use tests::sequence::Repeats;
use tests::udp_proxy::Fate;
use tests::wait::until;

use crate::bridge_stream::Crossing;
use crate::bridge_way::{Transport, Way};

/// Slow enough to last for some outages.
const PAUSE: Duration = Duration::from_millis(10);
/// mosquitto's window for messages of QoS 2 that are not released.
const HUB_WINDOW: usize = 20;

macro_rules! suite {
    ($($name:ident: $transport:expr,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn cuts_again_and_again() {
                check_cuts($transport);
            }

            #[test]
            fn a_black_hole() {
                check_black_hole($transport);
            }

            #[test]
            fn a_killed_daemon() {
                check_killed_daemon($transport);
            }

            #[test]
            fn a_killed_hub() {
                check_killed_hub($transport);
            }

            #[test]
            fn a_long_and_narrow_way() {
                check_long_and_narrow_way($transport);
            }
        }
    )*};
}

suite! {
    tcp: Transport::Tcp,
    tls: Transport::Tls,
    websocket: Transport::WebSocket,
    secure_websocket: Transport::SecureWebSocket,
    quic: Transport::Quic,
}

#[track_caller]
fn check_cuts(transport: Transport) {
    const CUTS: usize = 6;
    let way = Way::start(transport);
    let daemon = Daemon::start(&way.bridge(""));
    let crossing = Crossing::start(daemon.port(), way.hub.port(), 2_000, PAUSE);
    for cut in 0..CUTS {
        crossing.wait_more(100);
        if cut % 2 == 0 {
            way.proxy.cut();
        } else {
            way.proxy.refuse();
            way.pass();
        }
    }
    crossing.finish(CUTS);
    assert!(way.proxy.accepted() > CUTS, "{}", way.proxy.accepted());
}

#[track_caller]
fn check_black_hole(transport: Transport) {
    let way = Way::start(transport);
    let mut daemon = Daemon::start(&way.bridge("keepalive = 5s"));
    let crossing = Crossing::start(daemon.port(), way.hub.port(), 2_000, PAUSE);
    crossing.wait_more(100);
    way.black_hole();
    until("the bridge is down", || {
        let log = daemon.process().log();
        log.contains("did not answer PINGREQ in time")
    });
    way.pass();
    crossing.finish(1);
}

#[track_caller]
fn check_killed_daemon(transport: Transport) {
    let way = Way::start(transport);
    let mut daemon = Daemon::start(&way.bridge(""));
    let crossing = Crossing::start(daemon.port(), way.hub.port(), 2_000, PAUSE);
    for _ in 0..2 {
        crossing.wait_more(300);
        daemon.kill();
        daemon.restart();
    }
    // The publisher's connection is lost too.
    crossing.finish(4);
}

/// A mosquitto that is killed forgets everything. What it has acknowledged at QoS 1 was sent to its
/// subscribers before, and what they are sent with QoS 0 arrives although it ends; so nothing may be
/// missing. A message of QoS 2 is sent to them only after PUBREL: the bridge keeps it until PUBCOMP.
#[track_caller]
fn check_killed_hub(transport: Transport) {
    const KILLS: usize = 2;
    let mut way = Way::start(transport);
    let daemon = Daemon::start(&way.bridge(""));
    let mut crossing = Crossing::watch(way.hub.port(), 2_000);
    crossing.publish(daemon.port(), PAUSE);
    for kill in 1..=KILLS {
        crossing.wait_more(300);
        way.hub.kill();
        // What the bridge brought before the subscribers are back would be for nobody.
        way.proxy.refuse();
        way.hub.resume();
        crossing.wait_connected(1 + kill);
        way.pass();
    }
    let repeats = |messages_max| Repeats {
        steps_max: KILLS,
        messages_max,
    };
    crossing.finish_with([repeats(4_096), repeats(HUB_WINDOW)]);
}

#[track_caller]
fn check_long_and_narrow_way(transport: Transport) {
    /// Less than what is published, which is 4,000 messages of at least 19 bytes in a second.
    const BYTES_PER_SECOND: usize = 40 << 10;
    let way = Way::start(transport);
    way.delay(Duration::from_millis(20));
    let daemon = Daemon::start(&way.bridge(""));
    let crossing = Crossing::start(daemon.port(), way.hub.port(), 2_000, PAUSE);
    crossing.wait_more(100);
    way.limit(BYTES_PER_SECOND);
    crossing.wait_more(200);
    way.proxy.cut();
    crossing.wait_more(200);
    way.pass();
    crossing.finish(1);
}

#[test]
fn quic_goes_on_where_datagrams_are_lost_and_addresses_change() {
    let way = Way::start(Transport::Quic);
    let daemon = Daemon::start(&way.bridge(""));
    let crossing = Crossing::start(daemon.port(), way.hub.port(), 3_000, PAUSE);
    crossing.wait_more(100);
    way.datagrams().set(Fate::LoseOneOf(10));
    crossing.wait_more(300);
    way.pass();
    for _ in 0..3 {
        way.datagrams().rebind();
        crossing.wait_more(300);
    }
    crossing.finish(0);
    assert_eq!(way.proxy.accepted(), 1, "the connection was lost");
}
