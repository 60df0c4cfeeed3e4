//! A bridge over a metered link: what its caps do not let through waits.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use tests::daemon::Daemon;
use tests::dialogue::join;
use tests::fault_proxy::FaultProxy;
use tests::hub::Hub;
use tests::sequence::{NO_REPEATS, Repeats, assert_complete};
use tests::subscriber::Subscriber;
use tests::wait::until;
use tests::wire::{Kept, Version, WireClient};

/// A bridge to a hub with these caps.
fn bridge(hub: &Hub, caps: &str) -> String {
    bridge_to(hub.port(), caps)
}

fn bridge_to(port: u16, caps: &str) -> String {
    format!(
        "bridges.mqtt.hub {{\n\
         server = \"mqtt-tcp://127.0.0.1:{port}\"\n\
         backoff_max = 500ms\n\
         {caps}\n\
         forwards = [{{ local_topic = \"t/#\" }}]\n\
         }}\n"
    )
}

/// Publishes these numbers, padded to this length; they are stored when it returns.
fn publish(daemon: &Daemon, numbers: RangeInclusive<u64>, length: usize) {
    let connected = WireClient::connect(daemon.port(), Version::V5, "p", Kept::Nothing);
    let (mut client, _) = connected.unwrap();
    for number in numbers {
        let payload = format!("{number:length$}");
        client
            .publish_acknowledged("t/0", payload.as_bytes())
            .unwrap();
    }
}

/// The topics and numbers that came to the hub, in order.
fn received(at_hub: &Subscriber) -> Vec<(String, u64)> {
    let all = at_hub.received().into_iter();
    all.map(|it| (it.topic.clone(), it.number().unwrap()))
        .collect()
}

/// Says that a day is used up, so often.
fn days_used_up(daemon: &mut Daemon) -> usize {
    let used_up = "the bytes of this day are used up";
    daemon.process().log().matches(used_up).count()
}

#[test]
fn two_hundred_messages_at_a_hundred_a_second_take_a_second() {
    const COUNT: u64 = 200;
    let mut hub = Hub::start();
    let at_hub = Subscriber::start(hub.port(), "cloud", "t/#");
    let daemon = Daemon::start(&bridge(&hub, "max_messages_per_second = 100"));
    // All of them wait when the hub comes back.
    hub.stop();
    publish(&daemon, 1..=COUNT, 3);
    let resumed = Instant::now();
    hub.resume();
    until("all are at the hub", || at_hub.count() >= 200);
    let time = resumed.elapsed();
    assert!(time >= Duration::from_millis(950), "{time:?}");
    assert_complete("hub", &received(&at_hub), 1..=COUNT, NO_REPEATS);
}

#[test]
fn a_restart_does_not_begin_the_day_again() {
    let hub = Hub::start();
    let at_hub = Subscriber::start(hub.port(), "cloud", "t/#");
    let caps = bridge(&hub, "daily_bytes = 10000");
    let mut daemon = Daemon::start_at("@2031-01-01 12:00:00", &caps);
    publish(&daemon, 1..=5, 1_000);
    until("these are at the hub", || at_hub.count() == 5);
    daemon.kill();
    daemon.restart();
    publish(&daemon, 6..=15, 1_000);
    until("the day is used up", || days_used_up(&mut daemon) == 1);
    until("it has brought this", || at_hub.count() >= 9);
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
    daemon.restart();
    until("it still is", || days_used_up(&mut daemon) == 2);
    // CONNECT and the like count, and the crash a little.
    let count = at_hub.count();
    assert!(count <= 10, "{count}");
    daemon.set_wall_clock("@2031-01-02 12:00:00");
    until("the rest comes", || at_hub.count() >= 15);
    // The last one that came before the crash may not have been acknowledged.
    let repeats = Repeats {
        steps_max: 1,
        messages_max: 1,
    };
    assert_complete("hub", &received(&at_hub), 1..=15, repeats);
}

#[test]
fn what_a_day_does_not_allow_waits_for_the_next() {
    let hub = Hub::start();
    let at_hub = Subscriber::start(hub.port(), "cloud", "t/#");
    let caps = bridge(&hub, "daily_bytes = 10000");
    let mut daemon = Daemon::start_at("@2031-01-01 12:00:00", &caps);
    let used_up = "the bytes of this day are used up";
    let watcher = Subscriber::start(daemon.port(), "watcher", "$SYS/brokers/bridges/hub/status");
    // A packet has a little more than a thousand bytes.
    publish(&daemon, 1..=25, 1_000);
    for (day, sum) in [(1, 10), (2, 20)] {
        daemon.set_wall_clock(&format!("@2031-01-0{day} 12:00:00"));
        until("the day is used up", || days_used_up(&mut daemon) == day);
        until("it has brought this", || at_hub.count() >= sum);
        // Has its place behind the others.
        publish(&daemon, 26..=26, 1_000);
        assert_eq!(at_hub.count(), sum);
    }
    until("it is told", || {
        watcher.has(|it| String::from_utf8_lossy(&it.payload).contains(used_up))
    });
    // The rest is in the outbox.
    daemon.kill();
    daemon.reconfigure(&bridge(&hub, ""));
    until("all are at the hub", || at_hub.count() >= 27);
    let numbers: Vec<u64> = received(&at_hub).into_iter().map(|it| it.1).collect();
    let expected: Vec<u64> = (1..=26).chain([26]).collect();
    assert_eq!(numbers, expected);
}

/// Bytes of which half cannot be made smaller.
fn noise(number: u64) -> Vec<u8> {
    const HALF: usize = 450;
    let mut state = number;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    })
    .take(HALF)
    .collect();
    bytes.resize(2 * HALF, 0);
    bytes
}

#[test]
fn a_batch_fits_what_is_left_of_the_day() {
    const COUNT: usize = 100;
    const BUDGET: u64 = 20_000;
    /// What is not compressed, with PINGREQ and the like.
    const MESSAGE_BYTES_MAX: u64 = 1_000;
    let hub = Daemon::start("");
    let at_hub = Subscriber::start(hub.port(), "cloud", "t/#");
    let proxy = FaultProxy::start(hub.port());
    proxy.refuse();
    let caps = format!("daily_bytes = {BUDGET}, batch {{ linger = 300ms }}");
    let mut daemon = Daemon::start_at("@2031-01-01 12:00:00", &bridge_to(proxy.port(), &caps));
    let mut publisher = join(&daemon, Version::V5, "p");
    for number in (1..).take(COUNT) {
        let topic = format!("t/{number}");
        publisher
            .publish_acknowledged(&topic, &noise(number))
            .unwrap();
    }
    proxy.pass();
    let (mut carried, mut come) = (0, 0);
    for day in 1..=2 {
        daemon.set_wall_clock(&format!("@2031-01-0{day} 12:00:00"));
        until("the day is used up", || days_used_up(&mut daemon) == day);
        // That is said before the last one is written.
        let mut bytes = 0;
        until("all of it is used", || {
            bytes = proxy.carried()[0] - carried;
            bytes >= BUDGET
        });
        assert!(bytes <= BUDGET + MESSAGE_BYTES_MAX, "{bytes} on day {day}");
        carried += bytes;
        // They would not be so many if they were not packed.
        until("it has brought this", || at_hub.count() >= come + 30);
        come = at_hub.count();
    }
    daemon.set_wall_clock("@2031-01-03 12:00:00");
    until("the rest comes", || at_hub.count() >= COUNT);
    let topics: Vec<String> = at_hub.received().into_iter().map(|it| it.topic).collect();
    let expected: Vec<String> = (1..=COUNT).map(|number| format!("t/{number}")).collect();
    assert_eq!(topics, expected);
}

#[test]
fn what_is_packed_when_the_day_is_used_up_waits_for_the_next() {
    const BUDGET: u64 = 2_000;
    /// Acknowledgements of them, of four bytes each, use it up.
    const COMMANDS: usize = 600;
    let hub = Daemon::start("");
    let at_hub = Subscriber::start(hub.port(), "cloud", "t/#");
    let proxy = FaultProxy::start(hub.port());
    let configuration = |linger| {
        let rules = "subscription = [{ remote_topic = \"cmd/#\", qos = 1 }]";
        let caps = format!("daily_bytes = {BUDGET}\nbatch {{ linger = {linger} }}\n{rules}");
        bridge_to(proxy.port(), &caps)
    };
    let mut daemon = Daemon::start_at("@2031-01-01 12:00:00", &configuration("60s"));
    let local = Subscriber::start(daemon.port(), "local", "cmd/#");
    let mut operator = join(&hub, Version::V5, "operator");
    until("the bridge has subscribed", || {
        operator.publish_acknowledged("cmd/0", b"").unwrap();
        local.count() > 0
    });
    publish(&daemon, 1..=2, 3);
    for _ in 0..COMMANDS {
        operator.publish_acknowledged("cmd/1", b"").unwrap();
    }
    until("the day is used up", || proxy.carried()[0] >= BUDGET);
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
    assert_eq!(at_hub.count(), 0);
    daemon.set_wall_clock("@2031-01-02 12:00:00");
    daemon.reconfigure(&configuration("0s"));
    until("they come", || at_hub.count() >= 2);
    let numbers: Vec<u64> = received(&at_hub).into_iter().map(|it| it.1).collect();
    assert_eq!(numbers, [1, 2]);
}
